INSERT INTO usher.deployment (mode, session_salt) VALUES (@mode, @salt)
