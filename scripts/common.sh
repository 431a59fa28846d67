# shellcheck shell=bash
# What the scripts of this folder share. Sourced, not run.

set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
# ip, ethtool and sysctl are not on every user's path.
PATH=$PATH:/usr/sbin:/sbin

say() { printf '%s\n' "$*" >&2; }

die() {
    say "${0##*/}: $*"
    exit 3
}

# Prints the comment at the head of the calling script: its help.
usage() {
    sed -n '2,/^$/s/^# \{0,1\}//p' "$0"
}

# Commands that need root stand behind "${root[@]}".
root=()
need_root() {
    [[ $EUID -eq 0 ]] && return
    command -v sudo >/dev/null || die "network namespaces and XDP need root, and there is no sudo: run this script as root"
    root=(sudo)
    sudo -v || die "network namespaces and XDP need root, and sudo refused: run this script as root"
}

# need_commands COMMAND=PACKAGE...: installs the Debian or Ubuntu packages of the commands that are missing.
need_commands() {
    local pair packages=() commands=()
    for pair in "$@"; do
        if ! command -v "${pair%%=*}" >/dev/null; then
            commands+=("${pair%%=*}")
            packages+=("${pair#*=}")
        fi
    done
    [[ ${#packages[@]} -eq 0 ]] && return
    if ! command -v apt-get >/dev/null; then
        die "missing: ${commands[*]}. This is not Debian or Ubuntu, so install what provides them (there: ${packages[*]}) and start again."
    fi
    need_root
    say "installing ${packages[*]}"
    "${root[@]}" env DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends "${packages[@]}" >/dev/null \
        || { "${root[@]}" apt-get update -qq \
            && "${root[@]}" env DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends "${packages[@]}" >/dev/null; } \
        || die "apt-get could not install ${packages[*]}"
}

# A Rust tool chain and a linker. Rust is not installed behind the user's back.
need_rust() {
    local home
    if ! command -v cargo >/dev/null && [[ -x ${CARGO_HOME:-$HOME/.cargo}/bin/cargo ]]; then
        PATH=${CARGO_HOME:-$HOME/.cargo}/bin:$PATH
    elif ! command -v cargo >/dev/null && [[ -n ${SUDO_USER:-} ]]; then
        # sudo resets PATH and HOME: take the Rust of the user who called.
        home=$(getent passwd "$SUDO_USER" | cut -d: -f6)
        if [[ -x $home/.cargo/bin/cargo ]]; then
            export CARGO_HOME=$home/.cargo RUSTUP_HOME=$home/.rustup
            PATH=$home/.cargo/bin:$PATH
        fi
    fi
    if ! command -v cargo >/dev/null; then
        die "Rust is missing ($(rust_wanted) or newer). Install it with
  curl --proto '=https' --tlsv1.2 -sSf https://sh.rustup.rs | sh
and start again."
    fi
    local found wanted
    wanted=$(rust_wanted)
    found=$(rustc --version | cut -d' ' -f2)
    if [[ $(printf '%s\n' "$wanted" "$found" | sort -V | head -n1) != "$wanted" ]]; then
        die "Rust $found is too old, $wanted or newer is needed: rustup update stable"
    fi
    need_commands cc=build-essential
}

rust_wanted() {
    sed -n 's/^rust-version = "\(.*\)"/\1/p' Cargo.toml
}

# Has `cargo test` run the test programs as root, which they need for namespaces; cargo itself does not. After need_root and need_rust.
tests_as_root() {
    local triple
    [[ ${#root[@]} -gt 0 ]] || return 0
    triple=$(rustc -vV | sed -n 's/^host: //p' | tr 'a-z-' 'A-Z_')
    export "CARGO_TARGET_${triple}_RUNNER=sudo -E"
}

# end_namespaces NETNS...: ends what runs in these network namespaces and removes them; those that are not there are no fault.
end_namespaces() {
    local netns pids
    for netns in "$@"; do
        pids=$("${root[@]}" ip netns pids "$netns" 2>/dev/null) || continue
        # shellcheck disable=SC2086 # one word a process
        [[ -z $pids ]] || "${root[@]}" kill -9 $pids 2>/dev/null || true
        "${root[@]}" ip netns del "$netns" || true
    done
}
