package permissions

import (
	"math"
	"slices"
)

// Rule gives access to what a pattern names.
type Rule struct {
	Pattern Pattern
	Access  Access
}

// Set holds rules of one kind of which none is idle: [Cover] makes it. Along
// the patterns that match an id, from the broadest to the id itself, access
// strictly grows. So a reader that takes the strongest match, the most specific
// one, or the exact id first, reads the same. A Set never changes; the zero Set
// is empty.
type Set struct {
	// rules are in the order of compareNested: each wildcard right before the
	// rules that it covers.
	rules []Rule
}

// Cover returns the smallest set that gives every id the access that rules
// give it: the strongest of those that match. It keeps no pattern that a
// broader one with the same or more access covers, and no rule of access
// [None]. The order of rules is without meaning, and rules stays as it is.
//
// All patterns must be of one kind and none of them zero. Else Cover panics:
// to guess what was meant could open a store for a user who was given a room.
func Cover(rules []Rule) Set {
	kept := slices.Clone(rules)
	slices.SortFunc(kept, func(a, b Rule) int {
		if c := compareNested(a.Pattern, b.Pattern); c != 0 {
			return c
		}
		return int(b.Access) - int(a.Access)
	})
	// open holds the kept rules that cover the present one, broadest first.
	// Their access grows, so there are never more than two.
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

// Access returns the access that s gives to id: the strongest of all rules
// that match. An id that [CheckID] refuses has none.
func (s Set) Access(id string) Access {
	if i := s.decider(id); i >= 0 && idFault(s.rules[i].Pattern.kind, id) == "" {
		return s.rules[i].Access
	}
	return None
}

// decider returns the index of the most specific rule that matches id, which
// is the strongest too, or -1. The specific rules come last.
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

// Rules returns the rules in the order in which a token lists them: exact ids
// first, then wildcards, in both the longest literal first (in UTF-16 units),
// then by bytes. The slice is the caller's.
func (s Set) Rules() []Rule {
	rules := slices.Clone(s.rules)
	slices.SortFunc(rules, func(a, b Rule) int { return compareExact(a.Pattern, b.Pattern) })
	return rules
}

// Limit bounds what [Set.Select] takes.
type Limit struct {
	// Patterns is the greatest number of rules. Less than 1 means 1, as one
	// always goes in.
	Patterns int

	// Bytes bounds the sum of Cost; only the one rule that always goes in may
	// exceed it. 0 is no bound: where a caller reckons what is left, and that is
	// nothing, -1 says so.
	Bytes int

	// Cost returns the bytes that a rule adds to the token. It must be there
	// where Bytes is not 0.
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

// Selection is the part of a set that goes into a token.
type Selection struct {
	Set Set

	// Partial says that the set selected from gives more. It can be true where
	// Set has no fewer rules: the wanted id may stand in for a wildcard.
	Partial bool
}

// Select returns as much of s as limit allows, and always one rule at least if
// there is one: all of s, or a part that gives every id the access that s
// gives it, or none.
//
// A client that holds a cached READ must never be kept from asking for its
// FULL. Therefore a pattern goes in only together with its dependents, the
// stronger patterns that it covers. The one that decides the access to want
// goes first. Where its dependents do not fit, want itself goes in, exact, at
// its access. Then follow the broadest patterns that fit: wildcards before
// exact ids, shorter literals first, then by bytes.
//
// With want "" nothing is asked for by name. ok is false where want has one
// and s gives no access to it.
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

// dependentsEnd returns the index after the last rule of i's dependents, which
// starts at i itself.
func (p *picker) dependentsEnd(i int) int {
	end := i + 1
	for end < len(p.rules) && p.rules[i].Pattern.Covers(p.rules[end].Pattern) {
		end++
	}
	return end
}

// fits reports whether what is not yet taken of the rules i to end fits beside
// what is.
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
