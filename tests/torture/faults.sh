#!/usr/bin/env bash
# SPDX-License-Identifier: BSD-3-Clause
#
# Every failure once, the whole of it: each call of each place in each scenario of tests/faults, with each of its
# errors, once and from there on; and each place once in the builds that are made of other code.
set -uo pipefail

: "${top_srcdir:?}" "${top_builddir:?}"

passed=0
failed=0

outcome() { # what, status
    if [ "$2" -eq 0 ]; then
        passed=$((passed + 1))
    else
        failed=$((failed + 1))
    fi
    echo "faults: $1: status $2"
}

# Builds tests/faults of a flavour, and runs it.
flavour() { # name, configure flags
    local build=$top_builddir/torture/faults-$1 status=0
    echo "faults: $1: $2"
    mkdir -p "$build"
    if ! (cd "$top_srcdir" && HOP_BUILD=$build HOP_CONFIGURE=$2 ./bootstrap build &&
        make -s -C "$build" tests/faults) >"$build/torture.log" 2>&1; then
        tail -n 30 "$build/torture.log"
        outcome "$1, the build" 1
        return
    fi
    "$build/tests/faults" | grep -v '^never failed' || status=1
    outcome "$1" "$status"
}

make -s -C "$top_builddir" tests/faults || exit 1
status=0
"$top_builddir/tests/faults" --all || status=1
outcome "everything" "$status"

if command -v clang >/dev/null; then
    flavour clang CC=clang
else
    echo "faults: no clang here: its flavour is left out"
fi
flavour pthread --with-team=pthread
flavour sanitized '--enable-asan --enable-ubsan'

echo "faults: $passed passed, $failed failed"
[ "$failed" -eq 0 ]
