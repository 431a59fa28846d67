#!/usr/bin/env bash
# What many connections and several cores cost.
#
#   scripts/scale.sh [--quick] [--held N] [SECTION...]
#
#   --quick    up to 102,400 connections, fewer rounds, no veth: within two minutes after the build; bounds are only reported
#   --held N   connections that are held on the veth pair (default: 1048576)
#   SECTION    only these: segments lookups connects cores handed readers scrapes veth (default: all)
#
# Prints the cost of a segment and of a lookup among 1,000 to a million connections with a memory miss beside it, connects a
# second while as many are open, the throughput of two cores by that of one, the cost of a frame that arrives at the wrong
# core, and what it costs a core that another reads its connections, or scrapes its figures: over a device in memory, each as
# a median with its spread. Then, on a veth pair in namespaces of its own (needs root), connects a second while a million connections are held,
# and how many of them `ringway show` tells while that goes on. Ends with 4 when a bound is missed. Wants a quiet machine
# with two cores, and 2 GiB of memory for a million connections on veth.

source "$(dirname "$0")/common.sh"

quick='' held=1048576 sections=()
while [[ $# -gt 0 ]]; do
    case $1 in
        --quick) quick=--quick ;;
        --held) held=${2:?--held needs a number}; shift ;;
        segments | lookups | connects | cores | handed | readers | scrapes | veth) sections+=("$1") ;;
        -h | --help) usage; exit 0 ;;
        *) say "${0##*/}: unknown argument '$1'"; usage >&2; exit 2 ;;
    esac
    shift
