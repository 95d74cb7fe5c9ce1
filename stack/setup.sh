#!/bin/bash
# Prepares this checkout: servers from the distribution's packages, and .venv from the lock; --with-browser: Chromium too.
# Does nothing when nothing is missing.
set -euo pipefail
cd "$(dirname "$0")/.."
. stack/report.sh

servers_installed() {
    PATH="$PATH:/usr/sbin"
    command -v mosquitto >/dev/null && command -v mosquitto_pub >/dev/null &&
        compgen -G '/usr/share/postgresql/*/extension/timescaledb.control' >/dev/null
}

own_servers() { [ -n "${TCU_DATABASE_URL:-}" ] && [ -n "${TCU_MQTT_HOST:-}" ] && [ -z "${TCU_EMBEDDED:-}" ]; }

as_root() {  # as_root WHAT COMMAND… runs the command as root, directly or by sudo
    local what=$1
    shift
    if [ "$(id -u)" = 0 ]; then "$@"; return; fi
    command -v sudo >/dev/null || fail "$what must be installed by root (or with sudo); or use compose.yaml"
    say "$what: sudo may ask for your password"
    sudo "$@"
}

ensure_servers() {
    servers_installed && return
    command -v apt-get >/dev/null ||
        fail "install PostgreSQL with TimescaleDB, mosquitto and mosquitto-clients, or use compose.yaml (the set-up itself knows Debian and its like)"
    as_root "PostgreSQL, TimescaleDB and Mosquitto" bash stack/install_servers.sh
    servers_installed || fail "the servers are still not there; or use compose.yaml"
}

ensure_browser() {  # for the tests: without one they are skipped and say so, so that nothing here is fatal
    command -v chromium >/dev/null && return
    if command -v apt-get >/dev/null && { [ "$(id -u)" = 0 ] || command -v sudo >/dev/null; }; then
        (as_root "Chromium" bash stack/install_browser.sh) && return
    fi
    say "no Chromium: the tests of the live screen will be skipped"
}

suitable() { "$1" -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null; }

find_python() {
    local name
    for name in ${PYTHON:-} python3 python3.14 python3.13 python3.12 python3.11; do
        if suitable "$name"; then command -v "$name"; return; fi
    done
    return 1
}

ensure_venv_module() {
    "$python" -c 'import ensurepip, venv' 2>/dev/null && return
    command -v apt-get >/dev/null || fail "$python lacks the venv module: install it"
    as_root "python3-venv" sh -c 'apt-get update -q || true
        DEBIAN_FRONTEND=noninteractive apt-get install -y -q --no-install-recommends python3-venv' >/dev/null
    "$python" -c 'import ensurepip, venv' 2>/dev/null || fail "$python lacks the venv module: install it"
}

ensure_venv() {
    local python stamp wanted
    stamp=.venv/set-up-from
    wanted=$(cat requirements-dev.lock pyproject.toml | sha256sum)
    # The interpreter is tried too: a virtual environment does not survive a moved checkout or a removed Python.
    if [ "$(cat $stamp 2>/dev/null)" = "$wanted $PWD" ] && .venv/bin/python -c '' 2>/dev/null; then return; fi
    python=$(find_python) || fail "Python 3.11 or newer is needed: install it, or use compose.yaml"
    if ! [ -x .venv/bin/pip ] || ! suitable .venv/bin/python || [ "$(cut -d' ' -f4- $stamp 2>/dev/null)" != "$PWD" ]; then
        say "creating .venv with $("$python" -V)"
        ensure_venv_module
        "$python" -m venv --clear .venv
    fi
    say "installing the locked Python packages"
    # Not compiled here: what is imported compiles itself, and most of it never is (57 s where it took 177).
    .venv/bin/pip install -qq --no-compile --disable-pip-version-check --require-hashes -r requirements-dev.lock
    .venv/bin/pip install -qq --no-compile --disable-pip-version-check --no-deps --no-build-isolation -e .
    echo "$wanted $PWD" >$stamp
}

mkdir -p .run
exec 8>.run/setup.lock
flock 8                                   # two of make's targets may be started at once
own_servers || ensure_servers
[ "${1:-}" != --with-browser ] || ensure_browser
ensure_venv
