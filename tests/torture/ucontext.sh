#!/usr/bin/env bash
# SPDX-License-Identifier: BSD-3-Clause
#
# The library on ucontext, which is for machines without a stack switch in assembly: built and tested here.
set -uo pipefail

: "${top_srcdir:=$(cd "$(dirname "$0")/../.." && pwd)}" "${top_builddir:=$PWD}"
# shellcheck source=tests/tally.sh
source "$top_srcdir/tests/tally.sh"
build=$top_builddir/torture/ucontext
log=$top_builddir/torture/ucontext.check

mkdir -p "$build"
HOP_BUILD=$build HOP_CONFIGURE='--with-context=ucontext --enable-werror' "$top_srcdir/bootstrap" build || exit 1
# All the Check programs; the scripts do not care how stacks are switched.
"${MAKE:-make}" -C "$build" check VERBOSE=1 script_tests= >"$log" 2>&1
rc=$?
tally "$log" $rc
[ $rc -eq 0 ] || tail -n 100 "$log"
nm "$build/.libs/libhop.so" >"$log.nm"
if grep -q hop__machine_switch "$log.nm"; then
    echo "FAILED: the assembly is in it"
    bad=$((bad + 1))
fi
echo "ucontext: $good passed, $bad failed"
[ "$bad" -eq 0 ]
