"""The table of scripts/bench.sh micro: the medians that criterion wrote since a moment, beside their targets.

    python3 scripts/micro.py FOLDER SINCE

FOLDER is criterion's, SINCE the moment in seconds since the epoch. Ends with 3 when nothing was written since.
"""

import json
import pathlib
import sys

# Nanoseconds of one operation on a core of some 3 GHz.
TARGETS = {
    "wire/parse_udp/64": 5,
    "wire/parse_tcp/64": 9,
    "wire/checksum/64": 7,
    "wire/checksum/1460": 28,
    # SipHash-1-3; a hash without its strength would be held to 8.
    "demux/hash/ipv6": 25,
    "demux/hash/ipv4": 25,
    "demux/directory/hit_64": 7,
    "demux/directory/hit_serial_64": 7,
    "demux/directory/hit_burst_1M": 30,
    "engine/wheel/arm_among_1k": 15,
    "engine/wheel/arm_among_1M": 15,
    "engine/wheel/cancel_among_1k": 10,
    "engine/wheel/cancel_among_1M": 10,
    "engine/wheel/expire_due": 5,
    "engine/wheel/expire_dense": 5,
    "engine/wheel/expire_sparse": 5,
    "metrics/histogram/record": 4,
    "metrics/histogram/record_wide": 4,
}
# Those that are held to so many times what another operation took in the same run.
RELATIVE = {"demux/directory/hit_serial_1M": (1.3, "demux/memory/dependent_load_1M")}


def main() -> int:
    folder, since = pathlib.Path(sys.argv[1]), float(sys.argv[2])
    cells = read(folder, since)
    if not cells:
        print("no operation has such a name", file=sys.stderr)
        return 3
    width = max(len(cell) for cell in [*cells, "one operation"])
    print(f"\n{'one operation':<{width}} {'median ns':>10}   {'95 % interval':<20} {'least':>8} {'target':>8}")
    for cell, (median, low, high, least) in cells.items():
        target, how = target_of(cell, cells)
        verdict = "" if target is None else "met" if median <= target else "missed"
        line = f"{cell:<{width}} {number(median):>10}   {f'{number(low)} to {number(high)}':<20} {number(least):>8} {number(target):>8}   {verdict:<6} {how}"
        print(line.rstrip())
    return 0


def read(folder, since):
    """Name to median, its interval and the least sample, in the order in which they were measured."""
    found = []
    for path in folder.glob("**/new/estimates.json"):
        written = path.stat().st_mtime
        if written >= since:
            median = json.loads(path.read_text())["median"]
            interval = median["confidence_interval"]
            samples = json.loads(path.with_name("sample.json").read_text())
            least = min(time / count for time, count in zip(samples["times"], samples["iters"]))
            values = (median["point_estimate"], interval["lower_bound"], interval["upper_bound"], least)
            name = json.loads(path.with_name("benchmark.json").read_text())["full_id"]
            found.append((written, name, values))
    return {name: values for _, name, values in sorted(found)}


def target_of(cell, cells):
    if cell in RELATIVE:
        times, other = RELATIVE[cell]
        if other in cells:
            median = cells[other][0]
            return times * median, f"{cells[cell][0] / median:.2f} of {other}"
    return TARGETS.get(cell), ""


def number(value):
    return "" if value is None else f"{value:.{1 if value >= 100 else 2}f}"


if __name__ == "__main__":
    sys.exit(main())
