package permissions_test

import (
	"bytes"
	"encoding/json"
	"fmt"
	"os"
	"slices"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/usher-auth/usher/permissions"
)

// vectors is testdata/permissions.json, the specification that other languages are tested with
// too. Its patterns and ids are for rooms.
type vectors struct {
	Note     string `json:"note"`
	Patterns []struct {
		Pattern string `json:"pattern"`
		Valid   bool   `json:"valid"`
	} `json:"patterns"`
	IDs []struct {
		ID    string `json:"id"`
		Valid bool   `json:"valid"`
	} `json:"ids"`
	Match []struct {
		Pattern string `json:"pattern"`
		ID      string `json:"id"`
		Match   bool   `json:"match"`
	} `json:"match"`
	Access []struct {
		Grants []grant            `json:"grants"`
		ID     string             `json:"id"`
		Access permissions.Access `json:"access"`
	} `json:"access"`
	Cover []struct {
		Grants []grant `json:"grants"`
		Cover  ruleMap `json:"cover"`
	} `json:"cover"`
	Select []struct {
		Grants   []grant `json:"grants"`
		Want     *string `json:"want"`
		Max      int     `json:"max"`
		Selected ruleMap `json:"selected"` // nil: nothing covers the wanted id
	} `json:"select"`
}

// grant is a rule in the form of the vectors: ["acme:*", "read"].
type grant permissions.Rule

func (g *grant) UnmarshalJSON(data []byte) error {
	var texts [2]string
	if err := json.Unmarshal(data, &texts); err != nil {
		return err
	}
	pattern, err := permissions.ParsePattern(permissions.RoomKind, texts[0])
	if err != nil {
		return err
	}
	access, err := permissions.ParseAccess(texts[1])
	if err != nil {
		return err
	}
	*g = grant{pattern, access}
	return nil
}

func rulesOf(grants []grant) []permissions.Rule {
	rules := make([]permissions.Rule, len(grants))
	for i, g := range grants {
		rules[i] = permissions.Rule(g)
	}
	return rules
}

type ruleMap map[string]permissions.Access

func mapOf(set permissions.Set) ruleMap {
	m := ruleMap{}
	for _, r := range set.Rules() {
		m[r.Pattern.String()] = r.Access
	}
	return m
}

func loadVectors(t *testing.T) vectors {
	t.Helper()
	data, err := os.ReadFile("testdata/permissions.json")
	if err != nil {
		t.Fatal(err)
	}
	var v vectors
	decoder := json.NewDecoder(bytes.NewReader(data))
	decoder.DisallowUnknownFields()
	if err := decoder.Decode(&v); err != nil {
		t.Fatal(err)
	}
	return v
}

func TestVectors(t *testing.T) {
	t.Parallel()
	v := loadVectors(t)

	// each runs each case of a section as a subtest. It fails on an empty section, so that a
	// typing error in a name does not make the specification disappear.
	each := func(section string, n int, check func(t *testing.T, i int)) {
		t.Run(section, func(t *testing.T) {
			t.Parallel()
			if n == 0 {
				t.Fatal("no cases")
			}
			for i := range n {
				t.Run(fmt.Sprint(i), func(t *testing.T) { check(t, i) })
			}
		})
	}

	each("patterns", len(v.Patterns), func(t *testing.T, i int) {
		c := v.Patterns[i]
		p, err := permissions.ParsePattern(permissions.RoomKind, c.Pattern)
		if got := err == nil; got != c.Valid {
			t.Errorf("ParsePattern(%q) = %v, want valid %t", c.Pattern, err, c.Valid)
		}
		if err == nil && p.String() != c.Pattern {
			t.Errorf("String() = %q, want %q", p, c.Pattern)
		}
	})
	each("ids", len(v.IDs), func(t *testing.T, i int) {
		c := v.IDs[i]
		if err := permissions.CheckID(permissions.RoomKind, c.ID); (err == nil) != c.Valid {
			t.Errorf("CheckID(%q) = %v, want valid %t", c.ID, err, c.Valid)
		}
	})
	each("match", len(v.Match), func(t *testing.T, i int) {
		c := v.Match[i]
		if got := room(c.Pattern).Matches(c.ID); got != c.Match {
			t.Errorf("%q.Matches(%q) = %t, want %t", c.Pattern, c.ID, got, c.Match)
		}
	})
	each("access", len(v.Access), func(t *testing.T, i int) {
		c := v.Access[i]
		if got := permissions.Cover(rulesOf(c.Grants)).Access(c.ID); got != c.Access {
			t.Errorf("Access(%q) of %v = %s, want %s", c.ID, c.Grants, got, c.Access)
		}
	})
	each("cover", len(v.Cover), func(t *testing.T, i int) {
		c := v.Cover[i]
		got := mapOf(permissions.Cover(rulesOf(c.Grants)))
		if diff := cmp.Diff(c.Cover, got); diff != "" {
			t.Errorf("Cover of %v (-want +got):\n%s", c.Grants, diff)
		}
	})
	each("select", len(v.Select), func(t *testing.T, i int) {
		c := v.Select[i]
		want := ""
		if c.Want != nil {
			want = *c.Want
		}
		cover := permissions.Cover(rulesOf(c.Grants))
		selection, ok := cover.Select(want, permissions.Limit{Patterns: c.Max})
		if ok != (c.Selected != nil) {
			t.Fatalf("Select(%q, %d) of %v: ok = %t, want %t", want, c.Max, c.Grants, ok, c.Selected != nil)
		}
		if !ok {
			return
		}
		if diff := cmp.Diff(c.Selected, mapOf(selection.Set)); diff != "" {
			t.Errorf("Select(%q, %d) of %v (-want +got):\n%s", want, c.Max, c.Grants, diff)
		}
		if partial := !slices.Equal(selection.Set.Rules(), cover.Rules()); selection.Partial != partial {
			t.Errorf("Select(%q, %d) of %v: Partial = %t, want %t", want, c.Max, c.Grants, selection.Partial, partial)
		}
	})
}
