#!/usr/bin/env bash
# SPDX-License-Identifier: BSD-3-Clause
#
# The Check programs under the tools that look into a running program, each flavour in a build of its own, and none with
# a suppression file. In each the tool must first see the faults of tests/canary.c, and keep silent where there is none.
#
# Usage: flavours.sh [NAME...]
#   tsan           ThreadSanitizer: clang, libomp, Archer
#   tsan-pthread   ThreadSanitizer: clang, a pool of plain threads
#   asan           AddressSanitizer with LeakSanitizer, UndefinedBehaviorSanitizer: gcc
#   memcheck       valgrind's memcheck: gcc, libgomp
#   helgrind       valgrind's helgrind: gcc, a pool of plain threads, every atomic announced
#
# FLAVOUR_PROGRAMS="hop io" runs these only. MEMCHECK_BUILD=DIR takes a build that is there.
set -uo pipefail

: "${top_srcdir:=$(cd "$(dirname "${BASH_SOURCE[0]}")/../.." && pwd)}"
: "${top_builddir:=$PWD}"
# shellcheck source=tests/tally.sh
source "$top_srcdir/tests/tally.sh"

passed=0
failed=0
skipped=0

missing() { # command: whether it is, and says so
    ! command -v "$1" >/dev/null || return 1
    echo "flavours: there is no $1 here"
}

build() { # folder, configure's flags
    mkdir -p "$1"
    (cd "$top_srcdir" && HOP_BUILD=$1 HOP_CONFIGURE=$2 ./bootstrap build) >"$1/flavour.log" 2>&1 &&
        make -s -C "$1" tests/canary >>"$1/flavour.log" 2>&1 && return
    tail -n 40 "$1/flavour.log"
    return 1
}

# Runs a canary as `make check` would run a test, under a command.
sing() { # folder, canary, command...
    local folder=$1 canary=$2
    shift 2
    make -s -C "$folder" canary CANARY="$canary" UNDER="$*" 2>&1
}

# The faults that a flavour's tool must see, and what it must not cry at.
check_canaries() { # folder, its cry, canaries with a fault, canaries without, command...
    local folder=$1 cry=$2 faults=$3 others=$4 canary song bad=0
    shift 4
    for canary in $faults; do
        song=$(sing "$folder" "$canary" "$@") && song="no failure"
        grep -qE "$cry" <<<"$song" && continue
        bad=1
        printf 'flavours: the tool does not see "%s":\n%s\n' "$canary" "$song"
    done
    for canary in $others; do
        song=$(sing "$folder" "$canary" "$@") && ! grep -qE "$cry" <<<"$song" && continue
        bad=1
        printf 'flavours: the tool cries at "%s":\n%s\n' "$canary" "$song"
    done
    return $bad
}

# The programs, by automake's harness. Those left out are named by what calls this, with the reason.
check_programs() { # name, folder, left out, make's variables...
    local name=$1 folder=$2 left_out=$3 log=$2/flavour.log began=$SECONDS rc=0 good bad none tests program
    shift 3
    # shellcheck disable=SC2086
    tests="TESTS=\$(filter-out $(printf 'tests/%s ' $left_out),\$(unit_tests))"
    if [ -n "${FLAVOUR_PROGRAMS-}" ]; then
        # shellcheck disable=SC2086
        tests="TESTS=$(printf 'tests/%s ' $FLAVOUR_PROGRAMS)"
    fi
    make -C "$folder" -j"$(nproc)" check "$tests" VERBOSE=1 "$@" >"$log" 2>&1 || rc=$?
    tally "$log" "$rc"
    [ "$bad" -eq 0 ] || grep -v '^Archer detected' "$log" | tail -n 200
    awk '$1 == "SKIP:" && !said[$2]++ { print $2 }' "$log" | while read -r program; do
        echo "flavours: $name: $program: $(grep -v '^Archer\|^SKIP' "$folder/$program.log" | tail -n 1)"
    done
    passed=$((passed + good))
    failed=$((failed + bad))
    skipped=$((skipped + none))
    echo "flavours: $name: $good programs passed, $bad failed, $none skipped, $((SECONDS - began)) s"
}

# Seeds of storms in one process: what plays them otherwise starts programs, which valgrind does not follow.
check_storms() { # name, folder, seeds, command...
    local name=$1 folder=$2 seeds=$3 log=$2/storm.log from=${HOP_SEED:-$((RANDOM + 1))}
    shift 3
    [ -z "${FLAVOUR_PROGRAMS-}" ] || return 0
    if "$@" "$folder/tests/storm" --crew "$from" "$seeds" >"$log" 2>&1; then
        passed=$((passed + 1))
        echo "flavours: $name: storms of the $seeds seeds from $from on passed"
    else
        failed=$((failed + 1))
        tail -n 60 "$log"
        echo "flavours: $name: a storm failed: $* $folder/tests/storm --crew $from $seeds"
    fi
}

