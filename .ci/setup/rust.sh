# Sourced: which cargo builds the host's crates, and where its compiler lives.
# shellcheck shell=bash

RUST_NEEDED=1.95
PRIVATE_RUST=$HOST_DIR/rust

# use_private_rust: the tool chain that `base` installed for this checkout alone.
use_private_rust() {
    export RUSTUP_HOME=$PRIVATE_RUST/rustup CARGO_HOME=$PRIVATE_RUST/cargo
}

# recent_enough CARGO: does it run, and is it new enough?
recent_enough() {
    local version
    version=$("$1" --version 2>/dev/null) || return 1
    version=${version#cargo }
    version=${version%%[ -]*}
    [ "$(printf '%s\n' "$RUST_NEEDED" "$version" | sort -V | head -n 1)" = "$RUST_NEEDED" ]
}

# find_cargo: sets CARGO to the user's own cargo, else to the private one; fails if there is neither.
find_cargo() {
    local candidate
    for candidate in "${CARGO:-}" "$(command -v cargo || true)" "${CARGO_HOME:-$HOME/.cargo}/bin/cargo"; do
        if [ -n "$candidate" ] && recent_enough "$candidate"; then
            CARGO=$candidate
            return 0
        fi
    done
    [ -e "$PRIVATE_RUST/.recipe" ] || return 1
    use_private_rust
    CARGO=$PRIVATE_RUST/cargo/bin/cargo
    recent_enough "$CARGO"
}