done
[[ $held =~ ^[1-9][0-9]*$ && $held -ge 2048 ]] || { say "${0##*/}: --held needs a number from 2048 on, not '$held'"; exit 2; }
[[ ${#sections[@]} -gt 0 ]] || sections=(segments lookups connects cores handed readers scrapes veth)
in_memory=() veth=''
for section in "${sections[@]}"; do
    if [[ $section == veth ]]; then veth=1; else in_memory+=("$section"); fi
done
[[ -z $quick ]] || veth=''

server_netns=rw-$$-server
client_netns=rw-$$-client
work=''

# shellcheck disable=SC2317 # called by the trap
clean_up() {
    end_namespaces "$server_netns" "$client_netns"
    [[ -z $work ]] || "${root[@]}" rm -rf "$work"
}

# serve: an echo server in a namespace of its own.
serve() {
    "${root[@]}" ip netns exec "$server_netns" "$ringway" serve --json -i veth0 -a 10.0.0.2/24 --control "$work/control" echo:7 \
        --set "tcp.connections=$((held + held / 8 + 8192))" --set tcp.backlog=64K >"$work/server.json" 2>"$work/server.log" &
    server=$!
}

# hold N: opens so many connections and keeps them, without traffic, until the namespaces end.
hold() {
    "${root[@]}" ip netns exec "$client_netns" "$ringway" load tcp --json --to 10.0.0.2:7 -i veth1 -a 10.0.0.16/24 --sources 32 \
        -P "$1" --ramp 20K --hold 3600s --active 0% --set "tcp.connections=$1" >"$work/ramp.json" 2>"$work/ramp.log" &
    holder=$!
}

# established: how many connections the server has in ESTABLISHED with those addresses that hold, and how many of them are there twice.
established() {
    "${root[@]}" ip netns exec "$server_netns" "$ringway" show connections --state ESTABLISHED --json "$@" --socket "$work/control" \
        | sed -n 's/.*"remote":"\(10\.0\.0\.\(1[6-9]\|[2-4][0-9]\):[0-9]*\)".*/\1/p' >"$work/shown"
    echo "$(wc -l <"$work/shown") $(sort "$work/shown" | uniq -d | wc -l)"
}

# churn: connects a second of the kernel's client beside the connections that are held.
churn() {
    "${root[@]}" ip netns exec "$client_netns" "$ringway" load tcp --json --stack kernel --to 10.0.0.2:7 --churn=rst -P 4 -O 1s -t 4s \
        >"$work/churn.json" 2>"$work/churn.log" || { cat "$work/churn.log" >&2; die "the client that connects failed"; }
    python3 - "$work/churn.json" <<'PYTHON'
import json, sys

rows = [json.loads(line) for line in open(sys.argv[1])]
row = next(row for row in rows if row["event"] == "row")
print(f'{row["rate_per_s"]:.1f}')
PYTHON
}

# measure N: rates with so many connections held, into $work/rates-N; with the most, what `ringway show` tells meanwhile.
measure() {
    local try counts round
    add_namespace "$server_netns"
    add_namespace "$client_netns"
    join_namespaces "$server_netns" veth0 "$client_netns" veth1
    "${root[@]}" ip -n "$client_netns" address add 10.0.0.1/24 dev veth1
    serve
    sleep 1
    hold "$1"
    for ((try = 0; try < 120; try++)); do
        sleep 2
        kill -0 "$holder" 2>/dev/null || { cat "$work"/*.log "$work/ramp.json" >&2; die "the client that holds connections has ended"; }
        counts=$(established --brief)
        [[ ${counts% *} != "$1" ]] || break
    done
    [[ ${counts% *} == "$1" ]] || { cat "$work"/*.log >&2; die "${counts% *} of $1 connections were opened"; }
    for ((round = 0; round < 5; round++)); do
        churn >>"$work/rates-$1"
    done
    if [[ $1 == "$held" ]]; then
        churn >/dev/null &
        local traffic=$!
        counts=$(established)
        echo "ringway show tells ${counts% *} of $1 held connections in ESTABLISHED, ${counts#* } twice, while others come and go"
        wait "$traffic"
        [[ $counts == "$1 0" ]] || missed=1
        echo "the server holds $(awk '/VmRSS/ { printf "%.0f MiB", $2 / 1024 }' "/proc/$(server_pid)/status") with $1 connections"
    fi
    end_namespaces "$server_netns" "$client_netns"
    wait "$server" "$holder" 2>/dev/null || true
}

# The server itself: behind sudo the job is sudo's.
server_pid() {
    "${root[@]}" ip netns pids "$server_netns" | tail -n 1
}

need_rust
conditions
code=0
missed=''
if [[ ${#in_memory[@]} -gt 0 ]]; then
    program=$(cargo build --release --locked --bench scale --message-format=json \
        | sed -n 's/.*"kind":\["bench"\].*"executable":"\([^"]*\)".*/\1/p' | tail -n 1)
    [[ -n $program ]] || die "cargo did not name the program"
    "$program" $quick "${in_memory[@]}" || code=$?
fi

# Bytes of an idle connection, by the program that counts them.
if [[ -e examples/idle_connections.rs && ${#sections[@]} -gt 2 ]]; then
    printf '\nBytes of an idle connection\n'
    cargo run --quiet --release --locked --example idle_connections ${quick:+102400} || code=4
fi

if [[ -n $veth ]]; then
    need_root
    need_commands ip=iproute2 ethtool=ethtool sysctl=procps python3=python3
    cargo build --release --locked --bin ringway
    ringway=${CARGO_TARGET_DIR:-target}/release/ringway
    remove_on_exit clean_up
    work=$(mktemp -d)
    printf '\nOn a veth pair: the kernel connects, one request, resets, over and over, beside connections that are held\n'
    measure 1024
    measure "$held"
    python3 - "$work/rates-1024" "$work/rates-$held" <<'PYTHON' || missed=1
import statistics, sys

few, many = ([float(line) for line in open(path)] for path in sys.argv[1:])
for path, rates in zip(sys.argv[1:], (few, many)):
    held = int(path.rsplit("-", 1)[1])
    print(f"  {held:>9,} held: {statistics.median(rates):.0f} connects a second ({min(rates):.0f} to {max(rates):.0f}, {len(rates)} rounds)")
ratio = statistics.median(many) / statistics.median(few)
print(f"  rate by that with few: {ratio:.3f}, bound at least 0.9: {'met' if ratio >= 0.9 else 'MISSED'}")
sys.exit(ratio < 0.9)
PYTHON
fi
[[ -z $missed ]] || code=4
exit "$code"
