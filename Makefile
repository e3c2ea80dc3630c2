# make dev runs usher on this machine, make test tests it. Both need only Go and
# download the rest.

SHELL := bash
# Folders with npm tests.
JS := js examples/browser examples/liveblocks examples/livestore examples/better-auth examples/authjs
# The race detector needs a C compiler.
RACE = $(if $(filter 1,$(shell go env CGO_ENABLED)),-race,$(warning no C compiler: testing without the race detector))

.PHONY: dev test test-fast check lint fuzz bench bench-audit bench-audit-queries build setup-postgres

# On a terminal, usher gets its own process group (set -m): then usher handles
# Ctrl-C, not make, which would report an error.
dev: setup-postgres build
	@if [ -t 0 ]; then set -m; fi; bin/usher dev $(ARGS); exit $$?

test: setup-postgres
	go test $(RACE) -shuffle=on -timeout 30m ./...
	scripts/test-postgres18.sh
	scripts/test-pgbouncer.sh -short
	scripts/js.sh $(JS)

# Only Go, without the race detector, the long tests, npm or a browser.
test-fast: setup-postgres
	go test -short ./...

check: lint test fuzz

lint:
	go tool -modfile=tools/go.mod golangci-lint run
	go mod tidy -diff

fuzz: setup-postgres
	scripts/fuzz.sh 10s

bench: setup-postgres
	scripts/npm-ci.sh bench/node
	PATH="$$(scripts/node.sh):$$PATH" go run ./bench $(ARGS)

# How fast the audit answers, with 1,000,000 grants and 10,000,000 tokens. It
# needs 12 GB of disk and a few minutes to create them.
bench-audit-queries: setup-postgres
	go run ./bench/auditdata $(ARGS)

# How many audit rows per second are committed, compared with one INSERT per request.
bench-audit: setup-postgres
	go run ./bench audit $(ARGS)

build:
	go build -ldflags="-X main.version=$$(git describe --tags --always --dirty 2>/dev/null)" -o bin/usher ./cmd/usher

setup-postgres:
	@scripts/postgres.sh
