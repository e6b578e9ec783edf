#!/usr/bin/env bash
# SPDX-License-Identifier: BSD-3-Clause
#
# The benchmarks run: every workload of hop-bench at a tiny size, with its result checked, one line of JSON each; the
# load generator tells a wrong answer from a right one; the driver makes its tables. No figure is looked at. With
# HOP_PEERS=yes those peers run too whose packages are there.
set -euo pipefail
top_srcdir=${top_srcdir:-$(cd "$(dirname "$0")/.." && pwd)}
top_builddir=${top_builddir:-$top_srcdir/build}
bench=$top_builddir/bench
here=$(mktemp -d "${TMPDIR:-/tmp}/hop-bench-XXXXXX")
server=
trap '[ -z "$server" ] || kill "$server" 2>/dev/null || true; rm -rf "$here"' EXIT
export BENCH_ROUNDS=1

fail() {
    echo "bench: $*" >&2
    exit 1
}

# Standard input is one flat JSON object with these fields.
is_json() { # what, field...
    local line name what=$1 pair='"[a-z0-9_]+":("[^"\\]*"|-?[0-9]+(\.[0-9]+)?(e[+-]?[0-9]+)?)'
    shift
    line=$(cat)
    grep -qxE "\{$pair(,$pair)*\}" <<<"$line" || fail "$what printed no line of JSON: $line"
    for name in "$@"; do
        grep -qF "\"$name\":" <<<"$line" || fail "$what printed no $name: $line"
    done
}

# --- programs: every variant that hop-bench names ---

sizes='fork_join 15
idle_cpu 1
mem_per_task 100
offload_rtt 200
offload_throughput 600
parallel_for 2000
ping_pong 100
spawn_join 2500
team_overhead 20
timers 50'

runs=0
while read -r workload variants; do
    case $workload in echo_tcp | mixed) continue ;; esac
    size=$(awk -v w="$workload" '$1 == w { print $2 }' <<<"$sizes")
    [ -n "$size" ] || fail "give $workload a size in tests/bench.sh"
    for variant in $variants; do
        "$bench/hop-bench" "$workload" "$variant" "$size" >"$here/out" || fail "$workload $variant failed"
        is_json "$workload $variant" peer workload variant n unit median min max rounds cpus <"$here/out"
        runs=$((runs + 1))
    done
done < <("$bench/hop-bench" 2>&1 | sed '1,/^$/d' | sed '1,/^$/d')
[ "$runs" -ge 25 ] || fail "hop-bench named $runs variants only"

! "$bench/hop-bench" nonsense 2>/dev/null || fail "an unknown workload was accepted"
! "$bench/hop-bench" fork_join nonsense 2>/dev/null || fail "an unknown variant was accepted"

# --- servers, under load ---

serve() { # command...; sets port and server, once it listens
    local try
    for try in 1 2 3 4 5; do
        port=$((20000 + RANDOM % 12000))
        "$@" "$port" 2>"$here/err" &
        server=$!
        while kill -0 "$server" 2>/dev/null; do
            if (exec 3<>"/dev/tcp/127.0.0.1/$port") 2>/dev/null; then
                return
            fi
            sleep 0.02
        done
        wait "$server" || true
    done
    fail "no server after $try tries: $(cat "$here/err")"
}

stop() {
    kill "$server"
    wait "$server" || true
    server=
}

load() {
    "$bench/loadgen" --port "$port" --server "$server" --connections 4 --seconds 0.2 --warmup 0.05 "$@"
}

for variant in echo_tcp/task mixed/loop mixed/job; do
    heavy=0
    [ "${variant%/*}" = echo_tcp ] || heavy=1
    serve "$bench/hop-bench" "${variant%/*}" "${variant#*/}"
    for rate in 0 500; do
        load --heavy "$heavy" --rate "$rate" >"$here/out" || fail "$variant under load failed"
        is_json "$variant" rps p50_us p99_us heavy_rps heavy_p99_us cpus realtime late_p99_us unanswered <"$here/out"
        ! grep -q '"rps":0,' "$here/out" || fail "$variant answered nothing: $(cat "$here/out")"
    done
    stop
done

# A server that does not compute gives wrong answers to heavy requests, and that is noticed.
serve "$bench/hop-bench" echo_tcp task
if load --heavy 1 >"$here/out" 2>"$here/err"; then
    fail "a wrong answer was taken for a right one"
fi
grep -q 'wrong result' "$here/err" || fail "a wrong answer was not called so: $(cat "$here/err")"
stop

# --- the driver ---

