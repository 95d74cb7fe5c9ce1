# Sourced by the set-up scripts: one way to show progress, one way to give up.
say() { printf '==> %s\n' "$*"; }
fail() { printf 'set-up: %s\n' "$*" >&2; exit 1; }
