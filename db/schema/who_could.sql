CREATE OR REPLACE FUNCTION audit.who_could(kind text, id text, at timestamptz, access text DEFAULT 'read') RETURNS SETOF audit.opening
LANGUAGE plpgsql STABLE SECURITY DEFINER
SET search_path = pg_catalog, pg_temp SET plan_cache_mode = force_generic_plan SET jit = off AS $$
BEGIN
    PERFORM usher.check_question(kind, id, access), usher.check_history();
    IF at IS NULL OR at > clock_timestamp() THEN
        RAISE invalid_parameter_value USING
            MESSAGE = 'the time is null or in the future',
            HINT = 'Give a time that has passed; audit.who_can answers for now.';
    END IF;
    IF at < (SELECT d.created_at FROM usher.deployment d) THEN
        RAISE invalid_parameter_value USING
            MESSAGE = 'the time is before usher''s database was made: nothing is known of it',
            HINT = (SELECT format('The first time that is known is %s.', to_char(d.created_at AT TIME ZONE 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS.US"Z"')) FROM usher.deployment d);
    END IF;
    RETURN QUERY SELECT o.* FROM usher.openings(who_could.at, who_could.kind, who_could.id, who_could.access) o;
END
$$;
COMMENT ON FUNCTION audit.who_could(text, text, timestamptz, text) IS 'Who could open the room or store at a time in the past: what audit.who_can would have said, exact to the duration of the transactions that changed something. An error where the directory is an application''s, which keeps no history, and for a time before usher''s database was made.';
