#!/usr/bin/env bash
# SPDX-License-Identifier: BSD-3-Clause
#
# Great numbers at their full size (tests/scale.c, tests/clients.c), also on one CPU; and full stacks (tests/stack.c)
# with the sizes of stack that a user may set. Prints what each client and each task takes.
set -euo pipefail

: "${top_builddir:=$PWD}"

passed=0
failed=0

# Runs a Check program: its own lines, and its count into ours.
try() { # what, command...
    local what=$1 out counts
    shift
    echo "scale: $what"
    out=$(CK_TIMEOUT_MULTIPLIER=30 "$@" 2>&1 </dev/null) || true
    printf '%s\n' "$out" | sed 's/^/    /'
    if [[ $out =~ Checks:\ ([0-9]+),\ Failures:\ ([0-9]+),\ Errors:\ ([0-9]+) ]]; then
        counts=$((BASH_REMATCH[2] + BASH_REMATCH[3]))
        passed=$((passed + BASH_REMATCH[1] - counts))
        failed=$((failed + counts))
    else
        failed=$((failed + 1))
    fi
}

# With another limit on the stack of a thread, as `ulimit -s` takes it.
with_stack() { # limit, command...
    local limit=$1
    shift
    (ulimit -s "$limit" && exec "$@")
}

make -s -C "$top_builddir" tests/clients tests/scale tests/stack >/dev/null
cd "$top_builddir"
one=$(taskset -cp $$ | sed 's/.*[:,-] *//')

export HOP_SCALE=100
try "ten thousand clients" tests/clients
try "great numbers" tests/scale
try "ten thousand clients on one CPU" taskset -c "$one" tests/clients
try "a fifth of the great numbers on one CPU" env HOP_SCALE=20 taskset -c "$one" tests/scale
for size in 1M 64M; do
    try "full stacks, OMP_STACKSIZE=$size" env OMP_STACKSIZE=$size tests/stack
done
for limit in 1024 65536 unlimited; do
    try "full stacks, ulimit -s $limit" with_stack "$limit" tests/stack
done

echo "scale: $passed passed, $failed failed"
[ "$failed" -eq 0 ]
