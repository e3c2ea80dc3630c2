package permissions

import "slices"

// Covering returns the broadest rule of s that covers r's pattern with the same
// access or more: r itself where s holds it, else the rule for which [Cover]
// found r needless. ok is false where r is none of the rules s was made of, and
// for access [None].
func (s Set) Covering(r Rule) (covering Rule, ok bool) {
	i := slices.IndexFunc(s.rules, func(c Rule) bool { return c.Access >= r.Access && c.Pattern.Covers(r.Pattern) })
	if i < 0 || r.Access == None {
		return Rule{}, false
	}
	return s.rules[i], true
}

// An Omission is a rule that [Set.Select] left out, and why.
type Omission struct {
	Rule Rule
	// Dependents are the stronger rules that Rule covers, without which it may not
	// go in.
	Dependents []Rule
	// TooMany says that the rule and its dependents would have been more than
	// [Limit.Patterns]; otherwise they would have cost more than [Limit.Bytes].
	TooMany bool
}

// Omissions returns the rules of s that are not in a selection from it, under
// the limit that it was made with.
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
		// What did not fit when Select came to it fits now no better: since
		// then, nothing was taken out.
		end := p.dependentsEnd(i)
		omissions = append(omissions, Omission{
			Rule:       r,
			Dependents: slices.Clone(s.rules[i+1 : end]),
			TooMany:    len(p.picked)+p.untaken(i, end) > p.limit.Patterns,
		})
	}
	return omissions
}

// untaken returns how many of the rules i to end are not taken.
func (p *picker) untaken(i, end int) int {
	n := 0
	for ; i < end; i++ {
		if !p.taken[i] {
			n++
		}
	}
	return n
}
