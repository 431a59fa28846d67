#!/usr/bin/env bash
# The tests against the kernel with several queues and a worker on each.
#
#   scripts/cores.sh [FILTER...]
#
#   FILTER   only tests whose names contain one of these (default: all)
#
# Runs every test of tests/veth over both families twice on links of two queues: as the kernel spreads the flows, and with
# the queue that the peer sends by changed every 3 ms, so that packets of a connection arrive at every worker. Ends at the
# first round that fails. Needs root.

source "$(dirname "$0")/common.sh"

case ${1:-} in
    -h | --help) usage; exit 0 ;;
    -*) say "${0##*/}: unknown argument '$1'"; usage >&2; exit 2 ;;
esac

need_root
need_rust
need_commands ip=iproute2 ethtool=ethtool ss=iproute2 sysctl=procps ping=iputils-ping nc=netcat-openbsd socat=socat \
    curl=curl wrk=wrk dig=bind9-dnsutils nft=nftables python3=python3 setpriv=util-linux
tests_as_root

cargo build --locked --examples
for wrong in 0 1; do
    if [[ $wrong == 0 ]]; then say "== two queues"; else say "== two queues, and packets at the wrong one"; fi
    RINGWAY_TEST_QUEUES=2 RINGWAY_TEST_WRONG_QUEUES=$wrong \
        cargo test --locked --no-fail-fast --test veth --test veth6 -- --test-threads=1 "$@"
done
