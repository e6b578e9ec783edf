#!/usr/bin/env bash
# SPDX-License-Identifier: BSD-3-Clause
#
# What takes too long for every `make check`: the parts in tests/torture, each by itself, two at a time, since much of
# what they do is one process, or waits.
#
# Usage: torture.sh [PART...], run by `make torture` or `make torture PARTS="storms faults"`. The log of each part is in
# $top_builddir/torture. Prints a line a part and the sum; fails if a part fails. A part that cannot run here says why.
# TORTURE_LANES: how many at a time (2).
set -uo pipefail

: "${top_srcdir:=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)}"
: "${top_builddir:=$PWD}"
export top_srcdir top_builddir

logs=$top_builddir/torture
mkdir -p "$logs"

run() { # part; its exit status goes into a file beside the log
    local part=$1 log=$logs/$1.log began=$SECONDS rc=0
    sh "$top_srcdir/tests/sweep.sh"
    bash "$top_srcdir/tests/torture/$part.sh" >"$log" 2>&1 </dev/null || rc=$?
    echo "$rc" >"$logs/$part.status"
    [ "$rc" -eq 0 ] || [ "$rc" -eq 77 ] || tail -n 60 "$log"
    echo "torture: $part: $(tail -n 1 "$log") ($((SECONDS - began)) s)"
}

# The longest first.
parts=("$@")
[ $# -gt 0 ] || parts=(fuzz environments flavours storms faults scale aarch64 ucontext)
for part in "${parts[@]}"; do
    if [ ! -e "$top_srcdir/tests/torture/$part.sh" ]; then
        echo "torture: there is no part '$part'" >&2
        exit 2
    fi
done
running=0
for part in "${parts[@]}"; do
    [ "$running" -lt "${TORTURE_LANES:-2}" ] || wait -n
    echo "torture: $part begins, $logs/$part.log"
    rm -f "$logs/$part.status"
    run "$part" &
    running=$((running + 1))
done
wait

passed=0
failed=0
skipped=0
for part in "${parts[@]}"; do
    case $(cat "$logs/$part.status") in
    0) passed=$((passed + 1)) ;;
    77) skipped=$((skipped + 1)) ;;
    *) failed=$((failed + 1)) ;;
    esac
done
echo "torture: $passed passed, $failed failed, $skipped skipped, $SECONDS s"
[ "$failed" -eq 0 ] && [ "$passed" -gt 0 ]
