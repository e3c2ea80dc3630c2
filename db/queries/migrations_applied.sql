SELECT version_id FROM usher.migrations WHERE is_applied
