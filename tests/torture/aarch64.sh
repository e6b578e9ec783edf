#!/usr/bin/env bash
# SPDX-License-Identifier: BSD-3-Clause
#
# The library and its tests for aarch64: cross-built against Debian's arm64 packages, which are unpacked into a folder
# of the build (the host is not changed), and run by qemu-user. What that emulator cannot do is named below, test by
# test. Its threads share the host's memory, in the host's order: so this shows that the stack switch, the atomics and
# the calls are right, not that no ordering is missing; the models in tests/models are for that.
#
# Usage: aarch64.sh [PROGRAM...], programs of tests/
set -uo pipefail

: "${top_srcdir:=$(cd "$(dirname "$0")/../.." && pwd)}" "${top_builddir:=$PWD}"
work=$top_builddir/torture/aarch64
build=$work/build
sysroot=$work/sysroot
passed=0
failed=0

skip() {
    echo "aarch64: skipped: $1"
    exit 77
}

for tool in aarch64-linux-gnu-gcc qemu-aarch64 apt-get dpkg readelf pkg-config; do
    command -v $tool >/dev/null || skip "$tool is not installed (gcc-aarch64-linux-gnu qemu-user)"
done
mkdir -p "$work"
work=$(cd "$work" && pwd)

# --- the other machine's libraries ---

# apt with package lists, caches and a state of its own, in which nothing is installed and arm64 is known.
apt_aside() { # tool, arguments...
    "$1" -q -o Dir::State::lists="$work/apt/lists" -o Dir::Cache="$work/apt/cache" \
        -o Dir::State::status="$work/apt/status" -o APT::Architectures::=amd64 -o APT::Architectures::=arm64 \
        -o Debug::NoLocking=1 -o APT::Sandbox::User=root "${@:2}"
}

