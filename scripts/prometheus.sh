#!/usr/bin/env bash
# prometheus.sh COMMAND prints the path of a command of Prometheus: prometheus or
# promtool. Downloads Debian's package if it is missing.
. "$(dirname "$0")/lib.sh"

unpack_package prometheus "$1"
