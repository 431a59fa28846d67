#!/usr/bin/env bash
# Breaks the TCP code in every small way it knows (cargo-mutants) and counts how many of the breaks the tests catch.
#
#   scripts/mutate.sh [--shard K/N] [--file GLOB] [--least PERCENT]
#
# Installs cargo-mutants if need be. Runs the unit tests of TCP for each mutant: many hours for all of src/tcp on 2 cores, so a share can be
# taken (--shard 0/20). Survivors are listed in out/mutants/mutants.out/missed.txt; one whose reason to survive is known stands in
# scripts/mutants.txt and is counted as explained. Fails when fewer than PERCENT (80) are caught.

source "$(dirname "$0")/common.sh"

shard=()
files='src/tcp/**/*.rs'
least=80
while [[ $# -gt 0 ]]; do
    case $1 in
        --shard) shard=(--shard "${2:?--shard takes K/N}"); shift 2 ;;
        --file) files=${2:?--file takes a pattern}; shift 2 ;;
        --least) least=${2:?--least takes a percentage}; shift 2 ;;
        -h | --help) usage; exit 0 ;;
        *) say "${0##*/}: unknown argument '$1'"; usage >&2; exit 2 ;;
    esac
done

need_rust
command -v cargo-mutants >/dev/null || PATH=${CARGO_HOME:-$HOME/.cargo}/bin:$PATH
command -v cargo-mutants >/dev/null || cargo install --locked cargo-mutants || die "cargo could not install cargo-mutants"

mkdir -p out/mutants
export INSTA_UPDATE=no PROPTEST_CASES=${PROPTEST_CASES:-32}
# The exit code says whether there were survivors; the count below decides.
cargo mutants --file "$files" --exclude '**/tests/**' --exclude '**/tests.rs' --no-shuffle --output out/mutants --minimum-test-timeout 60 \
    "${shard[@]}" -- --lib tcp:: || true

results=out/mutants/mutants.out
count() { if [[ -f $results/$1.txt ]]; then wc -l <"$results/$1.txt"; else echo 0; fi; }
caught=$(($(count caught) + $(count timeout)))
missed=$(count missed)
[[ $((caught + missed)) -gt 0 ]] || die "no mutant could be built and tested; see $results/log"
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
done < <(cat "$results/missed.txt" 2>/dev/null)
percent=$((100 * caught / (caught + missed)))
echo "$caught of $((caught + missed)) mutants caught ($percent %), $missed survived, $explained of them explained"
[[ $percent -ge $least ]]
