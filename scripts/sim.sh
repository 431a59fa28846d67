#!/usr/bin/env bash
# Runs the simulator: two ends over a network that loses, doubles, delays, reorders, corrupts and clogs.
#
#   scripts/sim.sh [--seeds N] [--from S]
#   scripts/sim.sh --seed S
#
#   --seeds N   how many seeds are run, on all cores (default: 20000)
#   --from S    the first of them (default: 0)
#   --seed S    replays one seed, with every segment on standard output
#
# Prints how often each event occurred, and fails when a seed fails or, from 2,000 seeds on, when an event stays below 50.
# A failure prints SEED= and the command that replays it. test.sh runs the seeds from 0 to 1999.

source "$(dirname "$0")/common.sh"

seeds=20000
from=0
seed=
while [[ $# -gt 0 ]]; do
    case $1 in
        --seeds) seeds=${2:?--seeds needs a number}; shift ;;
        --from) from=${2:?--from needs a number}; shift ;;
        --seed) seed=${2:?--seed needs a number}; shift ;;
        -h | --help) usage; exit 0 ;;
        *) say "${0##*/}: unknown argument '$1'"; usage >&2; exit 2 ;;
    esac
    shift
done
for number in "$seeds" "$from" "${seed:-0}"; do
    [[ $number =~ ^[0-9]+$ ]] || { say "${0##*/}: '$number' is not a number"; exit 2; }
done

need_rust
if [[ -n $seed ]]; then
    export RINGWAY_SIM_SEED=$seed
else
    RINGWAY_SIM_THREADS=$(nproc)
    export RINGWAY_SIM_SEEDS=$seeds RINGWAY_SIM_FROM=$from RINGWAY_SIM_THREADS
fi
# Optimized, but with the assertions of a debug build.
exec cargo test --locked --profile sim --lib -- --exact --nocapture sim::whatever_the_network_does_streams_stay_whole
