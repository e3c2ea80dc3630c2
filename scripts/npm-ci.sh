#!/usr/bin/env bash
# npm-ci.sh FOLDER...: installs what each folder's package-lock.json pins, if it
# has changed since the last installation.
. "$(dirname "$0")/lib.sh"

bin=$(scripts/node.sh)
export PATH=$bin:$PATH
for dir; do
	installed=$dir/node_modules/.installed-lock.json
	cmp -s "$dir/package-lock.json" "$installed" && continue
	(cd "$dir" && npm ci --ignore-scripts --no-audit --no-fund </dev/null)
	mkdir -p "$(dirname "$installed")" # npm creates none if there are no packages
	cp "$dir/package-lock.json" "$installed"
done
