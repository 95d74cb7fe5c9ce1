#!/bin/bash
# Installs Debian's Chromium system-wide, for the tests of the live screen and its pictures. Runs as root; stack/setup.sh
# calls it only when no Chromium is there.
set -euo pipefail
export DEBIAN_FRONTEND=noninteractive LC_ALL=C
. "$(dirname "$0")/report.sh"

[ "$(id -u)" = 0 ] || fail "run it as root"

exec 9>/run/lock/tcu-install-servers.lock
flock 9
log=$(mktemp /tmp/tcu-browser.XXXXXX)
trap 'rm -f "$log"' EXIT
say "installing chromium"
apt-get update >"$log" 2>&1 || say "some package source did not answer; going on with the others"
apt-get install -y --no-install-recommends chromium >"$log" 2>&1 || { tail -n 20 "$log" >&2; fail "apt has no chromium for us"; }
