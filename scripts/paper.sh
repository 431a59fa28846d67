# shellcheck shell=bash
# `scripts/bench.sh paper`: everything measured one after the other, into one document. Sourced, not run.

paper=BENCHMARKS.md
# What stands above this line of the document was written by hand, and stays.
measured='<!-- measured -->'

# bench_paper [--resume] [--rounds N] [--strict] [--smoltcp PATH]: those of `veth` that leave the document whole.
bench_paper() {
    local out=out/paper arguments=() code=0
    while [[ $# -gt 0 ]]; do
        case $1 in
            --resume | --strict | --rounds=* | --smoltcp=*) arguments+=("$1") ;;
            --rounds | --smoltcp) arguments+=("$1" "${2:?$1 needs a value}"); shift ;;
            -h | --help) usage; return 0 ;;
            *) say "${0##*/}: paper does not take '$1': it measures everything, into $out and $paper"; usage >&2; return 2 ;;
        esac
        shift
    done
    # Known before an hour has passed.
    if [[ -e $paper ]] && ! grep -qxF "$measured" "$paper"; then
        die "$paper has no line '$measured', so that what was written by hand cannot be told from what was measured
  try: put that line where the measured part begins"
    fi
    need_root
    need_rust
    need_commands python3=python3 valgrind=valgrind ip=iproute2 ethtool=ethtool wrk=wrk
    mkdir -p "$out"
    scripts/bench.sh micro | tee "$out/micro.txt"
    scripts/bench.sh memory --json "$out/memory.json" | tee "$out/memory.txt"
    scripts/bench.sh --count | tee "$out/count.txt"
    scripts/bench.sh veth --out "$out" --markdown "$out/veth.md" "${arguments[@]}" || code=$?
    if [[ $code -ne 0 ]]; then
        say "$paper stays as it was: scripts/bench.sh veth ended with $code; --resume goes on with what $out has of that part"
        return "$code"
    fi
    print_paper "$out" >"$out/paper.md"
    cp "$out/paper.md" "$paper"
    say "wrote $paper"
}

# print_paper FOLDER: the document of what was measured there, below what stands in the present one by hand.
print_paper() {
    local out=$1 name
    if [[ -e $paper ]]; then
        sed "/^$measured\$/,\$d" "$paper"
    else
        printf '# Benchmarks\n\n'
    fi
    printf '%s\n\n## One operation, and one path in memory\n\n' "$measured"
    printf 'Instructions repeat on any machine with the same compiler; nanoseconds are of the machine named here, and change with what else it does.\n'
    for name in micro memory count; do
        printf '\n'
        sed 's/^\(.\)/    \1/' "$out/$name.txt"
    done
    printf '\n'
    # Its headings stand one level below those of this document.
    sed -e '1s/.*/## Everything on a veth pair/' -e '2,$s/^## /### /' "$out/veth.md"
}
