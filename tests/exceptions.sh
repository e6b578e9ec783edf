#!/usr/bin/env bash
# SPDX-License-Identifier: BSD-3-Clause
#
# C++ exceptions, and threads that end themselves, on hop's stacks: tests/exceptions.cc, one process for each case.
# What is caught inside of what hop called works, whatever waits and hops in between. What would leave it ends the
# program: in std::terminate with the frames of the throw still on the stack, or with a line about pthread_exit.
set -uo pipefail

: "${top_srcdir:=$(cd "$(dirname "$0")/.." && pwd)}"
: "${top_builddir:=$PWD}"
: "${CXX:=g++}" "${SANITIZE_FLAGS:=}"
read -ra cxx <<<"$CXX"
command -v "${cxx[0]}" >/dev/null || { echo "no C++ compiler: $CXX"; exit 77; }
[ -e "$top_builddir/.libs/libhop.so" ] || { echo "no shared library"; exit 77; }
case $SANITIZE_FLAGS in
# A C++ compiler that is not the C compiler's sister would bring another run-time.
*fsanitize*) [ "${CC:-gcc} $CXX" = "gcc g++" ] || { echo "sanitized by ${CC:-gcc}, and C++ is $CXX"; exit 77; } ;;
esac

work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
ulimit -c 0
failed=0

program=$work/exceptions
read -ra sanitize <<<"$SANITIZE_FLAGS"
"${cxx[@]}" -std=c++17 -g -O1 -Wall -Wextra -fexceptions ${sanitize[@]+"${sanitize[@]}"} -I "$top_srcdir/include" \
    -o "$program" "$top_srcdir/tests/exceptions.cc" -L "$top_builddir/.libs" -Wl,-rpath,"$top_builddir/.libs" -lhop \
    -pthread || exit 1

# A case of its own: "well" ends with 0; "throws" and "exits" by SIGABRT (134 to a shell), having said why.
run() { # how, name
    local rc=0 wanted=134 line
    case $1 in
    well) wanted=0 line='^' ;;
    throws) line='an exception leaves a task or a job.*terminate called' ;;
    exits) line='pthread_exit or pthread_cancel in a task or a job' ;;
    esac
    { timeout -k 5 60 "$program" "$2" >"$work/said" 2>&1; } 2>/dev/null || rc=$?
    if [ "$rc" -ne "$wanted" ] || ! { tr '\n' ' ' <"$work/said"; echo; } | grep -qE "$line"; then
        echo "FAIL: $2: status $rc, not $wanted; it said:"
        cat "$work/said"
        failed=1
    fi
}

"$program" list >"$work/list" || exit 1
while read -r how name; do
    # AddressSanitizer trips over the end of such a thread itself.
    [ "$how$SANITIZE_FLAGS" = "$how" ] || [ "$how" != exits ] || continue
    run "$how" "$name"
done <"$work/list"
echo "$(wc -l <"$work/list") cases"
exit "$failed"
