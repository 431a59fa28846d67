#!/usr/bin/env bash
# Compares TCP and UDP over Ringway with each other, with the bare AF_XDP loop and with kernel sockets.
#
#   scripts/compare.sh [--quick] [--out DIR] [-- ARGUMENT...]
#
#   --quick     shorter runs: the whole comparison within a minute after the build
#   --out DIR   where report.html, result.json and the .hlog files go (default: out/compare)
#   --          what follows goes to `ringway compare` as it stands
#
# Makes two network namespaces joined by a veth pair, runs `ringway compare` in them and removes them again, whatever
# happens. Nothing outside the two namespaces is touched. Needs root (sudo is used when there is one).

source "$(dirname "$0")/common.sh"

out=out/compare
arguments=()
while [[ $# -gt 0 ]]; do
    case $1 in
        --quick) arguments+=(--quick) ;;
        --out) out=${2:?--out needs a folder}; shift ;;
        --out=*) out=${1#--out=} ;;
        -h | --help) usage; exit 0 ;;
        --) shift; arguments+=("$@"); break ;;
        *) say "${0##*/}: unknown argument '$1'"; usage >&2; exit 2 ;;
    esac
    shift
done

server_netns=rw-$$-server
client_netns=rw-$$-client
# The same name on both sides: each namespace has one interface.
interface=veth0
server_address=10.0.0.2/24
client_address=10.0.0.1/24

# shellcheck disable=SC2317 # called by the trap
remove_namespaces() {
    end_namespaces "$server_netns" "$client_netns"
}

need_root
need_rust
need_commands ip=iproute2 ethtool=ethtool sysctl=procps
cargo build --release --locked --bin ringway
mkdir -p "$out"

remove_on_exit remove_namespaces
add_namespace "$server_netns"
add_namespace "$client_netns"
join_namespaces "$server_netns" "$interface" "$client_netns" "$interface"

code=0
"${root[@]}" "${CARGO_TARGET_DIR:-target}/release/ringway" compare \
    --server-netns "$server_netns" --server-if "$interface" --server-address "$server_address" \
    --client-netns "$client_netns" --client-if "$interface" --client-address "$client_address" \
    --out "$out" "${arguments[@]}" || code=$?
[[ ${#root[@]} -eq 0 ]] || "${root[@]}" chown -R "$(id -u):$(id -g)" "$out"
[[ $code -ne 0 ]] || say "the page: $(realpath "$out/report.html")"
exit "$code"
