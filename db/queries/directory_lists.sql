SELECT EXISTS (SELECT FROM usher.directory_users WHERE id = @id COLLATE "C")
