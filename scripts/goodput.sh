#!/usr/bin/env bash
# Compares the goodput of Ringway's TCP with the kernel's on a line of 100 Mbit/s, 10 ms each way, and a queue of one
# bandwidth-delay product, at 0, 0.1 and 1 % loss.
#
#   scripts/goodput.sh [--quick] [--pairs N] [--loss PERCENT]... [--congestion NAME] [--set KEY=VALUE]...
#
#   --quick            two pairs of 5 s instead of five of 20 s
#   --pairs N          so many pairs
#   --loss PERCENT     one of the three losses only (may be repeated): 0%, 0.1% or 1%
#   --congestion NAME  of both senders: cubic (default), reno or bbr
#   --set KEY=VALUE    a setting of Ringway's sender
#
# Both senders use the same congestion control (the kernel's by TCP_CONGESTION), without offloads, over the same `ringway cable`,
# to the same kernel socket, which counts the bytes its reader was given. Runs are interleaved in pairs with the same seed; medians
# are compared. Fails (4) when Ringway is more than 5 % below the kernel at 0 or 0.1 % loss, or more than 15 % at 1 %. Needs root.

source "$(dirname "$0")/common.sh"
source scripts/line.sh

pairs='' cases=() rest=()
while [[ $# -gt 0 ]]; do
    case $1 in
        --pairs)
            pairs=${2:?--pairs needs a number}
            [[ $pairs =~ ^[1-9][0-9]*$ ]] || { say "${0##*/}: --pairs needs a number, not '$pairs'"; exit 2; }
            shift
            ;;
        --loss)
            case ${2:?--loss needs a percentage} in
                0%) cases+=("0% 0.95") ;;
                0.1%) cases+=("0.1% 0.95") ;;
                1%) cases+=("1% 0.85") ;;
                *) say "${0##*/}: --loss knows 0%, 0.1% and 1%, not '$2'"; exit 2 ;;
            esac
            shift
            ;;
        *) rest+=("$1") ;;
    esac
    shift
done
line_arguments "${rest[@]}"
seconds=20
[[ -z $quick ]] || pairs=${pairs:-2} seconds=5
pairs=${pairs:-5}
[[ ${#cases[@]} -gt 0 ]] || cases=("0% 0.95" "0.1% 0.95" "1% 0.85")

# measure SENDER LOSS SEED: one run over a cable of its own; bits per second.
measure() {
    local address=$kernel_address
    [[ $1 == kernel ]] || address=$ringway_address
    start_cable --loss "$2" --seed "$3"
    "start_$1"
    # The start of a connection counts: there is nothing to be skipped.
    inside "$receiver" "$bulk" sink 0 "$seconds" 0 "$address:$port" || die "nothing was measured"
    stop_in "$senders"
    stop_in "$line"
}

prepare
code=0
for case in "${cases[@]}"; do
    loss=${case% *} least=${case#* }
    : >"$folder/ringway.all"
    : >"$folder/kernel.all"
    for ((pair = 1; pair <= pairs; pair++)); do
        for sender in ringway kernel; do
            bits=$(measure "$sender" "$loss" "$pair")
            echo "$bits" >>"$folder/$sender.all"
            say "loss $loss, pair $pair of $pairs: $sender $(shown "$bits"), $(line_drops)"
        done
    done
    ours=$(median <"$folder/ringway.all")
    theirs=$(median <"$folder/kernel.all")
    verdict=$(awk -v ours="$ours" -v theirs="$theirs" -v least="$least" 'BEGIN {
        ratio = theirs > 0 ? ours / theirs : 0
        printf "ratio %.3f (at least %s): %s", ratio, least, (ratio >= least ? "ok" : "MISSED")
    }')
    echo "$congestion at $loss loss: ringway $(shown "$ours"), kernel $(shown "$theirs"), $verdict"
    [[ $verdict == *ok ]] || code=4
done
exit "$code"
