package permissions_test

import (
	"fmt"
	"math/rand/v2"
	"testing"

	"github.com/usher-auth/usher/permissions"
)

// tokenLimit is the default limit of a token for rooms.
var tokenLimit = permissions.Limit{
	Patterns: 10,
	Bytes:    4096,
	Cost:     func(r permissions.Rule) int { return len(r.Pattern.String()) + 64 },
}

// BenchmarkCoverSelect measures one request: from the granted rules to those of the token, in
// its order.
func BenchmarkCoverSelect(b *testing.B) {
	shapes := []struct {
		name string
		rule func(i int) permissions.Rule
	}{
		// One project each; every fourth has a room with more access inside.
		{"projects", func(i int) permissions.Rule {
			if i%4 == 3 {
				return full(fmt.Sprintf("acme:project-%05d:plan", i-1))
			}
			return read(fmt.Sprintf("acme:project-%05d:*", i))
		}},
		// One wildcard with everything else as its dependents.
		{"dependents", func(i int) permissions.Rule {
			if i == 0 {
				return read("*")
			}
			return full(fmt.Sprintf("acme:project-%05d:*", i))
		}},
		// One wildcard that covers everything else.
		{"idle", func(i int) permissions.Rule {
			if i == 0 {
				return full("*")
			}
			return read(fmt.Sprintf("acme:project-%05d:*", i))
		}},
	}
	for _, shape := range shapes {
		for _, n := range []int{10, 100, 10_000} {
			b.Run(fmt.Sprintf("%s/%d", shape.name, n), func(b *testing.B) {
				rules := make([]permissions.Rule, n)
				for i := range rules {
					rules[i] = shape.rule(i)
				}
				r := rand.New(rand.NewPCG(1, 2))
				r.Shuffle(n, func(i, j int) { rules[i], rules[j] = rules[j], rules[i] })
				b.ReportAllocs()
				for b.Loop() {
					selection, ok := permissions.Cover(rules).Select("acme:project-00002:plan", tokenLimit)
					if !ok || len(selection.Set.Rules()) == 0 {
						b.Fatal("nothing selected")
					}
				}
			})
		}
	}
}

func BenchmarkExpand(b *testing.B) {
	for _, text := range []string{"acme:design:*", "{organization}:*"} {
		b.Run(text, func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				t, err := permissions.ParseTemplate(permissions.RoomKind, text)
				if err != nil {
					b.Fatal(err)
				}
				if _, err := t.Expand(permissions.Values{Organization: "acme"}); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}
