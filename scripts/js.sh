#!/usr/bin/env bash
# js.sh FOLDER...: runs npm test in every folder that has a package.json, with
# Node 22 and the packages that its package-lock.json pins.
. "$(dirname "$0")/lib.sh"

bin=$(scripts/node.sh)
export PATH=$bin:$PATH
for dir; do
	[ -f "$dir/package.json" ] || continue
	scripts/npm-ci.sh "$dir"
	(cd "$dir" && npm test </dev/null)
done
