# shellcheck shell=bash
# SPDX-License-Identifier: BSD-3-Clause
#
# To be sourced by what runs `make check` and counts. tally LOG STATUS: sets good, bad and none (skipped) by the summary
# that automake writes into the log, which may hold it more than once. What failed without a test's failing, the build
# above all, counts as one; so does a run without tests.
tally() {
    local log=$1 status=$2

    good=$(($(tally_of PASS "$log") + $(tally_of XFAIL "$log")))
    bad=$(($(tally_of FAIL "$log") + $(tally_of ERROR "$log") + $(tally_of XPASS "$log")))
    # shellcheck disable=SC2034
    none=$(tally_of SKIP "$log")
    if [ "$bad" -eq 0 ] && { [ "$status" -ne 0 ] || [ "$good" -eq 0 ]; }; then
        bad=1
    fi
}

tally_of() { # result, log
    awk -v key="$1:" '$1 == "#" && $2 == key { n = $3; exit } END { print n + 0 }' "$2"
}
