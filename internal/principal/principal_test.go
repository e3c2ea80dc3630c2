package principal_test

import (
	"errors"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/usher-auth/usher/internal/principal"
	"github.com/usher-auth/usher/permissions"
	"github.com/usher-auth/usher/session"
)

// template parses a template. For an invalid text it returns the zero template, which gives
// nothing.
func template(pattern string) permissions.Template {
	t, _ := permissions.ParseTemplate(permissions.RoomKind, pattern)
	return t
}

func TestRules(t *testing.T) {
	t.Parallel()
	room := func(subjectKind, subjectID, pattern string, access permissions.Access) principal.Grant {
		return principal.Grant{ID: 7, SubjectKind: subjectKind, SubjectID: subjectID, Template: template(pattern), Access: access}
	}
	everyone := func(pattern string) principal.Grant { return room("everyone", "", pattern, permissions.Read) }
	two := principal.MemberOf{Organizations: []string{"acme", "globex"}, Groups: []string{"red", "blue"}}
	for name, test := range map[string]struct {
		user    string
		member  principal.MemberOf
		grant   principal.Grant
		want    []string
		skipped bool
	}{
		"a pattern as it stands": {"ada", two, everyone("docs:*"), []string{"docs:*"}, false},
		"{user}":                 {"ada", two, everyone("home:{user}:*"), []string{"home:ada:*"}, false},
		"{organization} of everyone: each of theirs": {"ada", two, everyone("{organization}:*"), []string{"acme:*", "globex:*"}, false},
		"{organization} of an organization: its own": {"ada", two, room("organization", "acme", "{organization}:*", permissions.Full), []string{"acme:*"}, false},
		"{group} of a group: its own":                {"ada", two, room("group", "red", "team:{group}", permissions.Full), []string{"team:red"}, false},
		"both: every pair":                           {"ada", two, everyone("{organization}:{group}:*"), []string{"acme:red:*", "acme:blue:*", "globex:red:*", "globex:blue:*"}, false},
		"no organization, no pattern":                {"ada", principal.MemberOf{}, everyone("{organization}:*"), nil, false},
		"a value that holds the separator":           {"ada:evil", two, everyone("home:{user}:*"), nil, true},
		"a value that holds a wildcard":              {"*", two, everyone("home:{user}:*"), nil, true},
		"one value of two fits":                      {"ada", principal.MemberOf{Organizations: []string{"acme", "a:b"}}, everyone("{organization}:*"), []string{"acme:*"}, true},
		"an invalid pattern":                         {"ada", two, everyone("a**"), nil, true},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			p := principal.Principal{User: session.User{ID: test.user}, MemberOf: test.member, Grants: []principal.Grant{test.grant}}
			rules, skipped := p.Rules()
			var got []string
			for _, r := range rules {
				if r.Access != test.grant.Access {
					t.Errorf("%s has access %s, want %s", r.Pattern, r.Access, test.grant.Access)
				}
				got = append(got, r.Pattern.String())
			}
			if diff := cmp.Diff(test.want, got); diff != "" {
				t.Errorf("patterns (-want +got):\n%s", diff)
			}
			if (len(skipped) == 1 && skipped[0] == test.grant.ID) != test.skipped || len(skipped) > 1 {
				t.Errorf("skipped = %v, want the grant there: %t", skipped, test.skipped)
			}
		})
	}
}

func TestPrincipalErr(t *testing.T) {
	t.Parallel()
	for name, test := range map[string]struct {
		principal principal.Principal
		want      error
	}{
		"a user":                    {principal.Principal{Known: true}, nil},
		"an unknown user":           {principal.Principal{}, principal.ErrSessionUnknown},
		"with an expired session":   {principal.Principal{Known: true, Expired: true}, session.ErrSessionExpired},
		"who is disabled":           {principal.Principal{Known: true, Disabled: true}, principal.ErrUserDisabled},
		"expired before disabled":   {principal.Principal{Known: true, Expired: true, Disabled: true}, session.ErrSessionExpired},
		"unknown before everything": {principal.Principal{Expired: true, Disabled: true}, principal.ErrSessionUnknown},
	} {
		if err := test.principal.Err(); !errors.Is(err, test.want) || (err == nil) != (test.want == nil) {
			t.Errorf("%s: Err() = %v, want %v", name, err, test.want)
		}
	}
}
