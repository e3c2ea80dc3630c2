package main

import (
	"cmp"
	"context"
	"log/slog"
	"maps"
	"os"
	"slices"
	"strings"
	"sync"

	"github.com/alecthomas/kong"
)

const envPrefix = "USHER_"

// unsetEmpty removes empty USHER_ variables from the environment: an empty variable
// means the default, because compose files and CI set missing variables to "".
func unsetEmpty() {
	for _, variable := range os.Environ() {
		if name, value, _ := strings.Cut(variable, "="); value == "" && strings.HasPrefix(name, envPrefix) {
			_ = os.Unsetenv(name) // fails only for invalid names
		}
	}
}

// otherVariables are read without a flag.
var otherVariables = []string{"USHER_POSTGRES_BIN"}

// An unknownVariable is a USHER_ variable that no command reads.
type unknownVariable struct {
	name    string
	nearest string // the variable that was probably meant; may be empty
}

// unknownVariables returns the USHER_ variables that no command reads, by name. They
// are usually typos.
func unknownVariables(environment []string) []unknownVariable {
	known := knownVariables()
	var unknown []unknownVariable
	for _, variable := range environment {
		name, _, _ := strings.Cut(variable, "=")
		if strings.HasPrefix(name, envPrefix) && !known[name] && !strings.HasPrefix(name, "USHER_TEST_") {
			unknown = append(unknown, unknownVariable{name, nearest(name, known)})
		}
	}
	slices.SortFunc(unknown, func(a, b unknownVariable) int { return cmp.Compare(a.name, b.name) })
	return unknown
}

// warnOfUnknownVariables logs them, because a typo must not silently mean the default.
func warnOfUnknownVariables(ctx context.Context, logger *slog.Logger) {
	for _, v := range unknownVariables(os.Environ()) {
		logger.WarnContext(ctx, "unknown environment variable is ignored", "variable", v.name, "did_you_mean", v.nearest)
	}
}

// knownVariables returns all variables that flags read, and the other known ones.
var knownVariables = sync.OnceValue(func() map[string]bool {
	known := map[string]bool{}
	for _, name := range otherVariables {
		known[name] = true
	}
	_ = kong.Visit(newParser(new(cli)).Model, func(node kong.Visitable, next kong.Next) error {
		if flag, ok := node.(*kong.Flag); ok {
			for _, name := range flag.Envs {
				known[name] = true
			}
		}
		return next(nil)
	})
	return known
})

// nearest returns the known name with the smallest edit distance, if that is small.
func nearest(name string, known map[string]bool) string {
	best, distance := "", 1+(len(name)-len(envPrefix))/3
	for _, candidate := range slices.Sorted(maps.Keys(known)) {
		if d := edits(name, candidate); d <= distance && (best == "" || d < distance) {
			best, distance = candidate, d
		}
	}
	return best
}

// edits is the Levenshtein distance of two names.
func edits(a, b string) int {
	row := make([]int, len(b)+1)
	for j := range row {
		row[j] = j
	}
	for i := range len(a) {
		diagonal := row[0]
		row[0] = i + 1
		for j := range len(b) {
			cost := diagonal
			if a[i] != b[j] {
				cost++
			}
			diagonal = row[j+1]
			row[j+1] = min(cost, row[j]+1, row[j+1]+1)
		}
	}
	return row[len(b)]
}
