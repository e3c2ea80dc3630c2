-- In a statement of its own: a membership begins between two that exist.
INSERT INTO usher.memberships (user_id, member_of_kind, member_of_id, created_by)
VALUES ('ada', 'organization', 'acme', 'usher dev'),
       ('grace', 'organization', 'acme', 'usher dev'),
       ('mallory', 'organization', 'globex', 'usher dev'),
       ('grace', 'group', 'reviewers', 'usher dev')
