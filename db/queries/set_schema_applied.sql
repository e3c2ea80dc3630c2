INSERT INTO usher.applied_schema (sha256, objects) VALUES (@sha256, @objects)
ON CONFLICT (singleton) DO UPDATE SET sha256 = EXCLUDED.sha256, objects = EXCLUDED.objects, applied_at = now()