flavour_tsan() { # name, configure's flags
    local folder=$top_builddir/torture/$1
    ! missing clang || return 77
    build "$folder" "CC=clang --enable-tsan $2" || return
    check_canaries "$folder" 'WARNING: ThreadSanitizer: data race' race 'fine kept below' || return
    [ "$1" != tsan ] || echo "flavours: tsan: tests/neighbours is left out: Archer fails now and then at the end of a" \
        "thread that has had regions of its own"
    check_programs "$1" "$folder" neighbours TEST_LIMIT=600
}

flavour_asan() {
    local folder=$top_builddir/torture/asan
    build "$folder" '--enable-asan --enable-ubsan' || return
    check_canaries "$folder" 'ERROR: (Address|Leak)Sanitizer|runtime error:' \
        'lost overrun frame' 'fine kept below' || return
    check_programs asan "$folder" '' TEST_LIMIT=600
}

# Programs for valgrind are slow, and what it says of a program must end it with an error. Its lines begin with "==".
export HOP_SCALE=${HOP_SCALE:-1}

leave_out_faults() { # name
    echo "flavours: $1: tests/faults is left out: it plays each failure in a process of its own (see torture/faults.sh)"
}

flavour_memcheck() {
    local folder=${MEMCHECK_BUILD:-$top_builddir/torture/memcheck}
    local -a under=(valgrind -q --error-exitcode=9 --leak-check=full --show-leak-kinds=definite
        --errors-for-leak-kinds=definite --fair-sched=yes)
    ! missing valgrind || return 77
    if [ -n "${MEMCHECK_BUILD-}" ]; then
        make -s -C "$folder" tests/canary >/dev/null || return
    else
        build "$folder" "" || return
    fi
    check_canaries "$folder" '^==' 'lost overrun unset' 'fine kept below' "${under[@]}" || return
    leave_out_faults memcheck
    CK_TIMEOUT_MULTIPLIER=20 \
        check_programs memcheck "$folder" 'faults storm' TEST_LIMIT=900 LOG_FLAGS="${under[*]}"
    check_storms memcheck "$folder" 20 "${under[@]}"
}

# The C library gives stacks and thread-locals of ended threads to new ones, under a lock that helgrind does not see.
flavour_helgrind() {
    local folder=$top_builddir/torture/helgrind
    local -a under=(valgrind -q --tool=helgrind --error-exitcode=9 --fair-sched=yes)
    ! missing valgrind || return 77
    local -x GLIBC_TUNABLES=glibc.pthread.stack_cache_size=0
    build "$folder" '--with-team=pthread --enable-helgrind' || return
    check_canaries "$folder" '^==.*data race' race 'fine kept below' "${under[@]}" || return
    leave_out_faults helgrind
    echo "flavours: helgrind: tests/family and tests/fork are left out: it knows nothing of fork, nor of an exit in" \
        "the middle of work"
    CK_TIMEOUT_MULTIPLIER=20 \
        check_programs helgrind "$folder" 'faults storm family fork' TEST_LIMIT=900 LOG_FLAGS="${under[*]}"
    check_storms helgrind "$folder" 10 "${under[@]}"
}

flavour() { # name
    case $1 in
    tsan) flavour_tsan tsan "" ;;
    tsan-pthread) flavour_tsan tsan-pthread --with-team=pthread ;;
    asan) flavour_asan ;;
    memcheck) flavour_memcheck ;;
    helgrind) flavour_helgrind ;;
    *) echo "flavours: there is no flavour '$1'" >&2; return 2 ;;
    esac
}

mkdir -p "$top_builddir/torture"
names=("$@")
[ $# -gt 0 ] || names=(tsan tsan-pthread asan memcheck helgrind)
for name in "${names[@]}"; do
    rc=0
    flavour "$name" || rc=$?
    case $rc in
    0) ;;
    77) skipped=$((skipped + 1)) ;;
    *)
        failed=$((failed + 1))
        echo "flavours: $name: failed"
        ;;
    esac
done

printf '# PASS: %s\n# FAIL: %s\n# SKIP: %s\n' "$passed" "$failed" "$skipped"
echo "flavours: $passed passed, $failed failed"
[ "$failed" -eq 0 ] || exit 1
[ "$passed" -gt 0 ] || exit 77
