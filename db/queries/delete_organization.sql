DELETE FROM usher.organizations WHERE id = @id::text
