#!/usr/bin/env bash
# Runs every check of the project, and fails when any of them fails or is skipped.
#
#   scripts/test.sh
#
# Installs what is missing; then format, lints, unit tests, documentation tests, the tests in network namespaces (as root),
# tests without AF_XDP, the loom models, the counts of instructions and the scripts themselves. Ends with the ten slowest tests and the totals.
# At most 25 minutes from nothing on 2 cores; longer runs are in scripts/soak.sh.

source "$(dirname "$0")/common.sh"

[[ ${1:-} != -h && ${1:-} != --help ]] || { usage; exit 0; }
[[ $# -eq 0 ]] || { say "${0##*/}: unknown argument '$1'"; usage >&2; exit 2; }

# Longest time of one step: a test that hangs must end the run, not stop it.
step_limit=20m
# A snapshot that differs is a failure, not a file to be looked at later.
export INSTA_UPDATE=no
# The same cases every time: a commit passes or fails by what it is. scripts/soak.sh searches among others, and many more.
export PROPTEST_RNG_SEED=9293
# A build from nothing only loses by what makes the next one quick.
[[ -d ${CARGO_TARGET_DIR:-target} ]] || export CARGO_INCREMENTAL=0
passed=0
failed=0
failures=()
times=$(mktemp)
behind=''
trap 'rm -f "$times"; [[ -z $behind ]] || kill -- "-$behind" 2>/dev/null || true' EXIT

# check NAME COMMAND...: a step that passes or fails as a whole.
check() {
    local name=$1
    shift
    say "== $name"
    if timeout --foreground "$step_limit" "$@"; then
        passed=$((passed + 1))
    else
        failed=$((failed + 1))
        failures+=("$name")
    fi
}

# tests NAME COMMAND...: a `cargo test` whose tests are counted one by one. They run one after another, so the time
# between two lines of the output is the time of a test.
tests() {
    local name=$1 code=0 passed_before=$passed failed_before=$failed
    shift
    say "== $name"
    # Not in a pipeline: the counts have to reach this shell.
    exec 3< <(timeout --foreground "$step_limit" "$@" 2>&1; echo "exit code $?")
    count_tests "$name"
    exec 3<&-
    if [[ $failed -eq $failed_before && ($code -ne 0 || $passed -eq $passed_before) ]]; then
        failed=$((failed + 1))
        failures+=("$name: $((passed - passed_before)) tests ran, exit code $code")
    fi
}

# Reads the output of `cargo test` from descriptor 3, counts, times, and sets `code`. A test's line may be broken by what the
# test itself prints; its outcome then stands at the end of a later line.
count_tests() {
    local name=$1 line test='' start now
    start=$(microseconds)
    while IFS= read -r line <&3; do
        [[ $line == "exit code "* ]] && code=${line#exit code } && continue
        printf '%s\n' "$line"
        now=$(microseconds)
        if [[ $line == "running "*" test"* ]]; then
            start=$now
        elif [[ $line =~ ^test\ (.*)\ \.\.\.\  ]]; then
            test=${BASH_REMATCH[1]}
        fi
        if [[ -n $test && $line =~ (^|\ )(ok|FAILED|ignored)(,.*)?$ ]]; then
            record "$((now - start))" "$name: $test"
            [[ ${BASH_REMATCH[2]} == ok ]] || failures+=("$name: $test: ${BASH_REMATCH[2]}")
            start=$now
            test=''
        fi
        if [[ $line =~ ^test\ result:.*\ ([0-9]+)\ passed\;\ ([0-9]+)\ failed\;\ ([0-9]+)\ ignored ]]; then
            passed=$((passed + BASH_REMATCH[1]))
            # A test that is not run shows nothing.
            failed=$((failed + BASH_REMATCH[2] + BASH_REMATCH[3]))
        fi
    done
}

# Builds what is run later with the time that is left while others run, most of which wait. What goes wrong is said when it is run.
build_behind() {
    # A process group of its own, to be ended as a whole.
    set -m
    { chrt --idle --pid 0 "$BASHPID" && "${pure[@]}" --no-run && "${loom[@]}" --no-run; } >/dev/null 2>&1 &
    behind=$!
    set +m
}

microseconds() {
    local now=$EPOCHREALTIME
    printf '%s' "${now/[.,]/}"
}

record() {
    printf '%s %s\n' "$1" "$2" >>"$times"
}

need_root
need_rust
need_commands ip=iproute2 ethtool=ethtool ss=iproute2 sysctl=procps ping=iputils-ping nc=netcat-openbsd socat=socat \
    curl=curl wrk=wrk dig=bind9-dnsutils nft=nftables python3=python3 shellcheck=shellcheck setpriv=util-linux \
    tcpdump=tcpdump chrt=util-linux prlimit=util-linux setcap=libcap2-bin tshark=tshark valgrind=valgrind tmux=tmux pgrep=procps
need_modules prometheus_client=python3-prometheus-client
cargo fmt --version >/dev/null 2>&1 || die "rustfmt is missing: rustup component add rustfmt"
cargo clippy --version >/dev/null 2>&1 || die "clippy is missing: rustup component add clippy"
tests_as_root

check format cargo fmt --check
check scripts shellcheck -x -P scripts scripts/*.sh .ci/run
check citations scripts/rfc.sh
check lints cargo clippy --locked --all-targets -- -D warnings
check "lints without afxdp" cargo clippy --locked --all-targets --no-default-features -- -D warnings
# Without AF_XDP modules are left out whole, and what is left is the same, line by line: its unit tests have run then, and built they were by the lints. What uses the
# library as others do is run. In a folder of its own: the commands that the tests start must not be exchanged for others meanwhile.
pure=(cargo test --locked --no-default-features --test segments --test textbook --no-fail-fast --target-dir target/pure)
loom=(env "RUSTC_WORKSPACE_WRAPPER=$PWD/scripts/loom-rustc.sh" cargo test --locked --lib --no-fail-fast)
build_behind
tests tests cargo test --locked --no-fail-fast -- --test-threads=1
check counts scripts/bench.sh --count --dev --check
wait "$behind" || true
tests "without afxdp" "${pure[@]}" -- --test-threads=1
tests loom "${loom[@]}" -- --test-threads=1 xsk::cursor demux::directory::models engine::parked

say
say "the ten slowest tests:"
sort -rn "$times" | awk 'NR <= 10 { us = $1; $1 = ""; printf "%9.3f s %s\n", us / 1e6, $0 }' >&2
if [[ ${#failures[@]} -gt 0 ]]; then
    say
    say "failed:"
    printf '  %s\n' "${failures[@]}" >&2
fi
echo "$passed passed, $failed failed"
[[ $failed -eq 0 ]]
