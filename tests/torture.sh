#!/usr/bin/env bash
# SPDX-License-Identifier: BSD-3-Clause
#
# What takes too long for every `make check`: the parts in tests/torture, one after the other, each by itself.
#
# Usage: torture.sh [PART...], run by `make torture` or `make torture PARTS="storms faults"`. The log of each part is in
# $top_builddir/torture. Prints a line a part and the sum; fails if a part fails. A part that cannot run here says why.
set -uo pipefail

: "${top_srcdir:=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)}"
: "${top_builddir:=$PWD}"
export top_srcdir top_builddir

logs=$top_builddir/torture
mkdir -p "$logs"
passed=0
failed=0
skipped=0

parts=("$@")
if [ $# -eq 0 ]; then
    for script in "$top_srcdir"/tests/torture/*.sh; do
        parts+=("$(basename "$script" .sh)")
    done
fi

for part in "${parts[@]}"; do
    script=$top_srcdir/tests/torture/$part.sh
    if [ ! -e "$script" ]; then
        echo "torture: there is no part '$part'" >&2
        exit 2
    fi
    echo "torture: $part begins, $logs/$part.log"
    began=$SECONDS
    rc=0
    sh "$top_srcdir/tests/sweep.sh"
    bash "$script" >"$logs/$part.log" 2>&1 </dev/null || rc=$?
    last=$(tail -n 1 "$logs/$part.log")
    case $rc in
    0) passed=$((passed + 1)) ;;
    77) skipped=$((skipped + 1)) ;;
    *)
        failed=$((failed + 1))
        tail -n 60 "$logs/$part.log"
        ;;
    esac
    echo "torture: $part: $last ($((SECONDS - began)) s)"
done

echo "torture: $passed passed, $failed failed, $skipped skipped"
[ "$failed" -eq 0 ] && [ "$passed" -gt 0 ]
