DELETE FROM usher.users WHERE id = @id::text
