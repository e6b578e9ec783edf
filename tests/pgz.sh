#!/bin/sh
# SPDX-License-Identifier: BSD-3-Clause
# pgz: what it writes is gzip, what it refuses it names, and it leaves nothing half done.
set -u

PGZ=${PGZ:-${top_builddir:-.}/examples/pgz/pgz}
case $PGZ in
*/*) PGZ=$(cd "$(dirname "$PGZ")" && pwd)/$(basename "$PGZ") ;;
esac
[ -x "$PGZ" ] || { echo "no $PGZ"; exit 77; }
here=$(mktemp -d "${TMPDIR:-/tmp}/pgz-test-XXXXXX") || exit 1
trap 'cd /; rm -rf "$here"' EXIT
trap 'exit 1' HUP INT TERM
cd "$here" || exit 1
failed=0 passed=0

# check WHAT COMMAND...: the command must succeed.
check()
{
    what=$1
    shift
    if "$@" >check.out 2>&1; then
        passed=$((passed + 1))
    else
        failed=$((failed + 1))
        echo "FAILED: $what"
        sed 's/^/    /' check.out | head -n 5
    fi
}

# fails WHAT PATTERN COMMAND...: exit status 1, and one line on stderr, with the pattern.
fails()
{
    what=$1 pattern=$2
    shift 2
    "$@" >fails.out 2>fails.err
    status=$?
    check "$what: status is 1" [ "$status" = 1 ]
    check "$what: one line on stderr: $(cat fails.err)" [ "$(wc -l <fails.err)" = 1 ]
    check "$what: it says $pattern" grep -q "^pgz: .*$pattern" fails.err
}

# Nothing but these files is here (and the scratch files of this script).
only()
{
    find . ! -name . -prune ! -name check.out ! -name 'fails.*' ! -name status | sed 's,^\./,,' | LC_ALL=C sort |
        tr '\n' ' ' >fails.ls
    [ "$(cat fails.ls)" = "$(printf '%s ' "$@")" ] || { cat fails.ls; return 1; }
}

round_trip()
{
    "$PGZ" $2 <"$1" >fails.gz && gzip -t fails.gz && gzip -dc fails.gz | cmp - "$1" && "$PGZ" -t fails.gz &&
        "$PGZ" -dc fails.gz | cmp - "$1"
}

fresh()
{
    find "$here" -mindepth 1 -delete
    printf 'some words, some words\n' >file
}

inputs()
{
    mkdir data
    : >data/empty
    printf x >data/one
    printf 'a\n' >data/two
    head -c 131072 /dev/zero >data/block
    head -c 262144 /dev/urandom >data/blocks_random
    head -c 131071 /dev/urandom >data/less
    head -c 131073 /dev/urandom >data/more
    head -c 4000000 /dev/urandom >data/random
    seq 1 1500000 >data/numbers
}

formats()
{
    fresh
    inputs
    for input in data/*; do
        check "round trip of $input" round_trip "$input" ""
    done
    for option in -1 -2 -3 -4 -5 -6 -7 -8 -9 "-p 1" "-p 2" "-p 7" -1p3; do
        check "round trip with $option" round_trip data/numbers "$option"
    done
    if "$PGZ" --fast-codec <data/one >fails.gz 2>fails.err; then
        for input in data/*; do
            check "round trip of $input by the fast codec" round_trip "$input" --fast-codec
        done
        check "round trip by the fast codec, -1" round_trip data/numbers "--fast-codec -1"
        check "round trip by the fast codec, -9" round_trip data/numbers "--fast-codec -9"
    else
        check "built without a fast codec, it says so" grep -q 'built without libdeflate' fails.err
    fi
    cat data/numbers | "$PGZ" | cat | "$PGZ" -d | cmp - data/numbers
    check "through pipes" [ $? = 0 ]
    (for i in 1 2 3 4 5; do echo "$i"; sleep 0.05; done) | "$PGZ" | gzip -dc >fails.slow
    check "a slow pipe" [ "$(wc -l <fails.slow)" = 5 ]
    "$PGZ" -1 <data/numbers >fails.1
    "$PGZ" -9 <data/numbers >fails.9
    check "-9 is smaller than -1" [ "$(wc -c <fails.9)" -lt "$(wc -c <fails.1)" ]
}

# pigz_size LEVEL FILE: within 1 %.
pigz_size()
{
    ours=$("$PGZ" "-$1" <"$2" | wc -c)
    theirs=$(pigz -p 2 "-$1" <"$2" | wc -c)
    echo "level $1: $ours, pigz $theirs"
    [ $((ours * 100)) -le $((theirs * 101)) ]
}

sizes()
{
    command -v pigz >/dev/null || { echo "no pigz: sizes not compared"; return; }
    cat "$PGZ" /usr/bin/*[ab] /etc/* 2>/dev/null | head -c 8000000 >data/mixed
    for level in 1 6 9; do
        check "size of text, level $level" pigz_size "$level" data/numbers
        check "size of binaries, level $level" pigz_size "$level" data/mixed
    done
}

files()
{
    fresh
    cp file copy
    chmod 640 file
    touch -d '2001-02-03 04:05:06 UTC' file
    check "FILE becomes FILE.gz" "$PGZ" file
    check "only FILE.gz is left" only copy file.gz
    check "mode is kept" [ "$(stat -c %a file.gz)" = 640 ]
    check "time is kept" [ "$(stat -c %Y file.gz)" = 981173106 ]
    check "the header has the name" grep -q file file.gz
    check "the header has the time" [ "$(od -An -tu4 -j4 -N4 file.gz | tr -d ' ')" = 981173106 ]
    mv file.gz other.gz
    check "-d names by FILE, not by header" "$PGZ" -d other.gz
    check "only the content is left" only copy other
    check "content" cmp copy other
    check "time is kept by -d" [ "$(stat -c %Y other)" = 981173106 ]
    fresh
    cp file copy
    check "-k" "$PGZ" -k file
    check "-k keeps" only copy file file.gz
    check "-c" sh -c '"$1" -c file copy >both.gz' - "$PGZ"
    check "-c keeps, and makes one file of two" only both.gz copy file file.gz
    check "-c of two" sh -c 'gzip -dc both.gz >fails.both; cat file copy | cmp - fails.both'
    check "-d of several members" sh -c '"$1" -dc both.gz | cmp - fails.both' - "$PGZ"
    check "-t" "$PGZ" -t both.gz file.gz
    check "-t keeps, and writes nothing" only both.gz copy file file.gz
    check "-f overwrites" "$PGZ" -f copy file
    check "-f leaves" only both.gz copy.gz file.gz
    check "-k -d" "$PGZ" -kd copy.gz
    check "-k -d keeps" only both.gz copy copy.gz file.gz
    fresh
    mkdir dir
    cp file "dir/with space.tgz"
    gzip -c file >dir/a.tgz
    check ".tgz becomes .tar" "$PGZ" -d dir/a.tgz
    check ".tar is there" cmp dir/a.tar file
    check "- is stdin" sh -c '"$1" - <file | gzip -dc | cmp - file' - "$PGZ"
    check "names with a directory" "$PGZ" dir/a.tar
    check "its output is beside it" gzip -t dir/a.tar.gz
}

refusals()
{
    fresh
    fails "missing" "missing: No such file" "$PGZ" missing
    mkdir dir
    fails "directory" "dir: is a directory" "$PGZ" dir
    fails "directory with -c" "dir: is a directory" "$PGZ" -c dir
    mkfifo fifo
    fails "fifo" "fifo: not a regular file" "$PGZ" fifo
    ln -s file link
    fails "link" "link: not a regular file" "$PGZ" link
    rm -r dir fifo link
    ln file link
    fails "hard link" "file: has other links" "$PGZ" file
    rm link
    echo mine >file.gz
    fails "existing target" "file.gz: already exists" "$PGZ" file
    check "existing target stays" [ "$(cat file.gz)" = mine ]
    check "input stays" only file file.gz
    fails "suffix" "file.gz: already has .gz suffix" "$PGZ" file.gz
    fails "not gzip" "file.gz: not in gzip format" "$PGZ" -t file.gz
    fails "unknown suffix" "file: unknown suffix" "$PGZ" -d file
    rm file.gz
    cp file after
    "$PGZ" missing file after 2>fails.err
    check "an error, then others: status" [ $? = 1 ]
    check "an error, then others: they are done" only after.gz file.gz
    fresh
    mkdir file.gz
    fails "target is a directory, with -f" "file.gz: Is a directory" "$PGZ" -f file
    rmdir file.gz
    long=$(printf '%0254d' 1)
    cp file "$long"
    fails "a name that is too long" "File name too long" "$PGZ" "$long"
    check "the long name stays" only "$long" file
    fails "no stdin" "stdin: " sh -c '"$1" <&-' - "$PGZ"
    fails "no stdout" "stdout: " sh -c '"$1" -c file >&-' - "$PGZ"
    for options in -x "-p 0" "-p x" "-p 99999" "-p" --wrong; do
        "$PGZ" $options <file >fails.out 2>fails.err
        check "option $options: status is 2" [ $? = 2 ]
        check "option $options: one line" [ "$(wc -l <fails.err)" = 1 ]
    done
    check "-h" sh -c '"$1" -h | grep -q usage' - "$PGZ"
    check "-V" sh -c '"$1" -V | grep -q "^pgz [0-9]"' - "$PGZ"
}

# Somebody who may not read everything, if this script runs as root and can make one.
permissions()
{
    fresh
    chmod 0 file
    chmod 755 .
    user=
    if [ "$(id -u)" = 0 ]; then
        user="setpriv --reuid=65534 --regid=65534 --clear-groups"
        $user "$PGZ" -V >/dev/null 2>&1 || { echo "no other user: permissions not tested"; return; }
    fi
    $user "$PGZ" file >fails.out 2>fails.err
    check "unreadable: status" [ $? = 1 ]
    check "unreadable: said" grep -q "^pgz: file: Permission denied" fails.err
    chmod 644 file
    chmod 555 .
    $user "$PGZ" file >fails.out 2>&1
    status=$?
    chmod 755 .
    check "directory not writable: status" [ $status = 1 ]
    check "directory not writable: input stays" only file
}

full_and_broken()
{
    fresh
    seq 1 800000 >numbers
    fails "full disk" "stdout: No space left" sh -c '"$1" -c numbers >/dev/full' - "$PGZ"
    fails "full disk, stdin" "stdout: No space left" sh -c '"$1" <numbers >/dev/full' - "$PGZ"
    gzip -c numbers >numbers.gz
    fails "full disk with -d" "stdout: No space left" sh -c '"$1" -dc numbers.gz >/dev/full' - "$PGZ"
    head -c 8000000 /dev/urandom >random
    { "$PGZ" -c random 2>fails.err; echo $? >status; } | head -c 100 >fails.out
    check "broken pipe: status" [ "$(cat status)" = 1 ]
    check "broken pipe: said" grep -q "^pgz: stdout: Broken pipe" fails.err
    { "$PGZ" -dc numbers.gz 2>fails.err; echo $? >status; } | head -c 100 >fails.out
    check "broken pipe with -d: status" [ "$(cat status)" = 1 ]
    check "inputs stay" only file numbers numbers.gz random
    if (ulimit -f 1000) 2>/dev/null; then
        fails "file too large" "random.gz: File too large" sh -c 'ulimit -f 1000; trap "" XFSZ; "$1" random' - "$PGZ"
        check "no partial file" only file numbers numbers.gz random
    fi
}

# damaged NAME PATTERN: both -t and -d refuse it, and -d leaves nothing.
damaged()
{
    fails "$1 with -t" "bad.gz: $2" "$PGZ" -t bad.gz
    fails "$1 with -d" "bad.gz: $2" "$PGZ" -d bad.gz
    fails "$1 from stdin" "stdin: $2" sh -c '"$1" -d <bad.gz' - "$PGZ"
    check "$1: no partial file" only bad.gz file file.gz
}

corrupt()
{
    fresh
    seq 1 100000 >file
    "$PGZ" -k file
    bytes=$(wc -c <file.gz)
    for keep in 1 2 5 9 12 20 1000 $((bytes / 2)) $((bytes - 8)) $((bytes - 1)); do
        head -c "$keep" file.gz >bad.gz
        pattern="unexpected end"
        [ "$keep" -gt 1 ] || pattern="not in gzip format"
        damaged "cut to $keep" "$pattern"
    done
    : >bad.gz
    damaged "empty" "unexpected end"
    cp file.gz bad.gz
    printf '\377\377\377\377' | dd of=bad.gz bs=1 seek=$((bytes / 2)) conv=notrunc 2>/dev/null
    damaged "changed in the middle" "in"
    head -c $((bytes - 8)) file.gz >bad.gz
    printf '\1\2\3\4\5\6\7\10' >>bad.gz
    damaged "wrong checksum" "incorrect data check"
    cat file.gz file.gz | head -c $((bytes * 3 / 2)) >bad.gz
    damaged "second member cut" "unexpected end"
    head -c 5000 /dev/urandom >>file.gz
    "$PGZ" -kdc file.gz >fails.out 2>fails.err
    check "trailing garbage: status is 2" [ $? = 2 ]
    check "trailing garbage: said" grep -q "^pgz: file.gz: trailing garbage ignored" fails.err
    check "trailing garbage: content" cmp fails.out file
    "$PGZ" -qt file.gz 2>fails.err
    check "trailing garbage: not said with -q" [ ! -s fails.err ]
    gzip -c file >file.gz
    head -c 200000 /dev/zero >>file.gz
    check "trailing zeros" sh -c '"$1" -dc file.gz | cmp - file' - "$PGZ"
}

# A signal in the middle: nothing is left, and the process dies of it.
interrupted()
{
    fresh
    seq 1 6000000 >numbers
    for name in INT TERM HUP; do
        timeout -s $name 0.2 "$PGZ" -9 -p 1 numbers >fails.out 2>&1
        status=$?
        check "$name: no partial file" only file numbers
        check "$name: status $status" [ "$status" = 124 ]
    done
}

terminal()
{
    script -qec true /dev/null >/dev/null 2>&1 </dev/null || { echo "no script(1): terminal not tested"; return; }
    fresh
    seq 1 6000000 >numbers
    script -qec "'$PGZ' -c file" /dev/null </dev/null >fails.out
    check "compressed data is not written to a terminal" grep -q "not written to a terminal" fails.out
    script -qec "'$PGZ' -9 -k -p 1 numbers" /dev/null </dev/null >fails.out
    check "the bar has MB/s" grep -q "MB/s" fails.out
    check "the bar has the time left" grep -q "left" fails.out
    check "the bar is cleared" sh -c 'tail -c 6 fails.out | od -An -c | grep -q "\\\\r 033   \[   K"'
    check "under the bar the work was done" sh -c 'gzip -dc numbers.gz | cmp - numbers'
    script -qec "'$PGZ' -q -k -f -p 1 numbers" /dev/null </dev/null >fails.out
    check "-q shows no bar" [ ! -s fails.out ]
}

formats
sizes
files
refusals
permissions
full_and_broken
corrupt
interrupted
terminal
echo "pgz: $passed passed, $failed failed"
[ "$failed" = 0 ]
