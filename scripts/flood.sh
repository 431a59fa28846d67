#!/usr/bin/env bash
# A SYN flood against Ringway in network namespaces, with honest clients beside it.
#
#   scripts/flood.sh [--seconds N]
#
#   --seconds N   how long the flood lasts (default: 30)
#
# At least 20,000 spoofed SYNs a second have to arrive at a listener with a backlog of 1,024; 500 honest connections have to
# succeed within 5 s each, and neither memory nor the neighbour table may grow. Prints the figures. Needs root.

source "$(dirname "$0")/common.sh"

number_argument --seconds 30 4 "$@"
seconds=$number

need_root
need_rust
need_commands ip=iproute2 ethtool=ethtool ss=iproute2 sysctl=procps python3=python3
tests_as_root

RINGWAY_FLOOD_SECONDS=$seconds exec cargo test --locked --test veth -- --test-threads=1 --nocapture flood
