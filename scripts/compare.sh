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

make_namespaces() {
    local netns
    "${root[@]}" ip netns add "$server_netns"
    "${root[@]}" ip netns add "$client_netns"
    "${root[@]}" ip link add "$interface" netns "$server_netns" numtxqueues 1 numrxqueues 1 \
        type veth peer name "$interface" netns "$client_netns" numtxqueues 1 numrxqueues 1
    for netns in "$server_netns" "$client_netns"; do
        # Router solicitations and the like would be counted as packets of the comparison.
        "${root[@]}" ip netns exec "$netns" sysctl -qw net.ipv6.conf.all.disable_ipv6=1 2>/dev/null || true
        # A veth pair hands a checksum left to offload over unfilled; tags left to offload are invisible to XDP.
        "${root[@]}" ip netns exec "$netns" ethtool -K "$interface" tx off txvlan off >/dev/null
        "${root[@]}" ip -n "$netns" link set lo up
        "${root[@]}" ip -n "$netns" link set "$interface" up
    done
}

need_root
need_rust
need_commands ip=iproute2 ethtool=ethtool sysctl=procps
cargo build --release --locked --bin ringway
mkdir -p "$out"

trap remove_namespaces EXIT
# A signal ends the comparison, which then removes the namespaces on exit.
trap 'exit 130' INT
trap 'exit 143' TERM HUP
make_namespaces

code=0
"${root[@]}" "${CARGO_TARGET_DIR:-target}/release/ringway" compare \
    --server-netns "$server_netns" --server-if "$interface" --server-address "$server_address" \
    --client-netns "$client_netns" --client-if "$interface" --client-address "$client_address" \
    --out "$out" "${arguments[@]}" || code=$?
[[ ${#root[@]} -eq 0 ]] || "${root[@]}" chown -R "$(id -u):$(id -g)" "$out"
[[ $code -ne 0 ]] || say "the page: $(realpath "$out/report.html")"
exit "$code"
