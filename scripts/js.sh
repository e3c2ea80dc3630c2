#!/usr/bin/env bash
# js.sh FOLDER...: runs npm test in every folder that has a package.json, with
# Node 22 and what its package-lock.json pins.
. "$(dirname "$0")/lib.sh"

bin=$(scripts/node.sh)
export PATH=$bin:$PATH
for dir; do
	[ -f "$dir/package.json" ] || continue
	installed=$dir/node_modules/.installed-lock.json
	if ! cmp -s "$dir/package-lock.json" "$installed"; then
		(cd "$dir" && npm ci --no-audit --no-fund </dev/null)
		mkdir -p "$(dirname "$installed")" # npm makes none where nothing is needed
		cp "$dir/package-lock.json" "$installed"
	fi
	(cd "$dir" && npm test </dev/null)
done
