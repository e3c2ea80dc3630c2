package session_test

import (
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"

	"github.com/usher-auth/usher/permissions"
	"github.com/usher-auth/usher/session"
)

// verified returns the claims of a token with these changes.
func verified(t testing.TB, changes ...string) session.Claims {
	t.Helper()
	f := edForger("ed")
	c, err := newVerifier(t, session.VerifierConfig{Keys: keySet(t, f)}).Verify(t.Context(), f.token(claims(changes...)))
	if err != nil {
		t.Fatalf("%q: %v", changes, err)
	}
	return c
}

// testdata/perms_access.json is the specification, also for verifiers in other languages.
func TestAccessOfPermissionNames(t *testing.T) {
	t.Parallel()
	data, err := os.ReadFile(filepath.Join("testdata", "perms_access.json"))
	if err != nil {
		t.Fatal(err)
	}
	var f struct {
		Cases []struct {
			Perms  json.RawMessage    `json:"perms"`
			Access permissions.Access `json:"access"`
		} `json:"cases"`
		Tokens []struct {
			Perms  json.RawMessage    `json:"perms"`
			Room   string             `json:"room"`
			Access permissions.Access `json:"access"`
		} `json:"tokens"`
	}
	if err := json.Unmarshal(data, &f); err != nil {
		t.Fatal(err)
	}
	if len(f.Cases) == 0 || len(f.Tokens) == 0 {
		t.Error("no cases")
	}
	for _, c := range f.Tokens {
		if got := verified(t, "perms", string(c.Perms)).Access(permissions.Room(c.Room)); got != c.Access {
			t.Errorf("%s: %s: got %s, want %s", c.Perms, c.Room, got, c.Access)
		}
	}
	for _, c := range f.Cases {
		if got := verified(t, "perms", `{"r":`+string(c.Perms)+`}`).Access(permissions.Room("r")); got != c.Access {
			t.Errorf("%s: got %s, want %s", c.Perms, got, c.Access)
		}
	}
}

func TestCan(t *testing.T) {
	t.Parallel()
	const full, read = `["room:write","comments:write"]`, `["room:read","room:presence:write","comments:read"]`
	c := verified(t,
		"perms", `{"*":`+read+`,"acme:*":`+full+`,"acme:private":`+read+`,"Acme:1":[],"a*b":`+full+`,"**":`+full+`,"":`+full+`}`,
		"stores", `{"notes":"full","notes_*":"read","log":"write","bad id":"full","x":"FULL"}`)
	type check struct {
		resource permissions.Resource
		access   permissions.Access
		want     bool
	}
	allow := func(r permissions.Resource, a permissions.Access) check { return check{r, a, true} }
	deny := func(r permissions.Resource, a permissions.Access) check { return check{r, a, false} }
	room, store := permissions.Room, permissions.Store
	for _, c2 := range []check{
		allow(room("acme:1"), permissions.Full),
		allow(room("acme:1"), permissions.Read),
		allow(room("acme:private"), permissions.Full), // the strongest of all that match
		allow(room("beta:1"), permissions.Read),
		deny(room("beta:1"), permissions.Full),
		deny(room("acme"), permissions.Full), // the whole prefix must match
		deny(room("ACME:1"), permissions.Full),
		deny(room("Acme:1"), permissions.Full), // [] gives nothing, and takes nothing away
		allow(room("Acme:1"), permissions.Read),
		deny(room("a*b"), permissions.Read), // no id
		deny(room(""), permissions.Read),
		deny(room("acme:\n"), permissions.Read),
		deny(room("acme:1"), permissions.None), // nothing asked is nothing given
		deny(room("acme:1"), permissions.Full+1),
		allow(store("notes"), permissions.Full),
		allow(store("notes_1"), permissions.Read),
		deny(store("notes_1"), permissions.Full),
		deny(store("acme:1"), permissions.Read), // a room
		deny(room("notes"), permissions.Full),   // a store
		deny(store("log"), permissions.Read),
		deny(store("x"), permissions.Read),
		deny(store("bad id"), permissions.Read),
		deny(permissions.Resource{}, permissions.Read),
		deny(permissions.Resource{Kind: 9, ID: "acme:1"}, permissions.Read),
	} {
		if got := c.Can(c2.resource, c2.access); got != c2.want {
			t.Errorf("Can(%v, %s) = %t, want %t", c2.resource, c2.access, got, c2.want)
		}
	}
}

// Only an access token gives access, and the zero Claims give none.
func TestKindsOfToken(t *testing.T) {
	t.Parallel()
	for kind, want := range map[string]permissions.Access{`"acc"`: permissions.Full, "": permissions.Full, `"id"`: permissions.None, `"ACC"`: permissions.None, `""`: permissions.Full, `"x"`: permissions.None} {
		c := verified(t, "k", kind, "perms", `{"*":["*:write"]}`, "stores", `{"*":"full"}`)
		for _, r := range []permissions.Resource{permissions.Room("a"), permissions.Store("a")} {
			if got := c.Access(r); got != want {
				t.Errorf("k %s: Access(%v) = %s, want %s", kind, r, got, want)
			}
		}
	}
	if (session.Claims{}).Can(permissions.Room("a"), permissions.Read) {
		t.Error("the zero Claims open a room")
	}
}

// The part of permissions.json that a verifier needs: a token with grants gives every id
// the access that the file says.
func TestAccessVectors(t *testing.T) {
	t.Parallel()
	data, err := os.ReadFile(filepath.Join("..", "permissions", "testdata", "permissions.json"))
	if err != nil {
		t.Fatal(err)
	}
	var f struct {
		Access []struct {
			Grants [][2]string        `json:"grants"`
			ID     string             `json:"id"`
			Access permissions.Access `json:"access"`
		} `json:"access"`
	}
	if err := json.Unmarshal(data, &f); err != nil {
		t.Fatal(err)
	}
	for _, v := range f.Access {
		strongest := map[string]permissions.Access{}
		for _, g := range v.Grants {
			a, err := permissions.ParseAccess(g[1])
			if err != nil {
				t.Fatal(err)
			}
			strongest[g[0]] = max(strongest[g[0]], a)
		}
		var perms []string
		for pattern, a := range strongest {
			names := `["room:read"]`
			if a == permissions.Full {
				names = `["room:write"]`
			}
			perms = append(perms, strconv.Quote(pattern)+":"+names)
		}
		c := verified(t, "perms", "{"+strings.Join(perms, ",")+"}")
		if got := c.Access(permissions.Room(v.ID)); got != v.Access {
			t.Errorf("%v: Access(%q) = %s, want %s", v.Grants, v.ID, got, v.Access)
		}
	}
	if len(f.Access) == 0 {
		t.Error("no vectors")
	}
	t.Log(fmt.Sprint(len(f.Access), " access vectors"))
}
