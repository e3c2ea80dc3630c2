INSERT INTO usher.migrations (version, name) VALUES (@version, @name)
