package permissions

import (
	"math"
	"slices"
)

// Rule gives access to the rooms or stores that match a pattern.
type Rule struct {
	Pattern Pattern
	Access  Access
}

// Set is a set of rules of one kind without unnecessary rules. [Cover] makes it. For every id,
// the more specific of two matching patterns gives more access. So readers with the rules
// "strongest wins", "most specific wins" and "exact first" read the same access. A Set never
// changes. The zero Set is empty.
type Set struct {
	// rules are in the order of compareNested: each wildcard comes directly before the
	// rules that it covers.
	rules []Rule
}

// Cover returns the smallest set that gives every id the same access as rules: the strongest
// of those that match. It drops patterns that a broader one with the same or more access
// covers, and rules with access [None]. The order of rules does not matter. Cover does not
// change rules.
//
// All patterns must have the same kind, and must not be zero. Otherwise Cover panics: a guess
// could open a store for a user who was given a room.
func Cover(rules []Rule) Set {
	kept := slices.Clone(rules)
	slices.SortFunc(kept, func(a, b Rule) int {
		if c := compareNested(a.Pattern, b.Pattern); c != 0 {
			return c
		}
		return int(b.Access) - int(a.Access)
	})
	// open has the kept rules that cover the current one, broadest first. Their access
	// grows, so there are at most two.
	open := make([]Rule, 0, Full)
	n := 0
	for _, r := range kept {
		if kind := rules[0].Pattern.kind; kind == 0 || r.Pattern.kind != kind {
			panic("permissions: Cover of a zero pattern, or of rooms and stores together")
		}
		for len(open) > 0 && !open[len(open)-1].Pattern.Covers(r.Pattern) {
			open = open[:len(open)-1]
		}
		given := None
		if len(open) > 0 {
			given = open[len(open)-1].Access
		}
		if r.Access > given {
			open = append(open, r)
			kept[n] = r
			n++
		}
	}
	return Set{kept[:n]}
}

// Access returns the access that s gives to id: the strongest of all rules that match. It is
// [None] for an id that [CheckID] refuses.
func (s Set) Access(id string) Access {
	if i := s.decider(id); i >= 0 && idFault(s.rules[i].Pattern.kind, id) == "" {
		return s.rules[i].Access
	}
	return None
}

// decider returns the index of the most specific rule that matches id, or -1. It is also the
// strongest. More specific rules come later.
func (s Set) decider(id string) int {
	for i, r := range slices.Backward(s.rules) {
		if r.Pattern.matches(id) {
			return i
		}
	}
	return -1
}

// Len returns the number of rules.
func (s Set) Len() int { return len(s.rules) }

// Rules returns the rules in the order of a token: exact ids, then wildcards; in both groups,
// the longest literal first (in UTF-16 code units), then by bytes. The caller owns the slice.
func (s Set) Rules() []Rule {
	rules := slices.Clone(s.rules)
	slices.SortFunc(rules, func(a, b Rule) int { return compareExact(a.Pattern, b.Pattern) })
	return rules
}

// Limit is the maximum that [Set.Select] selects.
type Limit struct {
	// Patterns is the maximum number of rules. Less than 1 means 1, because one rule is
	// always selected.
	Patterns int

	// Bytes is the maximum sum of Cost. Only the one rule that is always selected may
	// exceed it. 0 means no limit: if no bytes are left, use -1.
	Bytes int

	// Cost returns the bytes that a rule adds to the token. It is required if Bytes is not
	// 0.
	Cost func(Rule) int
}

// orNone is l with a bound of bytes that says what 0 means.
func (l Limit) orNone() Limit {
	if l.Bytes == 0 {
		l.Bytes, l.Cost = math.MaxInt, func(Rule) int { return 0 }
	}
	return l
}

// fits reports whether rules are within the limit.
func (l Limit) fits(rules []Rule) bool {
	if len(rules) > l.Patterns {
		return false
	}
	bytes := 0
	for _, r := range rules {
		bytes += l.Cost(r)
	}
	return bytes <= l.Bytes
}

