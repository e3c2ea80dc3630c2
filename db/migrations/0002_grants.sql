-- A grant is never changed or deleted, only revoked, once: its history is the
-- table. It holds from the later of valid_from and created_at.
CREATE TABLE usher.grants (
    id              bigint      GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    subject_kind    text        NOT NULL CHECK (subject_kind IN ('user', 'group', 'organization', 'everyone')),
    subject_id      text        COLLATE "C" NOT NULL CHECK (char_length(subject_id) <= 128),
    organization_id usher.id,
    resource_kind   text        NOT NULL CHECK (resource_kind IN ('room', 'store')),
    pattern         text        COLLATE "C" NOT NULL CHECK (pattern <> '' AND char_length(pattern) <= 256),
    template_shape  text        COLLATE "C" NOT NULL
        GENERATED ALWAYS AS (regexp_replace(pattern, '\{(user|organization|group)\}', '{}', 'g')) STORED,
    access          text        NOT NULL CHECK (access IN ('read', 'full')),
    valid_from      timestamptz NOT NULL DEFAULT now(),
    valid_until     timestamptz CHECK (valid_until > valid_from),
    reason          text,
    created_at      timestamptz NOT NULL DEFAULT now(),
    created_by      text        NOT NULL,
    revoked_at      timestamptz CHECK (revoked_at >= created_at),
    revoked_by      text,
    revoke_reason   text,
    CHECK ((subject_kind = 'everyone') = (subject_id = '')),
    CHECK ((revoked_at IS NULL) = (revoked_by IS NULL))
);
COMMENT ON COLUMN usher.grants.subject_id IS 'Empty for everyone.';
COMMENT ON COLUMN usher.grants.organization_id IS 'Confines the grant to sessions of this organization; null: every session.';
COMMENT ON COLUMN usher.grants.pattern IS 'An id, a prefix and *, or *; may hold {user}, {organization}, {group}.';

-- The same grant twice would outlive its revocation.
CREATE UNIQUE INDEX grants_live
    ON usher.grants (subject_kind, subject_id, resource_kind, pattern, access, organization_id) NULLS NOT DISTINCT
    WHERE revoked_at IS NULL AND valid_until IS NULL;

-- The look-up of every token.
CREATE INDEX grants_subject ON usher.grants (subject_kind, subject_id) WHERE revoked_at IS NULL;

-- The audit: grants that are over, by subject; all, by pattern, which whoever
-- asks about an id looks up for each of its prefixes; and the templates, by the
-- literal that they begin with.
CREATE INDEX grants_revoked ON usher.grants (subject_kind, subject_id) WHERE revoked_at IS NOT NULL;
CREATE INDEX grants_pattern ON usher.grants (resource_kind, pattern, subject_kind, subject_id);
CREATE INDEX grants_template_head ON usher.grants (resource_kind, split_part(pattern, '{', 1), pattern) WHERE pattern <> template_shape;

-- New templates are compared with these.
CREATE INDEX grants_template ON usher.grants (resource_kind, template_shape) WHERE revoked_at IS NULL AND pattern <> template_shape;
GRANT SELECT,
      INSERT (subject_kind, subject_id, organization_id, resource_kind, pattern, access, valid_from, valid_until, reason, created_by),
      UPDATE (revoked_at, revoked_by, revoke_reason)
   ON usher.grants TO usher_service;