# Its arithmetic, on figures made up.
check_arithmetic() {
    PYTHONPATH=$top_srcdir/bench/driver python3 -B - <<'END'
import plan
import plot
import report
import summary

table = plan.Table("t", "title", "us", plan.LESS, "p", scale=0.5, holds=99)
ours, slow, fast, failing = (plan.contestant(p, "v", "x") for p in ("hop", "slow", "fast", "failing"))
bare = plan.contestant("floor", "v", "x", floor=True)
figures = {
    "hop/v": [{"p": 30, "rps": 100, "cpus": 1}, {"p": 10, "rps": 100, "cpus": 2}, {"p": 20, "rps": 100, "cpus": 3}],
    "slow/v": [{"p": 200, "rps": 100}], "fast/v": [{"p": 80, "rps": 100}],
    "failing/v": [{"p": 4, "rps": 98}], "floor/v": [{"p": 2}],
}
carried = {"table": "t", "hop": ["failing/*"], "at_most_value": 9}
rows = summary.rows_of(table, [ours, slow, fast, failing, bare], figures)
assert [r.key for r in rows] == ["floor/v", "failing/v", "hop/v", "fast/v", "slow/v"], rows
hop = rows[2]
assert (hop.median, hop.cpus, hop.ratio) == (10, 2, 0.25), hop
assert not rows[1].holds and rows[1].ratio == 0.05

targets = [
    {"table": "t", "hop": ["hop/*"], "against": ["*"], "at_most": 0.25}, # of fast: the failing one does not count
    {"table": "t", "hop": ["hop/*"], "against": ["slow/*"], "at_most": 0.09},
    {"table": "t", "hop": ["hop/*"], "against": ["floor/*"], "at_most_plus": 9},
    {"table": "t", "hop": ["hop/*"], "at_most_value": 9},
    {"table": "t", "hop": ["none/*"], "at_most_value": 9},
    {"table": "other", "hop": ["hop/*"], "at_most_value": 9},
]
assert [v["met"] for v in summary.verdicts(targets, table, rows)] == [True, False, True, False, None]
assert summary.judge(carried, table, rows)["met"] is False # for want of the rate
more = plan.Table("t", "title", "1/s", plan.MORE, "p")
rows = summary.rows_of(more, [ours, slow, fast], figures)
assert rows[0].key == "slow/v" and rows[2].ratio == 0.1, rows
target = {"table": "t", "hop": ["hop/*"], "against": ["*"], "at_least": 0.1}
assert summary.judge(target, more, rows)["met"] is True
assert summary.judge({**target, "at_least": 0.11}, more, rows)["met"] is False
assert [report.number(x) for x in (0, 0.5, 12.34, 1234, 12345, 1234567)] == [
    "0", "0.50", "12.3", "1234", "12.3 k", "1.23 M"]
assert "slow/v" in plot.svg(more, rows)
END
}

# A server that stalls for most of the time is charged for what it held up: half of the requests were due while it
# slept. A generator that counts from the moment of sending would see four slow ones among many.
check_schedule() {
    cat >"$here/stalls.py" <<'END'
import selectors
import socket
import sys
import time

listener = socket.create_server(("127.0.0.1", int(sys.argv[1])))
wait = selectors.DefaultSelector()
wait.register(listener, selectors.EVENT_READ)
stalled = 0
answered = 0
while True:
    for key, _ in wait.select():
        if key.fileobj is listener:
            wait.register(listener.accept()[0], selectors.EVENT_READ)
            continue
        data = key.fileobj.recv(4096)
        if not data:
            wait.unregister(key.fileobj)
            continue
        answered += 1
        if answered == 60:
            time.sleep(0.5)
        key.fileobj.sendall(data)
END
    serve python3 "$here/stalls.py"
    "$bench/loadgen" --port "$port" --connections 4 --rate 500 --warmup 0.05 --seconds 0.7 >"$here/out" ||
        fail "load of a server that stalls failed"
    stop
    python3 - "$here/out" <<'END'
import json
import sys

with open(sys.argv[1], encoding="utf-8") as file:
    load = json.load(file)
assert load["p50_us"] > 20000, load
assert load["max_us"] > 400000, load
assert load["starved"] > 0 and abs(load["rps"] * load["seconds"] + load["unanswered"] - 350) < 5, load
END
}

check_suites() {
    local suite
    local -a without=(--hop-only)
    if [ "${HOP_PEERS-no}" = yes ]; then
        without=()
        "$top_srcdir/bench/peers/build" "$top_builddir/measure/peers" >"$here/out" || fail "peers: $(cat "$here/out")"
    fi
    for suite in core compute async mixed; do
        "$top_srcdir/bench/run" "$suite" --quick "${without[@]}" --build "$top_builddir" --out "$here/results" \
            >"$here/out" || fail "bench/run $suite: $(cat "$here/out")"
        python3 -m json.tool "$here/results/$suite.json" >/dev/null || fail "$suite.json is not JSON"
        grep -q '^| \*\*hop/' "$here/results/$suite.md" || fail "$suite.md has no row of hop"
    done
    python3 - "$here"/results/*.svg <<'END' || fail "a plot is not XML"
import sys
import xml.dom.minidom

for path in sys.argv[1:]:
    xml.dom.minidom.parse(path)
END
}

if command -v python3 >/dev/null; then
    check_arithmetic || fail "the driver's arithmetic is wrong"
    check_schedule || fail "latency is not counted from the scheduled time"
    check_suites
else
    echo "no python3: the driver was not tested"
fi
echo "bench: $runs runs and 3 servers gave right results"
