#!/usr/bin/env bash
# Shows which requirement of RFC 9293 is met where and tested where, and checks every quoted sentence of every RFC.
#
#   scripts/rfc.sh [--texts DIR] [--gaps]
#
# Quotes are verified, white space aside, against the files rfcNNNN.txt in DIR, $RFC_TEXTS or ../shared/rfc; without texts they are
# not verified, which is said. Fails on a requirement without code or without test, on a quote that does not stand in its text, and on a
# citation that cannot be read. The requirements are listed in scripts/rfc9293.tsv. The last line holds the totals.

source "$(dirname "$0")/common.sh"

need_commands python3=python3
exec python3 scripts/rfc.py "$@"
