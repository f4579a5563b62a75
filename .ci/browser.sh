#!/usr/bin/env bash
# Make sure that the browser tests have a Chromium. Called by `make test` and `.ci/run`.
# Debian's package is installed only where that needs no question: as root, with apt. Elsewhere the
# tests that need a browser are left out, and the last lines of pytest say how many. With --require,
# a missing Chromium is an error.
set -euo pipefail

found() { .venv/bin/python tests/support/chromium.py >/dev/null; }

found && exit 0
if [[ $EUID -eq 0 ]] && command -v apt-get >/dev/null; then
  echo "browser tests: installing Debian's chromium"
  apt-get update -qq && DEBIAN_FRONTEND=noninteractive \
    apt-get install -y -qq --no-install-recommends chromium >/dev/null || true
  found && exit 0
fi
echo "browser tests: no Chromium found. Debian and Ubuntu: sudo apt install chromium" >&2
[[ ${1:-} != --require ]]
