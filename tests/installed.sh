#!/usr/bin/env bash
# SPDX-License-Identifier: BSD-3-Clause
#
# The installed copy: a program builds with it by pkg-config, shared and static, and runs; the names that the library
# exports are those that the headers declare; uninstalling leaves nothing.
set -euo pipefail

: "${top_srcdir:=$(cd "$(dirname "$0")/.." && pwd)}"
: "${top_builddir:=$PWD}"
: "${CC:=cc}" "${MAKE:=make}" "${NM:=nm}" "${PKG_CONFIG:=pkg-config}" "${SANITIZE_FLAGS:=}" "${TEAM_CFLAGS=-fopenmp}"
unset MAKEFLAGS MFLAGS MAKELEVEL
root=$(mktemp -d)
trap 'rm -rf "$root"' EXIT

fail() {
    echo "$*"
    exit 1
}

"$MAKE" -s -C "$top_builddir" install DESTDIR="$root/there" >"$root/log" 2>&1 || { cat "$root/log"; exit 1; }
pc=$(find "$root/there" -name hop.pc)
[ -n "$pc" ] || fail "hop.pc is not installed"

# The folder stands in for the root of another system.
export PKG_CONFIG_SYSROOT_DIR=$root/there PKG_CONFIG_ALLOW_SYSTEM_CFLAGS=1 PKG_CONFIG_ALLOW_SYSTEM_LIBS=1
PKG_CONFIG_PATH=$(dirname "$pc")${PKG_CONFIG_PATH:+:$PKG_CONFIG_PATH}
export PKG_CONFIG_PATH
libdir=$PKG_CONFIG_SYSROOT_DIR$("$PKG_CONFIG" --variable=libdir hop)
libdir=${libdir/"$root/there$root/there"/"$root/there"}
program=$top_srcdir/examples/hello.c

# Word splitting is meant in what follows: CC and NM may carry flags, and pkg-config answers a list.
# shellcheck disable=SC2046,SC2086
if [ -e "$libdir/libhop.so" ]; then
    $CC -std=c11 $SANITIZE_FLAGS $("$PKG_CONFIG" --cflags hop) -o "$root/shared" "$program" \
        $("$PKG_CONFIG" --libs hop) -pthread
    LD_LIBRARY_PATH=$libdir "$root/shared" >"$root/log" 2>&1 || { cat "$root/log"; fail "hello, shared: failed"; }

    # What is exported: hop_ names under the map's node, and no others.
    $NM -D --defined-only "$libdir/libhop.so" | awk '{ print $NF }' >"$root/names"
    sed 's/@.*//' "$root/names" | grep -vxE 'HOP_[0-9.]+' | sort -u >"$root/exported"
    if grep -v '^hop_' "$root/exported"; then
        fail "exported, but not a hop_ name"
    fi
    grep -qF '@@HOP_0.1' "$root/names" || fail "no names under the node HOP_0.1"
    cat "$top_srcdir"/include/hop/*.h | tr '\n' ' ' | grep -oE 'HOP_API [^;({]*\(' | grep -oE 'hop_+[a-z0-9_]+ *\($' |
        tr -d ' (' | sort -u >"$root/declared"
    diff "$root/declared" "$root/exported" >"$root/diff" || {
        cat "$root/diff"
        fail "the headers (<) and the library (>) differ"
    }
    readelf -ldW "$libdir/libhop.so" >"$root/elf"
    if grep -q 'GNU_STACK.*RWE' "$root/elf"; then
        fail "the library asks for an executable stack: a .S file lacks its .note.GNU-stack"
    fi
    if grep -q TEXTREL "$root/elf"; then
        fail "the library has text relocations"
    fi
fi

# shellcheck disable=SC2046,SC2086
if [ -e "$libdir/libhop.a" ]; then
    # hop static, what it stands on shared: pkg-config --static would ask for static copies of everything below too.
    $CC -std=c11 $SANITIZE_FLAGS $("$PKG_CONFIG" --cflags hop) -o "$root/static" "$program" "$libdir/libhop.a" \
        $("$PKG_CONFIG" --libs libevent_core hwloc) -pthread $TEAM_CFLAGS
    "$root/static" >"$root/log" 2>&1 || { cat "$root/log"; fail "hello, static: failed"; }
    $NM "$root/static" >"$root/names"
    grep -q ' T hop_version' "$root/names" || fail "the static program has no hop in it"

    # Also what is not exported keeps to the prefix, for static programs share one space of names.
    $NM -g --defined-only "$libdir/libhop.a" | awk 'NF == 3 && $3 !~ /^hop_/ { print $3 }' | sort -u >"$root/foreign"
    # Compilers and sanitizers bring names of their own.
    if grep -vE '^(__|_?DW\.ref|\.)' "$root/foreign"; then
        fail "global in libhop.a, but not a hop_ name"
    fi
fi

"$MAKE" -s -C "$top_builddir" uninstall DESTDIR="$root/there" >"$root/log" 2>&1 || { cat "$root/log"; exit 1; }
left=$(find "$root/there" -not -type d)
[ -z "$left" ] || fail "left after uninstall: $left"
