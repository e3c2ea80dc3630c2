package main

import (
	"bytes"
	"crypto/rand"
	"encoding/base64"
	"encoding/json"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/usher-auth/usher/db"
	"github.com/usher-auth/usher/db/dbtest"
	"github.com/usher-auth/usher/internal/admin"
	"github.com/usher-auth/usher/internal/secret"
)

// terminal runs command lines of usher on a database, with a fixed actor.
type terminal struct {
	t   *testing.T
	url string
}

func (u terminal) run(line ...string) (code int, stdout, stderr string) {
	u.t.Helper()
	var out, err bytes.Buffer
	code = run(u.t.Context(), append(line, "--database-url", u.url), &out, &err)
	return code, out.String(), err.String()
}

// does checks that a command line succeeds, and everything that it prints.
func (u terminal) does(line, wantOut string) {
	u.t.Helper()
	code, stdout, stderr := u.run(strings.Fields(line)...)
	if code != 0 || stdout != wantOut || stderr != "" {
		u.t.Errorf("usher %s: exit %d, printed %q and %q, want exit 0, %q and nothing", line, code, stdout, stderr, wantOut)
	}
}

// refuses checks that a command line fails, and a part of its error.
func (u terminal) refuses(line string, wantCode int, part string) {
	u.t.Helper()
	code, stdout, stderr := u.run(strings.Fields(line)...)
	if code != wantCode || stdout != "" && wantCode == 1 || !strings.Contains(stderr, part) {
		u.t.Errorf("usher %s: exit %d, printed %q and %q, want exit %d and an error with %q", line, code, stdout, stderr, wantCode, part)
	}
}

// times and hosts differ from run to run.
var varying = regexp.MustCompile(`\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d+)?(Z|[+-]\d\d:\d\d)`)

// shows checks a table, or JSON, with TIME for every time.
func (u terminal) shows(line, want string) {
	u.t.Helper()
	code, stdout, stderr := u.run(strings.Fields(line)...)
	if code != 0 || stderr != "" {
		u.t.Fatalf("usher %s: exit %d: %s", line, code, stderr)
	}
	var got []string
	for row := range strings.Lines(varying.ReplaceAllString(stdout, "TIME")) {
		got = append(got, strings.TrimSpace(regexp.MustCompile(` {2,}`).ReplaceAllString(row, "  ")))
	}
	if diff := cmp.Diff(strings.Split(strings.TrimSpace(want), "\n"), got); diff != "" {
		u.t.Errorf("usher %s (-want +got):\n%s", line, diff)
	}
}

// decode checks that a command prints one JSON value and nothing else.
func decode[T any](u terminal, line string) T {
	u.t.Helper()
	code, stdout, stderr := u.run(strings.Fields(line)...)
	if code != 0 {
		u.t.Fatalf("usher %s: exit %d: %s", line, code, stderr)
	}
	var v T
	decoder := json.NewDecoder(strings.NewReader(stdout))
	decoder.DisallowUnknownFields()
	if err := decoder.Decode(&v); err != nil || decoder.More() {
		u.t.Fatalf("usher %s printed %q, want one JSON value: %v", line, stdout, err)
	}
	return v
}

