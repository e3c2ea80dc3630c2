#!/usr/bin/env bash
# Prints the path of Chromium. Installs Debian's package if it is missing.
. "$(dirname "$0")/lib.sh"

found() { command -v chromium || command -v chromium-browser || command -v google-chrome; }

found || { may_install && install_packages chromium && found; } ||
	die "the browser tests need Chromium: install your system's package, or Google Chrome"
