-- As Better Auth 1.7.25 makes them, with its organization plugin, teams and the
-- admin plugin; what usher does not read is left out.
CREATE TABLE "user" ("id" text NOT NULL PRIMARY KEY, "name" text NOT NULL, "email" text NOT NULL UNIQUE, "image" text, "role" text, "banned" boolean, "banExpires" timestamptz);
CREATE TABLE "session" ("id" text NOT NULL PRIMARY KEY, "expiresAt" timestamptz NOT NULL, "token" text NOT NULL UNIQUE, "userId" text NOT NULL REFERENCES "user" ("id") ON DELETE CASCADE, "activeOrganizationId" text, "activeTeamId" text);
CREATE TABLE "organization" ("id" text NOT NULL PRIMARY KEY, "name" text NOT NULL, "slug" text NOT NULL UNIQUE);
CREATE TABLE "team" ("id" text NOT NULL PRIMARY KEY, "name" text NOT NULL, "organizationId" text NOT NULL REFERENCES "organization" ("id") ON DELETE CASCADE);
CREATE TABLE "teamMember" ("id" text NOT NULL PRIMARY KEY, "teamId" text NOT NULL REFERENCES "team" ("id") ON DELETE CASCADE, "userId" text NOT NULL REFERENCES "user" ("id") ON DELETE CASCADE);
CREATE TABLE "member" ("id" text NOT NULL PRIMARY KEY, "organizationId" text NOT NULL REFERENCES "organization" ("id") ON DELETE CASCADE, "userId" text NOT NULL REFERENCES "user" ("id") ON DELETE CASCADE, "role" text NOT NULL);
CREATE INDEX "session_userId_idx" ON "session" ("userId");
CREATE INDEX "teamMember_teamId_idx" ON "teamMember" ("teamId");
CREATE INDEX "teamMember_userId_idx" ON "teamMember" ("userId");
CREATE INDEX "member_organizationId_idx" ON "member" ("organizationId");
CREATE INDEX "member_userId_idx" ON "member" ("userId");

INSERT INTO "user" VALUES
    ('Ada1', 'Ada', 'ada@example.com', 'https://example.com/a.png', NULL, NULL, NULL),
    ('bob2', 'Bob', 'bob@example.com', NULL, 'user', true, NULL),
    ('cyd3', 'Cyd', 'cyd@example.com', NULL, 'user', true, now() - interval '1 hour'),
    ('dan4', 'Dan', 'dan@example.com', NULL, 'user', true, now() + interval '1 hour');
INSERT INTO "organization" VALUES ('org1', 'Acme', 'acme'), ('org2', 'Globex', 'globex');
INSERT INTO "team" VALUES ('team1', 'Red', 'org1'), ('team2', 'Blue', 'org2');
INSERT INTO "member" VALUES ('m1', 'org1', 'Ada1', 'owner'), ('m2', 'org2', 'bob2', 'owner');
-- Ada left org2, and her team there forgot it.
INSERT INTO "teamMember" VALUES ('t1', 'team1', 'Ada1'), ('t2', 'team2', 'Ada1');
INSERT INTO "session" VALUES
    ('s1', now() + interval '1 hour', 'ada-free', 'Ada1', NULL, NULL),
    ('s2', now() + interval '1 hour', 'ada-in-org1', 'Ada1', 'org1', NULL),
    ('s3', now() + interval '1 hour', 'ada-in-org2', 'Ada1', 'org2', NULL),
    ('s4', now() - interval '1 hour', 'ada-expired', 'Ada1', NULL, NULL),
    ('s5', now() + interval '1 hour', 'bob', 'bob2', NULL, NULL),
    ('s6', now() + interval '1 hour', 'cyd', 'cyd3', NULL, NULL),
    ('s7', now() + interval '1 hour', 'dan', 'dan4', NULL, NULL);
