#!/usr/bin/env bash
# SPDX-License-Identifier: BSD-3-Clause
#
# The whole matrix of environments, with gcc's OpenMP runtime and with clang's:
#
#   settings   tests/environment.sh with more of the Check programs in every setting that they can live in
#   limits     each limit in small steps, from where nothing starts to where everything works, for a small machine and
#              for one that asks for sixteen workers
#   calls      every system call that tests/service makes, refused with three errors each: right, or told
#   follow     CPUs and quota taken from a program at work, and given back, again and again
#
# Usage: environments.sh [settings|limits|calls|follow...]; HOP_FLAVOURS="gcc clang".
set -uo pipefail

: "${top_srcdir:=$(cd "$(dirname "${BASH_SOURCE[0]}")/../.." && pwd)}"
: "${top_builddir:=$PWD}"
: "${HOP_FLAVOURS:=gcc clang}"
export top_srcdir
steps=("$@")
[ $# -gt 0 ] || steps=(settings limits calls follow)
out=$top_builddir/torture
mkdir -p "$out"

passed=0
failed=0
ended=0
log=$(mktemp) || exit 1
place=$(mktemp -d) || exit 1
trap 'rm -rf "$log" "$place"' EXIT
chmod 755 "$place"

finish() {
    echo "environments: $passed passed, $failed failed"
    [ "$failed" -eq 0 ] && [ "$passed" -gt 0 ]
}

report() { # good (0 or not), what
    if [ "$1" -eq 0 ]; then
        passed=$((passed + 1))
        return
    fi
    failed=$((failed + 1))
    echo "FAIL: $2"
    sed 's/^/    /' "$log"
}

# Right, or told by an error of hop's that matches WHY.
told() { # what, why, command...
    local what=$1 why=$2 rc good=1
    shift 2
    timeout -k 5 200 "$@" >"$log" 2>&1
    rc=$?
    case $rc in
    0) good=0 ;;
    3 | 4) grep -qE "^service: (refused|failed): ($why)$" "$log" && good=0 ;;
    134) # libomp's threads take memory while it starts the next: what was there for all of them may not be any more
        ! grep -q 'OMP: Error #34: System unable to allocate' "$log" || { ended=$((ended + 1)) && return 0; }
        ;;
    127) ! grep -q 'error while loading shared libraries' "$log" || return 0 ;; # it did not come to main
    esac
    report $good "$what: status $rc"
}

build() { # flavour
    local -a target=(HOP_BUILD="$out/environments-$1" HOP_CONFIGURE="CC=$1")
    env "${target[@]}" "$top_srcdir/bootstrap" build && make -s -C "$out/environments-$1" -j"$(nproc)" check TESTS=
}

# ---- the steps; each in the folder of a flavour ----

