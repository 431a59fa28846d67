#!/usr/bin/env bash
# Has Ringway and the kernel share a line of 100 Mbit/s, 10 ms each way, with a queue of one bandwidth-delay product.
#
#   scripts/fairness.sh [--quick] [--congestion NAME] [--set KEY=VALUE]...
#
#   --quick            two runs of 10 s instead of five of 30 s
#   --congestion NAME  of both senders: cubic (default), reno or bbr
#   --set KEY=VALUE    a setting of Ringway's sender
#
# One connection each, to kernel sockets that count the bytes their readers were given; one starts a second after the other, in turn
# Ringway's and the kernel's. The first 5 s are not counted. Fails (4) when the median share lies outside 35 to 65 %. Needs root.

source "$(dirname "$0")/common.sh"
source scripts/line.sh

runs=5
seconds=30
line_arguments "$@"
[[ -z $quick ]] || runs=2 seconds=10

# share FIRST SEED: starts this sender first; "RINGWAY KERNEL" in bits per second.
share() {
    local ours=$ringway_address:$port theirs=$kernel_address:$port both
    start_cable --seed "$2"
    start_ringway
    start_kernel
    if [[ $1 == ringway ]]; then
        both=$(inside "$receiver" "$bulk" sink 5 "$seconds" 1 "$ours" "$theirs") || die "nothing was measured"
    else
        both=$(inside "$receiver" "$bulk" sink 5 "$seconds" 1 "$theirs" "$ours" | tac) || die "nothing was measured"
    fi
    stop_in "$senders"
    stop_in "$line"
    # shellcheck disable=SC2086 # two lines become two words
    echo $both
}

prepare
: >"$folder/shares"
for ((run = 1; run <= runs; run++)); do
    first=ringway
    ((run % 2)) || first=kernel
    both=$(share "$first" "$run")
    read -r ours theirs <<<"$both"
    percent=$(awk -v ours="$ours" -v theirs="$theirs" 'BEGIN { printf "%.1f", 100 * ours / (ours + theirs) }')
    echo "$percent" >>"$folder/shares"
    say "run $run of $runs, $first first: ringway $(shown "$ours"), kernel $(shown "$theirs"): $percent % for ringway"
done
middle=$(median <"$folder/shares")
verdict=$(awk -v share="$middle" 'BEGIN { print (share >= 35 && share <= 65) ? "ok" : "MISSED" }')
echo "$congestion: median share of ringway $middle %, of the kernel $(awk -v share="$middle" 'BEGIN { print 100 - share }') % (35 to 65): $verdict"
[[ $verdict == ok ]] || exit 4
