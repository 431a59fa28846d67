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

seconds=30
while [[ $# -gt 0 ]]; do
    case $1 in
        --seconds) seconds=${2:?--seconds needs a number}; shift ;;
        -h | --help) usage; exit 0 ;;
        *) say "${0##*/}: unknown argument '$1'"; usage >&2; exit 2 ;;
    esac
    shift
done
[[ $seconds =~ ^[1-9][0-9]*$ && $seconds -ge 4 ]] || { say "${0##*/}: --seconds needs a number from 4 on, not '$seconds'"; exit 2; }

need_root
need_rust
need_commands ip=iproute2 ethtool=ethtool ss=iproute2 sysctl=procps python3=python3
tests_as_root

RINGWAY_FLOOD_SECONDS=$seconds exec cargo test --locked --test veth -- --test-threads=1 --nocapture flood
