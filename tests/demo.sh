#!/bin/sh
# SPDX-License-Identifier: BSD-3-Clause
# The demo on a few files of ours: what it says, its status, and that it leaves nothing in the temporary folder.
set -u

demo=${top_builddir:-.}/examples/demo
[ -x "$demo" ] || { echo "no $demo"; exit 77; }
here=$(mktemp -d "${TMPDIR:-/tmp}/demo-test-XXXXXX") || exit 1
trap 'rm -rf "$here"' EXIT
trap 'exit 1' HUP INT TERM
failed=0

# expect STATUS PATTERN FILE...: the demo on these files ends so, and says so.
expect()
{
    expected=$1 pattern=$2
    shift 2
    TMPDIR=$here/tmp "$demo" "$@" >"$here/said" 2>&1
    status=$?
    if [ $status != "$expected" ] || ! grep -q "$pattern" "$here/said"; then
        failed=1
        echo "FAILED: demo $*: status $status, and not '$pattern' in:"
        cat "$here/said"
    fi
}

mkdir "$here/tmp"
seq 1 300000 >"$here/numbers"
head -c 3000000 /dev/urandom >"$here/random"
: >"$here/empty"
expect 0 'content  *the same' "$here/numbers" "$here/random" "$here/empty"
for pattern in 'gzip -t  *ok' 'of 3 files' 'MB/s' '  idle  *[0-9.]* ' '  while compressing  *[0-9.]* '; do
    grep -q "$pattern" "$here/said" || { failed=1; echo "FAILED: demo does not say '$pattern'"; }
done
expect 0 'of 1 files' "$here/numbers"
expect 0 'content  *the same' "$here/empty"
expect 1 'missing: No such file' "$here/numbers" "$here/missing"
expect 1 'Is a directory' "$here"
[ -z "$(ls -A "$here/tmp")" ] || { failed=1; echo "FAILED: left behind: $(ls -A "$here/tmp")"; }
rmdir "$here/tmp"
expect 1 'temporary file: No such file' "$here/numbers" "$here/random"
[ $failed = 0 ] && echo 'demo: said what it should'
exit $failed
