#!/usr/bin/env bash
# SPDX-License-Identifier: BSD-3-Clause
#
# What is read from outside, fuzzed by libFuzzer with the address and undefined sanitizers: addresses, the files that
# tell of cgroups and quotas, the options of pgz, and gzip. The targets are in tests/fuzz. Each runs for
# HOP_FUZZ_SECONDS (300), two at a time; an input that broke something is kept beside the log, and the target replays it
# when it is given the file.
#
# Usage: fuzz.sh [TARGET...]
set -uo pipefail

: "${top_srcdir:=$(cd "$(dirname "$0")/../.." && pwd)}" "${top_builddir:=$PWD}"
seconds=${HOP_FUZZ_SECONDS:-300}
mkdir -p "$top_builddir/torture/fuzz"
work=$(cd "$top_builddir/torture/fuzz" && pwd)
passed=0
failed=0

skip() {
    echo "fuzz: skipped: $1"
    exit 77
}

command -v clang >/dev/null || skip "clang is not installed (clang libclang-rt-14-dev)"
echo 'int LLVMFuzzerTestOneInput(const char *d, long n) { return d == 0 && n > 0; }' >"$work/probe.c"
clang -fsanitize=fuzzer,address,undefined -o "$work/probe" "$work/probe.c" 2>"$work/probe.log" ||
    skip "clang has no libFuzzer (libclang-rt-14-dev)"
[ -e "$top_builddir/config.h" ] || skip "nothing is configured in $top_builddir"

# --- building: the library's own sources, plain threads as the team, since OpenMP's are not instrumented ---

packages="libevent_core hwloc zlib $(pkg-config --exists libdeflate && echo libdeflate)"
# shellcheck disable=SC2086
read -ra flags < <(echo -g -O1 -std=gnu11 -pthread -DHOP_TEAM_PTHREAD=1 -D_GNU_SOURCE -include config.h \
    -I"$top_builddir" -I"$top_srcdir/include" -I"$top_srcdir/src" -fno-omit-frame-pointer \
    -fno-sanitize-recover=undefined "$(pkg-config --cflags $packages)")
# shellcheck disable=SC2086
read -ra libraries < <(pkg-config --libs $packages)

compile() { # source, object
    clang "${flags[@]}" -fsanitize=fuzzer-no-link,address,undefined -c -o "$2" "$1"
}

build() {
    local source
    rm -rf "$work/objects" && mkdir -p "$work/objects/pgz" || return 1
    local -a running=()
    for source in "$top_srcdir"/src/*.c "$top_srcdir"/src/*/*.[cS] \
        "$top_srcdir"/examples/pgz/{file,deflate,fast,gzip,inflate,progress}.c; do
        case $source in
        */pgz/*) compile "$source" "$work/objects/pgz/$(basename "$source").o" ;;
        *) compile "$source" "$work/objects/$(basename "$(dirname "$source")")-$(basename "$source").o" ;;
        esac &
        running+=($!)
        [ "${#running[@]}" -lt "$(nproc)" ] || { wait "${running[0]}" || return 1; running=("${running[@]:1}"); }
    done
    for source in "${running[@]}"; do
        wait "$source" || return 1
    done
}

target() { # name
    local -a pgz=()
    case $1 in options | gzip) pgz=("$work"/objects/pgz/*.o) ;; esac
    clang "${flags[@]}" -fsanitize=fuzzer,address,undefined -o "$work/$1" "$top_srcdir/tests/fuzz/$1.c" \
        "$work"/objects/*.o "${pgz[@]}" "${libraries[@]}" -ldl -lm
}

# --- where each begins: | is a zero byte ---

seeds() { # name, folder
    local i=0 text
    local -a texts=()
    case $1 in
    address) texts=(tcp:127.0.0.1:8080 'tcp:[::1]:0' 'tcp:[fe80::1%eth0]:80' tcp:localhost:65535 unix:/run/x.sock
        tcp:1.2.3.4.example:5 tcp:256.0.0.1:80 tcp:a:080) ;;
    options) texts=(-1 '-p|7|-k' -dc '-tqf|file' -V -h '-p|-1' '-9p1024|--|-x') ;;
    cgroup) texts=(
        '0::/a\n|31 23 0:28 / /g rw shared:9 - cgroup2 cgroup2 rw\n|150000 100000\n|100\n|max 100000\n'
        '4:cpu,cpuacct:/a\n|31 23 0:28 /a /g rw - cgroup cgroup rw,cpu\n||||-1\n|100000\n|1\n2\n'
        '0::/\n|31 23 0:28 / /g\\040x rw - cgroup2 x rw\n||||||2\n|1 (a) S 0 0 0 0 0 2097152\n') ;;
    gzip) texts=('\x1f\x8b\x08\x00\x00\x00\x00\x00\x00\x03\x03\x00\x00\x00\x00\x00\x00\x00\x00\x00' x) ;;
    esac
    mkdir -p "$2"
    for text in "${texts[@]}"; do
        printf '%b' "${text//|/\\0000}" >"$2/$i"
        i=$((i + 1))
    done
    if [ "$1" = gzip ]; then
        seq 1 1000 | gzip -n >"$2/numbers"
        cat "$2/numbers" "$2/0" >"$2/members"
    fi
}

fuzz() { # name
    local name=$1 corpus=$work/$1.corpus
    seeds "$name" "$corpus"
    # What the target itself prints is not wanted, what the sanitizers say is.
    HOP_FUZZ_ROOT=$root ASAN_OPTIONS=detect_stack_use_after_return=0 timeout -k 10 $((seconds + 120)) "$work/$name" \
        -max_total_time="$seconds" -max_len=8192 -timeout=20 -rss_limit_mb=4096 -close_fd_mask=1 -print_final_stats=1 \
        -artifact_prefix="$work/$name-" "$corpus" >"$work/$name.log" 2>&1
}

report() { # name, status
    local runs
    runs=$(sed -n 's/^stat::number_of_executed_units: *//p' "$work/$1.log")
    if [ "$2" -eq 0 ] && [ "${runs:-0}" -gt 0 ]; then
        passed=$((passed + 1))
        echo "$1: $runs inputs in $seconds s, $(grep -oE 'cov: [0-9]+' "$work/$1.log" | tail -n 1)"
    else
        failed=$((failed + 1))
        echo "FAILED: $1, status $2; see $work/$1.log"
        grep -vE '^(#|usage: )' "$work/$1.log" | tail -n 40
    fi
}

# In memory, where there is a file system for that: a target writes files there.
root=$(mktemp -d /dev/shm/hop-fuzz-XXXXXX 2>/dev/null || mktemp -d) || exit 1
trap 'rm -rf "$root"' EXIT
targets=("$@")
[ $# -gt 0 ] || targets=(address options cgroup gzip)
build >"$work/build.log" 2>&1 || { tail -n 30 "$work/build.log"; echo "fuzz: 0 passed, 1 failed"; exit 1; }
for ((i = 0; i < ${#targets[@]}; i += 2)); do
    pair=("${targets[@]:i:2}")
    running=()
    for name in "${pair[@]}"; do
        target "$name" >>"$work/build.log" 2>&1 || tail -n 30 "$work/build.log"
        fuzz "$name" &
        running+=($!)
    done
    for ((j = 0; j < ${#pair[@]}; j++)); do
        rc=0
        wait "${running[j]}" || rc=$?
        report "${pair[j]}" "$rc"
    done
done

echo "fuzz: $passed passed, $failed failed"
[ "$failed" -eq 0 ] && [ "$passed" -gt 0 ]
