# shellcheck shell=bash
# shellcheck disable=SC2154 # root is of common.sh
# What goodput.sh and fairness.sh share: senders, a cable and a receiver in namespaces of their own. Sourced, not run.

senders=rw-$$-senders
line=rw-$$-line
receiver=rw-$$-receiver
# The address of Ringway's sender and that of the kernel's, both on the interface of the senders' namespace.
ringway_address=10.0.0.2
kernel_address=10.0.0.3
port=19
# What the cable does besides losing frames; one bandwidth-delay product of frames of 1514 bytes waits for the rate.
line_options=(--delay 10ms --rate 100M --queue 165)

# shellcheck disable=SC2317 # called by the trap
remove_namespaces() {
    end_namespaces "$senders" "$line" "$receiver"
    rm -rf "$folder"
}

inside() {
    local netns=$1
    shift
    "${root[@]}" ip netns exec "$netns" "$@"
}

# The options of every script of the line: sets congestion and settings; --quick sets quick.
# shellcheck disable=SC2034 # quick is for the script that asks
line_arguments() {
    congestion=cubic settings=() quick=
    while [[ $# -gt 0 ]]; do
        case $1 in
            --quick) quick=1 ;;
            --congestion) congestion=${2:?--congestion needs a name}; shift ;;
            --set) settings+=(--set "${2:?--set needs KEY=VALUE}"); shift ;;
            -h | --help) usage; exit 0 ;;
            *) say "${0##*/}: unknown argument '$1'"; usage >&2; exit 2 ;;
        esac
        shift
    done
}

# Three namespaces in a row, offloads off everywhere, so that both stacks send what they mean to send.
make_line() {
    local netns
    for netns in "$senders" "$line" "$receiver"; do
        add_namespace "$netns"
    done
    join_namespaces "$senders" veth0 "$line" left tso gso gro
    join_namespaces "$receiver" veth0 "$line" right tso gso gro
    "${root[@]}" ip -n "$senders" address add "$kernel_address/24" dev veth0
    "${root[@]}" ip -n "$receiver" address add 10.0.0.1/24 dev veth0
}

# start NAME COMMAND...: in the background, its output in a file of that name; waits until the file says that it is ready.
start() {
    local name=$1 tries
    shift
    # What the one before it said is gone before anybody looks.
    rm -f "$folder/$name"
    "$@" >"$folder/$name" 2>"$folder/$name.log" &
    for ((tries = 0; tries < 100; tries++)); do
        grep -qs ready "$folder/$name" && return
        sleep 0.1
    done
    cat "$folder/$name.log" >&2
    die "$name does not start"
}

# Ends what runs in a namespace in order, and waits for it.
stop_in() {
    local pids pid tries
    pids=$("${root[@]}" ip netns pids "$1")
    for pid in $pids; do
        "${root[@]}" kill -TERM "$pid" 2>/dev/null || true
    done
    for ((tries = 0; tries < 100; tries++)); do
        [[ -z $("${root[@]}" ip netns pids "$1") ]] && return
        sleep 0.1
    done
    die "something in the namespace $1 does not end"
}

# start_cable OPTION...
start_cable() {
    start cable inside "$line" "$ringway" cable --json -i left -i right "${line_options[@]}" "$@"
}

# Both send buffers grow by themselves to more than the line and its queue together hold, so that congestion control alone decides.
start_ringway() {
    start ringway inside "$senders" "$ringway" serve -i veth0 -a "$ringway_address/24" --set "tcp.congestion=$congestion" \
        "${settings[@]}" "chargen/tcp:$port"
}

start_kernel() {
    start kernel inside "$senders" "$bulk" source "$kernel_address:$port" "$congestion"
}

# What the last cable did to the data, which goes from A to B: the first direction of its summary.
line_drops() {
    local name
    for name in received lost queue_drops; do
        printf '%s ' "$(grep summary "$folder/cable" | grep -o "\"$name\":[0-9]*" | head -n1 | tr -d '"')"
    done
}

median() {
    sort -g | awk '{ all[NR] = $1 } END { print (NR % 2) ? all[(NR + 1) / 2] : (all[NR / 2] + all[NR / 2 + 1]) / 2 }'
}

# As 93.1 Mbit/s.
shown() {
    awk -v bits="$1" 'BEGIN { printf "%.1f Mbit/s", bits / 1e6 }'
}

# Builds the command and the measuring ends, and lays the line; it goes with the script.
prepare() {
    need_root
    need_rust
    need_commands ip=iproute2 ethtool=ethtool sysctl=procps
    cargo build --release --locked --bin ringway --example bulk
    ringway=${CARGO_TARGET_DIR:-target}/release/ringway
    bulk=${CARGO_TARGET_DIR:-target}/release/examples/bulk
    folder=$(mktemp -d)
    remove_on_exit remove_namespaces
    make_line
}
