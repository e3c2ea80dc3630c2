#!/usr/bin/env bash
# fuzz.sh TIME: runs every fuzz target for TIME, for example 10s.
. "$(dirname "$0")/lib.sh"

go test -list '^Fuzz' ./... | awk '/^Fuzz/ { t[n++] = $1 } /^ok/ { for (i = 0; i < n; i++) print $2, t[i]; n = 0 }' |
	while read -r package target; do
		go test -run '^$' -fuzz "^$target\$" -fuzztime "$1" "$package" </dev/null
	done
