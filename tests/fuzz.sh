#!/usr/bin/env bash
# SPDX-License-Identifier: BSD-3-Clause
#
# A few seconds of what tests/torture/fuzz.sh does for ten minutes each.
set -eu

: "${top_srcdir:=$(cd "$(dirname "$0")/.." && pwd)}"

if [ "${HOP_MODELS-}" = no ] || [ -n "${SANITIZE_FLAGS-}" ]; then
    echo "fuzz.sh: the targets are built by themselves; the default build runs them"
    exit 77
fi
HOP_FUZZ_SECONDS=${HOP_FUZZ_SECONDS-4} exec bash "$top_srcdir/tests/torture/fuzz.sh"
