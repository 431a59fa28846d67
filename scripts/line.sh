# shellcheck shell=bash
# shellcheck disable=SC2154 # root is of common.sh, congestion and settings are of the script that sources this
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

# Three namespaces in a row, offloads off everywhere, so that both stacks send what they mean to send.
make_line() {
    local end netns interface
    for netns in "$senders" "$line" "$receiver"; do
        "${root[@]}" ip netns add "$netns"
        inside "$netns" sysctl -qw net.ipv6.conf.all.disable_ipv6=1 2>/dev/null || true
        "${root[@]}" ip -n "$netns" link set lo up
    done
    for end in "$senders left" "$receiver right"; do
        "${root[@]}" ip link add veth0 netns "${end% *}" numtxqueues 1 numrxqueues 1 \
            type veth peer name "${end#* }" netns "$line" numtxqueues 1 numrxqueues 1
    done
    for end in "$senders veth0" "$receiver veth0" "$line left" "$line right"; do
        netns=${end% *} interface=${end#* }
        inside "$netns" ethtool -K "$interface" tx off tso off gso off gro off txvlan off >/dev/null
        "${root[@]}" ip -n "$netns" link set "$interface" up
    done
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
    trap remove_namespaces EXIT
    # A signal ends the script, which then removes the namespaces on exit.
    trap 'exit 130' INT
    trap 'exit 143' TERM HUP
    make_line
}
