CREATE TYPE audit.holder AS (
    user_id         text,
    access          text,
    jti             text,
    issued_at       timestamptz,
    expires_at      timestamptz,
    organization_id text,
    audience        text,
    caller_kind     text,
    caller_id       text
);
COMMENT ON TYPE audit.holder IS 'A token that opened an id at some time.';
COMMENT ON COLUMN audit.holder.user_id IS 'The user of the token: its sub claim.';
COMMENT ON COLUMN audit.holder.access IS 'Access that the token gave to the id: read or full.';
COMMENT ON COLUMN audit.holder.jti IS 'Row of audit.tokens.';
COMMENT ON COLUMN audit.holder.issued_at IS 'Time of issue by the database''s clock.';
COMMENT ON COLUMN audit.holder.expires_at IS 'The exp claim. A verifier adds its leeway, 30 s by default.';
COMMENT ON COLUMN audit.holder.organization_id IS 'The active organization of the session. Null without one.';
COMMENT ON COLUMN audit.holder.audience IS 'The only sync backend that accepted the token.';
COMMENT ON COLUMN audit.holder.caller_kind IS 'Kind of caller: session, provider, proxy, api_key or operator.';
COMMENT ON COLUMN audit.holder.caller_id IS 'As in audit.tokens.';

-- No token lives longer than an hour, so the query reads one hour by the index.
CREATE OR REPLACE FUNCTION audit.holders(kind text, id text, at timestamptz) RETURNS SETOF audit.holder
LANGUAGE plpgsql STABLE SECURITY DEFINER
SET search_path = pg_catalog, pg_temp SET plan_cache_mode = force_generic_plan SET jit = off AS $$
DECLARE
    wanted text[] := (SELECT array_agg(left(id, n) || '*') || id FROM generate_series(0, char_length(id)) n);
BEGIN
    PERFORM usher.check_question(kind, id);
    IF at IS NULL THEN
        RAISE invalid_parameter_value USING
            MESSAGE = 'the time is null',
            HINT = 'Give a time, or now() for the tokens that are valid now.';
    END IF;
    PERFORM usher.check_known(holders.at - interval '1 hour');
    RETURN QUERY
    SELECT t.user_id, a.access, t.jti, t.issued_at, t.expires_at,
           t.organization_id, t.audience, t.caller_kind, t.caller_id
      FROM audit.tokens t
     CROSS JOIN LATERAL audit.access_of(t.patterns -> (holders.kind || 's'), holders.id) a (access)
     WHERE t.issued_at <= holders.at AND t.issued_at > holders.at - interval '1 hour'
       AND t.expires_at > holders.at
       AND t.patterns -> (holders.kind || 's') ?| wanted
       AND a.access <> 'none';
END
$$;

CREATE OR REPLACE FUNCTION audit.tokens_of(user_id text, since timestamptz) RETURNS SETOF audit.tokens
LANGUAGE plpgsql STABLE SECURITY DEFINER
SET search_path = pg_catalog, pg_temp SET plan_cache_mode = force_generic_plan SET jit = off AS $$
BEGIN
    IF since IS NULL THEN
        RAISE invalid_parameter_value USING
            MESSAGE = 'the time is null',
            HINT = 'Give a start time, or ''-infinity'' for all tokens.';
    END IF;
    IF isfinite(since) THEN
        PERFORM usher.check_known(since);
    END IF;
    RETURN QUERY SELECT t.* FROM audit.tokens t WHERE t.user_id = tokens_of.user_id AND t.issued_at >= tokens_of.since;
END
$$;
COMMENT ON FUNCTION audit.holders(text, text, timestamptz) IS 'Tokens that opened the room or store at a time: issued then or before, and not yet expired. It uses the issued tokens, so it also works for the directory of an application. If a backend chose the permissions, the access is the most that they can mean. Fails if tokens of that time were pruned.';
COMMENT ON FUNCTION audit.tokens_of(text, timestamptz) IS 'The tokens issued to a user since a time: rows of audit.tokens. Fails if tokens since then were pruned. Use ''-infinity'' for all tokens that remain.';
