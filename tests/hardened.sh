#!/usr/bin/env bash
# SPDX-License-Identifier: BSD-3-Clause
#
# What was built is hardened: the library and the programs are read by readelf, whatever the flags claimed; the stack
# switch does not promise what it cannot keep; the examples open no door to the network unless they are told to.
set -uo pipefail

: "${top_srcdir:=$(cd "$(dirname "$0")/.." && pwd)}" "${top_builddir:=.}" "${CC:=cc}"
if [ -n "${SANITIZE_FLAGS-}" ]; then
    echo "hardened.sh: the sanitizers have their own flags; see the default build"
    exit 77
fi
if ! command -v readelf >/dev/null; then
    echo "hardened.sh: readelf is not installed: apt-get install binutils"
    exit 77
fi
here=$(mktemp -d "${TMPDIR:-/tmp}/hardened-XXXXXX") || exit 1
trap 'rm -rf "$here"' EXIT
failed=0
passed=0

check() { # what, command...
    local what=$1
    shift
    if "$@" >"$here/said" 2>&1; then
        passed=$((passed + 1))
    else
        failed=$((failed + 1))
        echo "FAILED: $what"
        head -n 10 "$here/said"
    fi
}

# --- what was built ---

# Sections, segments, dynamic entries and symbols of a file are read once.
has() { grep -qE "$1" "$here/elf"; }
lacks() { ! grep -E "$1" "$here/elf"; }
# But for the compiler's own folder, which libtool adds for clang's libomp.
searches_nowhere() { ! grep -E '\((RPATH|RUNPATH)\)' "$here/elf" | grep -vE '\[/usr/lib/llvm-[0-9]+/lib\]$'; }
defines_or_takes() { grep -qE " $1(@|\$)" "$here/elf"; }

hardened() { # file
    local file=$1 name
    name=$(basename "$file")
    readelf -W --file-header --segments --dynamic --dyn-syms "$file" >"$here/elf" || { failed=$((failed + 1)); return; }
    check "$name binds everything at the start" has '\((FLAGS|FLAGS_1)\).*NOW'
    check "$name is made read-only after that" has '^ *GNU_RELRO'
    check "$name has a stack that is not executable" has '^ *GNU_STACK .* RW +0x'
    check "$name has no segment to write and execute" lacks '^ *LOAD .* RWE '
    check "$name needs no relocations in its code" lacks 'TEXTREL'
    case $name in
    # A program finds the library where it is, or will be, installed.
    *.so*) check "$name has no search path of its own" searches_nowhere ;;
    *) check "$name can be loaded anywhere" has 'Type: *DYN' ;;
    esac
}

for flag in -fstack-protector-strong -Wl,-z,relro -Wl,-z,now -Wl,-z,noexecstack; do
    check "configure has added $flag" grep -qwe "$flag" <<<"${HARDEN_FLAGS-}"
done

library=$top_builddir/.libs/libhop.so
if [ -e "$library" ]; then
    hardened "$library"
    check "libhop.so has canaries" defines_or_takes __stack_chk_fail
    case ${HARDEN_FLAGS-} in
    *_FORTIFY_SOURCE*) check "libhop.so has checked calls" defines_or_takes '__[a-z]+_chk' ;;
    *) echo "hardened.sh: not optimised, so _FORTIFY_SOURCE is not set" ;;
    esac
else
    echo "hardened.sh: no shared library here"
fi

programs=0
for example in "$top_builddir"/examples/* "$top_builddir"/examples/pgz/pgz; do
    [ -f "$example" ] && [ -x "$example" ] || continue
    # The program itself, where libtool has put a script in its place.
    real=$(dirname "$example")/.libs/$(basename "$example")
    [ -e "$real" ] || real=$example
    hardened "$real"
    programs=$((programs + 1))
done
check "there are programs" [ "$programs" -gt 0 ]

# --- the switch ---

# A stack that is switched by hand does not match a shadow stack: the library must not say that it does, also where the
# compiler would say so for all of it.
echo 'int nothing(void); int nothing(void) { return 0; }' >"$here/nothing.c"
shadow() { # flags...
    # shellcheck disable=SC2086 # CC may have flags
    $CC -shared -fPIC "$@" -o "$here/switch.so" "$here/nothing.c" "$top_srcdir"/src/bridge/context_*.S \
        -Wl,--defsym=hop__context_start=0 && readelf -nW "$here/switch.so" >"$here/notes"
}
if echo 'int x;' | $CC -Werror -fcf-protection=full -xc -c -o "$here/probe.o" - 2>/dev/null; then
    check "the switch can be linked with -fcf-protection" shadow -fcf-protection=full
    check "the switch does not claim to keep a shadow stack" eval "! grep SHSTK $here/notes"
fi

# --- doors ---

# The examples by themselves, told nothing: each address that is bound is the loopback's.
cat >"$here/bind.c" <<'END'
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <dlfcn.h>
#include <netinet/in.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/socket.h>

int bind(int fd, const struct sockaddr *at, socklen_t bytes)
{
    int (*real)(int, const struct sockaddr *, socklen_t) = dlsym(RTLD_NEXT, "bind");
    char text[INET6_ADDRSTRLEN] = "?";
    FILE *out = fopen(getenv("BOUND"), "a");

    if (at->sa_family == AF_INET)
        inet_ntop(AF_INET, &((const struct sockaddr_in *)(const void *)at)->sin_addr, text, sizeof text);
    if (at->sa_family == AF_INET6)
        inet_ntop(AF_INET6, &((const struct sockaddr_in6 *)(const void *)at)->sin6_addr, text, sizeof text);
    if (out && (at->sa_family == AF_INET || at->sa_family == AF_INET6))
        fprintf(out, "%s\n", text);
    if (out)
        fclose(out);
    return real(fd, at, bytes);
}
END
# shellcheck disable=SC2086
check "bind can be watched" $CC -shared -fPIC -o "$here/bind.so" "$here/bind.c" -ldl
: >"$here/bound"
watched() { # example and its arguments
    BOUND=$here/bound LD_PRELOAD=$here/bind.so exec "$top_builddir/examples/$1" "${@:2}" </dev/null >/dev/null 2>&1
}
for example in attach channel echo hello offload parallel_for select team; do
    (watched "$example")
done
[ ! -x "$top_builddir/examples/demo" ] || (watched demo "$0")
# This one serves until it is interrupted.
before=$(wc -l <"$here/bound")
(watched primes) &
server=$!
for ((i = 0; i < 200; i++)); do
    [ "$(wc -l <"$here/bound")" -eq "$before" ] && kill -0 "$server" || break
    sleep 0.05
done
kill "$server"
wait "$server" 2>/dev/null
check "examples were seen to bind" [ -s "$here/bound" ]
check "examples bind to the loopback only" eval "! grep -vE '^(127\\.|::1\$)' $here/bound"

echo "hardened.sh: $passed passed, $failed failed"
[ "$failed" -eq 0 ] && [ "$passed" -gt 0 ]
