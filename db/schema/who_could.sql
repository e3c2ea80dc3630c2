CREATE OR REPLACE FUNCTION audit.who_could(kind text, id text, at timestamptz, access text DEFAULT 'read') RETURNS SETOF audit.opening
LANGUAGE plpgsql STABLE SECURITY DEFINER
SET search_path = pg_catalog, pg_temp SET plan_cache_mode = force_generic_plan SET jit = off AS $$
BEGIN
    PERFORM usher.check_question(kind, id, access), usher.check_history();
    IF at IS NULL OR at > clock_timestamp() THEN
        RAISE invalid_parameter_value USING
            MESSAGE = 'the time is null or in the future',
            HINT = 'Give a past time, or use audit.who_can for now.';
    END IF;
    IF at < (SELECT d.created_at FROM usher.deployment d) THEN
        RAISE invalid_parameter_value USING
            MESSAGE = 'the time is before usher''s history begins',
            HINT = (SELECT format('Give %s, when usher''s database was created, or a later time.', to_char(d.created_at AT TIME ZONE 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS.US"Z"')) FROM usher.deployment d);
    END IF;
    RETURN QUERY SELECT o.* FROM usher.openings(who_could.at, who_could.kind, who_could.id, who_could.access) o;
END
$$;
COMMENT ON FUNCTION audit.who_could(text, text, timestamptz, text) IS 'Who could open the room or store at a past time: the result that audit.who_can would have had then, exact to the duration of the transactions that made changes. Fails if the directory is an application''s, which keeps no history, and for times before usher''s database was created.';
