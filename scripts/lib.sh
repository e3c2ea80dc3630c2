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
