#!/usr/bin/env bash
# npm-ci.sh FOLDER...: installs what each folder's package-lock.json pins, where
# that is not what was installed last.
. "$(dirname "$0")/lib.sh"

bin=$(scripts/node.sh)
export PATH=$bin:$PATH
for dir; do
	installed=$dir/node_modules/.installed-lock.json
	cmp -s "$dir/package-lock.json" "$installed" && continue
	(cd "$dir" && npm ci --no-audit --no-fund </dev/null)
	mkdir -p "$(dirname "$installed")" # npm makes none where nothing is needed
	cp "$dir/package-lock.json" "$installed"
done
