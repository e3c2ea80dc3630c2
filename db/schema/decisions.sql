CREATE OR REPLACE TRIGGER keep BEFORE DELETE ON usher.decisions
    FOR EACH ROW EXECUTE FUNCTION usher.only_once();

-- Personal data may be erased, all of a row's at once, and nothing else changed.
CREATE OR REPLACE TRIGGER forget_once BEFORE UPDATE ON usher.decisions
    FOR EACH ROW WHEN (OLD.salt IS NULL OR num_nonnulls(NEW.salt, NEW.ip, NEW.user_agent, NEW.origin) > 0
        OR to_jsonb(NEW) - '{salt,ip,user_agent,origin}'::text[] IS DISTINCT FROM to_jsonb(OLD) - '{salt,ip,user_agent,origin}'::text[])
    EXECUTE FUNCTION usher.only_once();

CREATE OR REPLACE TRIGGER keep_all BEFORE TRUNCATE ON usher.decisions
    FOR EACH STATEMENT EXECUTE FUNCTION usher.only_once();

-- A parent's statement trigger does not see the TRUNCATE of a partition.
CREATE OR REPLACE TRIGGER keep_all BEFORE TRUNCATE ON usher.decisions_default
    FOR EACH STATEMENT EXECUTE FUNCTION usher.only_once();

-- Makes the partitions of this month and the next ones where they are missing,
-- and says how many it made and how many rows it found in the default one (it
-- counts to move_at_most + 1). Two at a time would wait for each other: the
-- second makes none.
--
-- CREATE LIKE and ATTACH lock the parent only against other DDL, so issuing
-- goes on. ATTACH waits for whoever reads the default partition, and others
-- would queue up behind it: it gives up after 200 ms (55P03), to be tried
-- again. There is time: the partition is for a month that is in the future.
--
-- Rows in the default partition came while their month had none: nobody made
-- it, or a clock was wrong. They would keep it from being attached, so they
-- move, into partitions of their own months; issuing waits meanwhile, hence
-- the limit. Where there are more, the other months get theirs, and these stay
-- until somebody calls with a higher limit.
CREATE OR REPLACE FUNCTION usher.make_decision_partitions(ahead integer DEFAULT 3, move_at_most integer DEFAULT 10000,
    OUT made integer, OUT in_default bigint)
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp SET timezone = 'UTC' SET lock_timeout = '200ms' AS $$
DECLARE
    months timestamptz[] := ARRAY(SELECT date_trunc('month', now()) + make_interval(months => i) FROM generate_series(0, ahead) i);
    month  timestamptz;
    name   text;
    moving boolean;
