#!/usr/bin/env bash
# What operations and paths cost: in time, which is the machine's as well, or in instructions, which repeat on any machine; and Ringway beside
# bare AF_XDP, smoltcp and kernel sockets on a veth pair.
#
#   scripts/bench.sh micro [--quick] [FILTER]
#   scripts/bench.sh memory [--quick] [--json FILE] [ROW...]
#   scripts/bench.sh --count [--dev] [--check | --write]
#   scripts/bench.sh veth [--quick] [--only ROW]... [--strict] [--rounds N] [--out DIR] [--resume] [--smoltcp PATH] [--markdown FILE]
#   scripts/bench.sh paper [--resume] [--rounds N] [--strict] [--smoltcp PATH]
#
#   micro     times every operation that has a bench of its own (benches/, by the folders of src/), and prints one table: the
#             median of one operation in ns, its 95 % confidence interval, the least sample, the target if there is one, and
#             whether the median meets that. A missed target fails nothing. Six minutes after the build; wants a quiet machine:
#             on a busy one the least sample is the better figure
#   --quick   less warm-up and fewer samples: two minutes, and less steady
#   FILTER    only operations whose names match this regular expression: 'wire/parse', 'serial'
#
#   memory    times whole paths of the engine over a device in memory, and of smoltcp over the same one by turns: UDP echo, TCP
#             requests among 1 to 1,048,576 connections, connects, full segments either way. Answers are checked first; beside stands
#             what the peer takes alone, and "no stack": the sums, the lookup and an answer in the frame that came, which nobody can
#             do without. Five minutes after the build; wants a quiet machine. A missed target fails nothing
#   --json    also writes the figures to a file
#   ROW       only rows of these names: 'udp-64', 'tcp-100k'; a wrong one is answered with all there are
#
#   --count   prints instructions per UDP echo, per TCP request and reply, short and of full segments, per SYN until SYN-RECEIVED, and per SYN
#             answered with a cookie; of functions that every packet meets: hash, lookup, checksum, headers, histogram; then per timer armed,
#             cancelled and expired, with few and with many others armed
#   --check   compares with benches/counts.json: fails above 3 % with the same rustc, libc and valgrind, and only
#             reports the difference with others. Fails too when a timer among 4 million costs 5 % more or less than
#             one among 1,000, with any versions
#   --write   puts the figures into benches/counts.json, with the versions they were made with
#   --dev     the same of the build that the tests use, which need not be made for it: half a minute, no timers, benches/counts-dev.json. Such
#             figures are several times as high, and rise as the others do when more is done; it fails above 5 %
#
#   veth      makes two network namespaces joined by a veth pair, runs `ringway bench` in them, and removes them again, whatever
#             happens. Forty minutes; wants a quiet machine with two cores, and root (sudo is used when there is one)
#   --quick   short runs, to see that all of it works: four minutes
#   --only    this row alone, or ROW/LOAD[/STACK] of it; `ringway bench --help` names the rows
#   --strict  ends with 4 when the machine is too noisy, instead of marking all figures
#   --out DIR where cells.jsonl, bench.json, bench.html and bench.md go (default: out/bench)
#   --resume  goes on with what DIR holds of the same commit and machine
#   --smoltcp the program that serves the same over smoltcp (default: examples/smoltcp_echo.rs, where it is)
#   --markdown FILE   writes the tables there, too
#
#   paper     runs micro, memory, --count and veth one after the other and writes BENCHMARKS.md from them; what stands there above the line
#             `<!-- measured -->` was written by hand, and stays. An hour; wants what veth wants. What was measured is kept in out/paper

source "$(dirname "$0")/common.sh"

if [[ ${1-} == veth ]]; then
    source scripts/veth.sh
    shift
    bench_veth "$@"
    exit
fi

if [[ ${1-} == paper ]]; then
    source scripts/paper.sh
    shift
    bench_paper "$@"
    exit
fi

benches=(xsk wire demux tcp engine metrics)
committed=benches/counts.json
limit_percent=3
paths=(udp_echo tcp_request_reply tcp_echo_1448 syn_to_syn_received syn_cookie
    hash_ipv4 hash_ipv6 directory_hit checksum_1460 parse_udp parse_tcp emit_tcp histogram_record)
