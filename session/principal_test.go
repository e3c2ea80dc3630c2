package session_test

import (
	"errors"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/usher-auth/usher/permissions"
	"github.com/usher-auth/usher/session"
)

func TestRules(t *testing.T) {
	t.Parallel()
	room := func(subjectKind, subjectID, pattern string, access permissions.Access) session.Grant {
		return session.Grant{ID: 7, SubjectKind: subjectKind, SubjectID: subjectID, Kind: permissions.RoomKind, Pattern: pattern, Access: access}
	}
	everyone := func(pattern string) session.Grant { return room("everyone", "", pattern, permissions.Read) }
	two := session.MemberOf{Organizations: []string{"acme", "globex"}, Groups: []string{"red", "blue"}}
	for name, test := range map[string]struct {
		user    string
		member  session.MemberOf
		grant   session.Grant
		want    []string
		skipped bool
	}{
		"a pattern as it stands": {"ada", two, everyone("docs:*"), []string{"docs:*"}, false},
		"{user}":                 {"ada", two, everyone("home:{user}:*"), []string{"home:ada:*"}, false},
		"{organization} of everyone: each of theirs": {"ada", two, everyone("{organization}:*"), []string{"acme:*", "globex:*"}, false},
		"{organization} of an organization: its own": {"ada", two, room("organization", "acme", "{organization}:*", permissions.Full), []string{"acme:*"}, false},
		"{group} of a group: its own":                {"ada", two, room("group", "red", "team:{group}", permissions.Full), []string{"team:red"}, false},
		"both: every pair":                           {"ada", two, everyone("{organization}:{group}:*"), []string{"acme:red:*", "acme:blue:*", "globex:red:*", "globex:blue:*"}, false},
		"no organization, no pattern":                {"ada", session.MemberOf{}, everyone("{organization}:*"), nil, false},
		"a value that holds the separator":           {"ada:evil", two, everyone("home:{user}:*"), nil, true},
		"a value that holds a wildcard":              {"*", two, everyone("home:{user}:*"), nil, true},
		"one value of two fits":                      {"ada", session.MemberOf{Organizations: []string{"acme", "a:b"}}, everyone("{organization}:*"), []string{"acme:*"}, true},
		"a pattern that is none":                     {"ada", two, everyone("a**"), nil, true},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			p := session.Principal{User: session.User{ID: test.user}, MemberOf: test.member, Grants: []session.Grant{test.grant}}
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
		principal session.Principal
		want      error
	}{
		"a user":                    {session.Principal{Known: true}, nil},
		"whom nobody knows":         {session.Principal{}, session.ErrSessionUnknown},
		"with an expired session":   {session.Principal{Known: true, Expired: true}, session.ErrSessionExpired},
		"who is disabled":           {session.Principal{Known: true, Disabled: true}, session.ErrUserDisabled},
		"expired before disabled":   {session.Principal{Known: true, Expired: true, Disabled: true}, session.ErrSessionExpired},
		"unknown before everything": {session.Principal{Expired: true, Disabled: true}, session.ErrSessionUnknown},
	} {
		if err := test.principal.Err(); !errors.Is(err, test.want) || (err == nil) != (test.want == nil) {
			t.Errorf("%s: Err() = %v, want %v", name, err, test.want)
		}
	}
}
