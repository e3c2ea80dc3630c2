SELECT EXISTS (SELECT FROM usher.directory_user(@id))
