DELETE FROM usher.groups WHERE id = @id::text
