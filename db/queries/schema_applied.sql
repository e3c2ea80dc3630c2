SELECT sha256, objects FROM usher.applied_schema
