#!/usr/bin/env bash
# Talks to the TLS and the QUIC echo of examples/secure with peers of others, over kernel sockets.
#
#   scripts/secure.sh [--seconds N]
#
#   --seconds N   how long garbage is sent to the QUIC port (default: 5)
#
# Builds Ringway and examples/secure, and makes three network namespaces: the servers in one, the clients in another, and in the third a cable that
# loses and marks packets, on a second way between them. TLS 1.2 and 1.3: openssl s_client, gnutls-cli, curl, and clients that break the rules. QUIC: quinn on
# tokio, a client of a version that there is not, and garbage. Every check has a line; fails when one fails. Needs root.

source "$(dirname "$0")/common.sh"

number_argument --seconds 5 1 "$@"
seconds=$number

client_netns=rw-$$-client
server_netns=rw-$$-server
cable_netns=rw-$$-cable
main_target=${CARGO_TARGET_DIR:-$PWD/target}
# Its own folder: the packages have different dependencies.
programs=$main_target/secure/debug
odd_peers=$PWD/scripts/secure.py
port=4433
work=
server=
cable=
failures=0
checks=0

# shellcheck disable=SC2317 # called by the trap
clean_up() {
    end_namespaces "$client_netns" "$server_netns" "$cable_netns"
    [[ -z $work ]] || "${root[@]}" rm -rf "$work"
}

client() {
    "${root[@]}" ip netns exec "$client_netns" "$@"
}

# check WHAT COMMAND...: the command has to succeed; its output is shown when it does not.
check() {
    local what=$1
    shift
    checks=$((checks + 1))
    if "$@" >"$work/check" 2>&1; then
        echo "ok: $what"
    else
        failures=$((failures + 1))
        echo "FAILED: $what"
        sed 's/^/    /' "$work/check"
    fi
}

# several WHAT COMMAND...: as `check` for a command that prints a line for each of its own checks.
several() {
    local what=$1
    shift
    local before=$failures
    "$@" >"$work/several" 2>&1 || failures=$((failures + 1))
    cat "$work/several"
    checks=$((checks + $(grep -c -e '^ok:' -e '^FAILED:' "$work/several" || true)))
    [[ $failures -eq $before ]] || echo "FAILED: $what"
}

# serve PROGRAM INTERFACE ADDRESS/PREFIX [OPTION...]: starts a server and waits until it answers a ping.
serve() {
    local program=$1 interface=$2 address=$3 try
    shift 3
    # Not by way of a function: the signal at the end has to reach the server.
    "${root[@]}" ip netns exec "$server_netns" "$programs/$program" -i "$interface" -a "$address" "$@" >"$work/totals" 2>"$work/server.log" &
    server=$!
    for ((try = 0; try < 50; try++)); do
        ! client ping -c 1 -W 1 "${address%/*}" >/dev/null 2>&1 || return 0
        sleep 0.1
    done
    cat "$work/server.log" >&2
    die "$program does not answer"
}

# stop: ends the server and shows its totals.
stop() {
    # One that has ended by itself has failed: its code says so.
    "${root[@]}" kill -TERM "$server" 2>/dev/null || true
    check "the server ends in order" wait "$server"
    sed 's/^/    /' "$work/totals" "$work/server.log"
}

# total NAME: a figure of the server that was stopped last.
total() {
    tail -n 1 "$work/totals" | tr ',' '\n' | sed -n "s/^ *$1 \([0-9]*\)$/\1/p"
}

# counted NAME TEST NUMBER: holds a figure against a number.
counted() {
    check "the server counts $1 $(total "$1")" test "$(total "$1")" "$2" "$3"
}

size() {
    stat -c %s "$1" 2>/dev/null || echo 0
}

# feed FILE ANSWER: the file, and then nothing until the answer is as long as the file: some clients end when their input does.
feed() {
    local try
    cat "$1"
    for ((try = 0; try < 300; try++)); do
        [[ $(size "$2") -lt $(size "$1") ]] || return 0
        sleep 0.1
    done
}

# through FILE COMMAND...: what a client is given has to come back.
through() {
    local file=$1 answer
    shift
    answer=$(mktemp -p "$work")
    # shellcheck disable=SC2094 # one end looks only how long it is
    feed "$file" "$answer" | client timeout 60 "$@" >"$answer" && cmp "$file" "$answer"
}

# s_client ADDRESS FILE OPTION...: at the end of its input it says so (-no_ign_eof), and the file may have a Q, R or k anywhere (-nocommands).
s_client() {
    local address=$1 file=$2
    shift 2
    through "$file" openssl s_client -quiet -no_ign_eof -nocommands -connect "$address:$port" "$@" 2>"$work/s_client"
}

gnutls() {
    client timeout 60 gnutls-cli --x509cafile="$work/cert.pem" --logfile=/dev/null -p "$port" 10.0.0.2 <"$1" >"$work/answer" && cmp "$1" "$work/answer"
}

