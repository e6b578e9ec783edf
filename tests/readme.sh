#!/usr/bin/env bash
# SPDX-License-Identifier: BSD-3-Clause
#
# The README's first program is examples/primes.c to the letter, and that program does what the README says.
set -euo pipefail
top_srcdir=${top_srcdir:-$(cd "$(dirname "$0")/.." && pwd)}
top_builddir=${top_builddir:-$top_srcdir/build}
primes=$top_builddir/examples/primes

fail() {
    echo "readme: $*" >&2
    exit 1
}

ask() { # number; fails while nobody listens
    local answer
    exec 3<>"/dev/tcp/127.0.0.1/$port" || return 1
    echo "$1" >&3
    read -r -t 60 answer <&3 || answer="no answer"
    exec 3>&-
    echo "$answer"
}

shown=$(awk '/^```c$/ { on = 1; next } /^```$/ { if (on) exit } on' "$top_srcdir/README.md")
[ "$shown" = "$(tail -n +2 "$top_srcdir/examples/primes.c")" ] ||
    fail "the opening program differs from examples/primes.c"

"$primes" nonsense 2>/dev/null && fail "a wrong address was accepted"

for _ in 1 2 3 4 5; do # a port that is free
    port=$((20000 + RANDOM % 12000))
    "$primes" "tcp:127.0.0.1:$port" &
    server=$!
    trap 'kill "$server" 2>/dev/null || true' EXIT
    until ask 2 >/dev/null 2>&1; do
        kill -0 "$server" 2>/dev/null || break
        sleep 0.05
    done
    kill -0 "$server" 2>/dev/null && break
done

[ "$(ask 2)" = 0 ] || fail "wrong number of primes below 2"
[ "$(ask 100000)" = 9592 ] || fail "wrong number of primes below 100000"
echo "readme: the opening program is the example, and it answers"
