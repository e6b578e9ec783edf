#!/usr/bin/env bash
# SPDX-License-Identifier: BSD-3-Clause
#
# House rules that a reader should not have to check.
set -euo pipefail
export LC_ALL=C.UTF-8

: "${top_srcdir:=$(cd "$(dirname "$0")/.." && pwd)}"
cd "$top_srcdir"

# Prints "rule: place" for each breach.
breaches() {
    local file name stem listed
    listed=$(tr -s '[:space:]' '\n' <Makefile.am)

    # What is ours: git's list where there is one, otherwise (a release) the folders that hold sources.
    local -a files=()
    if [ -e .git ] && command -v git >/dev/null; then
        mapfile -t files < <(git -c safe.directory='*' ls-files --cached --others --exclude-standard)
    fi
    if [ "${#files[@]}" -eq 0 ]; then
        mapfile -t files < <(find .ci bench examples include m4 src tests bootstrap configure.ac Makefile.am hop.pc.in \
            ./*.md -type f ! -name 'l*.m4' ! -name '.dirstamp' ! -name '*.o' 2>/dev/null | sed 's,^\./,,')
    fi

    for file in "${files[@]}"; do
        [ -f "$file" ] || continue # deleted, not yet committed
        case $file in
        *.c | *.h | *.cc | *.S | *.map)
            grep -q 'SPDX-License-Identifier: BSD-3-Clause' <(head -n 3 "$file") || echo "no SPDX line: $file"
            grep -nP '\t' "$file" | sed "s,^,tab: $file:,;s,\(:[0-9]*\):.*,\1," || true
            # There is a better call for each: snprintf, memcpy with a length, strtok_r, mkstemp, a fixed frame.
            grep -nE '\b(strcpy|strcat|v?sprintf|gets|strtok|alloca|tmpnam|mktemp)[[:space:]]*\(' "$file" |
                sed "s,^,banned call: $file:," || true
            ;;
        *.sh | *.ac | *.m4 | *.am | *.cpp | *.py | *.go | *.rs | *.toml | bootstrap | .ci/* | bench/run | \
            bench/peers/build)
            grep -q 'SPDX-License-Identifier: BSD-3-Clause' <(head -n 3 "$file") || echo "no SPDX line: $file"
            ;;
        esac
        case $file in
        bench/results/*) ;; # written by a program
        *.c | *.h | *.cc | *.S | *.map | *.sh | *.ac | *.m4 | *.am | *.md | *.in | *.cpp | *.py | *.go | *.rs | \
            bootstrap | .ci/* | bench/run | bench/peers/build)
            # (A table's row cannot be broken.)
            grep -nE '^[^|].{120}' "$file" | sed "s,^,over 120 columns: $file:,;s,\(:[0-9]*\):.*,\1," || true
            grep -nE '[[:space:]]+$' "$file" | sed "s,^,space at the end: $file:,;s,\(:[0-9]*\):.*,\1," || true
            [ -z "$(tail -c 1 "$file")" ] || echo "no newline at the end: $file"
            ;;
        esac

        # A file that no list in Makefile.am names is dead, or missing from the release. A test is listed without .c.
        case $file in
        bench/results/*) ;;
        src/* | include/* | tests/* | examples/* | bench/*)
            stem=$file
            case $file in tests/*.c | examples/*.c) stem=${file%.c} ;; esac
            grep -qxF -e "$file" -e "$stem" <<<"$listed" || echo "not in Makefile.am: $file"
            ;;
        esac
    done

    # And what a list there names is there.
    { grep -E '^(src|include|tests|examples|bench)/.*\.(c|h|cc|cpp|S|sh|map|md|py|go|rs|json)$' <<<"$listed" ||
        true; } |
        while read -r name; do
            [ -e "$name" ] || echo "no such file: $name, listed in Makefile.am"
        done

    # What the documents name is there: targets of links, and `paths/in backquotes` that begin with a folder of ours.
    for file in *.md src/*/README.md bench/README.md; do
        [ -f "$file" ] || continue
        { grep -oE '\]\([^)#: ]+' "$file" || true; } | sed 's/^](//' | while read -r name; do
            [ -e "$(dirname "$file")/$name" ] || echo "no such file: $name, linked in $file"
        done
        # shellcheck disable=SC2016
        { grep -oE '`[^` ]+`' "$file" || true; } | tr -d '`' | while read -r name; do
            case $name in
            *["*{<$"]* | *NAME*) continue ;;
            src/* | include/* | tests/* | examples/* | .ci/* | m4/* | ./bootstrap | bench/*) ;;
            *) continue ;;
            esac
            # Programs are named without their .c.
            [ -e "$name" ] || [ -e "$name.c" ] || [ "$name" = examples/pgz/pgz ] ||
                [ "$name" = bench/hop-bench ] || echo "no such file: $name, named in $file"
        done
    done
}

found=$(breaches)
if [ -n "$found" ]; then
    echo "$found"
    exit 1
fi

# The scripts themselves, where shellcheck is at hand.
if command -v shellcheck >/dev/null; then
    shellcheck -S warning bootstrap .ci/run tests/*.sh
fi
