package permissions_test

import (
	"slices"
	"testing"

	"pgregory.net/rapid"

	"github.com/usher-auth/usher/permissions"
)

func TestCovering(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		rules := anyRules.Draw(t, "rules")
		cover := permissions.Cover(rules)
		kept := cover.Rules()
		for _, r := range rules {
			c, ok := cover.Covering(r)
			if ok != (r.Access > permissions.None) {
				t.Fatalf("Covering(%v) ok = %t", r, ok)
			}
			if !ok {
				continue
			}
			if !slices.Contains(kept, c) || !c.Pattern.Covers(r.Pattern) || c.Access < r.Access {
				t.Fatalf("Covering(%v) = %v, which is no rule of %v that covers it", r, c, kept)
			}
			if slices.Contains(kept, r) != (c == r) {
				t.Fatalf("Covering(%v) = %v in %v", r, c, kept)
			}
		}
		if c, ok := permissions.Cover(nil).Covering(permissions.Rule{Pattern: room("a"), Access: permissions.Read}); ok {
			t.Fatalf("an empty set covers by %v", c)
		}
	})
}

// Omissions lists each rule that a selection leaves out, with its dependents. Together with the
// selected rules, they are too many or too long.
func TestOmissions(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		cover := permissions.Cover(anyRules.Draw(t, "rules"))
		limit := anyLimit.Draw(t, "limit")
		want := ""
		if ids := probes(cover.Rules()); rapid.Bool().Draw(t, "named") && len(ids) > 0 {
			want = rapid.SampledFrom(ids).Draw(t, "want")
		}
		selection, ok := cover.Select(want, limit)
		if !ok {
			return
		}
		selected := selection.Set.Rules()
		omissions := cover.Omissions(selection, limit)
		if (len(omissions) > 0) != selection.Partial {
			t.Fatalf("partial is %t, with the omissions %v", selection.Partial, omissions)
		}
		for _, r := range cover.Rules() {
			left := slices.ContainsFunc(omissions, func(o permissions.Omission) bool { return o.Rule == r })
			if left == slices.Contains(selected, r) {
				t.Fatalf("%v is left out %t, of %v", r, left, selected)
			}
		}
		for _, o := range omissions {
			count, bytes := len(selected), 0
			for _, r := range selected {
				bytes += textLength(r)
			}
			for _, r := range append([]permissions.Rule{o.Rule}, o.Dependents...) {
				if r != o.Rule && (!o.Rule.Pattern.Covers(r.Pattern) || r.Access <= o.Rule.Access) {
					t.Fatalf("%v is a dependent of %v", r, o.Rule)
				}
				if !slices.Contains(selected, r) {
					count++
					bytes += textLength(r)
				}
			}
			tooLong := limit.Bytes != 0 && bytes > limit.Bytes
			if tooMany := count > limit.Patterns; tooMany != o.TooMany || !tooMany && !tooLong {
				t.Fatalf("%v: %d patterns of %d bytes, of at most %d and %d, are too many %t", o, count, bytes, limit.Patterns, limit.Bytes, o.TooMany)
			}
		}
	})
}
