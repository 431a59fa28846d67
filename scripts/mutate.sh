#!/usr/bin/env bash
# Breaks the TCP code in every small way it knows (cargo-mutants) and counts how many of the breaks the tests catch.
#
#   scripts/mutate.sh [--shard K/N] [--file GLOB] [--again] [--least PERCENT]
#
# Installs cargo-mutants if need be. Runs the unit tests of TCP for each mutant: about 6 seconds each, so six hours for all of src/tcp on
# 2 cores. A share is an honest sample: --shard 0/8 takes every eighth mutant through all files, and the figure comes with its 95 % interval.
# --again tries only the survivors of the run before and adds what is caught now to its figure; it finds them by line and column, so
# between the two only tests may have changed. Survivors are listed in out/mutants/mutants.out/missed.txt; one whose reason to survive is
# known stands in scripts/mutants.txt and is counted as explained. Fails when fewer than PERCENT (80) are caught.

source "$(dirname "$0")/common.sh"

choice=()
files='src/tcp/**/*.rs'
sample=''
again=''
least=80
while [[ $# -gt 0 ]]; do
    case $1 in
        --shard) sample=${2:?--shard takes K/N}; choice+=(--shard "$sample" --sharding round-robin); shift 2 ;;
        --file) files=${2:?--file takes a pattern}; shift 2 ;;
        --again) again=yes; shift ;;
        --least) least=${2:?--least takes a percentage}; shift 2 ;;
        -h | --help) usage; exit 0 ;;
        *) say "${0##*/}: unknown argument '$1'"; usage >&2; exit 2 ;;
    esac
done

need_rust
command -v cargo-mutants >/dev/null || PATH=${CARGO_HOME:-$HOME/.cargo}/bin:$PATH
command -v cargo-mutants >/dev/null || cargo install --locked cargo-mutants || die "cargo could not install cargo-mutants"

results=out/mutants/mutants.out
# The mutants of the last run that ended so; after --again, of those alone that it was to try: cargo-mutants adds mutants of constants, whatever
# is asked for.
ended() {
    [[ -f $results/$1.txt ]] || return 0
    if [[ -n $again ]]; then grep -Fxf out/mutants/tried.txt "$results/$1.txt" || true; else cat "$results/$1.txt"; fi
}
count() { ended "$1" | wc -l; }

before=0
if [[ -n $again ]]; then
    [[ -z $sample ]] || die "--again takes the sample of the run before: leave out --shard"
    [[ -s $results/missed.txt ]] || die "no survivors of a run before in $results/missed.txt"
    [[ -f out/mutants/tried.txt ]] || sort "$results"/{caught,timeout,missed}.txt >out/mutants/tried.txt
    before=$(($(cat out/mutants/before) + $(count caught) + $(count timeout)))
    sample=$(cat out/mutants/sample)
    ended missed >out/mutants/survivors.txt
    mv out/mutants/survivors.txt out/mutants/tried.txt
    while IFS= read -r line; do
        # shellcheck disable=SC2001
        choice+=(--re "^$(sed 's/[][\.*^$+?(){}|]/\\&/g' <<<"$line")\$")
    done <out/mutants/tried.txt
fi
mkdir -p out/mutants
[[ -n $again ]] || rm -f out/mutants/tried.txt
echo "$before" >out/mutants/before
echo "$sample" >out/mutants/sample

# The tests of the library alone, without the AF_XDP edge and without debug information: a mutant is built in a few seconds. What it depends
# on stays built from run to run; of the library itself every run has its own.
export CARGO_TARGET_DIR=$PWD/out/mutants/target CARGO_PROFILE_TEST_DEBUG=none CARGO_PROFILE_DEV_DEBUG=none
# A property that fails has caught its mutant: the smallest case that fails is of no interest.
export INSTA_UPDATE=no PROPTEST_CASES=${PROPTEST_CASES:-32} PROPTEST_MAX_SHRINK_ITERS=0
rm -rf "$CARGO_TARGET_DIR"/debug/{incremental,deps/*ringway-*,.fingerprint/ringway-*}
# The exit code says whether there were survivors; the count below decides.
cargo mutants --file "$files" --exclude '**/tests/**' --exclude '**/tests.rs' --output out/mutants --no-default-features \
    --cargo-arg=--lib --jobs 1 --minimum-test-timeout 20 "${choice[@]}" -- tcp:: || true

caught=$((before + $(count caught) + $(count timeout)))
missed=$(count missed)
all=$((caught + missed))
[[ $all -gt 0 ]] || die "no mutant could be built and tested; see $results/log"
explained=0
while IFS= read -r line; do
    # A line and column change with every edit: what was done to which function stays.
    what=$line
    [[ $line =~ ^([^:]*):[0-9]+:[0-9]+:\ (.*)$ ]] && what="${BASH_REMATCH[1]}: ${BASH_REMATCH[2]}"
    if grep -qF "$what" scripts/mutants.txt; then
        explained=$((explained + 1))
    else
        echo "survived: $line"
    fi
done < <(ended missed)
percent=$((100 * caught / all))
interval=''
if [[ -n $sample ]]; then
    # Wilson's interval of a share.
    interval=$(awk -v x="$caught" -v n="$all" 'BEGIN {
        z = 1.96; p = x / n; d = 1 + z * z / n
        middle = (p + z * z / (2 * n)) / d; half = z / d * sqrt(p * (1 - p) / n + z * z / (4 * n * n))
        printf "; sample %s, 95 %% interval %.1f to %.1f %%", "'"$sample"'", 100 * (middle - half), 100 * (middle + half) }')
fi
echo "$caught of $all mutants caught ($percent %$interval), $missed survived, $explained of them explained"
[[ $percent -ge $least ]]
