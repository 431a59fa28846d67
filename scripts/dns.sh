#!/usr/bin/env bash
# Compares the answers of the DNS service with those of NSD, and asks it as fast as dnsperf can.
#
#   scripts/dns.sh [--rate N] [--seconds N]
#
#   --rate N      queries a second that dnsperf is to send at most (default: 50000)
#   --seconds N   how long it sends (default: 10)
#
# Builds Ringway and makes three network namespaces: Ringway in one and NSD in another, both with examples/example.zone, dig and dnsperf in
# the third. Each of 270 questions (names times types) goes to both: flags, status, answer and authority section have to be the same.
# Then dnsperf asks Ringway alone; nothing may be lost, over UDP and over TCP. Needs root; NSD is fetched with apt-get and unpacked, not
# installed, so that no second name server starts on this machine.

source "$(dirname "$0")/common.sh"

rate=50000
seconds=10
while [[ $# -gt 0 ]]; do
    case $1 in
        --rate) rate=${2:?--rate needs a number}; shift ;;
        --seconds) seconds=${2:?--seconds needs a number}; shift ;;
        -h | --help) usage; exit 0 ;;
        *) say "${0##*/}: unknown argument '$1'"; usage >&2; exit 2 ;;
    esac
    shift
done
[[ $rate =~ ^[1-9][0-9]*$ ]] || { say "${0##*/}: --rate needs a number above 0, not '$rate'"; exit 2; }
[[ $seconds =~ ^[1-9][0-9]*$ ]] || { say "${0##*/}: --seconds needs a number above 0, not '$seconds'"; exit 2; }

zone=$PWD/examples/example.zone
server_netns=rw-$$-server
other_netns=rw-$$-other
client_netns=rw-$$-client
work=

# shellcheck disable=SC2317 # called by the trap
clean_up() {
    end_namespaces "$server_netns" "$other_netns" "$client_netns"
    [[ -z $work ]] || "${root[@]}" rm -rf "$work"
}

# bring_up NETNS INTERFACE
bring_up() {
    inside "$1" sysctl -qw net.ipv6.conf.all.disable_ipv6=1 2>/dev/null || true
    inside "$1" ethtool -K "$2" tx off txvlan off >/dev/null
    "${root[@]}" ip -n "$1" link set lo up
    "${root[@]}" ip -n "$1" link set "$2" up
}

# join NETNS INTERFACE ADDRESS: a new namespace whose veth0 leads to an interface of the client, which gets the address.
join() {
    "${root[@]}" ip netns add "$1"
    "${root[@]}" ip link add veth0 netns "$1" numtxqueues 1 numrxqueues 1 \
        type veth peer name "$2" netns "$client_netns" numtxqueues 1 numrxqueues 1
    bring_up "$1" veth0
    bring_up "$client_netns" "$2"
    "${root[@]}" ip -n "$client_netns" address add "$3" dev "$2"
}

inside() {
    "${root[@]}" ip netns exec "$@"
}

