CREATE OR REPLACE TRIGGER keep BEFORE DELETE ON usher.decisions
    FOR EACH ROW EXECUTE FUNCTION usher.only_once();

-- Allows only one change: to erase all personal data of a row at once.
CREATE OR REPLACE TRIGGER forget_once BEFORE UPDATE ON usher.decisions
    FOR EACH ROW WHEN (OLD.salt IS NULL OR num_nonnulls(NEW.salt, NEW.ip, NEW.user_agent, NEW.origin) > 0
        OR to_jsonb(NEW) - '{salt,ip,user_agent,origin}'::text[] IS DISTINCT FROM to_jsonb(OLD) - '{salt,ip,user_agent,origin}'::text[])
    EXECUTE FUNCTION usher.only_once();

CREATE OR REPLACE TRIGGER keep_all BEFORE TRUNCATE ON usher.decisions
    FOR EACH STATEMENT EXECUTE FUNCTION usher.only_once();

-- A statement trigger of the parent does not run for TRUNCATE of a partition.
CREATE OR REPLACE TRIGGER keep_all BEFORE TRUNCATE ON usher.decisions_default
    FOR EACH STATEMENT EXECUTE FUNCTION usher.only_once();

-- Creates the missing partitions of this month and the next ones. Returns how
-- many it created, and how many rows it found in the default partition (it
-- counts to move_at_most + 1). While another call runs, it creates none, because
-- the two would wait for each other.
--
-- CREATE LIKE and ATTACH lock the parent only against other DDL, so issuing
-- continues. ATTACH waits for queries that read the default partition, and other
-- statements would queue behind it. So it fails after 200 ms (55P03), and the
-- caller tries again later. That is soon enough, because the partition is for a
-- future month.
--
-- The default partition holds rows whose month had no partition: nobody created
-- it, or a clock was wrong. Such rows prevent ATTACH of their month, so they move
-- to new partitions of their months. Issuing waits while they move, so
-- move_at_most limits their number. If there are more, they stay until a call
-- with a higher limit, and only the other months get partitions.
CREATE OR REPLACE FUNCTION usher.make_decision_partitions(ahead integer DEFAULT 3, move_at_most integer DEFAULT 10000,
    OUT made integer, OUT in_default bigint)
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp SET timezone = 'UTC' SET lock_timeout = '200ms' AS $$
DECLARE
    months timestamptz[] := ARRAY(SELECT date_trunc('month', now()) + make_interval(months => i) FROM generate_series(0, ahead) i);
    month  timestamptz;
    name   text;
    moving boolean;
BEGIN
    -- Each partition makes every later query slower, and issuing waits for the move.
    IF ahead IS NULL OR ahead NOT BETWEEN 0 AND 12 OR move_at_most IS NULL OR move_at_most NOT BETWEEN 0 AND 100000 THEN
        RAISE invalid_parameter_value USING MESSAGE = 'give 0 to 12 months ahead and at most 100000 rows to move';
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
            WHEN check_violation THEN NULL; -- the default partition holds too many rows of this month to move
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
COMMENT ON VIEW audit.tokens IS 'Every token that usher issued. Each row is committed before its token is sent. A token whose response was lost also has a row.';
COMMENT ON COLUMN audit.tokens.jti IS 'The token''s jti claim.';
COMMENT ON COLUMN audit.tokens.issued_at IS 'Time of issue by the database''s clock. The iat claim is the same time in whole seconds.';
COMMENT ON COLUMN audit.tokens.expires_at IS 'The exp claim. A verifier adds its leeway, 30 s by default.';
COMMENT ON COLUMN audit.tokens.recorded_at IS 'When the row was written, by the database''s clock.';
COMMENT ON COLUMN audit.tokens.user_id IS 'The sub claim.';
COMMENT ON COLUMN audit.tokens.organization_id IS 'The org claim: the active organization of the session. Null without one.';
COMMENT ON COLUMN audit.tokens.requested_organization_id IS 'The organization that was requested. The user need not be a member of it. Null if none was named.';
COMMENT ON COLUMN audit.tokens.audience IS 'The aud claim: the only sync backend that accepts the token.';
COMMENT ON COLUMN audit.tokens.room IS 'The room that was requested. Null if none was named.';
COMMENT ON COLUMN audit.tokens.store IS 'The store that was requested. Null if none was named.';
COMMENT ON COLUMN audit.tokens.token_kind IS 'access, or identity for a token that names a user and has no permissions.';
COMMENT ON COLUMN audit.tokens.patterns IS 'What the token opens: {"rooms": {pattern: "read" | "full"}, "stores": {...}}. A kind that the token does not contain is absent. If a backend chose the permissions (see claims), the access is the most that they can mean: full if one of them allows writing, except for presence.';
COMMENT ON COLUMN audit.tokens.claims IS 'What a backend chose, exactly as it was signed: {"perms": {pattern: [permission]}} for an access token, {"gids": [group]} for an identity token. Null if usher chose: full is then ["room:write","comments:write"], and read is ["room:read","room:presence:write","comments:read"].';
COMMENT ON COLUMN audit.tokens.partial IS 'True if the user had more access than the token contains.';
COMMENT ON COLUMN audit.tokens.skipped_grants IS 'Ids of grants that were left out because a value did not fit their template. Null without any.';
COMMENT ON COLUMN audit.tokens.warnings IS 'Possible mistakes: open_prefix means that a backend chose a wildcard that does not end a segment, as in acme*, which also matches acme-evil. Null without any.';
COMMENT ON COLUMN audit.tokens.caller_kind IS 'session, provider, proxy, api_key or operator.';
COMMENT ON COLUMN audit.tokens.caller_id IS 'For session: the sid, a salted hash. For provider: the issuer, and a salted hash of its session or, without one, of its token. For api_key: the id of the key. For proxy: its address. For operator: who it was.';
COMMENT ON COLUMN audit.tokens.kid IS 'The signing key.';
COMMENT ON COLUMN audit.tokens.ip IS 'The client''s address, from the connection or a trusted proxy. Null if erased or unknown.';
COMMENT ON COLUMN audit.tokens.user_agent IS 'The User-Agent header, at most 256 bytes of it. Null if erased or absent.';
COMMENT ON COLUMN audit.tokens.origin IS 'The Origin header: the page that sent the request. Null if erased or absent.';
COMMENT ON COLUMN audit.tokens.request_id IS 'Id of the request in usher''s log.';
COMMENT ON COLUMN audit.tokens.replica IS 'The usher process that issued it.';

