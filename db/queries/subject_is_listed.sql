-- Whether the directory in force, where that is an application's, lists a
-- subject. An organization or a group without members is not listed.
SELECT d.directory <> 'usher' AS foreign_directory,
       CASE @kind::text
           WHEN 'user' THEN EXISTS (SELECT FROM usher.directory_user(@id))
           ELSE EXISTS (SELECT FROM usher.directory_members WHERE kind = @kind AND id = @id COLLATE "C")
       END AS listed
  FROM usher.deployment d
