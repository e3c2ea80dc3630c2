-- The privileges of usher's two roles. A SECURITY DEFINER function runs with the
-- owner's privileges.
REVOKE EXECUTE ON ALL FUNCTIONS IN SCHEMA usher, audit FROM PUBLIC;

GRANT EXECUTE ON FUNCTION
    usher.directory_session(text), usher.directory_user(text), usher.directory_memberships(text),
    usher.make_decision_partitions(integer, integer),
    usher.settled_decisions(), usher.settled_changes(), usher.forget_decisions(text, integer)
TO usher_service;

GRANT EXECUTE ON FUNCTION
    audit.utf16_units(text), audit.is_id(text, text), audit.is_pattern(text, text), audit.is_template(text, text),
    audit.pattern_matches(text, text), audit.pattern_covers(text, text), audit.access_of(jsonb, text),
    audit.expand(text, text, text, text[], text[]), audit.template_values(text, text, text),
    audit.who_can(text, text, text), audit.who_could(text, text, timestamptz, text), audit.what_can(text), audit.why(text, text, text),
    audit.holders(text, text, timestamptz), audit.tokens_of(text, timestamptz), audit.unused_grants(timestamptz),
    -- The functions that a view calls run as the role that reads it.
    usher.check_history(), usher.active_users(), usher.matches_nothing(bigint), usher.has_active_member(text),
    usher.holds_at(timestamptz, timestamptz, timestamptz, timestamptz, timestamptz)
TO usher_auditor, usher_service;

GRANT SELECT ON
    audit.tokens, audit.denials, audit.changes, audit.grants, audit.members, audit.access, audit.risky_grants,
    audit.decision_leaves, audit.change_leaves, audit.seals, audit.checkpoint_keys
TO usher_auditor, usher_service;

-- To ask whether an organization or a group has members: if an application keeps
-- them, this finds mistyped ids.
GRANT SELECT ON usher.directory_members TO usher_service;
