-- As the documentation of @auth/pg-adapter 1.11.3 makes them; what usher does
-- not read is left out.
CREATE TABLE sessions (id serial PRIMARY KEY, "userId" integer NOT NULL, expires timestamptz NOT NULL, "sessionToken" varchar(255) NOT NULL);
CREATE TABLE users (id serial PRIMARY KEY, name varchar(255), email varchar(255), "emailVerified" timestamptz, image text);

INSERT INTO users (name, email, image) VALUES ('Ada', 'ada@example.com', 'https://example.com/a.png'), (NULL, 'bob@example.com', NULL);
INSERT INTO sessions ("userId", expires, "sessionToken") VALUES
    (1, now() + interval '1 hour', 'ada'),
    (1, now() - interval '1 hour', 'ada-expired'),
    (3, now() + interval '1 hour', 'deleted');