# curl reads until the server ends the stream, which an echo does not: it gives up after 2 s, and has its own request then.
curl_hears_itself() {
    local code=0
    client curl -sS --cacert "$work/cert.pem" --http0.9 --max-time 2 "https://10.0.0.2:$port/hello" >"$work/answer" || code=$?
    [[ $code -eq 28 ]] && grep -q '^GET /hello HTTP/1.1' "$work/answer"
}

# at_once COUNT COMMAND...: so many of a command at once, all of which have to succeed.
at_once() {
    local count=$1 nth pids=() code=0
    shift
    for ((nth = 0; nth < count; nth++)); do
        "$@" &
        pids+=($!)
    done
    for nth in "${pids[@]}"; do
        wait "$nth" || code=1
    done
    return "$code"
}

# quic ADDRESS OPTION...: what it prints is kept in quic.out.
quic() {
    local address=$1
    shift
    client timeout 120 "$programs/quic_client" "$address:$port" --ca "$work/cert.pem" "$@" | tee "$work/quic.out"
}

# said NAME: a figure of the client that ran last.
said() {
    tr ',' '\n' <"$work/quic.out" | sed -n "s/^ *$1 \([0-9]*\).*/\1/p"
}

# Started before a stop, they see how it ends them.
farewell_of_tls() {
    client timeout 30 python3 "$odd_peers" tls-farewell 10.0.0.2 "$work/cert.pem" >"$work/farewell" 2>&1 &
    farewell=$!
    wait_for_line "$work/farewell" ready
}

farewell_of_quic() {
    client timeout 30 "$programs/quic_client" "10.0.0.2:$port" --ca "$work/cert.pem" --hold >"$work/farewell" 2>&1 &
    farewell=$!
    wait_for_line "$work/farewell" streams
}

wait_for_line() {
    local try
    for ((try = 0; try < 100; try++)); do
        ! grep -q "$2" "$1" || return 0
        sleep 0.1
    done
}

# start_cable OPTION...: the second way between client and server, with these faults.
start_cable() {
    "${root[@]}" ip netns exec "$cable_netns" "$main_target/debug/ringway" cable -i left -i right --seed 7 "$@" >"$work/cable" 2>"$work/cable.log" &
    cable=$!
}

stop_cable() {
    "${root[@]}" kill -TERM "$cable" 2>/dev/null || true
    wait "$cable" || { cat "$work/cable.log" >&2; failures=$((failures + 1)); }
}

test_tls() {
    echo "TLS"
    serve tls_echo veth0 10.0.0.2/24 --cert "$work/cert.pem" --key "$work/key.pem"
    local version
    for version in tls1_2 tls1_3; do
        for file in small large; do
            check "openssl s_client, $version, $(size "$work/$file") bytes" \
                s_client 10.0.0.2 "$work/$file" "-$version" -CAfile "$work/cert.pem" -verify_return_error -verify_ip 10.0.0.2
        done
    done
    check "20 of openssl s_client at once, $(size "$work/middle") bytes each" at_once 20 s_client 10.0.0.2 "$work/middle"
    check "gnutls-cli, which says that it ends and then reads the rest, $(size "$work/middle") bytes" gnutls "$work/middle"
    check "curl" curl_hears_itself
    several "clients that break the rules" client timeout 120 python3 "$odd_peers" tls 10.0.0.2 "$work/cert.pem"
    farewell_of_tls
    stop
    wait "$farewell" || failures=$((failures + 1))
    grep -v ready "$work/farewell" || true
    counted handshakes -eq 31
    counted tls12 -eq 2
    counted failed -eq 1
    counted late -eq 1
    counted refused -eq 0
    # Of the 20 in the handshake; of the one that does not read; of clients that do not wait for the last record.
    counted reset -ge 21
}

test_quic() {
    echo "QUIC"
    serve quic_echo veth0 10.0.0.2/24 --cert "$work/cert.pem" --key "$work/key.pem"
    check "a stream of 1 KiB" quic 10.0.0.2
    check "a stream of 10 MiB" quic 10.0.0.2 --bytes 10M
    check "100 streams of 100 KiB at once" quic 10.0.0.2 --streams 100 --bytes 100K
    check "300 streams, of which the server allows 100 at a time" quic 10.0.0.2 --streams 300 --bytes 2K
    check "8 clients at once, 4 streams of 256 KiB each" at_once 8 quic 10.0.0.2 --streams 4 --bytes 256K
    several "version negotiation" client timeout 30 python3 "$odd_peers" versions 10.0.0.2
    client timeout 120 python3 "$odd_peers" garbage 10.0.0.2 "$seconds" >"$work/garbage" 2>&1 &
    local garbage=$!
    check "a client amid garbage, 10 streams of 100 KiB" quic 10.0.0.2 --streams 10 --bytes 100K
    wait "$garbage" || failures=$((failures + 1))
    cat "$work/garbage"
    check "a client after it" quic 10.0.0.2
    farewell_of_quic
    stop
    wait "$farewell" || failures=$((failures + 1))
    check "a stop is told to clients" grep -q "ended: closed by peer: the server stops" "$work/farewell"
    counted handshakes -eq 15
    counted streams -eq 446
    counted lost -eq 0
    counted unsent -eq 0
    serve quic_echo veth0 10.0.0.2/24 --cert "$work/cert.pem" --key "$work/key.pem" --retry
    check "8 clients that have to show first that they hear the server" at_once 8 quic 10.0.0.2
    stop
    counted retries -eq 8
    counted handshakes -eq 8
}

