#!/usr/bin/env bash
# SPDX-License-Identifier: BSD-3-Clause
#
# The rooms of the house, by their #include lines: which file under src/ may know which.
# First the rules are applied to the tree; then a breach of each rule is planted in a copy, and must be found.
set -euo pipefail
shopt -s lastpipe

: "${top_srcdir:=$(cd "$(dirname "$0")/.." && pwd)}"

# What a file of each room must not include, as an extended regular expression on the name between <> or "". Names are
# read as if from src/: "topology.h" in src/compute is compute/topology.h.
forbidden() {
    case $1 in
    src/bridge/*) echo '^(compute/|async/|house\.h|event2/|event\.h|omp\.h|hwloc)' ;;
    src/compute/*) echo '^(async/|house\.h|event2/|event\.h)' ;;
    src/async/*) echo '^(compute/|house\.h|omp\.h|hwloc)' ;;
    # Written on the public headers only: anything with a folder other than hop/ or a libc folder, and any own header.
    src/pipeline.c) echo '^(bridge/|compute/|async/|event2/|event\.h|omp\.h|hwloc|own/)' ;;
    # The two that see both sides, and what they share.
    src/runtime.c | src/describe.c | src/house.h) echo '^$' ;;
    *) echo '' ;;
    esac
}

# Prints the breaches in a tree, one a line.
breaches() {
    local root=$1 file line name rule folder number
    (cd "$root" && grep -rnE '^[[:space:]]*#[[:space:]]*include\b' src --include='*.[chS]') |
        while IFS= read -r line; do
            file=${line%%:*}
            number=${line#*:}
            number=${number%%:*}
            name=$(sed -E 's/^[^<"]*[<"]([^>"]*)[>"].*/\1/' <<<"${line#*:*:}")

            rule=$(forbidden "$file")
            if [ -z "$rule" ]; then
                echo "$file:$number: a file that is in no room: name its rule in tests/layering.sh"
                continue
            fi
            # "x.h" beside the file, and "../room/x.h", read as if from src/.
            folder=$(dirname "${file#src/}")
            if [[ $name == ../* ]]; then
                name=${name#../}
            elif [[ $line == *'"'* && -e "$root/src/$folder/$name" ]]; then
                [ "$folder" = . ] && name=own/$name || name=$folder/$name
            elif [[ $line == *'"'* && $folder = . && ! -e "$root/include/$name" && $name != */* ]]; then
                name=own/$name
            fi
            if [[ $name =~ $rule ]]; then
                echo "$file:$number: must not include $name"
            fi
            if [ "$name" = stdatomic.h ] && [ "$file" != src/bridge/atomic.h ]; then
                echo "$file:$number: <stdatomic.h> is for src/bridge/atomic.h alone"
            fi
        done
}

found=$(breaches "$top_srcdir")
if [ -n "$found" ]; then
    echo "$found"
    exit 1
fi

# The check itself: each of these lines, appended to such a file, must be found.
copy=$(mktemp -d)
trap 'rm -rf "$copy"' EXIT
mkdir -p "$copy/src/bridge" "$copy/src/compute" "$copy/src/async"
missed=0
try() { # expectation (breach or none), file, line
    local count
    rm -rf "$copy/src/new"
    : >"$copy/src/compute/pool.h"
    : >"$copy/src/async/loop.h"
    mkdir -p "$(dirname "$copy/$2")"
    printf '/* a comment */\n%s\n' "$3" >"$copy/$2"
    count=$(breaches "$copy" | grep -c "^$2:2:" || true)
    rm "$copy/$2"
    if [ "$1" = breach ] && [ "$count" -eq 0 ]; then
        echo "not found: $3 in $2"
        missed=1
    elif [ "$1" = none ] && [ "$count" -ne 0 ]; then
        echo "found without reason: $3 in $2"
        missed=1
    fi
}
try breach src/bridge/x.c '#include "compute/pool.h"'
try breach src/bridge/x.c '#include "../compute/pool.h"'
try breach src/bridge/x.h '#include "async/loop.h"'
try breach src/bridge/x.c '#include <event2/event.h>'
try breach src/bridge/x.c '  #  include <omp.h>'
try breach src/bridge/x.c '#include <hwloc.h>'
try breach src/bridge/x.c '#include <stdatomic.h>'
try breach src/bridge/x.S '#include "../async/loop.h"'
try breach src/compute/x.c '#include "async/loop.h"'
try breach src/compute/x.c '#include "../async/loop.h"'
try breach src/compute/x.c '#include <event2/event.h>'
try breach src/compute/x.h '#include <stdatomic.h>'
try breach src/async/x.c '#include "compute/pool.h"'
try breach src/async/x.c '#include <omp.h>'
try breach src/async/x.c '#include <hwloc/helper.h>'
try breach src/pipeline.c '#include "bridge/task.h"'
try breach src/pipeline.c '#include "common.h"'
try breach src/pipeline.c '#include <event2/event.h>'
try breach src/async/x.c '#include "house.h"'
try breach src/runtime.c '#include <stdatomic.h>'
try breach src/new/x.c '#include <stdio.h>'
try none src/bridge/x.c '#include "clock.h"'
try none src/bridge/atomic.h '#include <stdatomic.h>'
try none src/compute/x.c '#include "pool.h"'
try none src/compute/x.c '#include "bridge/task.h"'
try none src/compute/x.c '#include <hwloc.h>'
try none src/async/x.c '#include <event2/event.h>'
try none src/pipeline.c '#include <hop/pipeline.h>'
try none src/pipeline.c '#include <sys/uio.h>'
try none src/runtime.c '#include "compute/pool.h"'
try none src/runtime.c '#include "async/loop.h"'
exit "$missed"
