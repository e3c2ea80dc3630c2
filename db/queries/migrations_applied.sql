SELECT version FROM usher.migrations
