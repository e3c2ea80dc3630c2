#!/usr/bin/env bash
# Prints the path of a Chromium, Debian's where none is installed.
. "$(dirname "$0")/lib.sh"

found() { command -v chromium || command -v chromium-browser || command -v google-chrome; }

found || { may_install && install_packages chromium && found; } ||
	die "the browser tests need Chromium: install your system's package, or Google Chrome"
