-- How many rows one of the directory's functions returns for a text.
SELECT CASE @function::text
           WHEN 'directory_session' THEN (SELECT count(*) FROM usher.directory_session(@text))
           WHEN 'directory_user' THEN (SELECT count(*) FROM usher.directory_user(@text))
           ELSE (SELECT count(*) FROM usher.directory_memberships(@text))
       END
