#!/usr/bin/env bash
# The runs that are too long for scripts/test.sh.
#
#   scripts/soak.sh [--rounds N]
#
#   --rounds N   how often the connection tests are repeated (default: 20)
#
# Repeats the tests of many connections and of bulk data in network namespaces, sends 64 MiB each way over a line with
# faults, runs the property tests with a hundred times their cases, hands a million things over to threads that sleep, opens
# and closes 24 million connections over a device in memory, and ends with a full comparison. Stops at the first failure.
# Needs root.

source "$(dirname "$0")/common.sh"

number_argument --rounds 20 1 "$@"
rounds=$number

need_root
need_rust
need_commands ip=iproute2 ethtool=ethtool ss=iproute2 sysctl=procps ping=iputils-ping nc=netcat-openbsd socat=socat \
    curl=curl nft=nftables python3=python3
tests_as_root

for ((round = 1; round <= rounds; round++)); do
    say "== round $round of $rounds"
    cargo test --locked --test veth --test veth6 -- --test-threads=1 connections:: bulk:: claims:: restart::
done
say "== integrity over a bad line"
cargo build --locked --examples
RINGWAY_INTEGRITY_MIB=64 cargo test --locked --test veth --test veth6 -- --test-threads=1 --nocapture integrity
say "== property tests"
PROPTEST_CASES=25600 cargo test --locked --lib
say "== a million hand-offs to a thread that sleeps"
RINGWAY_PARKED=1000000 cargo test --locked --lib -- --nocapture no_hand_off_to_a_sleeper_is_slept_through
say "== 24 million connects and closes"
cargo bench --locked --bench scale -- churn 24000000
say "== comparison"
scripts/compare.sh --out out/soak
say "soaked: $rounds rounds"
