#!/usr/bin/env bash
# Runs the tests that use Postgres on version 18 from npm, if make test has used
# another version: all tests of db, and the short ones of what is built on it.
. "$(dirname "$0")/lib.sh"
scripts/postgres.sh
bin=$(npm_postgres)
"$(bin/findpostgres)/postgres" --version | grep -q ' 18\.' && exit
export USHER_POSTGRES_BIN=$bin
say "the tests on $("$bin/postgres" --version)"
go test ./db/...
go test -short ./api ./cmd/usher ./internal/service
