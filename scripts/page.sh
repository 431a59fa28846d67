#!/usr/bin/env bash
# Looks at the pages of `ringway compare` and `ringway bench` in a headless browser.
#
#   scripts/page.sh [--out DIR] [PAGE...]
#
#   --out DIR   where the pictures and prints go (default: out/page)
#   PAGE        looks at these pages instead of making new ones
#
# Makes both pages by short runs (scripts/compare.sh --quick, and some cells of scripts/bench.sh veth --quick), loads each in Chromium as phones, in
# the dark and on a desk, prints it on A4, and takes a picture each time. What is there is measured: curves, tables and both ladders have to be seen
# whole, in letters that can be read, and nothing may stand out of the page, cover something else or be fetched. Copies of the page that are broken on purpose
# have to be found broken. Fails when anything is missing. Two minutes after the build. Needs root for the runs; installs Chromium, its driver, Selenium and
# poppler, which is why this is no part of scripts/test.sh.

source "$(dirname "$0")/common.sh"

out=out/page
pages=()
while [[ $# -gt 0 ]]; do
    case $1 in
        --out) out=${2:?--out needs a folder}; shift ;;
        --out=*) out=${1#--out=} ;;
        -h | --help) usage; exit 0 ;;
        -*) say "${0##*/}: unknown argument '$1'"; usage >&2; exit 2 ;;
        *) pages+=("$1") ;;
    esac
    shift
done

need_commands python3=python3 chromium=chromium chromedriver=chromium-driver pdftotext=poppler-utils
need_modules selenium=python3-selenium
mkdir -p "$out"
if [[ ${#pages[@]} -eq 0 ]]; then
    scripts/compare.sh --quick --out "$out/compare"
    scripts/bench.sh veth --quick --rounds 1 --out "$out/bench" --only udp-latency/64B --only tcp-rr/1c --only crr/pair
    pages=("$out/compare/report.html" "$out/bench/bench.html")
fi
for page in "${pages[@]}"; do
    [[ -r $page ]] || die "cannot read the page $page"
done
/usr/bin/python3 scripts/page.py "$out" "${pages[@]}"
