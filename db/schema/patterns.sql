-- Ids, patterns and templates in SQL, with the same rules as package permissions:
-- both pass testdata/permissions.json. For an unknown kind, no id and no pattern
-- is valid.

CREATE OR REPLACE FUNCTION audit.utf16_units(string text) RETURNS integer
LANGUAGE sql IMMUTABLE PARALLEL SAFE
RETURN char_length(string) + regexp_count(string, '[\U00010000-\U0010ffff]');
COMMENT ON FUNCTION audit.utf16_units(text) IS 'Length of a text in UTF-16 code units, as in JavaScript. A character above U+FFFF has two.';

CREATE OR REPLACE FUNCTION audit.is_id(kind text, id text) RETURNS boolean
LANGUAGE sql IMMUTABLE PARALLEL SAFE
RETURN coalesce(
    CASE kind WHEN 'room' THEN id ~ '^[^*\u0001-\u001f\u007f-\u009f]+$'
              WHEN 'store' THEN id ~ '^[A-Za-z0-9_-]+$' END
    AND (octet_length(id) <= 128 OR audit.utf16_units(id) <= 128), false);
COMMENT ON FUNCTION audit.is_id(text, text) IS 'Whether this is a valid id of a room or a store: 1 to 128 UTF-16 code units, without ''*'' and control characters. A store id may contain only A-Z, a-z, 0-9, ''_'' and ''-''.';

CREATE OR REPLACE FUNCTION audit.is_pattern(kind text, pattern text) RETURNS boolean
LANGUAGE sql IMMUTABLE PARALLEL SAFE
RETURN coalesce(
    CASE kind WHEN 'room' THEN pattern ~ '^([^*\u0001-\u001f\u007f-\u009f]+\*?|\*)$'
              WHEN 'store' THEN pattern ~ '^([A-Za-z0-9_-]+\*?|\*)$' END
    AND (octet_length(pattern) <= 128 OR audit.utf16_units(rtrim(pattern, '*')) <= 128), false);
COMMENT ON FUNCTION audit.is_pattern(text, text) IS 'Whether this is a pattern: ''*'', an id, or an id followed by one ''*''. Tokens and the scopes of API keys contain patterns.';

CREATE OR REPLACE FUNCTION audit.is_template(kind text, pattern text) RETURNS boolean
LANGUAGE sql IMMUTABLE PARALLEL SAFE
RETURN coalesce(
    CASE kind WHEN 'room' THEN pattern ~ '^(([^{}*\u0001-\u001f\u007f-\u009f]|\{(user|organization|group)\}(?=[:/.]|$))+\*?|\*)$'
              WHEN 'store' THEN pattern ~ '^(([A-Za-z0-9_-]|\{(user|organization|group)\}(?=_|$))+\*?|\*)$' END
    AND (octet_length(pattern) <= 128 OR audit.utf16_units(rtrim(pattern, '*')) <= 128), false);
COMMENT ON FUNCTION audit.is_template(text, text) IS 'Whether this is valid as the pattern of a grant: a pattern without braces, or one with {user}, {organization} or {group}, each followed by a separator ('':'', ''/'' or ''.'' in rooms, ''_'' in stores) or by the end of the pattern. A grant with any other pattern is skipped.';

CREATE OR REPLACE FUNCTION audit.pattern_matches(pattern text, id text) RETURNS boolean
LANGUAGE sql IMMUTABLE PARALLEL SAFE
RETURN audit.is_id('room', id)
   AND CASE WHEN right(pattern, 1) = '*' THEN starts_with(id, left(pattern, -1)) ELSE pattern = id END;
COMMENT ON FUNCTION audit.pattern_matches(text, text) IS 'Whether a pattern of a token matches the id. Both must be of the same kind. A text that is not a valid room id matches no pattern.';

CREATE OR REPLACE FUNCTION audit.pattern_covers(pattern text, other text) RETURNS boolean
LANGUAGE sql IMMUTABLE PARALLEL SAFE
RETURN CASE WHEN right(pattern, 1) = '*' THEN starts_with(other, left(pattern, -1)) ELSE pattern = other END;
COMMENT ON FUNCTION audit.pattern_covers(text, text) IS 'Whether a pattern matches everything that the other pattern matches. Both must be of the same kind.';

CREATE OR REPLACE FUNCTION audit.access_of(patterns jsonb, id text) RETURNS text
LANGUAGE sql IMMUTABLE PARALLEL SAFE
RETURN (SELECT CASE WHEN bool_or(p.value = 'full') THEN 'full' WHEN bool_or(p.value = 'read') THEN 'read' ELSE 'none' END
          FROM jsonb_each_text(patterns) p
         WHERE audit.pattern_matches(p.key, id));
