-- Which steps of ../migrations were applied.
CREATE TABLE IF NOT EXISTS usher.migrations (
    version    bigint      PRIMARY KEY,
    name       text        NOT NULL,
    applied_at timestamptz NOT NULL DEFAULT now()
)
