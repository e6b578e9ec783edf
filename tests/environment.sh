#!/bin/bash
# SPDX-License-Identifier: BSD-3-Clause

# What the pool relies on must hold on other machines and under other settings: some of the built programs again, with
# an environment that pretends a topology, restricts the process, or tells the OpenMP runtime something else.
#
# Usage: environment.sh [PROGRAM...], programs of $top_builddir/tests. HOP_ENVIRONMENT=NAME runs one setting only.

set -u

cd "${top_builddir:-.}" || exit 1

programs=("$@")
[ $# -gt 0 ] || programs=(parallel hop offload runtime)

: "${CK_TIMEOUT_MULTIPLIER:=2}" # some of these are slow
export CK_TIMEOUT_MULTIPLIER

passed=0
failed=0

# run NAME COMMAND...: the programs under COMMAND, which gets each as its last argument
run() {
    local name=$1 program log
    shift
    [ -z "${HOP_ENVIRONMENT-}" ] || [ "$HOP_ENVIRONMENT" = "$name" ] || return 0
    for program in "${programs[@]}"; do
        log=$(mktemp) || exit 1
        if "$@" "tests/$program" >"$log" 2>&1; then
            passed=$((passed + 1))
        else
            failed=$((failed + 1))
            echo "FAIL: $program under $name: $* tests/$program"
            sed 's/^/    /' "$log"
        fi
        rm -f "$log"
    done
}

few_descriptors() {
    (ulimit -n 64 && exec "$@")
}

run synthetic env HWLOC_SYNTHETIC="pack:2 core:8 pu:2"
if command -v taskset >/dev/null; then
    cpu=$(sed -n 's/^Cpus_allowed_list:[[:space:]]*\([0-9]*\).*/\1/p' /proc/self/status)
    run one-cpu taskset -c "$cpu"
else
    echo "environment.sh: no taskset here: the tests on one CPU are left out"
fi
run one-thread env OMP_NUM_THREADS=1
run nested-threads env OMP_NUM_THREADS=4,2
run bind env OMP_PROC_BIND=true
run dynamic env OMP_DYNAMIC=true
run active-levels env OMP_MAX_ACTIVE_LEVELS=2
run active-wait env OMP_WAIT_POLICY=active
run few-descriptors few_descriptors

echo "environment.sh: $passed passed, $failed failed"
[ "$failed" -eq 0 ] && [ "$passed" -gt 0 ]
