#!/usr/bin/env bash
# SPDX-License-Identifier: BSD-3-Clause
#
# Runs every Relacy model of tests/models on the real headers. As it is, and with the flags of each of its lines
# "// variant: FLAGS", a model must hold. With the flags of each line "// mutant: FLAGS", which break one edge, it must
# report a violation: a mutant that does not compile, crashes or runs out of time has proved nothing.
# HOP_MODELS=no skips: a build flavour does not change the models.
set -euo pipefail

: "${CXX:=g++}"
srcdir=${srcdir:-${top_srcdir:-.}}

# One case: prints one line; on failure first what the model said.
case_() { # work directory, model, "holds" or "violation", flags
    local name rc=0 binary verdict optimize=-O1
    local -a flags
    name="$(basename "$2" .cc)${4:+ $4}"
    binary=$(mktemp "$1/model.XXXXXX")
    read -ra flags <<<"$4"
    [ "$3" = holds ] || optimize=-O0 # a violation is found at once: the time is the compiler's
    # shellcheck disable=SC2086 # CXX may carry options
    if ! $CXX -std=c++14 "$optimize" -w -DHOP_MODEL -I "$srcdir/include" -I "$srcdir/src" ${flags[@]+"${flags[@]}"} \
        -o "$binary" "$2" >"$binary.log" 2>&1; then
        head -n 40 "$binary.log"
        echo "FAIL: $name: does not compile"
        return 1
    fi
    timeout -k 10 300 "$binary" >"$binary.log" 2>&1 || rc=$?
    verdict=$(grep -aE '^(holds|violation): ' "$binary.log" | sed 's/^/  /') || true
    if [ "$rc" -gt 1 ]; then
        tail -n 40 "$binary.log"
        echo "FAIL: $name: out of time, or crashed: status $rc"
        return 1
    elif [ "$3" = holds ] && { [ "$rc" -ne 0 ] || ! grep -q '^  holds: ' <<<"$verdict"; }; then
        tail -n 200 "$binary.log"
        echo "FAIL: $name: does not hold"
        return 1
    elif [ "$3" = violation ] && { [ "$rc" -ne 1 ] || ! grep -q '^  violation: ' <<<"$verdict"; }; then
        echo "FAIL: $name: an edge is broken, and nothing was found:" $verdict
        return 1
    elif [ "$3" = holds ]; then
        echo "$name:" $verdict
    else
        echo "$name:" "$(grep '^  violation: ' <<<"$verdict" | sed 's/^ *//')"
    fi
}

if [ "${1-}" = case ]; then
    case_ "${@:2}"
    exit
fi

if [ "${HOP_MODELS-yes}" = no ]; then
    echo "skipped: HOP_MODELS=no"
    exit 77
fi

work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
echo '#include <relacy/relacy.hpp>' >"$work/probe.cc"
# shellcheck disable=SC2086
if ! $CXX -std=c++14 -w -fsyntax-only "$work/probe.cc" >/dev/null 2>&1; then
    echo "skipped: no C++ compiler, or no Relacy (Debian: relacy-dev)"
    exit 77
fi

for model in "$srcdir"/tests/models/model_*.cc; do
    [ -e "$model" ] || continue
    printf '%s\0holds\0\0' "$model"
    sed -nE 's,^// (variant|mutant): *(.*[^ ]) *$,\1\t\2,p' "$model" | while IFS=$'\t' read -r kind flags; do
        [ "$kind" = variant ] && kind=holds || kind=violation
        printf '%s\0%s\0%s\0' "$model" "$kind" "$flags"
    done
done >"$work/cases"
if [ ! -s "$work/cases" ]; then
    echo "no models in $srcdir/tests/models"
    exit 1
fi
export CXX srcdir
xargs -0 -n 3 -P "$(nproc 2>/dev/null || echo 2)" bash "$0" case "$work" <"$work/cases" || exit 1