unpack_libraries() {
    local package packages
    mkdir -p "$work"/apt/{lists,cache/archives}/partial "$work/debs" "$sysroot.new"
    : >"$work/apt/status"
    apt_aside apt-get update || return 1
    packages=$(apt_aside apt-get -s --no-install-recommends install libc6-dev:arm64 libgomp1:arm64 check:arm64 \
        libevent-dev:arm64 libhwloc-dev:arm64 zlib1g-dev:arm64 | awk '/^Inst [^ ]*:arm64 / { print $2 }')
    [ -n "$packages" ] || return 1
    # Word splitting is meant: one argument for each name.
    # shellcheck disable=SC2086
    (cd "$work/debs" && apt_aside apt-get download $packages) || return 1
    for package in "$work"/debs/*.deb; do
        dpkg -x "$package" "$sysroot.new" || return 1
    done
    mv "$sysroot.new" "$sysroot"
}

if [ ! -d "$sysroot" ]; then
    rm -rf "$sysroot.new" "$work/debs"
    unpack_libraries >"$work/unpack.log" 2>&1 ||
        skip "the arm64 packages cannot be had: $(tail -n 1 "$work/unpack.log")"
fi

# --- building ---

cross_build() { # folder, configure's flags...
    local folder=$1
    shift
    env -u SANITIZE_FLAGS CC="aarch64-linux-gnu-gcc --sysroot=$sysroot" HOP_BUILD="$folder" \
        PKG_CONFIG_LIBDIR="$sysroot/usr/lib/aarch64-linux-gnu/pkgconfig:$sysroot/usr/share/pkgconfig" \
        PKG_CONFIG_SYSROOT_DIR="$sysroot" HOP_CONFIGURE="--host=aarch64-linux-gnu --enable-werror $*" \
        "$top_srcdir/bootstrap" build && "${MAKE:-make}" -s -C "$folder" check TESTS=
}

check() { # what, command...
    local what=$1
    shift
    if "$@"; then
        passed=$((passed + 1))
    else
        failed=$((failed + 1))
        echo "FAILED: $what"
    fi
}

quietly() {
    "$@" >"$work/said" 2>&1 || { tail -n 30 "$work/said"; return 1; }
}

check "cross-building" quietly cross_build "$build"
readelf -hlW "$build/.libs/libhop.so" >"$work/elf" 2>&1
check "the library is one for aarch64" grep -q 'Machine: *AArch64' "$work/elf"
check "its stack is not executable" grep -qE 'GNU_STACK .* RW ' "$work/elf"

# Where the compiler marks code as made for branch targets, the assembly is, too: one unmarked object unmarks them all.
quietly aarch64-linux-gnu-gcc -mbranch-protection=standard -c -o "$work/switch.o" \
    "$top_srcdir/src/bridge/context_aarch64.S"
check "the stack switch keeps branch target protection" eval "readelf -nW '$work/switch.o' | grep -q 'BTI'"
check "the stack switch does not claim signed addresses" eval "! readelf -nW '$work/switch.o' | grep -q 'PAC'"

# --- running ---

run() {
    timeout -k 10 300 qemu-aarch64 -L "$sysroot" -E LD_LIBRARY_PATH="$build/.libs" "$@"
}

# What fails for the emulator's sake: program:test, and why.
declare -A gaps=()
gap() { # why, program:test...
    local name
    for name in "${@:2}"; do
        gaps[$name]=$1
    done
}
gap "a forked child of a process with threads cannot start threads" fork:
gap "a program cannot execute itself: the kernel would need binfmt_misc" topology:
gap "the emulator's own memory is counted" runtime:twenty_cycles_leave_nothing \
    stack:threads_that_a_region_ends_leave_nothing stack:stacks_given_back_in_any_order \
    stack:threads_leave_their_stacks_whole scale:tasks_asleep_at_once scale:runtimes_one_after_the_other
gap "the emulator adds a line of its own when a signal ends the program" task:a_fault_that_was_sent_ends_it \
    stack:stack_overflow_is_reported stack:stack_overflow_on_a_worker_is_reported \
    stack:stack_overflow_at_home_is_reported stack:recursion_is_right_or_reported \
    stack:large_frames_do_not_step_over_the_guard
gap "the emulator has another limit of address space" scale:no_space_for_stacks
gap "filters would be of the emulator's calls" stack:guards_are_there_where_advice_is_ignored

# One Check program: each failure of a test is a gap, or a fault.
run_program() { # name
    local name=$1 log=$work/$1.log rc=0 began=$SECONDS bad=0 known=0 line test
    (cd "$build" && CK_TIMEOUT_MULTIPLIER=10 run "tests/$name") >"$log" 2>&1 || rc=$?
    while IFS= read -r line; do
        test=$(cut -d: -f5 <<<"$line")
        if [ -n "${gaps[$name:$test]-}" ] || [ -n "${gaps[$name:]-}" ]; then
            known=$((known + 1))
            echo "    known gap: $name, $test: ${gaps[$name:$test]-${gaps[$name:]}}"
        else
            bad=$((bad + 1))
            echo "$line"
        fi
    done < <(grep -E '^[^ :]+\.c:[0-9]+:[FE]:' "$log")
    [ $rc -ne 77 ] || { echo "$name: skipped: $(tail -n 1 "$log")"; return 0; }
    # A failure that Check did not tell of is one as well.
    if [ "$bad" -eq 0 ] && [ "$rc" -ne 0 ] && { [ "$known" -eq 0 ] || [ $rc -ge 124 ]; }; then
        tail -n 5 "$log"
        bad=1
    fi
    echo "$name: $(grep -oE '[0-9]+%: Checks.*' "$log" | tail -n 1), $known known gaps, $((SECONDS - began)) s"
    [ "$bad" -eq 0 ]
}

for example in hello offload parallel_for team attach channel select echo; do
    check "example $example" quietly run "$build/examples/.libs/$example"
done

programs=("$@")
if [ $# -eq 0 ]; then
    for program in "$build"/tests/*; do
        # Programs themselves, not libtool's scripts for them.
        [ -x "$program" ] && [ -f "$program" ] && [ "$(head -c 4 "$program")" = $'\x7fELF' ] || continue
        case $program in
        */storm | */service | */refuse) ;;
        *) programs+=("$(basename "$program")") ;;
        esac
    done
    # It executes itself for each stretch of seeds, which the emulator cannot: so here is one stretch.
    check "storms" quietly run "$build/tests/storm" --crew 1 "${HOP_STORMS:-300}"
fi
for program in "${programs[@]}"; do
    check "tests/$program" run_program "$program"
done

echo "aarch64: $passed passed, $failed failed"
[ "$failed" -eq 0 ] && [ "$passed" -gt 0 ]
