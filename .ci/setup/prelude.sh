# Sourced by every script here: strict mode, where things are, how to speak, and one lock.
# shellcheck shell=bash
set -euo pipefail
export LC_ALL=C
# A jobserver of make's is closed to these scripts; Rust would complain about it.
unset MAKEFLAGS MFLAGS

ROOT=$(cd "$(dirname "${BASH_SOURCE[0]}")/../.." && pwd)
HOST_DIR=$ROOT/target/host
STEP=${STEP:-$(basename "$0")}

say() { printf '  [%s] %s\n' "$STEP" "$*"; }

# die MESSAGE [HINT...]: what is wrong on the first line, what to do about it on the next ones.
die() {
    printf '\nerror: [%s] %s\n' "$STEP" "$1" >&2
    shift
    for hint in "$@"; do printf '   hint: %s\n' "$hint" >&2; done
    exit 1
}

# What is built here is also read by the unprivileged user that the test servers run as.
umask 022
mkdir -p "$HOST_DIR"

# Two makes at once must not unpack over each other.
lock_host_dir() {
    exec 9>"$HOST_DIR/.lock"
    if ! flock -n 9; then
        say "waiting for another set-up in this checkout to finish"
        flock 9
    fi
}

# fresh_dir DEST: an empty directory beside DEST; leftovers of an interrupted run are removed first.
fresh_dir() {
    rm -rf "$1.new"
    mkdir -p "$1.new"
    printf '%s\n' "$1.new"
}

# publish DEST RECIPE: DEST.new becomes DEST in one rename, marked with the recipe that made it.
publish() {
    printf '%s\n' "$2" >"$1.new/.recipe"
    chmod -R a+rX,u+w "$1.new"
    rm -rf "$1.old"
    if [ -e "$1" ]; then mv "$1" "$1.old"; fi
    mv "$1.new" "$1"
    rm -rf "$1.old"
}

# made_by DEST RECIPE: is DEST complete and of this recipe?
made_by() { [ "$(cat "$1/.recipe" 2>/dev/null)" = "$2" ]; }
