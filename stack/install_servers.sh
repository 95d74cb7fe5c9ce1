#!/bin/bash
# Installs PostgreSQL, TimescaleDB and Mosquitto system-wide. Runs as root; stack/setup.sh calls it only when one is missing.
# Starts no system service and creates no default database cluster: the stack runs private servers of its own.
set -euo pipefail
export DEBIAN_FRONTEND=noninteractive LC_ALL=C
. "$(dirname "$0")/report.sh"

[ "$(id -u)" = 0 ] || fail "run it as root"

# Two checkouts may be set up at the same time; the second finds everything in place.
exec 9>/run/lock/tcu-install-servers.lock
flock 9

work=$(mktemp -d /tmp/tcu-install.XXXXXX)
chmod 0755 "$work"                       # apt downloads as its own user
restore=()                               # files to take away again at the end
leave() { rm -rf "$work" "${restore[@]}"; }
trap leave EXIT
trap 'exit 129' HUP
trap 'exit 130' INT
trap 'exit 143' TERM

installed() { dpkg-query -W -f '${Status}\n' "$1" 2>/dev/null | grep -q ' installed$'; }
candidate() { apt-cache policy "$1" 2>/dev/null | awk '$1 == "Candidate:" && $2 != "(none)" { print $2 }'; }

logged() {  # runs a command; its output is shown only if it fails
    "$@" >"$work/log" 2>&1 || { tail -n 40 "$work/log" >&2; fail "failed: $*"; }
}

install_packages() {
    local missing=()
    for package; do installed "${package%%=*}" || missing+=("$package"); done
    [ ${#missing[@]} = 0 ] && return
    say "installing ${missing[*]}"
    logged apt-get install -y --no-install-recommends --no-upgrade "${missing[@]}"
}

keep_services_stopped() {
    # Maintainer scripts ask this file before they start a service; where one exists, it is the administrator's.
    if [ ! -e /usr/sbin/policy-rc.d ]; then
        restore+=(/usr/sbin/policy-rc.d)
        printf '#!/bin/sh\nexit 101\n' >/usr/sbin/policy-rc.d
        chmod 0755 /usr/sbin/policy-rc.d
    fi
}

install_postgres() {
    installed "postgresql-$pg" && return
    install_packages postgresql-common
    local setting=/etc/postgresql-common/createcluster.d/tcu-setup.conf
    mkdir -p "${setting%/*}"
    restore+=("$setting")
    echo 'create_main_cluster = false' >"$setting"
    install_packages "postgresql-$pg"
}

install_mosquitto() {
    installed mosquitto && installed mosquitto-clients && return
    local was_there=no
    installed mosquitto && was_there=yes
    install_packages mosquitto mosquitto-clients
    # The package enables a broker on port 1883 at the next boot. Nobody asked for that one.
    if [ $was_there = no ] && command -v systemctl >/dev/null; then
        systemctl disable mosquitto >/dev/null 2>&1 || say "could not disable the system's own mosquitto service"
    fi
}

signing_key() {  # signing_key FILE:STANZA prints the Signed-By of that apt source, if it is a file
    local file=${1%:*} stanza=${1##*:}
    case $file in
        *.sources) awk -v RS= -v n="$stanza" 'NR == n' "$file" | sed -n 's/^Signed-By: *\(\/.*\)/\1/p' ;;
        *) sed -n "${stanza}s/.*[Ss]igned-[Bb]y=\([^] ]*\).*/\1/p" "$file" ;;
    esac
}

debian_mirror() {  # prints "URI|FILE:STANZA" of the Debian archive that apt uses now
    apt-get indextargets 'Identifier: Packages' 'Origin: Debian' 'Component: main' \
        --format '$(LABEL)|$(RELEASE)|$(REPO_URI)|$(SOURCESENTRY)' |
        awk -F'|' -v suite="$VERSION_CODENAME" '$1 == "Debian" && $2 == suite { print $3 "|" $4; exit }'
}

fetch_timescaledb_source() {
    local found uri key options=()
    found=$(debian_mirror)
    uri=${found%%|*}
    [ -n "$uri" ] || fail "apt knows no Debian archive to take TimescaleDB from: install TimescaleDB for PostgreSQL $pg, or use compose.yaml"
    key=$(signing_key "${found#*|}")
    mkdir -p "$work/lists/partial" "$work/source"
    echo "deb-src ${key:+[signed-by=$key] }$uri trixie main" >"$work/sources.list"
    # A list and an index directory of its own: the machine's apt configuration stays as it is.
    options=(-o "Dir::Etc::SourceList=$work/sources.list" -o Dir::Etc::SourceParts=/dev/null
             -o "Dir::State::Lists=$work/lists" -o APT::Sandbox::User=root)
    logged apt-get "${options[@]}" update
    (cd "$work/source" && logged apt-get "${options[@]}" source --download-only timescaledb)
}

build_timescaledb() {
    local server_dev=postgresql-server-dev-$pg running
    # The headers of the server that is installed, if they are still offered: its upgrade is not ours to cause.
    running=$(dpkg-query -W -f '${Version}' "postgresql-$pg")
    apt-cache madison "$server_dev" | grep -qF "$running" && server_dev+="=$running"
    install_packages build-essential cmake dpkg-dev libssl-dev xz-utils "$server_dev"
    say "fetching TimescaleDB's source package"
    fetch_timescaledb_source
    say "building TimescaleDB for PostgreSQL $pg (under a minute)"
    logged dpkg-source --no-check -x "$work"/source/*.dsc "$work/timescaledb"
    logged cmake -S "$work/timescaledb" -B "$work/build" -DCMAKE_BUILD_TYPE=RelWithDebInfo \
        -DPG_CONFIG="/usr/lib/postgresql/$pg/bin/pg_config" -DAPACHE_ONLY=ON -DREGRESS_CHECKS=OFF \
        -DTAP_CHECKS=OFF -DWARNINGS_AS_ERRORS=OFF -DSEND_TELEMETRY_DEFAULT=OFF -DUSE_TELEMETRY=OFF
    logged make -C "$work/build" -j"$(nproc)"
    logged make -C "$work/build" install
}

install_timescaledb() {
    [ -e "/usr/share/postgresql/$pg/extension/timescaledb.control" ] && return
    if [ -n "$(candidate "postgresql-$pg-timescaledb")" ]; then
        install_packages "postgresql-$pg-timescaledb"
    else
        build_timescaledb
    fi
}

say "refreshing the package lists"
apt-get update >"$work/log" 2>&1 || say "some package source did not answer; going on with the others"
. /etc/os-release
pg=$(apt-cache depends postgresql 2>/dev/null | sed -n 's/^ *Depends: postgresql-\([0-9]\+\)$/\1/p' | head -n 1)
[ -n "$pg" ] || fail "this system's apt offers no PostgreSQL: install PostgreSQL with TimescaleDB, or use compose.yaml"

keep_services_stopped
install_postgres
install_timescaledb
install_mosquitto
say "PostgreSQL $pg, TimescaleDB and Mosquitto are installed"