test_ipv6() {
    echo "IPv6"
    serve tls_echo veth0 fd00::2/64 --cert "$work/cert.pem" --key "$work/key.pem"
    check "openssl s_client, $(size "$work/middle") bytes" \
        s_client "[fd00::2]" "$work/middle" -CAfile "$work/cert.pem" -verify_return_error -verify_ip fd00::2
    stop
    serve quic_echo veth0 fd00::2/64 --cert "$work/cert.pem" --key "$work/key.pem"
    check "QUIC, 10 streams of 100 KiB" quic "[fd00::2]" --streams 10 --bytes 100K
    stop
    counted lost -eq 0
    check "the mark of each datagram is one that routers may change" test "$(total markable)" -eq "$(total sent)"
}

test_bad_line() {
    echo "2 % of loss each way, round-trip time 4 ms"
    start_cable --loss 2% --delay 2ms
    serve tls_echo bad0 10.0.1.2/24
    check "openssl s_client and a certificate made at start, $(size "$work/middle") bytes" s_client 10.0.1.2 "$work/middle"
    stop
    serve quic_echo bad0 10.0.1.2/24 --cert "$work/cert.pem" --key "$work/key.pem"
    check "QUIC, 10 streams of 1 MiB" quic 10.0.1.2 --streams 10 --bytes 1M
    check "of which datagrams were lost: $(said lost)" test "$(said lost)" -gt 0
    stop
    stop_cable
    echo "100 Mbit/s, packets marked when more than 5 wait"
    start_cable --rate 100M --queue 1000 --ecn-threshold 5
    serve quic_echo bad0 10.0.1.2/24 --cert "$work/cert.pem" --key "$work/key.pem"
    check "QUIC, a stream of 10 MiB" quic 10.0.1.2 --bytes 10M
    check "marks that the server saw slow the client down: $(said congestion_events) times, $(said lost) lost" \
        test "$(said congestion_events)" -gt 0 -a "$(said lost)" -eq 0
    stop
    counted marked -gt 0
    # Clients that say nothing of marks, or say it wrongly, are not sent any more that could be marked (RFC 9000 13.4.2).
    check "and marks that the client saw are told to the server to the end" test "$(total markable)" -ge $(($(total sent) * 9 / 10))
    stop_cable
}

need_root
need_rust
need_commands ip=iproute2 ethtool=ethtool sysctl=procps ping=iputils-ping python3=python3 openssl=openssl gnutls-cli=gnutls-bin curl=curl
cargo build --locked --bin ringway
# The ordinary checks do not see this package.
cargo fmt --manifest-path examples/secure/Cargo.toml --check
cargo clippy --locked --manifest-path examples/secure/Cargo.toml --target-dir "$main_target/secure" --all-targets -- -D warnings
cargo test --quiet --locked --lib --manifest-path examples/secure/Cargo.toml --target-dir "$main_target/secure" >&2
cargo build --locked --manifest-path examples/secure/Cargo.toml --target-dir "$main_target/secure"
remove_on_exit clean_up
work=$(mktemp -d)
chmod 755 "$work"
for netns in "$client_netns" "$server_netns" "$cable_netns"; do
    add_namespace "$netns"
done
join_namespaces "$server_netns" veth0 "$client_netns" veth1
join_namespaces "$server_netns" bad0 "$cable_netns" right
join_namespaces "$client_netns" bad1 "$cable_netns" left
"${root[@]}" ip -n "$client_netns" address add 10.0.0.1/24 dev veth1
"${root[@]}" ip -n "$client_netns" address add 10.0.1.1/24 dev bad1
client sysctl -qw net.ipv6.conf.veth1.disable_ipv6=0
"${root[@]}" ip -n "$client_netns" address add fd00::1/64 dev veth1 nodad
# Not one that may sign others: a client of QUIC takes none of those for a server's.
openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -keyout "$work/key.pem" -out "$work/cert.pem" -days 2 -subj /CN=ringway \
    -addext "subjectAltName=IP:10.0.0.2,IP:10.0.1.2,IP:fd00::2" -addext "basicConstraints=critical,CA:FALSE" 2>/dev/null
echo "hello" >"$work/small"
head -c 1M /dev/urandom >"$work/middle"
head -c 10M /dev/urandom >"$work/large"

test_tls
test_quic
test_ipv6
test_bad_line
echo "$checks checks, $failures failed"
[[ $failures -eq 0 ]]
