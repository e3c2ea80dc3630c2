#!/usr/bin/env bash
# Prints a folder with Node 22 or newer. Downloads it with npm if the installed
# version is older.
. "$(dirname "$0")/lib.sh"

new_enough() { "$1" -e 'process.exit(parseInt(process.versions.node) < 22 ? 1 : 0)' 2>/dev/null; }

if ! command -v node >/dev/null || ! command -v npm >/dev/null; then
	{ may_install && install_packages nodejs npm >&2; } ||
		die "the JavaScript tests need Node 22 or newer with npm: install it from https://nodejs.org/ or your system's packages"
fi
if new_enough node; then
	dirname "$(command -v node)"
	exit
fi
target=$cache/node-$(version node)
[ -d "$target" ] || scripts/fetch.sh node "$target" || die "npm could not download Node 22 for this machine: install it from https://nodejs.org/"
new_enough "$target/bin/node" || die "$target/bin/node does not run: install Node 22 from https://nodejs.org/ and remove $target"
echo "$target/bin"