# The cost of a path is the difference of two runs, divided: what happens once falls out.
few=1000
many=3000
timer_paths=(timer_arm timer_cancel timer_expire)
few_timers=1000
many_timers=4000000
timer_limit_percent=5

# micro [--quick] [FILTER]
micro() {
    local quick='' filter='' warm_up=1 measurement=3 samples=100 begun before
    while [[ $# -gt 0 ]]; do
        case $1 in
            --quick) quick=1 ;;
            -h | --help) usage; exit 0 ;;
            -*) say "${0##*/}: unknown argument '$1'"; usage >&2; exit 2 ;;
            *) [[ -z $filter ]] || { usage >&2; exit 2; }; filter=$1 ;;
        esac
        shift
    done
    [[ -z $quick ]] || { warm_up=0.3 measurement=0.6 samples=30; }
    need_rust
    need_commands python3=python3
    export CRITERION_HOME=${CRITERION_HOME:-${CARGO_TARGET_DIR:-target}/criterion}
    before=$(conditions)
    begun=$(date +%s.%N)
    # In the order of the path; what criterion says meanwhile is progress, the table is the result.
    cargo bench --locked "${benches[@]/#/--bench=}" -- --noplot --warm-up-time "$warm_up" --measurement-time "$measurement" \
        --sample-size "$samples" ${filter:+"$filter"} >&2
    echo "$before"
    python3 scripts/micro.py "$CRITERION_HOME" "$begun"
}

# memory [ARGUMENT...]
memory() {
    local argument
    for argument in "$@"; do
        [[ $argument != -h && $argument != --help ]] || { usage; exit 0; }
    done
    need_rust
    conditions
    exec cargo bench --locked --quiet --bench memory -- "$@"
}

if [[ ${1:-} == micro || ${1:-} == memory ]]; then
    "$@"
    exit
fi

count='' check='' write='' dev=''
while [[ $# -gt 0 ]]; do
    case $1 in
        --count) count=1 ;;
        --dev) dev=1 ;;
        --check) check=1 ;;
        --write) write=1 ;;
        -h | --help) usage; exit 0 ;;
        *) say "${0##*/}: unknown argument '$1'"; usage >&2; exit 2 ;;
    esac
    shift
done
[[ -n $count && $check$write != 11 ]] || { usage >&2; exit 2; }

profile=release
# Where cargo has built it piece by piece the compiler puts it together otherwise, which makes 2.5 %.
[[ -z $dev ]] || { profile=dev; committed=benches/counts-dev.json; limit_percent=5; }

# instructions PATH REPETITIONS [OTHERS]
instructions() {
    local log
    log=$(valgrind --tool=callgrind --callgrind-out-file=/dev/null "$program" "$@" 2>&1) || die "the counted program failed:
$log"
    sed -n 's/^==[0-9]*== Collected : \([0-9]*\).*/\1/p' <<<"$log"
}

# value KEY: a value of the committed file, which has one pair a line.
value() {
    sed -n "s/^ *\"$1\": \"\{0,1\}\([^\",]*\)\"\{0,1\},\{0,1\}\$/\1/p" "$committed"
}

[[ -e $committed || -n $write ]] || die "there is no $committed to compare with: scripts/bench.sh --count${dev:+ --dev} --write makes it"
need_rust
need_commands valgrind=valgrind
program=$(cargo build --profile "$profile" --locked --bench count --message-format=json \
    | sed -n 's/.*"kind":\["bench"\].*"executable":"\([^"]*\)".*/\1/p' | tail -n 1)
[[ -n $program ]] || die "cargo did not name the counted program"

declare -A versions counts
versions[rustc]=$(rustc --version | cut -d' ' -f2)
versions[libc]=$(getconf GNU_LIBC_VERSION 2>/dev/null || echo unknown)
versions[valgrind]=$(valgrind --version)
# difference PATH [OTHERS]: sets `counted` to what one repetition costs. Not in one expression: a program that failed must end the script.
difference() {
    local of_many of_few
    of_many=$(instructions "$1" "$many" "${@:2}")
    of_few=$(instructions "$1" "$few" "${@:2}")
    counted=$(((of_many - of_few) / (many - few)))
}

