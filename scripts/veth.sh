# shellcheck shell=bash
# shellcheck disable=SC2154 # root is of common.sh
# `scripts/bench.sh veth`: two namespaces joined by a veth pair, and `ringway bench` in them. Sourced, not run.

server_netns=rw-$$-server
client_netns=rw-$$-client
# The same name on both sides: each namespace has one interface.
interface=veth0

# shellcheck disable=SC2317 # called by the trap
remove_namespaces() {
    end_namespaces "$server_netns" "$client_netns"
}

# bench_veth ARGUMENT...: those of `ringway bench`; --out and --smoltcp have defaults.
bench_veth() {
    local out=out/bench smoltcp='' arguments=() code=0 target netns
    while [[ $# -gt 0 ]]; do
        case $1 in
            --out) out=${2:?--out needs a folder}; shift ;;
            --out=*) out=${1#--out=} ;;
            --smoltcp) smoltcp=${2:?--smoltcp needs a program}; shift ;;
            --smoltcp=*) smoltcp=${1#--smoltcp=} ;;
            --only | --rounds | --markdown) arguments+=("$1" "${2:?$1 needs a value}"); shift ;;
            --quick | --strict | --resume | --json | --only=* | --rounds=* | --markdown=*) arguments+=("$1") ;;
            -h | --help) usage; return 0 ;;
            *) say "${0##*/}: unknown argument '$1'"; usage >&2; return 2 ;;
        esac
        shift
    done
    need_root
    need_rust
    need_commands ip=iproute2 ethtool=ethtool sysctl=procps taskset=util-linux wrk=wrk
    target=${CARGO_TARGET_DIR:-target}/release
    cargo build --release --locked --bin ringway
    if [[ -z $smoltcp && -e examples/smoltcp_echo.rs ]]; then
        cargo build --release --locked --example smoltcp_echo
        smoltcp=$target/examples/smoltcp_echo
    fi
    [[ -z $smoltcp ]] || arguments+=(--smoltcp "$smoltcp")
    mkdir -p "$out"

    remove_on_exit remove_namespaces
    add_namespace "$server_netns"
    add_namespace "$client_netns"
    join_namespaces "$server_netns" "$interface" "$client_netns" "$interface"
    for netns in "$server_netns" "$client_netns"; do
        # Connections that come and go want more ports than there are by default, and a listener's queue room for all of them.
        "${root[@]}" ip netns exec "$netns" sysctl -qw net.ipv4.ip_local_port_range='1024 65535' net.core.somaxconn=16384
    done
    "${root[@]}" "$target/ringway" bench --commit "$(commit)" --out "$out" "${arguments[@]}" \
        --server-netns "$server_netns" --server-if "$interface" --server-address 10.0.0.2/24 \
        --client-netns "$client_netns" --client-if "$interface" --client-address 10.0.0.1/24 || code=$?
    [[ ${#root[@]} -eq 0 ]] || "${root[@]}" chown -R "$(id -u):$(id -g)" "$out"
    return "$code"
}