BEGIN
    -- Each partition costs every later query, and issuing waits for the move.
    IF ahead IS NULL OR ahead NOT BETWEEN 0 AND 12 OR move_at_most IS NULL OR move_at_most NOT BETWEEN 0 AND 100000 THEN
        RAISE invalid_parameter_value USING MESSAGE = 'at most 12 months ahead and 100000 rows to move';
    END IF;
    made := 0;
    SELECT count(*) INTO in_default FROM (SELECT FROM usher.decisions_default LIMIT move_at_most + 1) d;
    PERFORM FROM usher.locks WHERE usher.locks.name = 'partitions' FOR UPDATE SKIP LOCKED;
    IF NOT FOUND THEN
        RETURN;
    END IF;
    moving := in_default BETWEEN 1 AND move_at_most;
    IF moving THEN
        ALTER TABLE usher.decisions DETACH PARTITION usher.decisions_default;
        ALTER TABLE usher.decisions_default RENAME TO decisions_moving;
        CREATE TABLE usher.decisions_default PARTITION OF usher.decisions DEFAULT;
        CREATE TRIGGER keep_all BEFORE TRUNCATE ON usher.decisions_default
            FOR EACH STATEMENT EXECUTE FUNCTION usher.only_once();
        months := months || ARRAY(SELECT DISTINCT date_trunc('month', issued_at) FROM usher.decisions_moving WHERE isfinite(issued_at));
    END IF;
    FOREACH month IN ARRAY months LOOP
        name := 'decisions_' || to_char(month, 'YYYY_MM');
        CONTINUE WHEN to_regclass('usher.' || name) IS NOT NULL;
        BEGIN
            EXECUTE format('CREATE TABLE usher.%I (LIKE usher.decisions INCLUDING DEFAULTS INCLUDING CONSTRAINTS)', name);
            EXECUTE format('ALTER TABLE usher.decisions ATTACH PARTITION usher.%I FOR VALUES FROM (%L) TO (%L)',
                           name, month, month + interval '1 month');
            EXECUTE format('CREATE TRIGGER keep_all BEFORE TRUNCATE ON usher.%I FOR EACH STATEMENT EXECUTE FUNCTION usher.only_once()', name);
            made := made + 1;
        EXCEPTION
            WHEN check_violation THEN NULL; -- the default partition holds rows of this month, too many to move
        END;
    END LOOP;
    IF moving THEN
        INSERT INTO usher.decisions OVERRIDING SYSTEM VALUE SELECT * FROM usher.decisions_moving;
        DROP TABLE usher.decisions_moving;
    END IF;
END
$$;

CREATE OR REPLACE VIEW audit.tokens AS
SELECT jti, issued_at, expires_at, recorded_at, user_id, organization_id, requested_organization_id, audience, room, store,
       token_kind, patterns, claims, partial, skipped_grants, warnings, caller_kind, caller_id, kid, ip, user_agent, origin, request_id, replica
  FROM usher.decisions
 WHERE result = 'issued';
COMMENT ON VIEW audit.tokens IS 'Every token that usher issued. A row stands here before its token leaves; a token whose answer was lost on the way also has a row.';
COMMENT ON COLUMN audit.tokens.jti IS 'The token''s jti claim.';
COMMENT ON COLUMN audit.tokens.issued_at IS 'By the database''s clock; the iat claim is its whole second.';
COMMENT ON COLUMN audit.tokens.expires_at IS 'The exp claim. A verifier adds its leeway, 30 s by default.';
COMMENT ON COLUMN audit.tokens.recorded_at IS 'When the row was written, by the database''s clock.';
COMMENT ON COLUMN audit.tokens.user_id IS 'The sub claim.';
COMMENT ON COLUMN audit.tokens.organization_id IS 'The org claim: the active organization of the session; null where there is none.';
COMMENT ON COLUMN audit.tokens.requested_organization_id IS 'The organization that was asked for, of which the user need not be a member; null where none was named.';
COMMENT ON COLUMN audit.tokens.audience IS 'The aud claim: the one sync backend that takes the token.';
COMMENT ON COLUMN audit.tokens.room IS 'The room that was asked for; null where none was named.';
COMMENT ON COLUMN audit.tokens.store IS 'The store that was asked for; null where none was named.';
COMMENT ON COLUMN audit.tokens.token_kind IS 'access, or identity: a token that names a user and has no permissions.';
COMMENT ON COLUMN audit.tokens.patterns IS '{"rooms": {pattern: "read" | "full"}, "stores": {...}}: what the token opens; a kind that it does not carry is absent. Of permissions that a backend chose (see claims) the strongest reading: full for any that writes, but for presence.';
COMMENT ON COLUMN audit.tokens.claims IS 'What a backend chose, word for word as it was signed: {"perms": {pattern: [permission]}} of an access token, {"gids": [group]} of an identity token. Null where usher chose: full is ["room:write","comments:write"], read is ["room:read","room:presence:write","comments:read"].';
COMMENT ON COLUMN audit.tokens.partial IS 'The user had more than the token holds.';
COMMENT ON COLUMN audit.tokens.skipped_grants IS 'Grants left out because a value did not fit their template; null where there was none.';
COMMENT ON COLUMN audit.tokens.warnings IS 'What may not be meant: open_prefix, a wildcard that a backend chose and that does not end a segment, as acme* matches acme-evil. Null where there is nothing.';
COMMENT ON COLUMN audit.tokens.caller_kind IS 'session, upstream, proxy, api_key or operator.';
COMMENT ON COLUMN audit.tokens.caller_id IS 'Of a session: its sid, a salted hash. Of upstream: the issuer and the same of its session, or else of its token. Of an API key: its id. Of a proxy: its address. Of an operator: who.';
COMMENT ON COLUMN audit.tokens.kid IS 'The signing key.';
COMMENT ON COLUMN audit.tokens.ip IS 'Who asked for it, as the connection or a trusted proxy said; null where erased or unknown.';
COMMENT ON COLUMN audit.tokens.user_agent IS 'The header, at most 256 bytes of it.';
COMMENT ON COLUMN audit.tokens.origin IS 'The header: the page that asked.';
COMMENT ON COLUMN audit.tokens.request_id IS 'The request in usher''s log.';
COMMENT ON COLUMN audit.tokens.replica IS 'The usher process that issued it.';

