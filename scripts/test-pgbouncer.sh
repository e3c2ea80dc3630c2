#!/usr/bin/env bash
# Runs the tests of db and api with usher's connections through pgbouncer in
# transaction mode, and usher serve and the command line through it. Arguments
# go to go test; make test gives -short.
. "$(dirname "$0")/lib.sh"
scripts/postgres.sh
pgbouncer=$(unpack_package pgbouncer pgbouncer)
bin=$(dirname "$(readlink -f "$(bin/findpostgres)/postgres")")
go build -o bin/usher ./cmd/usher

dir=$(mktemp -d -p /dev/shm 2>/dev/null || mktemp -d) # in memory: the tests create many databases
as= # both programs refuse to run as root
if [ "$(id -u)" = 0 ]; then
	as="setpriv --reuid=nobody --regid=nogroup --clear-groups"
	chown nobody:nogroup "$dir"
fi
port=$((10000 + RANDOM % 10000))
# free_port NAME sets a variable to a port that nobody listens on.
free_port() {
	while port=$((port + 1)) && (: <>"/dev/tcp/127.0.0.1/$port") 2>/dev/null; do :; done
	printf -v "$1" %s "$port"
}
free_port server
free_port pooler
pids=()
finish() {
	for pid in "${pids[@]}"; do kill -INT "$pid" 2>/dev/null && wait "$pid" 2>/dev/null || true; done
	rm -rf "$dir"
}
trap finish EXIT

(cd "$dir" && $as "$bin/initdb" -D "$dir/data" -U postgres -A trust -E UTF8 --locale=C >/dev/null)
(cd "$dir" && exec $as "$bin/postgres" -D "$dir/data" -p "$server" -c listen_addresses=127.0.0.1 -c unix_socket_directories= \
	-c max_connections=300 -c log_min_messages=fatal 2>"$dir/postgres.log") &
pids+=($!)
cat >"$dir/users.txt" <<USERS
"postgres" "usher"
"usher_owner" "hunter2"
"usher_test_service" "hunter2"
"usher_test_auditor" "hunter2"
"usher" "usher"
USERS
cat >"$dir/pgbouncer.ini" <<INI
[databases]
* = host=127.0.0.1 port=$server
[pgbouncer]
listen_addr = 127.0.0.1
listen_port = $pooler
unix_socket_dir =
auth_type = trust
auth_file = $dir/users.txt
pool_mode = transaction
default_pool_size = 10
max_client_conn = 1000
max_db_connections = 0
log_connections = 0
log_disconnections = 0
log_pooler_errors = 0
INI
(cd "$dir" && exec $as "$pgbouncer" "$dir/pgbouncer.ini" 2>"$dir/pgbouncer.log") &
pids+=($!)
until grep -q '^ready' "$dir/data/postmaster.pid" 2>/dev/null && (: <>"/dev/tcp/127.0.0.1/$pooler") 2>/dev/null; do
	kill -0 "${pids[0]}" && kill -0 "${pids[1]}" || die "a server ended"
	sleep 0.1
done

say "usher serve and the command line through pgbouncer"
direct=postgres://postgres:usher@127.0.0.1:$server through=postgres://usher:usher@127.0.0.1:$pooler
key=$(head -c 32 /dev/urandom | base64)
USHER_SERVICE_PASSWORD=usher USHER_KEY_ENCRYPTION_KEY=$key USHER_DATABASE_URL=$direct/postgres bin/usher migrate up >/dev/null
if USHER_DATABASE_URL=postgres://postgres:usher@127.0.0.1:$pooler/postgres bin/usher migrate up 2>"$dir/refused"; then die "migrate took a pooler"; fi
grep -q 'connection pooler' "$dir/refused" || die "migrate: $(cat "$dir/refused")"
export USHER_DATABASE_URL=$through/postgres USHER_KEY_ENCRYPTION_KEY=$key
bin/usher user add ada >/dev/null
bin/usher org add acme >/dev/null
bin/usher org add-member acme ada >/dev/null
bin/usher grant add --org acme --room 'acme:*' --access full >/dev/null
session=$(bin/usher session add ada 2>/dev/null)
free_port http
free_port ops
bin/usher serve --url "http://127.0.0.1:$http" --listen "127.0.0.1:$http" --ops-listen "127.0.0.1:$ops" --audiences liveblocks=rooms 2>"$dir/serve.log" &
pids+=($!)
until curl -fs "http://127.0.0.1:$ops/readyz" >/dev/null || ! kill -0 $! 2>/dev/null; do sleep 0.1; done
for _ in $(seq 50); do
	curl -fs -X POST "http://127.0.0.1:$http/api/auth" -H "Origin: http://127.0.0.1:$http" -H 'Content-Type: application/json' \
		-H "Cookie: usher_session=$session" -d '{"room":"acme:1"}' >/dev/null || die "no token: $(tail -n 3 "$dir/serve.log")"
done
bin/usher audit tokens ada --json | grep -q '"jti"' || die "no audit row"

say "the tests of db and api through pgbouncer"
unset USHER_DATABASE_URL USHER_KEY_ENCRYPTION_KEY
export PATH=$bin:$PATH
USHER_TEST_DATABASE_URL=$direct/postgres USHER_TEST_POOLER=127.0.0.1:$pooler go test "$@" ./db ./api
