-- A grant is never changed or deleted, and revoked at most once, so the table is
-- also its history. It is active from the later of valid_from and created_at.
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
COMMENT ON COLUMN usher.grants.organization_id IS 'If not null, the grant counts only in sessions whose active organization is this one.';
COMMENT ON COLUMN usher.grants.pattern IS 'An id, a prefix followed by *, or *. May contain {user}, {organization} and {group}.';

-- A duplicate would stay active when the other one is revoked.
CREATE UNIQUE INDEX grants_live
    ON usher.grants (subject_kind, subject_id, resource_kind, pattern, access, organization_id) NULLS NOT DISTINCT
    WHERE revoked_at IS NULL AND valid_until IS NULL;

-- For the look-up of each token.
CREATE INDEX grants_subject ON usher.grants (subject_kind, subject_id) WHERE revoked_at IS NULL;

-- For the audit: revoked grants by subject; all grants by pattern, which questions
-- about an id look up for each prefix of the id; and templates by the literal
-- before their first placeholder.
CREATE INDEX grants_revoked ON usher.grants (subject_kind, subject_id) WHERE revoked_at IS NOT NULL;
CREATE INDEX grants_pattern ON usher.grants (resource_kind, pattern, subject_kind, subject_id);
CREATE INDEX grants_template_head ON usher.grants (resource_kind, split_part(pattern, '{', 1), pattern) WHERE pattern <> template_shape;

-- To compare a new template with the active ones.
CREATE INDEX grants_template ON usher.grants (resource_kind, template_shape) WHERE revoked_at IS NULL AND pattern <> template_shape;
GRANT SELECT,
      INSERT (subject_kind, subject_id, organization_id, resource_kind, pattern, access, valid_from, valid_until, reason, created_by),
      UPDATE (revoked_at, revoked_by, revoke_reason)
   ON usher.grants TO usher_service;