for path in "${paths[@]}"; do
    difference "$path"
    counts[$path]=$counted
done

if [[ -n $write ]]; then
    {
        printf '{\n  "schema": 1,\n  "versions": {\n'
        printf '    "rustc": "%s",\n    "libc": "%s",\n    "valgrind": "%s"\n  },\n  "instructions": {\n' \
            "${versions[rustc]}" "${versions[libc]}" "${versions[valgrind]}"
        comma=','
        for path in "${paths[@]}"; do
            [[ $path != "${paths[-1]}" ]] || comma=''
            printf '    "%s": %s%s\n' "$path" "${counts[$path]}" "$comma"
        done
        printf '  }\n}\n'
    } >"$committed"
    say "wrote $committed"
fi

same=1
for name in rustc libc valgrind; do
    if [[ ${versions[$name]} != "$(value "$name")" ]]; then
        same=''
        say "$name is ${versions[$name]}; the committed counts were made with $(value "$name")"
    fi
done

worse=''
printf '%-20s %12s %12s %9s\n' path instructions committed change
for path in "${paths[@]}"; do
    old=$(value "$path")
    [[ -n $old || -z $check ]] || die "there is no count of $path in $committed: scripts/bench.sh --count${dev:+ --dev} --write puts it there"
    change=$(awk -v new="${counts[$path]}" -v old="$old" 'BEGIN { printf "%+.2f", (old > 0 ? (new - old) * 100 / old : 0) }')
    printf '%-20s %12d %12s %8s%%\n' "$path" "${counts[$path]}" "$old" "$change"
    if awk -v change="$change" -v limit="$limit_percent" 'BEGIN { exit !(change > limit) }'; then
        worse+=" $path"
    fi
done

# Timers: the two sizes are compared with each other, so versions do not matter.
uneven=''
# compare_timers PATH FEW MANY LEAST: the change must lie between LEAST and the limit, in per cent.
compare_timers() {
    change=$(awk -v many="$3" -v few="$2" 'BEGIN { printf "%+.2f", (few > 0 ? (many - few) * 100 / few : 1000) }')
    printf '%-20s %12d %12d %8s%%\n' "$1" "$2" "$3" "$change"
    if awk -v change="$change" -v least="$4" -v most="$timer_limit_percent" 'BEGIN { exit !(change < least || change > most) }'; then
        uneven+=" $1"
    fi
}
count_timers() {
    local nothing path others timers
    nothing=$(instructions timer_life 0)
    printf '\n%-20s %12s %12s %9s\n' timer "of $few_timers" "of $many_timers" change
    for path in "${timer_paths[@]}"; do
        for others in "$few_timers" "$many_timers"; do
            difference "$path" "$others"
            counts[$others]=$counted
        done
        compare_timers "$path" "${counts[$few_timers]}" "${counts[$many_timers]}" "-$timer_limit_percent"
    done
    # A whole life, armed among each other until all have expired, may cost less: neighbours share the looks at their slot.
    for timers in "$few_timers" "$many_timers"; do
        counted=$(instructions timer_life "$timers")
        counts[$timers]=$(((counted - nothing) / timers))
    done
    compare_timers timer_life "${counts[$few_timers]}" "${counts[$many_timers]}" -100
}
# Four million of them take minutes in the build of the tests.
[[ -n $dev ]] || count_timers

if [[ -n $check && -n $uneven ]]; then
    say "a timer does not cost the same among $few_timers and among $many_timers:$uneven"
    exit 4
fi
[[ -n $check && -n $worse ]] || exit 0
if [[ -n $same ]]; then
    say "more than $limit_percent % above the committed counts:$worse"
    say "  try: make it cheaper; or, when the cost is wanted, scripts/bench.sh --count${dev:+ --dev} --write, and say why in the commit"
    exit 4
fi
say "more than $limit_percent % above the committed counts, with other versions, so this is a report only:$worse"