CREATE OR REPLACE VIEW audit.denials AS
SELECT issued_at AS denied_at, recorded_at, reason, user_id, organization_id, requested_organization_id, audience, room, store,
       skipped_grants, caller_kind, caller_id, ip, user_agent, origin, request_id, replica, count
  FROM usher.decisions
 WHERE result = 'denied';
COMMENT ON VIEW audit.denials IS 'Every request that usher refused with 401 or 403: sum(count) is their number.';
COMMENT ON COLUMN audit.denials.denied_at IS 'By the database''s clock; by the replica''s where the request was refused before the look-up. Within a minute of recorded_at.';
COMMENT ON COLUMN audit.denials.reason IS 'A slug, for example no_grant, session_unknown, session_expired, user_disabled, origin_not_allowed, signature_invalid.';
COMMENT ON COLUMN audit.denials.skipped_grants IS 'Grants left out because a value did not fit their template; null where there was none.';
COMMENT ON COLUMN audit.denials.count IS 'Requests. More than 1: a flood of one reason from callers who were not known, counted by the second; denied_at and request_id are those of the first.';
COMMENT ON COLUMN audit.denials.recorded_at IS 'When the row was written, by the database''s clock.';
COMMENT ON COLUMN audit.denials.user_id IS 'Who was refused; null where nobody was known.';
COMMENT ON COLUMN audit.denials.organization_id IS 'The active organization of the session; null where there is none.';
COMMENT ON COLUMN audit.denials.requested_organization_id IS 'The organization that was asked for; null where none was named.';
COMMENT ON COLUMN audit.denials.audience IS 'The sync backend that a token was asked for; null where none was named.';
COMMENT ON COLUMN audit.denials.room IS 'The room that was asked for; null where none was named.';
COMMENT ON COLUMN audit.denials.store IS 'The store that was asked for; null where none was named.';
COMMENT ON COLUMN audit.denials.caller_kind IS 'none, session, upstream, proxy, api_key, admin_key or operator.';
COMMENT ON COLUMN audit.denials.caller_id IS 'As in audit.tokens; of an admin key: its id. Null where nobody was known.';
COMMENT ON COLUMN audit.denials.ip IS 'Who asked, as the connection or a trusted proxy said; null where erased or unknown. Of a flood, whose requests are counted together: its /32 or /56; null where too many addresses took part.';
COMMENT ON COLUMN audit.denials.user_agent IS 'The header, at most 256 bytes of it.';
COMMENT ON COLUMN audit.denials.origin IS 'The header: the page that asked.';
COMMENT ON COLUMN audit.denials.request_id IS 'The request in usher''s log.';
COMMENT ON COLUMN audit.denials.replica IS 'The usher process that refused.';