settings() {
    local sum
    CC=$flavour top_builddir=$PWD bash "$top_srcdir/tests/environment.sh" \
        parallel halves hop offload task channel select timer net runtime >"$log" 2>&1
    grep -v '^environment.sh: [0-9]* passed' "$log"
    sum=$(sed -n 's/^environment.sh: \([0-9]* passed, [0-9]* failed\)$/\1/p' "$log")
    if [ -z "$sum" ]; then
        report 1 "settings did not end"
        return
    fi
    passed=$((passed + ${sum%% *}))
    sum=${sum#*, }
    failed=$((failed + ${sum%% *}))
}

starving='Cannot allocate memory|Resource temporarily unavailable|Too many open files'
limited=(bash -c 'ulimit "$1" "$2" || exit 77; shift 2; exec "$@"' limited)
sixteen=(env HWLOC_SYNTHETIC="pack:2 core:8 pu:1")

limits() {
    local n

    ended=0
    for n in $(seq 3 40); do
        told "descriptors $n" "$starving" "${limited[@]}" -n "$n" "$place/service"
    done
    for n in $(seq 20000 10000 400000); do
        told "memory $n KiB" "$starving" "${limited[@]}" -v "$n" "$place/service"
        told "memory $n KiB, 16 workers" "$starving" "${limited[@]}" -v "$n" "${sixteen[@]}" "$place/service"
    done
    for n in $(seq 4000 2000 60000); do
        told "data $n KiB" "$starving" "${limited[@]}" -d "$n" "$place/service"
        told "data $n KiB, 16 workers" "$starving" "${limited[@]}" -d "$n" "${sixteen[@]}" "$place/service"
    done
    for n in 64 128 192 256 384 512 1024 unlimited; do
        told "stack $n KiB" "$starving" "${limited[@]}" -s "$n" "$place/service"
    done
    if [ "$(id -u)" -ne 0 ]; then
        echo "limits: threads are left out: needs root, who can become nobody"
        return
    fi
    for n in $(seq 1 30); do
        told "threads $n" "$starving" setpriv --reuid=65534 --regid=65534 --clear-groups \
            prlimit --nproc="$n" "$place/service"
        told "threads $n, 16 workers" "$starving" setpriv --reuid=65534 --regid=65534 --clear-groups \
            prlimit --nproc="$n" "${sixteen[@]}" "$place/service"
    done
    echo "limits: ended by the OpenMP runtime: $ended"
}

# Without these the loader or the C library does not come to main, or cannot end.
needed_by_libc=' arch_prctl brk close execve exit exit_group fcntl futex mmap mprotect munmap newfstatat openat pread64
 read rt_sigreturn set_tid_address write '

needed_by_libomp=' ftruncate rt_sigaction sched_getaffinity '

calls() {
    local call number error
    command -v strace >/dev/null || { echo "calls: left out: no strace to see which there are" && return; }
    strace -f -qq -o "$log" "$place/service" >/dev/null
    strace -f -qq -A -o "$log" "$place/service" attached >/dev/null
    for call in $(sed -nE 's/^[0-9]+ +([a-z_0-9]+)\(.*/\1/p' "$log" | sort -u); do
        [[ $needed_by_libc != *[[:space:]]"$call"[[:space:]]* ]] || continue
        [ "$flavour" != clang ] || [[ $needed_by_libomp != *" $call "* ]] || continue
        number=$({ echo '#include <sys/syscall.h>' && echo "SYS_$call"; } | "$flavour" -E -P -x c - | tail -n 1)
        for error in '38 Function not implemented' '1 Operation not permitted' '22 Invalid argument'; do
            told "$call refused with ${error#* }" "${error#* }" \
                "$place/refuse" "${error%% *}" "$number" -- "$place/service"
        done
    done
}

follow() {
    local i rc
    for i in $(seq 10); do
        CK_TIMEOUT_MULTIPLIER=5 timeout -k 5 600 tests/follow >"$log" 2>&1
        rc=$?
        report $rc "follow $i"
    done
    grep '^follow: ' "$log"
}

ran=0
for flavour in $HOP_FLAVOURS; do
    if ! command -v "$flavour" >/dev/null; then
        echo "environments: left out: there is no $flavour here"
        continue
    fi
    if ! build "$flavour" >"$log" 2>&1; then
        report 1 "the build with $flavour"
        continue
    fi
    ran=$((ran + 1))
    cd "$out/environments-$flavour" || exit 1
    install -m 755 tests/refuse tests/service "$place" || exit 1
    for step in "${steps[@]}"; do
        before="$passed $failed"
        began=$SECONDS
        echo "environments: $flavour, $step"
        "$step"
        echo "environments: $flavour, $step: $((passed - ${before% *})) passed, $((failed - ${before#* })) failed," \
            "$((SECONDS - began)) s"
    done
done
if [ "$ran" -eq 0 ] && [ "$failed" -eq 0 ]; then
    echo "environments: 0 passed, 0 failed: neither compiler is here"
    exit 77
fi
finish
