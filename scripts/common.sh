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

# number_argument NAME DEFAULT LEAST ARGUMENT...: sets `number` for a script whose one option is a number.
number_argument() {
    local name=$1 least=$3
    number=$2
    shift 3
    while [[ $# -gt 0 ]]; do
        case $1 in
            "$name") number=${2:?$name needs a number}; shift ;;
            -h | --help) usage; exit 0 ;;
            *) say "${0##*/}: unknown argument '$1'"; usage >&2; exit 2 ;;
        esac
        shift
    done
    [[ $number =~ ^[1-9][0-9]*$ && $number -ge $least ]] \
        || { say "${0##*/}: $name needs a number from $least on, not '$number'"; exit 2; }
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
    [[ ${#packages[@]} -eq 0 ]] || install_packages "${commands[*]}" "${packages[@]}"
}

# need_modules MODULE=PACKAGE...: the same for modules of the system's own Python, before which another may stand in PATH.
need_modules() {
    local pair packages=() modules=()
    for pair in "$@"; do
        if ! /usr/bin/python3 -c "import ${pair%%=*}" 2>/dev/null; then
            modules+=("the Python module ${pair%%=*}")
            packages+=("${pair#*=}")
        fi
    done
    [[ ${#packages[@]} -eq 0 ]] || install_packages "${modules[*]}" "${packages[@]}"
}

# install_packages WHAT PACKAGE...: what is missing for want of them.
install_packages() {
    local missing=$1
    shift
    if ! command -v apt-get >/dev/null; then
        die "missing: $missing. This is not Debian or Ubuntu, so install what provides them (there: $*) and start again."
    fi
    need_root
    say "installing $*"
    "${root[@]}" env DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends "$@" >/dev/null \
        || { "${root[@]}" apt-get update -qq \
            && "${root[@]}" env DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends "$@" >/dev/null; } \
        || die "apt-get could not install $*"
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

# The commit, with a word where the tree has changes.
commit() {
    local hash
    hash=$(git rev-parse --short HEAD 2>/dev/null) || { echo unknown; return; }
    [[ -z $(git status --porcelain --untracked-files=no 2>/dev/null) ]] || hash+='-changed'
    echo "$hash"
}

# conditions: what a figure depends on beside the code. After need_rust.
conditions() {
    echo "cpu: $(sed -n 's/^model name[^:]*: //p' /proc/cpuinfo | head -n 1), $(nproc) cores, load before $(cut -d' ' -f1 /proc/loadavg)"
    echo "kernel: $(uname -r); rustc: $(rustc --version | cut -d' ' -f2); commit: $(commit)"
    echo "huge pages: $(cat /sys/kernel/mm/transparent_hugepage/enabled 2>/dev/null || echo none)"
}

# Has `cargo test` run the test programs as root, which they need for namespaces; cargo itself does not. After need_root and need_rust.
tests_as_root() {
    local triple
    [[ ${#root[@]} -gt 0 ]] || return 0
    triple=$(rustc -vV | sed -n 's/^host: //p' | tr 'a-z-' 'A-Z_')
    export "CARGO_TARGET_${triple}_RUNNER=sudo -E"
}

# Ends the script at a signal; what it made is removed on exit, by this function of the script's.
remove_on_exit() {
    # shellcheck disable=SC2064 # the name is known now
    trap "$1" EXIT
    trap 'exit 130' INT
    trap 'exit 143' TERM HUP
}

# add_namespace NETNS: one whose kernel says nothing of its own: router solicitations and the like would be counted.
add_namespace() {
    "${root[@]}" ip netns add "$1"
    "${root[@]}" ip netns exec "$1" sysctl -qw net.ipv6.conf.all.disable_ipv6=1 2>/dev/null || true
    "${root[@]}" ip -n "$1" link set lo up
}

# join_namespaces NETNS INTERFACE NETNS INTERFACE [OFFLOAD...]: a veth pair between two namespaces, up, without these offloads of its ends.
# A pair hands a checksum left to offload over unfilled, and tags left to offload are invisible to XDP: neither is offloaded.
join_namespaces() {
    local netns interface offload end off=() ends=("$1" "$2" "$3" "$4")
    shift 4
    for offload in tx txvlan "$@"; do
        off+=("$offload" off)
    done
    "${root[@]}" ip link add "${ends[1]}" netns "${ends[0]}" numtxqueues 1 numrxqueues 1 \
        type veth peer name "${ends[3]}" netns "${ends[2]}" numtxqueues 1 numrxqueues 1
    for end in 0 2; do
        netns=${ends[end]} interface=${ends[end + 1]}
        "${root[@]}" ip netns exec "$netns" ethtool -K "$interface" "${off[@]}" >/dev/null
        "${root[@]}" ip -n "$netns" link set "$interface" up
    done
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
