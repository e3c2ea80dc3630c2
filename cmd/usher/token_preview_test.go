package main

import (
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/usher-auth/usher/db/dbtest"
	"github.com/usher-auth/usher/internal/preview"
)

func TestTokenPreviewCommand(t *testing.T) {
	t.Parallel()
	pg := dbtest.New(t)
	u := terminal{t, pg.ServiceURL}
	_, err := pg.Pool.Exec(t.Context(), `
		INSERT INTO usher.users (id, disabled_at, created_by) VALUES ('ada', NULL, 't'), ('a:b', NULL, 't'), ('eve', now(), 't'), ('bob', NULL, 't');
		INSERT INTO usher.organizations (id, created_by) VALUES ('acme', 't'), ('globex', 't');
		INSERT INTO usher.memberships (user_id, member_of_kind, member_of_id, created_by) VALUES ('ada', 'organization', 'acme', 't');
		INSERT INTO usher.grants (subject_kind, subject_id, resource_kind, pattern, access, created_by)
			SELECT 'user', 'ada', 'room', 'acme:plan:' || n, 'full', 't' FROM generate_series(1, 11) n;
		INSERT INTO usher.grants (subject_kind, subject_id, resource_kind, pattern, access, created_by) VALUES
			('everyone', '', 'room', '{organization}:*', 'read', 't'),
			('user', 'ada', 'room', 'acme:*', 'read', 't'),
			('user', 'ada', 'room', 'acme:x', 'read', 't'),
			('user', 'ada', 'store', 'acme_*', 'full', 't'),
			('user', 'ada', 'store', 'acme_*', 'read', 't'),
			('user', 'ada', 'store', 'acme_notes', 'read', 't'),
			('everyone', '', 'store', 'team_{group}', 'read', 't'),
			('everyone', '', 'room', 'home:{user}:*', 'full', 't')`)
	if err != nil {
		t.Fatal(err)
	}
	u.shows("token preview ada --store acme_notes", `
ada would get a token for livestore, with full access to store acme_notes.
Organizations that count: acme; groups: none.
It would expire at TIME, with the lifetime of tokens (--token-ttl).

In the token:
store acme_*  full

Active grants:
GRANT  SUBJECT  KIND  PATTERN  ACCESS  GIVES  MATCHES  IN THE TOKEN
1  user ada  room  acme:plan:1  full  acme:plan:1  -  no: it contains no rooms
2  user ada  room  acme:plan:2  full  acme:plan:2  -  no: it contains no rooms
3  user ada  room  acme:plan:3  full  acme:plan:3  -  no: it contains no rooms
4  user ada  room  acme:plan:4  full  acme:plan:4  -  no: it contains no rooms
5  user ada  room  acme:plan:5  full  acme:plan:5  -  no: it contains no rooms
6  user ada  room  acme:plan:6  full  acme:plan:6  -  no: it contains no rooms
7  user ada  room  acme:plan:7  full  acme:plan:7  -  no: it contains no rooms
8  user ada  room  acme:plan:8  full  acme:plan:8  -  no: it contains no rooms
9  user ada  room  acme:plan:9  full  acme:plan:9  -  no: it contains no rooms
10  user ada  room  acme:plan:10  full  acme:plan:10  -  no: it contains no rooms
11  user ada  room  acme:plan:11  full  acme:plan:11  -  no: it contains no rooms
12  everyone  room  {organization}:*  read  acme:*  -  no: it contains no rooms
13  user ada  room  acme:*  read  acme:*  -  no: it contains no rooms
14  user ada  room  acme:x  read  acme:x  -  no: it contains no rooms
15  user ada  store  acme_*  full  acme_*  yes, decides  yes
16  user ada  store  acme_*  read  acme_*  yes  no: another grant gives full on it
17  user ada  store  acme_notes  read  acme_notes  yes  no: acme_* full covers it
18  everyone  store  team_{group}  read  -  -  no: no value for the placeholder
19  everyone  room  home:{user}:*  full  home:ada:*  -  no: it contains no rooms
`)

	if _, err := pg.Pool.Exec(t.Context(), `INSERT INTO usher.grants (subject_kind, subject_id, resource_kind, pattern, access, created_by, valid_until)
		SELECT 'user', 'bob', 'store', p, 'read', 't', now() + interval '2 minutes' FROM unnest(ARRAY['brief', 'brief', 'long_*']) p
		UNION ALL SELECT 'user', 'bob', 'store', 'long_*', 'read', 't', NULL`); err != nil {
		t.Fatal(err)
	}
	u.shows("token preview bob --store brief", `
bob would get a token for livestore, with read access to store brief.
Organizations that count: none; groups: none.
It would expire at TIME, with grants 20, 21.

In the token:
store brief  read
store long_*  read

Active grants:
GRANT  SUBJECT  KIND  PATTERN  ACCESS  GIVES  MATCHES  IN THE TOKEN
12  everyone  room  {organization}:*  read  -  -  no: no value for the placeholder
18  everyone  store  team_{group}  read  -  -  no: no value for the placeholder
19  everyone  room  home:{user}:*  full  home:bob:*  -  no: it contains no rooms
20  user bob  store  brief  read  brief  yes, decides  yes
21  user bob  store  brief  read  brief  yes, decides  yes
22  user bob  store  long_*  read  long_*  no  yes
23  user bob  store  long_*  read  long_*  no  yes
`)
	if _, err := pg.Pool.Exec(t.Context(), "UPDATE usher.grants SET revoked_at = now(), revoked_by = 't' WHERE subject_id = 'bob'"); err != nil {
		t.Fatal(err)
	}

	_, room, _ := u.run("token", "preview", "ada", "--room", "acme:x")
	for _, part := range []string{
		"ada would get a token for liveblocks, with read access to room acme:x.\n", "\nThe token would be partial: the user has more access than fits into a token.\n",
		"\n  room acme:x  read\n", "no: acme:* read covers it\n", "no: over the limit of patterns\n",
		"yes, decides  no: needs acme:plan:1, acme:plan:10, acme:plan:11 and 8 more in the token too, which are too many; acme:x is in it instead\n",
	} {
		if !strings.Contains(room, part) {
			t.Errorf("the preview of room acme:x lacks %q:\n%s", part, room)
		}
	}
	u.shows("token preview bob --org globex --room acme:x", `
bob would be refused (no_grant): no grant opens room acme:x.
The directory does not list bob as a member of organization globex: no organization, group or {organization} grant counts.

Active grants:
GRANT  SUBJECT  KIND  PATTERN  ACCESS  GIVES  MATCHES  IN THE TOKEN
12  everyone  room  {organization}:*  read  -  -  no: no value for the placeholder
18  everyone  store  team_{group}  read  -  -  no: no value for the placeholder
19  everyone  room  home:{user}:*  full  home:bob:*  no  -
`)
	u.shows("token preview a:b", `
a:b would be refused (no_grant): no grant covers the request.
Organizations that count: none; groups: none.

Active grants:
GRANT  SUBJECT  KIND  PATTERN  ACCESS  GIVES  MATCHES  IN THE TOKEN
12  everyone  room  {organization}:*  read  -  -  no: no value for the placeholder
18  everyone  store  team_{group}  read  -  -  no: no value for the placeholder
19  everyone  room  home:{user}:*  full  -  -  skipped: template "home:{user}:*": the value of {user} contains ':', which separates segments
`)
	u.shows("token preview eve --room acme:x", "eve would be refused (user_disabled): user is disabled.")
	u.shows("token preview zoe", "zoe would be refused (user_unknown): no such user.")

	e := decode[preview.Preview](u, "token preview ada --org acme --json --store acme_other")
	want := []preview.Rule{{Pattern: "acme_*", Matches: new(true), Decides: true, InToken: true}}
	if diff := cmp.Diff(want, e.Grants[14].Rules); diff != "" || e.Organization != "acme" || e.Reason != "" {
		t.Errorf("explained %+v; rules (-want +got):\n%s", e, diff)
	}
	if e := decode[preview.Preview](u, "token preview zoe --json"); e.Reason != "user_unknown" {
		t.Errorf("reason = %q, want user_unknown", e.Reason)
	}

	for _, line := range []string{"--room x*", "--store acme:x", "--room x --audience nobody", "--room x --audience livestore"} {
		u.refuses("token preview ada "+line, 1, "usher: ")
	}
	var decisions int
	if err := pg.Pool.QueryRow(t.Context(), "SELECT count(*) FROM usher.decisions").Scan(&decisions); err != nil || decisions != 0 {
		t.Errorf("previewing left %d audit rows, %v", decisions, err)
	}
}
