package main

import (
	"bytes"
	"strings"
	"testing"
	"time"

	"github.com/usher-auth/usher/db"
	"github.com/usher-auth/usher/db/dbtest"
	"github.com/usher-auth/usher/internal/secret"
)

// The auditors' questions about the demo's data. Package db tests the answers; this tests
// the command lines and the output.
func TestAuditQuestions(t *testing.T) {
	t.Parallel()
	pg := dbtest.New(t)
	if err := db.SeedDemo(t.Context(), secret.New(pg.URL), nil); err != nil {
		t.Fatal(err)
	}
	u := terminal{t, pg.AuditorURL}
	u.shows("audit who-can --room acme:design:1", `
WHO  ACCESS  THROUGH  PATTERN  IN ORG  GRANT
user ada  full  user ada  acme:design:*  -  2
user ada  read  everyone  {organization}:*  -  1
user grace  read  everyone  {organization}:*  -  1
`)
	u.shows("audit who-can --room acme:design:1 --access full --csv", `
who,access,through,pattern,in_org,grant
user ada,full,user ada,acme:design:*,,2
`)
	u.refuses("audit who-could --room acme:design:1 --at 2020-01-01", 1, "before usher's history begins")
	u.shows("audit what-can mallory", `
KIND  PATTERN  ACCESS  THROUGH  GRANTED  IN ORG  GRANT
room  globex:*  read  everyone  {organization}:*  -  1
`)
	u.shows("audit members --user grace --csv", `
user,of,since,added_by,until,ended_by
grace,group reviewers,TIME,usher dev,,
grace,organization acme,TIME,usher dev,,
`)
	u.shows("audit holders --store acme_notes --json", "\n[]\n")
	u.shows("audit tokens ada --since 2026-11-01T12:00Z --csv", "\nissued,expires,jti,org,audience,room,store,patterns,caller,ip\n")

	for line, part := range map[string]string{
		"audit who-can":                       "missing flags",
		"audit who-can --room a*b":            "'*'",
		"audit who-can --room a --at noon":    "write a time as",
		"audit who-can --room a --access all": "must be one of",
		"audit unused-grants":                 "--since",
		"audit who-can --room a --json --csv": "can't be used together",
	} {
		code, _, stderr := u.run(strings.Fields(line)...)
		if code == 0 || !strings.Contains(stderr, part) {
			t.Errorf("usher %s: exit %d, %q; want an error with %q", line, code, stderr, part)
		}
	}
}

// OWASP, CSV injection: the name of a user may be a formula.
func TestCSVEscapesFormulas(t *testing.T) {
	t.Parallel()
	var out bytes.Buffer
	ids := []string{"=1+1", "+1", "-1", "@SUM(A1)", "\tx", "\rx", "a,b", `say "x"`, "plain", "", "a=1"}
	if err := printCSV(&out, ids, []string{"USER ID"}, func(id string) []string { return []string{id, "x"} }); err != nil {
		t.Fatal(err)
	}
	want := "user_id\n'=1+1,x\n'+1,x\n'-1,x\n'@SUM(A1),x\n'\tx,x\n\"'\rx\",x\n\"a,b\",x\n\"say \"\"x\"\"\",x\nplain,x\n,x\na=1,x\n"
	if got := out.String(); got != want {
		t.Errorf("got %q\nwant %q", got, want)
	}
}

func TestInstant(t *testing.T) {
	t.Parallel()
	want := time.Date(2026, 11, 1, 12, 0, 0, 0, time.UTC)
	for text, at := range map[string]time.Time{
		"2026-11-01T12:00:00Z":      want,
		"2026-11-01T12:00Z":         want,
		"2026-11-01T14:00:00+02:00": want,
		"2026-11-01T14:00+02:00":    want,
		"2026-11-01":                want.Add(-12 * time.Hour),
	} {
		var i instant
		if err := i.UnmarshalText([]byte(text)); err != nil || !i.Equal(at) {
			t.Errorf("%s = %s, %v; want %s", text, i.Time, err, at)
		}
	}
}
