-- Whether tokens and audit see the same of one user.
SELECT (SELECT count(*) FROM usher.directory_user(@id)) = 1
       AND (SELECT (f.info, f.disabled) IS NOT DISTINCT FROM (v.info, v.disabled)
              FROM usher.directory_user(@id) f, usher.directory_users v
             WHERE v.id = @id) AS user_agrees,
       NOT EXISTS ((SELECT kind, id, organization_id FROM usher.directory_memberships(@id)
                    EXCEPT SELECT kind, id, organization_id FROM usher.directory_members WHERE user_id = @id)
                   UNION ALL
                   (SELECT kind, id, organization_id FROM usher.directory_members WHERE user_id = @id
                    EXCEPT SELECT kind, id, organization_id FROM usher.directory_memberships(@id))) AS memberships_agree
