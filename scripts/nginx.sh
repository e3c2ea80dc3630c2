#!/usr/bin/env bash
# Prints the path of nginx. Downloads Debian's package if it is missing.
. "$(dirname "$0")/lib.sh"

unpack_package nginx nginx
