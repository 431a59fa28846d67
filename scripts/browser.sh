#!/usr/bin/env bash
# Loads a page with 50 files from the HTTP service in a headless browser.
#
#   scripts/browser.sh [--rounds N]
#
#   --rounds N   how often the page is loaded, each time by a new browser (default: 3)
#
# Builds Ringway, makes two network namespaces joined by a veth pair, serves a page with 35 images, 8 style sheets and 6 scripts
# on one side and loads it in Chromium on the other. The page counts what has arrived and is whole; the script fails when
# anything is missing, or when the server counts a refused request, a failure, a reset or a drop. Needs root; installs Chromium,
# which is why this is no part of scripts/test.sh.

source "$(dirname "$0")/common.sh"

number_argument --rounds 3 1 "$@"
rounds=$number

server_netns=rw-$$-server
client_netns=rw-$$-client
interface=veth0
images=35
styles=8
scripts=6
work=

# shellcheck disable=SC2317 # called by the trap
clean_up() {
    end_namespaces "$server_netns" "$client_netns"
    [[ -z $work ]] || "${root[@]}" rm -rf "$work"
}

make_namespaces() {
    add_namespace "$server_netns"
    add_namespace "$client_netns"
    join_namespaces "$server_netns" "$interface" "$client_netns" "$interface"
    "${root[@]}" ip -n "$client_netns" address add 10.0.0.1/24 dev "$interface"
}

# The page and its files. It counts an image that has its size, a style sheet that takes effect, a script that has run.
make_page() {
    python3 - "$1" "$images" "$styles" "$scripts" <<'PYTHON'
import os, random, struct, sys, zlib

folder, images, styles, scripts = sys.argv[1], *map(int, sys.argv[2:])
random.seed(1)

def png(width, height):
    rows = b"".join(b"\0" + random.randbytes(width * 3) for _ in range(height))
    def chunk(kind, data):
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))
    header = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(rows, 1)) + chunk(b"IEND", b"")

def write(name, data):
    with open(os.path.join(folder, name), "wb") as file:
        file.write(data if isinstance(data, bytes) else data.encode())

for n in range(images):
    write(f"image{n}.png", png(100 + n, 10 + 8 * n))
for n in range(styles):
    write(f"style{n}.css", f"#style{n} {{ margin-left: {n + 1}px }}\n" + f"/* {'x' * n * 5000} */\n")
for n in range(scripts):
    write(f"script{n}.js", f"/* {'y' * n * 9000} */\nran.push({n});\n")
write("index.html", "<!doctype html><html><head><meta charset=utf-8><title>50 files</title><link rel=icon href='data:,'>\n"
    + "<script>var ran = [];</script>\n"
    + "".join(f"<link rel=stylesheet href=style{n}.css>\n" for n in range(styles))
    + "".join(f"<script src=script{n}.js></script>\n" for n in range(scripts))
    + "</head><body>\n"
    + "".join(f"<p id=style{n}>{n}</p>\n" for n in range(styles))
    + "".join(f"<img src=image{n}.png>\n" for n in range(images))
    + """<pre id=report></pre>
<script>
window.onload = function () {
    var pictures = Array.from(document.images).filter((image, n) =>
        image.complete && image.naturalWidth == 100 + n && image.naturalHeight == 10 + 8 * n).length;
    var sheets = Array.from(document.querySelectorAll("p")).filter((p, n) => getComputedStyle(p).marginLeft == (n + 1) + "px").length;
    document.getElementById("report").textContent = "loaded: images " + pictures + ", styles " + sheets + ", scripts " + ran.length;
};
</script></body></html>
""")
PYTHON
}

# The counts of the summary that must be 0, and those that must not.
check_summary() {
    python3 - "$1" "$2" <<'PYTHON'
import json, sys

events = [json.loads(line) for line in open(sys.argv[1])]
summary = next(event for event in events if event["event"] == "summary")
http, counters, drops = summary["http"], summary["counters"], summary["drops"]
print("server: http", json.dumps(http))
print("server: tcp accepted %d, closed %d, reset %d; drops %s" %
    (counters["tcp_accepted"], counters["tcp_closed"], counters["tcp_reset"], json.dumps(drops)))
wrong = [name for name in ("refused", "failed", "broken_off", "cut_off", "slow_heads") if http[name]]
wrong += [name for name, count in drops.items() if count]
wrong += ["tcp.open"] if summary["tcp"]["open"] else []
wrong += ["too few answers"] if http["ok"] < int(sys.argv[2]) else []
sys.exit(f"the server counts {', '.join(wrong)}" if wrong else 0)
PYTHON
}

need_root
need_rust
need_commands ip=iproute2 ethtool=ethtool sysctl=procps python3=python3 chromium=chromium
cargo build --locked --bin ringway
remove_on_exit clean_up
work=$(mktemp -d)
mkdir "$work/page"
make_page "$work/page"
make_namespaces

"${root[@]}" ip netns exec "$server_netns" "${CARGO_TARGET_DIR:-target}/debug/ringway" serve --json -i "$interface" -a 10.0.0.2/24 \
    "http/tcp:80=$work/page" >"$work/server.json" 2>"$work/server.log" &
server=$!
for ((wait = 0; wait < 100; wait++)); do
    ! grep -qs '"ready"' "$work/server.json" || break
    sleep 0.1
done
grep -q '"ready"' "$work/server.json" || die "the server does not start: $(cat "$work/server.json" "$work/server.log")"

code=0
wanted="loaded: images $images, styles $styles, scripts $scripts"
for ((round = 1; round <= rounds; round++)); do
    # Root has no sandbox of Chromium's; what it loads is the page above.
    "${root[@]}" env HOME="$work" timeout 90 ip netns exec "$client_netns" chromium --headless --no-sandbox --disable-gpu \
        --disable-dev-shm-usage --disable-background-networking --no-first-run --user-data-dir="$work/profile$round" \
        --dump-dom http://10.0.0.2/ >"$work/dom" 2>"$work/browser.log" || code=1
    found=$(sed -n 's:.*<pre id="report">\(.*\)</pre>.*:\1:p' "$work/dom")
    echo "round $round of $rounds: ${found:-nothing was loaded}"
    if [[ $found != "$wanted" ]]; then
        say "expected: $wanted"
        tail -n 20 "$work/browser.log" >&2
        code=1
    fi
done
"${root[@]}" kill -TERM "$server"
wait "$server" || { code=1; cat "$work/server.log" >&2; }
check_summary "$work/server.json" "$((rounds * (1 + images + styles + scripts)))" || code=1
[[ $code -eq 0 ]] && echo "complete: $((1 + images + styles + scripts)) files, $rounds times"
exit "$code"