# NSD and what it lacks here, unpacked below the work folder.
fetch_nsd() {
    local package
    mkdir -p "$work/packages/partial" "$work/nsd"
    "${root[@]}" apt-get install -y -qq --no-install-recommends --download-only -o Dir::Cache::archives="$work/packages" nsd >/dev/null 2>&1 \
        || { "${root[@]}" apt-get update -qq && "${root[@]}" apt-get install -y -qq --no-install-recommends --download-only \
            -o Dir::Cache::archives="$work/packages" nsd >/dev/null; } \
        || die "apt-get could not fetch nsd"
    for package in "$work"/packages/*.deb; do
        dpkg-deb -x "$package" "$work/nsd"
    done
    nsd=$work/nsd/usr/sbin/nsd
    libraries=$(find "$work/nsd" -name '*.so.*' -printf '%h\n' | sort -u | paste -sd:)
    [[ -x $nsd ]] || die "there is no nsd in its package"
}

start_nsd() {
    cat >"$work/nsd.conf" <<CONF
server:
    ip-address: 10.0.1.2
    username: ""
    chroot: ""
    zonesdir: "$work"
    database: ""
    pidfile: "$work/nsd.pid"
    xfrdfile: "$work/xfrd.state"
    zonelistfile: "$work/zone.list"
    xfrdir: "$work"
    minimal-responses: yes
    server-count: 1
remote-control:
    control-enable: no
zone:
    name: example.test
    zonefile: "$zone"
CONF
    inside "$other_netns" env LD_LIBRARY_PATH="$libraries" "$nsd" -c "$work/nsd.conf" -d >"$work/nsd.log" 2>&1 &
    wait_for "nsd" inside "$client_netns" dig @10.0.1.2 +time=1 +tries=1 example.test SOA
}

start_ringway() {
    # Not by way of a function: the signal at the end has to reach the server.
    "${root[@]}" ip netns exec "$server_netns" "${CARGO_TARGET_DIR:-target}/debug/ringway" serve --json -i veth0 -a 10.0.0.2/24 "dns:53=$zone" \
        >"$work/server.json" 2>"$work/server.log" &
    server=$!
    wait_for "ringway" inside "$client_netns" dig @10.0.0.2 +time=1 +tries=1 example.test SOA
}

# wait_for WHAT COMMAND...: until the command succeeds.
wait_for() {
    local what=$1 try
    shift
    for ((try = 0; try < 50; try++)); do
        ! "$@" >/dev/null 2>&1 || return 0
        sleep 0.2
    done
    cat "$work"/*.log >&2
    die "$what does not answer"
}

# Questions, one a line. ANY is left out: RFC 8482 leaves open which of the sets is given.
questions() {
    local name type
    for name in @ www mail alias alias2 away dangling into starred circle1 _sip._tcp _tcp sip host 10.2.0.192 mixed-CASE many-ttls \
        'escaped\.dot' any.wild a.b.c.wild '*.wild' wild there.wild x.there.wild b.wild x.b.wild a.b.wild x.calias calias below.empty empty x.empty \
        child www.child ns1.child hidden.child secure x.secure large huge nowhere x.y.z.nowhere; do
        for type in A AAAA TXT MX NS CNAME; do
            echo "${name/#@/}.example.test. $type" | sed 's/^\.//'
        done
    done
    cat <<'LIST'
example.test. SOA
example.test. CAA
example.test. PTR
www.example.test. SOA
_sip._tcp.example.test. SRV
10.2.0.192.example.test. PTR
host.example.test. HINFO
opaque.example.test. TYPE65280
opaque.example.test. TYPE65281
secure.example.test. DS
x.secure.example.test. DS
child.example.test. DS
www.child.example.test. SRV
any.wild.example.test. DS
elsewhere.test. A
test. NS
. NS
example.test.elsewhere. A
LIST
}

# compare OURS THEIRS: holds two outputs of dig against each other, answer by answer.
compare() {
    python3 - "$1" "$2" <<'PYTHON'
import re, sys

def answers(path):
    found, section = [], None
    for line in open(path):
        line = line.strip()
        if line.startswith(";; ->>HEADER<<-"):
            status = re.search(r"status: (\w+)", line).group(1)
            found.append({"status": status, "flags": None, "answer": [], "authority": [], "question": None})
        elif line.startswith(";; flags:"):
            found[-1]["flags"] = set(line[len(";; flags:"):].split(";")[0].split())
        elif line.startswith(";; ") and line.endswith(" SECTION:"):
            section = line[3:-len(" SECTION:")].lower()
        elif line.startswith(";") and section == "question" and found and not found[-1]["question"]:
            found[-1]["question"] = " ".join(line[1:].split())
        elif line and not line.startswith(";") and section in ("answer", "authority"):
            found[-1][section].append(" ".join(line.split()).lower())
        elif not line:
            section = None
    for answer in found:
        for section in ("answer", "authority"):
            # As sets, but none may have a record twice.
            answer[section].sort()
    return found

ours, theirs = answers(sys.argv[1]), answers(sys.argv[2])
if len(ours) != len(theirs) or len(ours) < 60:
    sys.exit(f"Ringway gave {len(ours)} answers, NSD {len(theirs)}")
kinds, differing = {}, 0
for one, other in zip(ours, theirs):
    kinds[one["status"]] = kinds.get(one["status"], 0) + 1
    if one != other:
        differing += 1
        print(f"{one['question']}: Ringway {one}, NSD {other}")
print(f"{len(ours)} answers compared ({', '.join(f'{n} {kind}' for kind, n in sorted(kinds.items()))}), {differing} differ")
sys.exit(1 if differing else 0)
PYTHON
}

# ask_fast MODE RATE: dnsperf must lose nothing.
ask_fast() {
    inside "$client_netns" dnsperf -s 10.0.0.2 -m "$1" -d "$work/names" -l "$seconds" -Q "$2" >"$work/dnsperf" 2>&1 \
        || { cat "$work/dnsperf" >&2; return 1; }
    local sent lost speed
    sent=$(sed -n 's/^ *Queries sent: *\([0-9]*\).*/\1/p' "$work/dnsperf")
    lost=$(sed -n 's/^ *Queries lost: *\([0-9]*\).*/\1/p' "$work/dnsperf")
    speed=$(sed -n 's/^ *Queries per second: *\([0-9]*\).*/\1/p' "$work/dnsperf")
    echo "dnsperf over $1: $sent sent, $lost lost, $speed a second (at most $2 asked for)"
    [[ $lost == 0 && $sent -gt 0 ]]
}