CREATE OR REPLACE VIEW audit.denials AS
SELECT issued_at AS denied_at, recorded_at, reason, user_id, organization_id, requested_organization_id, audience, room, store,
       skipped_grants, caller_kind, caller_id, ip, user_agent, origin, request_id, replica, count
  FROM usher.decisions
 WHERE result = 'denied';
COMMENT ON VIEW audit.denials IS 'Every request that usher refused with 401 or 403. Their number is sum(count).';
COMMENT ON COLUMN audit.denials.denied_at IS 'Time of the refusal by the database''s clock, or by the replica''s clock if it came before the look-up. Within a minute of recorded_at.';
COMMENT ON COLUMN audit.denials.reason IS 'A code, for example no_grant, session_unknown, session_expired, user_disabled, origin_not_allowed, signature_invalid.';
COMMENT ON COLUMN audit.denials.skipped_grants IS 'Ids of grants that were left out because a value did not fit their template. Null without any.';
COMMENT ON COLUMN audit.denials.count IS 'Number of requests. More than 1 means a flood: refusals for one reason, of unknown callers or of a credential that is no longer valid, counted per second. denied_at and request_id are then those of the first request.';
COMMENT ON COLUMN audit.denials.recorded_at IS 'When the row was written, by the database''s clock.';
COMMENT ON COLUMN audit.denials.user_id IS 'The user who was refused. Null if the user was unknown.';
COMMENT ON COLUMN audit.denials.organization_id IS 'The active organization of the session. Null without one.';
COMMENT ON COLUMN audit.denials.requested_organization_id IS 'The organization that was requested. Null if none was named.';
COMMENT ON COLUMN audit.denials.audience IS 'The sync backend for which a token was requested. Null if none was named.';
COMMENT ON COLUMN audit.denials.room IS 'The room that was requested. Null if none was named.';
COMMENT ON COLUMN audit.denials.store IS 'The store that was requested. Null if none was named.';
COMMENT ON COLUMN audit.denials.caller_kind IS 'none, session, provider, proxy, api_key, admin_key or operator.';
COMMENT ON COLUMN audit.denials.caller_id IS 'As in audit.tokens. For admin_key: the id of the key. Null if the caller was unknown.';
COMMENT ON COLUMN audit.denials.ip IS 'The client''s address, from the connection or a trusted proxy. For a flood: its network, which is an IPv4 /32 or an IPv6 /56, or a wider one above many of these. Null if erased or unknown, or for a flood from many networks.';
COMMENT ON COLUMN audit.denials.user_agent IS 'The User-Agent header, at most 256 bytes of it. Null if erased or absent.';
COMMENT ON COLUMN audit.denials.origin IS 'The Origin header: the page that sent the request. Null if erased or absent.';
COMMENT ON COLUMN audit.denials.request_id IS 'Id of the request in usher''s log.';
COMMENT ON COLUMN audit.denials.replica IS 'The usher process that refused.';
