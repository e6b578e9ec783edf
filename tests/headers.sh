#!/usr/bin/env bash
# SPDX-License-Identifier: BSD-3-Clause
#
# Every public header compiles by itself, twice in a row, as strict C11 and as C++17, by each compiler that is here.
set -euo pipefail

: "${top_srcdir:=$(cd "$(dirname "$0")/.." && pwd)}"
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
cd "$work"

failed=0
tried=0
try() { # compiler, flags...
    command -v "$1" >/dev/null || return 0
    tried=$((tried + 1))
    if ! "$@" -pedantic -Wall -Wextra -Werror -fsyntax-only -I "$top_srcdir/include"; then
        echo "failed: $*"
        failed=1
    fi
}

for path in "$top_srcdir"/include/hop.h "$top_srcdir"/include/hop/*.h; do
    header=${path#"$top_srcdir"/include/}
    # A translation unit needs at least one declaration.
    printf '#include <%s>\n#include <%s>\ntypedef int unit;\n' "$header" "$header" >unit.c
    cp unit.c unit.cc
    try gcc -std=c11 unit.c
    try clang -std=c11 unit.c
    try g++ -std=c++17 unit.cc
    try clang++ -std=c++17 unit.cc
done
[ "$tried" -gt 0 ] || exit 77
exit "$failed"