// An empty database gets the same tenants as the demo, command by command.
func TestSetUpTenants(t *testing.T) {
	t.Parallel()
	u := terminal{t, dbtest.New(t).ServiceURL}
	u.does("org add acme --name Acme --actor me", "added organization acme\n")
	u.does("org add globex --actor me", "added organization globex\n")
	u.does("user add ada --name Ada --color #d583f0 --actor me", "added user ada\n")
	u.does(`user add grace --info {"name":"Grace","team":"blue"} --avatar https://example.com/g.png --actor me`, "added user grace\n")
	u.does("user add mallory --actor me", "added user mallory\n")
	u.does("org add-member acme ada --actor me", "user ada is now a member of organization acme\n")
	u.does("org add-member acme grace --actor me", "user grace is now a member of organization acme\n")
	u.does("org add-member globex mallory --actor me", "user mallory is now a member of organization globex\n")
	u.does("group add reviewers --org acme --actor me", "added group reviewers of organization acme\n")
	u.does("group add-member reviewers grace --actor me", "user grace is now a member of group reviewers\n")
	u.does("grant add --everyone --room {organization}:* --access read --actor me",
		"added grant 1: everyone has READ on room {organization}:*\n")
	u.does("grant add --user ada --room acme:design:* --access full --actor me --reason lead",
		"added grant 2: user ada has FULL on room acme:design:*\n")
	u.does("grant add --user ada --store acme_notes --access full --actor me",
		"added grant 3: user ada has FULL on store acme_notes\n")
	u.does("grant add --user grace --store acme_notes --access read --actor me",
		"added grant 4: user grace has READ on store acme_notes\n")
	u.does("grant add --group reviewers --room acme:review:* --access full --in-org acme --actor me",
		"added grant 5: group reviewers has FULL on room acme:review:* in sessions of organization acme\n")

	u.shows("user list", `
ID  NAME  DISABLED  CREATED  BY
ada  Ada  -  TIME  me
grace  Grace  -  TIME  me
mallory  -  -  TIME  me`)
	u.shows("org list", `
ID  NAME  CREATED  BY
acme  Acme  TIME  me
globex  -  TIME  me`)
	u.shows("org members acme", `
USER  SINCE  BY
ada  TIME  me
grace  TIME  me`)
	u.shows("group list", `
ID  ORGANIZATION  NAME  CREATED  BY
reviewers  acme  -  TIME  me`)
	u.shows("group members reviewers", `
USER  SINCE  BY
grace  TIME  me`)
	u.shows("grant list", `
ID  SUBJECT  ACCESS  KIND  PATTERN  IN ORG  FROM  UNTIL  BY  REASON
1  everyone  read  room  {organization}:*  -  TIME  -  me  -
2  user ada  full  room  acme:design:*  -  TIME  -  me  lead
3  user ada  full  store  acme_notes  -  TIME  -  me  -
4  user grace  read  store  acme_notes  -  TIME  -  me  -
5  group reviewers  full  room  acme:review:*  acme  TIME  -  me  -`)
	u.shows("grant list --store acme_notes --user ada", `
ID  SUBJECT  ACCESS  KIND  PATTERN  IN ORG  FROM  UNTIL  BY  REASON
3  user ada  full  store  acme_notes  -  TIME  -  me  -`)

	// Everything has an effect.
	database, err := db.Open(secret.New(u.url))
	if err != nil {
		t.Fatal(err)
	}
	defer database.Close()
	directory, err := database.Directory(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	code, token, _ := u.run("session", "add", "grace", "--org", "acme")
	if code != 0 {
		t.Fatalf("session add: exit %d", code)
	}
	p, err := directory.PrincipalBySession(t.Context(), secret.New(strings.TrimSpace(token)))
	if err != nil {
		t.Fatal(err)
	}
	rules, skipped := p.Rules()
	if got, want := len(rules), 3; got != want || len(skipped) != 0 || p.User.Organization != "acme" {
		t.Errorf("grace in acme has %v, skipped %v, in %q; want %d rules", rules, skipped, p.User.Organization, want)
	}
	if got, want := string(p.User.Info), `{"name": "Grace", "team": "blue", "avatar": "https://example.com/g.png"}`; got != want {
		t.Errorf("info = %s, want %s", got, want)
	}

	// Everything can be removed.
	u.does("grant revoke 3 --reason over --actor you", "revoked grant 3: user ada had FULL on store acme_notes\n")
	u.does("user disable ada", "user ada is disabled since "+disabledAt(u, "ada")+"\n")
	u.does("user enable ada", "user ada is enabled\n")
	u.does("group remove-member reviewers grace --actor you", "user grace is no longer a member of group reviewers\n")
	u.does("group add-member reviewers grace --actor me", "user grace is now a member of group reviewers\n")
	u.does("org remove-member acme grace --actor you",
		"user grace is no longer a member of organization acme, nor of 1 group in it\n")
	u.does("session revoke grace", "ended 1 session of user grace\n")
	u.does("user delete ada --actor you", "deleted user ada: 1 grant revoked, 1 membership ended\n")
	u.does("group delete reviewers --actor you", "deleted group reviewers: 1 grant revoked, 0 memberships ended\n")
	u.does("org delete acme --actor you", "deleted organization acme: 0 grants revoked, 0 memberships ended\n")
	u.shows("grant list --all --user ada", `
ID  SUBJECT  ACCESS  KIND  PATTERN  IN ORG  FROM  UNTIL  BY  REASON  REVOKED  BY  REASON
2  user ada  full  room  acme:design:*  -  TIME  -  me  lead  TIME  you  user deleted
3  user ada  full  store  acme_notes  -  TIME  -  me  -  TIME  you  over`)
}

// disabledAt disables a user and returns the time.
func disabledAt(u terminal, id string) string {
	return timeCell(decode[admin.User](u, "user disable "+id+" --json").DisabledAt)
}

func TestJSON(t *testing.T) {
	t.Parallel()
	u := terminal{t, dbtest.New(t).ServiceURL}
	for _, list := range []string{"user list", "org list", "group list", "grant list", "session list", "key list"} {
		u.does(list+" --json", "[]\n")
	}
	user := decode[admin.User](u, "user add ada --name <Ada> --json")
	if user.ID != "ada" || string(user.Info) != `{"name":"<Ada>"}` && string(user.Info) != "{\n    \"name\": \"<Ada>\"\n  }" || user.CreatedBy != string(actorName()) {
		t.Errorf("user add = %+v by %q, want it by %q", user, user.CreatedBy, string(actorName()))
	}
	decode[admin.Organization](u, "org add acme --json")
	decode[admin.Group](u, "group add reviewers --json")
	decode[admin.Membership](u, "org add-member acme ada --json")
	decode[admin.Membership](u, "group add-member reviewers ada --json")
	grant := decode[admin.Grant](u, "grant add --org acme --room acme:* --access full --until 2100-01-31T18:00:00+02:00 --from 2099-01-31T18:00:00Z --json")
	if want := time.Date(2100, 1, 31, 16, 0, 0, 0, time.UTC); !grant.ValidUntil.Equal(want) {
		t.Errorf("valid until %s, want %s", grant.ValidUntil, want)
	}
	if want := time.Date(2099, 1, 31, 18, 0, 0, 0, time.UTC); !grant.ValidFrom.Equal(want) {
		t.Errorf("valid from %s, want %s", grant.ValidFrom, want)
	}
	added := decode[addedSession](u, "session add ada --org acme --ttl 1h --json")
	if added.Token == "" || added.ExpiresAt.Sub(added.CreatedAt) != time.Hour {
		t.Errorf("session add = %+v, want a token for an hour", added.Session)
	}

	u.shows("grant list --json", `
[
{
"id": 1,
"subjectKind": "organization",
"subjectId": "acme",
"resourceKind": "room",
"pattern": "acme:*",
"access": "full",
"validFrom": "TIME",
"validUntil": "TIME",
"createdAt": "TIME",
"createdBy": "`+string(actorName())+`"
}
]`)
	u.shows("session list --json", `
[
{
"userId": "ada",
"organizationId": "acme",
"createdAt": "TIME",
"expiresAt": "TIME"
}
]`)
	if members := decode[[]admin.Membership](u, "org members acme --json"); len(members) != 1 || members[0].UserID != "ada" {
		t.Errorf("org members = %+v", members)
	}
	if members := decode[[]admin.Membership](u, "group members reviewers --json"); len(members) != 1 || members[0].MemberOfKind != "group" {
		t.Errorf("group members = %+v", members)
	}

	if revoked := decode[admin.Grant](u, "grant revoke 1 --json"); revoked.RevokedAt == nil {
		t.Errorf("grant revoke = %+v", revoked)
	}
	if got, want := decode[endedSessions](u, "session revoke ada --json"), (endedSessions{"ada", 1}); got != want {
		t.Errorf("session revoke = %+v, want %+v", got, want)
	}
	if got, want := decode[removedMember](u, "org remove-member acme ada --json"), (removedMember{"ada", "organization", "acme", 0}); got != want {
		t.Errorf("org remove-member = %+v, want %+v", got, want)
	}
	if got, want := decode[deleted](u, "user delete ada --json"), (deleted{"ada", admin.Deletion{MembershipsEnded: 1}}); got != want {
		t.Errorf("user delete = %+v, want %+v", got, want)
	}
}

// Only session add prints the token of a session, and stdout contains nothing else.
func TestSessionToken(t *testing.T) {
	t.Parallel()
	u := terminal{t, dbtest.New(t).ServiceURL}
	u.does("user add ada", "added user ada\n")
	code, stdout, stderr := u.run("session", "add", "ada")
	token := strings.TrimSuffix(stdout, "\n")
	if code != 0 || len(token) != 43 || strings.ContainsAny(token, " \n") || !strings.Contains(stderr, "added a session of user ada until ") {
		t.Fatalf("session add: exit %d, printed %q and %q, want a token and a sentence beside it", code, stdout, stderr)
	}
	if strings.Contains(stderr, token) {
		t.Error("the sentence holds the token")
	}
	for _, line := range []string{"session list", "session list --json", "session list --user ada"} {
		code, stdout, stderr := u.run(strings.Fields(line)...)
		if code != 0 || !strings.Contains(stdout, "ada") || strings.Contains(stdout+stderr, token) {
			t.Errorf("usher %s: exit %d, printed %q, want ada's session and no token", line, code, stdout)
		}
	}
}

func TestAdminErrors(t *testing.T) {
	t.Parallel()
	u := terminal{t, dbtest.New(t).ServiceURL}
	u.does("user add ada", "added user ada\n")
	u.does("grant add --user ada --room acme:1 --access full", "added grant 1: user ada has FULL on room acme:1\n")
	for line, part := range map[string]string{
		"user add ada":                    `usher: user "ada" already exists: choose another id. To change it, run: usher user update ada`,
		"user add bob --info []":          `--info "[]" is not a JSON object`,
		"user disable bob":                `usher: there is no user "bob": check the id`,
		"user delete bob":                 `there is no user "bob"`,
		"org delete acme":                 `there is no organization "acme"`,
		"group add g --org acme":          `there is no organization "acme"`,
		"org add-member acme ada":         `there is no organization "acme"`,
		"group members g":                 `there is no group "g"`,
		"session add bob":                 `there is no user "bob"`,
		"session add ada --org acme":      `is not a member of organization "acme"`,
		"session add ada --ttl=-1s":       "give a positive lifetime",
		"session revoke bob":              `there is no user "bob"`,
		"grant revoke 7":                  "there is no grant 7",
		"user add bob --actor=":           "say who does this",
		"user add " + longID:              "is longer than 128 UTF-16 units",
		"key create":                      "--key-encryption-key is missing",
		"user list --database-url-file x": "are both given: give one",

		"grant add --user ada --room acme:1 --access full":                         "grant 1 is the same",
		"grant add --user bob --room acme:1 --access full":                         `there is no user "bob"`,
		"grant add --user ada --room a*b --access full":                            "contains a '*'",
		"grant add --user ada --room acme* --access full":                          "allowed explicitly: --open-prefix",
		"grant add --user ada --store a:b --access full":                           "store ids cannot have",
		"grant add --everyone --room a --access read --in-org x":                   `there is no organization "x"`,
		"grant add --everyone --room a --access read --until 2020-01-01T00:00:00Z": "before it begins",
	} {
		u.refuses(line, 1, part)
	}
	for line, part := range map[string]string{
		"user add":                           `expected "<id>"`,
		"user frobnicate":                    "unexpected argument",
		"grant revoke x":                     "expected a valid 64 bit int",
		"grant add --room a --access read":   "missing flags",
		"grant add --everyone --access read": "missing flags",
		"grant add --everyone --room a":      "missing flags: --access",

		"grant add --everyone --user ada --room a --access read":       "can't be used together",
		"grant add --everyone --room a --store a --access read":        "can't be used together",
		"grant add --everyone --room a --access write":                 "is not none, read or full",
		"grant add --everyone --room a --access none":                  "must be one of",
		"grant add --everyone --room a --access read --until tomorrow": "write a time as",
		"grant list --user ada --group g":                              "can't be used together",
		"key create --alg RS256":                                       "must be one of",
		"session add ada --ttl soon":                                   "ttl",
	} {
		u.refuses(line, 2, part)
	}
	u.shows("grant list --all", `
ID  SUBJECT  ACCESS  KIND  PATTERN  IN ORG  FROM  UNTIL  BY  REASON  REVOKED  BY  REASON
1  user ada  full  room  acme:1  -  TIME  -  `+string(actorName())+`  -  -  -  -`)
}

var longID = strings.Repeat("a", 129)

func TestOpenPrefixByName(t *testing.T) {
	t.Parallel()
	u := terminal{t, dbtest.New(t).ServiceURL}
	u.does("grant add --everyone --room acme* --access read --open-prefix", "added grant 1: everyone has READ on room acme*\n")
}

func TestWarnings(t *testing.T) {
	t.Parallel()
	u := terminal{t, dbtest.New(t).ServiceURL}
	for line, part := range map[string]string{
		"grant add --everyone --store acme-notes --access read":    "usher: warning: store pattern \"acme-notes\" contains '-'",
		"user add verbose --name " + strings.Repeat("x", 1_024-10): "has 1025 characters, over the limit of 1024",
		"user add wide --name " + strings.Repeat("😀", 600):         "has 1211 characters",
	} {
		code, stdout, stderr := u.run(strings.Fields(line)...)
		if code != 0 || !strings.HasPrefix(stdout, "added ") || !strings.Contains(stderr, part) {
			t.Errorf("usher %.40s: exit %d, printed %q and %q, want a warning with %q", line, code, stdout, stderr, part)
		}
	}
	u.does("user add brief --name "+strings.Repeat("x", 1_024-11), "added user brief\n") // {"name":"..."} takes 11 more
}

// Stored values cannot move the cursor of the terminal that lists them.
func TestTablesPrintNoControlCharacters(t *testing.T) {
	t.Parallel()
	u := terminal{t, dbtest.New(t).ServiceURL}
	if code, _, stderr := u.run("org", "add", "acme", "--name", "Acme\x1b[2J\tInc.\nglobex"); code != 0 {
		t.Fatal(stderr)
	}
	_, stdout, _ := u.run("org", "list")
	if want := `"Acme\x1b[2J\tInc.\nglobex"`; !strings.Contains(stdout, want) || strings.Count(stdout, "\n") != 2 {
		t.Errorf("org list printed %q, want %s in one row", stdout, want)
	}
}

func TestKeys(t *testing.T) {
	t.Parallel()
	pg := dbtest.New(t)
	raw := make([]byte, 32)
	_, _ = rand.Read(raw)
	file := filepath.Join(t.TempDir(), "kek")
	if err := os.WriteFile(file, []byte(base64.StdEncoding.EncodeToString(raw)+"\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	owner, service := terminal{t, pg.URL}, terminal{t, pg.ServiceURL}
	service.refuses("key create --key-encryption-key-file "+file, 1, "the role in the database URL may not do that")
	made := decode[admin.SigningKeyTimes](owner, "key create --json --key-encryption-key-file "+file)
	owner.refuses("key create --key-encryption-key-file "+file, 1, "there is already a signing key for EdDSA")
	code, stdout, _ := owner.run("key", "create", "--alg", "ES256", "--key-encryption-key-file", file)
	if code != 0 || !strings.HasPrefix(stdout, "created ES256 signing key ") {
		t.Errorf("key create --alg ES256: exit %d, printed %q", code, stdout)
	}
	keys := decode[[]admin.SigningKeyTimes](service, "key list --json")
	if len(keys) != 2 || keys[0].ID != made.ID || keys[1].Alg != "ES256" {
		t.Errorf("key list = %+v, want %s and one for ES256", keys, made.ID)
	}
	service.shows("key list", `
ID  ALG  PUBLISHED  SIGNS FROM  SIGNS UNTIL  UNPUBLISHED  COMPROMISED
`+keys[0].ID+`  EdDSA  TIME  TIME  -  -  -
`+keys[1].ID+`  ES256  TIME  TIME  -  -  -`)
}

func TestVersionCommand(t *testing.T) {
	t.Parallel()
	var out, errs bytes.Buffer
	if code := run(t.Context(), []string{"version"}, &out, &errs); code != 0 || !regexp.MustCompile(`^usher \S+( \(\S+\))?, go1\.\S+\n$`).Match(out.Bytes()) {
		t.Errorf("version: exit %d, printed %q and %q", code, out.String(), errs.String())
	}
	out.Reset()
	var b build
	if code := run(t.Context(), []string{"version", "--json"}, &out, &errs); code != 0 || json.Unmarshal(out.Bytes(), &b) != nil || b != readBuild() {
		t.Errorf("version --json: exit %d, printed %q, want %+v", code, out.String(), readBuild())
	}
}

func TestActorName(t *testing.T) {
	t.Parallel()
	if got := string(actorName()); !regexp.MustCompile(`^cli:[^@]+@.+$`).MatchString(got) {
		t.Errorf("actorName() = %q, want cli:<user>@<host>", got)
	}
}

// A change that has already been made is not an error. An impossible change is one.
func TestIdempotentCommands(t *testing.T) {
	t.Parallel()
	u := terminal{t, dbtest.New(t).URL} // the owner, who may create admin keys
	for _, line := range []string{"org add acme", "org add globex", "user add ada", "group add designers --org acme", "org add-member acme ada", "group add-member designers ada"} {
		u.run(strings.Fields(line)...)
	}
	u.run("grant", "add", "--user", "ada", "--room", "acme:1", "--access", "read")
	u.does("org add-member acme ada", "user ada is already a member of organization acme\n")
	u.does("group add-member designers ada", "user ada is already a member of group designers\n")
	if m := decode[admin.Membership](u, "org add-member acme ada --json"); m.UserID != "ada" || m.CreatedAt.IsZero() {
		t.Errorf("org add-member of a member = %+v", m)
	}
	u.does("org remove-member globex ada", "user ada is not a member of organization globex\n")
	u.refuses("org remove-member initech ada", 1, `there is no organization "initech"`)
	u.refuses("group remove-member g ada", 1, `there is no group "g"`)
	for range 2 {
		if code, _, stderr := u.run("user", "disable", "ada"); code != 0 {
			t.Errorf("user disable: %s", stderr)
		}
	}
	if code, stdout, _ := u.run("grant", "revoke", "1"); code != 0 || !strings.HasPrefix(stdout, "revoked grant 1") {
		t.Errorf("grant revoke: %d %s", code, stdout)
	}
	if code, stdout, _ := u.run("grant", "revoke", "1"); code != 0 || !strings.HasPrefix(stdout, "grant 1 was already revoked at ") {
		t.Errorf("grant revoke again: %d %s", code, stdout)
	}
	for _, kind := range []string{"apikey", "adminkey"} {
		args := map[string][]string{"apikey": {"--room", "*=read"}, "adminkey": {"--role", "auditor"}}[kind]
		_, stdout, stderr := u.run(append([]string{kind, "create", "k", "--json"}, args...)...)
		var made struct{ ID string }
		if err := json.Unmarshal([]byte(stdout), &made); err != nil {
			t.Fatalf("%v: %s", err, stderr)
		}
		for _, want := range []string{"revoked ", "was already revoked at "} {
			if code, stdout, stderr := u.run(kind, "revoke", made.ID); code != 0 || !strings.Contains(stdout, want) {
				t.Errorf("%s revoke: %d %s%s, want %q", kind, code, stdout, stderr, want)
			}
		}
		u.refuses(kind+" revoke AAAAAAAAAAAA", 1, "AAAAAAAAAAAA")
	}
}

func TestUpdateCommands(t *testing.T) {
	t.Parallel()
	u := terminal{t, dbtest.New(t).ServiceURL}
	for _, line := range []string{"user add ada --name Ada --color red", "org add acme --name Acme", "group add g"} {
		u.run(strings.Fields(line)...)
	}
	u.does("user update ada --name Lovelace --avatar https://example.com/a.png --unset color,nothing", "updated user ada\n")
	if users := decode[[]admin.User](u, "user list --json"); len(users) != 1 || cmp.Diff(map[string]any{"name": "Lovelace", "avatar": "https://example.com/a.png"}, infoOf(t, &users[0])) != "" {
		t.Errorf("updated to %s", users[0].Info)
	}
	u.does("user update ada --unset name,avatar", "updated user ada\n")
	if users := decode[[]admin.User](u, "user list --json"); users[0].Info != nil {
		t.Errorf("info = %s, want none", users[0].Info)
	}
	u.refuses("user update ada", 1, "nothing to change")
	u.refuses("user update bob --name Bob", 1, `there is no user "bob"`)
	u.does("org rename acme ACME", "renamed organization acme\n")
	u.does("group rename g Group", "renamed group g\n")
	u.refuses("org rename x X", 1, `there is no organization "x"`)
	u.refuses("group rename x X", 1, `there is no group "x"`)
	u.shows("org list", "ID  NAME  CREATED  BY\nacme  ACME  TIME  "+string(actorName()))
	u.shows("group list", "ID  ORGANIZATION  NAME  CREATED  BY\ng  -  Group  TIME  "+string(actorName()))
}

func infoOf(t *testing.T, u *admin.User) (info map[string]any) {
	t.Helper()
	if err := json.Unmarshal(u.Info, &info); err != nil {
		t.Fatal(err)
	}
	return info
}

// A grant on everything prints a warning, and one to everyone needs a confirmation.
func TestWideGrants(t *testing.T) {
	t.Parallel()
	u := terminal{t, dbtest.New(t).ServiceURL}
	for _, line := range []string{"org add acme", "user add ada", "user add lin", "group add designers --org acme"} {
		u.run(strings.Fields(line)...)
	}
	u.refuses("grant add --everyone --room * --access full", 1, "this gives every user FULL on every room: if you want that, add --yes")
	u.refuses("grant add --everyone --store * --access read", 1, "this gives every user READ on every store: if you want that, add --yes")
	u.does("grant add --everyone --room * --access full --yes", "added grant 1: everyone has FULL on room *\n")
	u.does("grant add --user ada --room * --access full", "added grant 2: user ada has FULL on room *\n")
	u.does("grant add --everyone --room {organization}:* --access read", "added grant 3: everyone has READ on room {organization}:*\n")
	for line, part := range map[string]string{
		"grant add --org acme --room * --access full": "this gives its members FULL on every room, including those of other organizations",
		"group add-member designers lin":              `user "lin" is not a member of organization "acme", which the group belongs to`,
	} {
		if code, _, stderr := u.run(strings.Fields(line)...); code != 0 || !strings.Contains(stderr, part) {
			t.Errorf("usher %s: exit %d, %q; want a warning with %q", line, code, stderr, part)
		}
	}
}
