package permissions

import "slices"

// Covering returns the broadest rule of s that covers r's pattern with the same access or
// more. This is r itself if s has it, and otherwise the rule that made r unnecessary in
// [Cover]. ok is false if s was made without r, and for access [None].
func (s Set) Covering(r Rule) (covering Rule, ok bool) {
	i := slices.IndexFunc(s.rules, func(c Rule) bool { return c.Access >= r.Access && c.Pattern.Covers(r.Pattern) })
	if i < 0 || r.Access == None {
		return Rule{}, false
	}
	return s.rules[i], true
}

// An Omission is a rule that [Set.Select] left out, with the reason.
type Omission struct {
	Rule Rule
	// Dependents are the stronger rules that Rule covers. It can only be selected
	// together with them.
	Dependents []Rule
	// TooMany reports that the rule and its dependents would exceed [Limit.Patterns].
	// Otherwise they would exceed [Limit.Bytes].
	TooMany bool
}

// Omissions returns the rules of s that are not in a selection from it. l must be the limit
// of that selection.
func (s Set) Omissions(selection Selection, limit Limit) []Omission {
	p := picker{limit: limit.orNone(), rules: s.rules, taken: make([]bool, len(s.rules))}
	for _, r := range selection.Set.rules {
		p.add(r)
	}
	for i, r := range s.rules {
		p.taken[i] = slices.Contains(selection.Set.rules, r)
	}
	var omissions []Omission
	for i, r := range s.rules {
		if p.taken[i] {
			continue
		}
		// A rule that did not fit when Select tried it does not fit now either, because
		// nothing was removed since then.
		end := p.dependentsEnd(i)
		omissions = append(omissions, Omission{
			Rule:       r,
			Dependents: slices.Clone(s.rules[i+1 : end]),
			TooMany:    len(p.picked)+p.untaken(i, end) > p.limit.Patterns,
		})
	}
	return omissions
}

// untaken returns how many of the rules from i to end are not taken.
func (p *picker) untaken(i, end int) int {
	n := 0
	for ; i < end; i++ {
		if !p.taken[i] {
			n++
		}
	}
	return n
}