need_root
need_rust
need_commands ip=iproute2 ethtool=ethtool sysctl=procps python3=python3 dig=bind9-dnsutils dnsperf=dnsperf dpkg-deb=dpkg
command -v apt-get >/dev/null || die "this is not Debian or Ubuntu: there is no apt-get to fetch NSD with"
cargo build --locked --bin ringway
trap clean_up EXIT
trap 'exit 130' INT
trap 'exit 143' TERM HUP
work=$(mktemp -d)
chmod 755 "$work"
fetch_nsd
"${root[@]}" ip netns add "$client_netns"
join "$server_netns" veth0 10.0.0.1/24
join "$other_netns" veth1 10.0.1.1/24
"${root[@]}" ip -n "$other_netns" address add 10.0.1.2/24 dev veth0
start_nsd
start_ringway

code=0
questions >"$work/questions"
for at in 10.0.0.2 10.0.1.2; do
    for transport in +notcp +tcp; do
        inside "$client_netns" dig "@$at" +norecurse +nocookie +timeout=5 +tries=1 "$transport" +nostats -f "$work/questions" \
            >"$work/answers-$at$transport" || code=1
    done
done
for transport in +notcp +tcp; do
    compare "$work/answers-10.0.0.2$transport" "$work/answers-10.0.1.2$transport" || code=1
done
# Those that dnsperf can read, and that are answered in one datagram.
grep -v -e 'escaped' -e '^huge' -e '^\. ' "$work/questions" | sed 's/\. / /' >"$work/names"
ask_fast udp "$rate" || code=1
ask_fast tcp "$rate" || code=1

"${root[@]}" kill -TERM "$server"
wait "$server" || { code=1; cat "$work/server.log" >&2; }
python3 - "$work/server.json" <<'PYTHON' || code=1
import json, sys

events = [json.loads(line) for line in open(sys.argv[1])]
summary = next(event for event in events if event["event"] == "summary")
dns, drops = summary["dns"], summary["drops"]
print("server: dns", json.dumps(dns))
print("server: drops", json.dumps({name: count for name, count in drops.items() if count}))
wrong = [name for name in ("malformed", "failed", "too_short", "too_long", "responses") if dns[name]]
wrong += ["tcp.open"] if summary["tcp"]["open"] else []
wrong += ["udp_copies"] if summary["counters"]["udp_copies"] else []
sys.exit(f"the server counts {', '.join(wrong)}" if wrong else 0)
PYTHON
[[ $code -eq 0 ]] && echo "the answers are NSD's, and none was lost"
exit "$code"
