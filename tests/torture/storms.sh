#!/usr/bin/env bash
# SPDX-License-Identifier: BSD-3-Clause
#
# Storms by the ten thousand (tests/storm.c), from a random seed on: ten thousand in the build at hand, then some on one
# CPU, with a pool of plain threads, and with the address and the thread sanitizer. Each kind stops at its number of
# seeds, or when its share of the time is over. A failure prints the command that plays its seed again.
#
# STORM_SECONDS: how long it may take about, builds apart (600). HOP_SEED: where to start.
set -euo pipefail

: "${top_srcdir:=$(cd "$(dirname "${BASH_SOURCE[0]}")/../.." && pwd)}"
: "${top_builddir:=$PWD}"

seconds=${STORM_SECONDS:-600}
start=${HOP_SEED:-$((RANDOM * 32768 + RANDOM + 1))}
wanted=10000
passed=0
failed=0

# A build of its own: its folder's name, and flags for configure. (gcc warns of fences under the thread sanitizer.)
build() { # name, flag...
    local folder=$top_builddir/torture/storms-$1
    shift
    mkdir -p "$folder"
    (cd "$top_srcdir" && HOP_BUILD=$folder HOP_CONFIGURE="$*" ./bootstrap build && make -s -C "$folder" tests/storm) \
        >"$folder/storms.log" 2>&1 || { tail -n 60 "$folder/storms.log"; echo "storms: 0 passed, 1 failed"; exit 1; }
}

# Two halves of the seeds at once; each is a process that waits much of its time.
storms() { # what, program, seeds, seconds, command to run it by...
    local what=$1 program=$2 seeds=$3 span=$4 half log n
    shift 4
    log=$(mktemp -d)
    for half in 0 1; do
        HOP_SEED=$((start + half * (seeds / 2))) "$@" "$program" $((seeds / 2)) "$span" >"$log/$half" 2>&1 &
    done
    wait
    for half in 0 1; do
        grep -v '^\[warn\] Epoll ADD' "$log/$half" | sed "s#^to play it again: .* tests/storm#& ($program)#"
        n=$(tail -n 1 "$log/$half")
        [[ $n =~ ([0-9]+)\ passed,\ ([0-9]+)\ failed ]] || { n=; failed=$((failed + 1)); continue; }
        passed=$((passed + BASH_REMATCH[1]))
        failed=$((failed + BASH_REMATCH[2]))
    done
    rm -r "$log"
    start=$((start + seeds))
    echo "storms: $what: $passed passed until now, $failed failed"
}

[ -x "$top_builddir/tests/storm" ] || make -s -C "$top_builddir" tests/storm >/dev/null
echo "storms: from seed $start on"
storms "the build at hand" "$top_builddir/tests/storm" $wanted $((2 * seconds)) env
one=$(taskset -cp $$ | sed 's/.*[:,-] *//')
storms "on one CPU" "$top_builddir/tests/storm" 1000 $((seconds / 10)) taskset -c "$one"
build pthread --with-team=pthread
storms "with a pool of plain threads" "$top_builddir/torture/storms-pthread/tests/storm" 1000 $((seconds / 10)) env
build asan --enable-asan --enable-ubsan
storms "with the address sanitizer" "$top_builddir/torture/storms-asan/tests/storm" 600 $((seconds / 10)) env
build tsan --enable-tsan --with-team=pthread
storms "with the thread sanitizer" "$top_builddir/torture/storms-tsan/tests/storm" 400 $((seconds / 10)) env

echo "storms: $passed passed, $failed failed"
[ "$failed" -eq 0 ]