COMMENT ON FUNCTION audit.access_of(jsonb, text) IS 'Access that {pattern: access} gives to the id: the strongest of all patterns that match, or ''none''. For a token: audit.access_of(patterns -> ''rooms'', ''acme:1'').';

CREATE OR REPLACE FUNCTION audit.expand(kind text, pattern text, user_id text, organizations text[], groups text[]) RETURNS SETOF text
LANGUAGE plpgsql IMMUTABLE PARALLEL SAFE ROWS 1 SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    organization text;
    one_group    text;
    expanded     text;
    rest         text;
    name         text;
    value        text;
BEGIN
    IF NOT audit.is_template(kind, pattern) THEN
        RETURN;
    END IF;
    IF strpos(pattern, '{organization}') = 0 THEN
        organizations := ARRAY[''];
    END IF;
    IF strpos(pattern, '{group}') = 0 THEN
        groups := ARRAY[''];
    END IF;
    FOREACH organization IN ARRAY coalesce(organizations, '{}') LOOP
        <<next_group>>
        FOREACH one_group IN ARRAY coalesce(groups, '{}') LOOP
            expanded := '';
            rest := pattern;
            WHILE strpos(rest, '{') > 0 LOOP
                expanded := expanded || split_part(rest, '{', 1);
                name := split_part(split_part(rest, '{', 2), '}', 1);
                rest := substr(rest, strpos(rest, '}') + 1);
                value := CASE name WHEN 'user' THEN user_id WHEN 'organization' THEN organization ELSE one_group END;
                CONTINUE next_group WHEN NOT audit.is_id(kind, value) OR value ~ CASE kind WHEN 'room' THEN '[:/.]' ELSE '_' END;
                expanded := expanded || value;
            END LOOP;
            expanded := expanded || rest;
            IF audit.is_pattern(kind, expanded) THEN -- not too long
                RETURN NEXT expanded;
            END IF;
        END LOOP;
    END LOOP;
END
$$;
COMMENT ON FUNCTION audit.expand(text, text, text, text[], text[]) IS 'Expands the pattern of a grant: replaces {user} by the user, {organization} by each of the organizations and {group} by each of the groups. With both {organization} and {group}, it returns a pattern for each pair of the two. A value gives no pattern if it is empty, or contains a character that is not allowed in an id or a separator ('':'', ''/'' or ''.'' in rooms, ''_'' in stores).';

CREATE OR REPLACE FUNCTION audit.template_values(kind text, pattern text, id text,
    OUT matches boolean, OUT user_id text, OUT organization_id text, OUT group_id text)
LANGUAGE plpgsql IMMUTABLE PARALLEL SAFE SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    literal text;
    name    text;
    value   text;
    named   text;
BEGIN
    matches := false;
    IF NOT audit.is_template(kind, pattern) OR NOT audit.is_id(kind, id) THEN
        RETURN;
    END IF;
    WHILE strpos(pattern, '{') > 0 LOOP
        literal := split_part(pattern, '{', 1);
        name := split_part(split_part(pattern, '{', 2), '}', 1);
        pattern := substr(pattern, strpos(pattern, '}') + 1);
        IF NOT starts_with(id, literal) THEN
            RETURN;
        END IF;
        id := substr(id, char_length(literal) + 1);
        -- A value contains no separator, so it ends at the first one. So there is
        -- only one way to read an id.
        value := substring(id FROM CASE kind WHEN 'room' THEN '^[^:/.]+' ELSE '^[^_]+' END);
        IF value IS NULL THEN
            RETURN;
        END IF;
        id := substr(id, char_length(value) + 1);
        named := CASE name WHEN 'user' THEN user_id WHEN 'organization' THEN organization_id ELSE group_id END;
        IF named <> value THEN
            RETURN;
        END IF;
        CASE name
            WHEN 'user' THEN user_id := value;
            WHEN 'organization' THEN organization_id := value;
            ELSE group_id := value;
        END CASE;
    END LOOP;
    matches := audit.pattern_covers(pattern, id);
END
$$;
COMMENT ON FUNCTION audit.template_values(text, text, text) IS 'Values of the placeholders with which the pattern of a grant matches the id. A value is null if the pattern does not contain that placeholder. If no values make it match, matches is false, and the other columns mean nothing.';