// Selection is the part of a set that is selected for a token.
type Selection struct {
	Set Set

	// Partial reports that the complete set gives more. It can be true even if Set has as
	// many rules, because the wanted id may replace a wildcard.
	Partial bool
}

// Select returns as much of s as limit allows: all of s, or a part. A part gives every id
// either the access that s gives it or none. If s has rules, at least one is selected.
//
// A client with a cached token that gives READ must not miss that it could get FULL. Therefore
// a pattern is selected only together with its dependents, the stronger patterns that it
// covers. The first pattern is the one that decides the access to want. If its dependents do
// not fit, want itself is selected as an exact id with its access. Then come the broadest
// patterns that fit: wildcards before exact ids, shorter literals first, then by bytes.
//
// want may be "", if no id is requested. ok is false if want is not empty and s gives no
// access to it.
func (s Set) Select(want string, limit Limit) (selection Selection, ok bool) {
	access := s.Access(want)
	if want != "" && access == None {
		return Selection{}, false
	}
	limit = limit.orNone()
	if len(s.rules) == 0 || limit.fits(s.rules) {
		return Selection{Set: s}, true
	}

	p := picker{limit: limit, rules: s.rules, taken: make([]bool, len(s.rules))}
	replaced := false
	if want != "" {
		i := s.decider(want)
		if end := p.dependentsEnd(i); end == i+1 || p.fits(i, end) {
			p.take(i, end)
		} else {
			p.add(Rule{MustPattern(s.rules[i].Pattern.kind, want), access})
			replaced = true
		}
	}
	single := -1
	for _, i := range s.broadestFirst() {
		end := p.dependentsEnd(i)
		if p.fits(i, end) {
			p.take(i, end)
		} else if single < 0 && end == i+1 {
			single = i
		}
	}
	if len(p.picked) == 0 { // no want, and Bytes is less than any rule costs
		p.take(single, single+1)
	}

	slices.SortFunc(p.picked, func(a, b Rule) int { return compareNested(a.Pattern, b.Pattern) })
	return Selection{
		Set:     Set{p.picked},
		Partial: replaced || len(p.picked) < len(s.rules),
	}, true
}

// broadestFirst returns the indices of the rules in the order of compareBroad.
func (s Set) broadestFirst() []int {
	order := make([]int, len(s.rules))
	for i := range order {
		order[i] = i
	}
	slices.SortFunc(order, func(i, j int) int {
		return compareBroad(s.rules[i].Pattern, s.rules[j].Pattern)
	})
	return order
}

// picker collects a selection.
type picker struct {
	limit  Limit
	rules  []Rule // of the set selected from
	taken  []bool // for each of them, whether it is picked
	picked []Rule
	bytes  int // what they cost
}

// dependentsEnd returns the index after the last of i's dependents. The rules from i to there
// are rule i and its dependents.
func (p *picker) dependentsEnd(i int) int {
	end := i + 1
	for end < len(p.rules) && p.rules[i].Pattern.Covers(p.rules[end].Pattern) {
		end++
	}
	return end
}

// fits reports whether the rules from i to end that are not taken yet fit in addition to those
// that are.
func (p *picker) fits(i, end int) bool {
	count, bytes := len(p.picked), p.bytes
	for ; i < end; i++ {
		if p.taken[i] {
			continue
		}
		count++
		bytes += p.limit.Cost(p.rules[i])
		if count > p.limit.Patterns || bytes > p.limit.Bytes {
			return false
		}
	}
	return true
}

func (p *picker) take(i, end int) {
	for ; i < end; i++ {
		if !p.taken[i] {
			p.taken[i] = true
			p.add(p.rules[i])
		}
	}
}

func (p *picker) add(r Rule) {
	p.picked = append(p.picked, r)
	p.bytes += p.limit.Cost(r)
}
