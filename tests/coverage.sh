#!/usr/bin/env bash
# SPDX-License-Identifier: BSD-3-Clause
#
# Which lines and branches of src/ the tests reach: builds a flavour that counts, in $top_builddir/coverage, runs the
# tests there, and reports by gcovr. What was not reached is listed; docs/coverage.md gives the reasons, function by
# function. Fails if a test fails or fewer than 95 % of the lines are reached.
#
# HOP_COVERAGE_TESTS="tests/io tests/net" runs these only, and adds to what earlier runs have counted.
set -euo pipefail

: "${top_srcdir:=$(cd "$(dirname "$0")/.." && pwd)}"
: "${top_builddir:=$PWD}"
least=95
build=$top_builddir/coverage
reasons=$top_srcdir/docs/coverage.md

if ! command -v gcovr >/dev/null; then
    echo "coverage: gcovr is not installed: apt-get install gcovr"
    exit 77
fi

# Of what was counted, or, with -a coverage.json, of what was collected before.
report() { # gcovr's options...
    (cd "$build" && gcovr --root "$top_srcdir" --filter "$top_srcdir/src/" "$@")
}

# The lines that were not reached: "src/x.c:12 function: code". A function's head begins at the margin.
missed() {
    local file line
    python3 - "$build/coverage.json" <<'END' |
import json, sys
for file in json.load(open(sys.argv[1]))["files"]:
    for line in file["lines"]:
        if line["count"] == 0 and not line.get("gcovr/noncode"):
            print(file["file"], line["line_number"])
END
        while read -r file line; do
            awk -v at="$line" -v file="$file" '
                /^[a-zA-Z_].*\(/ && !/;$/ {
                    name = $0
                    gsub(/__attribute__\(\([^()]*(\([^()]*\))?[^()]*\)\)/, "", name)
                    sub(/\(.*/, "", name)
                    sub(/.*[ *]/, "", name)
                }
                NR == at { sub(/^ */, ""); print file ":" at " " name ": " $0; exit }' "$top_srcdir/$file"
        done
}

# Those of them whose function has no reason.
unexplained() {
    local place name rest
    while read -r place name rest; do
        grep -qF "| \`${place%:*}\` | \`${name%:}\` |" "$reasons" || echo "$place $name $rest"
    done <"$build/missed"
}

HOP_BUILD=$build HOP_PACKAGES=ci HOP_CONFIGURE='--enable-coverage --disable-static' "$top_srcdir/bootstrap" build
[ -n "${HOP_COVERAGE_TESTS-}" ] || find "$build" -name '*.gcda' -delete
tests_failed=0
HOP_MODELS=no "${MAKE:-make}" -C "$build" --no-print-directory check VERBOSE=1 TEST_LIMIT=600 \
    ${HOP_COVERAGE_TESTS:+"TESTS=$HOP_COVERAGE_TESTS"} >"$build/check.log" 2>&1 || tests_failed=1
grep -E '^(# (TOTAL|PASS|SKIP|FAIL|ERROR)|FAIL|ERROR):' "$build/check.log" || true

report --object-directory . --json coverage.json .
missed >"$build/missed"
unexplained >"$build/unexplained"
echo "coverage: not reached:"
sed 's/^/    /' "$build/missed"
if [ -s "$build/unexplained" ]; then
    echo "coverage: of these docs/coverage.md gives no reason for:"
    sed 's/^/    /' "$build/unexplained"
fi
report -a coverage.json | sed -n '/^File/,$p'
rc=0
report -a coverage.json --print-summary --fail-under-line "$least" --output coverage.txt || rc=$?
[ "$tests_failed" -eq 0 ] || echo "coverage: tests failed: see $build/check.log"
[ "$rc" -eq 0 ] && [ "$tests_failed" -eq 0 ]
