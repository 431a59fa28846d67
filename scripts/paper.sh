# shellcheck shell=bash
# `scripts/bench.sh paper`: everything measured one after the other, into one document. Sourced, not run.

paper=BENCHMARKS.md
# What stands between these lines of the document was written by hand, and stays.
by_hand='<!-- by hand -->'
made='<!-- made by scripts/bench.sh paper -->'

# bench_paper ARGUMENT...: those of `veth`.
bench_paper() {
    local out=out/paper argument
    for argument in "$@"; do
        case $argument in
            -h | --help) usage; return 0 ;;
            --out | --out=* | --markdown | --markdown=*) say "${0##*/}: paper writes $paper; '$argument' is of veth"; return 2 ;;
        esac
    done
    mkdir -p "$out"
    conditions >"$out/conditions.txt"
    scripts/bench.sh micro | tee "$out/micro.txt"
    scripts/bench.sh memory --json "$out/memory.json" | tee "$out/memory.txt"
    scripts/bench.sh --count | tee "$out/count.txt"
    scripts/bench.sh veth --out "$out" --markdown "$out/veth.md" "$@"
    write_paper "$out" >"$out/paper.md"
    cp "$out/paper.md" "$paper"
    say "wrote $paper"
}

# write_paper FOLDER: the document of what was measured there, with what stands in the present one by hand.
write_paper() {
    local out=$1 name
    if [[ -e $paper ]] && grep -qF "$made" "$paper"; then
        sed "/^$made\$/,\$d" "$paper"
    else
        printf '# Benchmarks\n\n%s\n\n' "$by_hand"
    fi
    printf '%s\n\n## One operation, and one path in memory\n\n' "$made"
    printf 'On the machine of the last section. Instructions repeat on any machine; nanoseconds are of this one, and drift with it.\n'
    for name in conditions micro memory count; do
        printf '\n'
        sed 's/^\(.\)/    \1/' "$out/$name.txt"
    done
    printf '\n'
    # Its headings stand one level below those of this document.
    sed -e '1s/.*/## Everything on a veth pair/' -e '2,$s/^## /### /' "$out/veth.md"
}
