# SPDX-License-Identifier: BSD-3-Clause
"""What is measured: which programs run in which group, and which tables are made of them.

A group's contestants take turns (A B C A B C ...). A table is one figure of a group's output. Sizes are such that one
run takes about a second, on two CPUs.
"""
from dataclasses import dataclass
from typing import List, Optional, Tuple

LESS, MORE = "less", "more"  # which is better

MIXED_RATE = 20000  # light requests a second
MIXED_SECONDS = 3


@dataclass(frozen=True)
class Contestant:
    peer: str
    variant: str  # as the tables name it
    program: str
    arguments: Tuple[str, ...]  # WORKLOAD VARIANT [N]; a server's port follows
    environment: Tuple[Tuple[str, str], ...] = ()
    floor: bool = False  # not a peer but what the machine allows

    @property
    def key(self):
        return f"{self.peer}/{self.variant}"


@dataclass(frozen=True)
class Table:
    name: str
    title: str
    unit: str
    better: str = LESS
    field: str = "median"  # of the program's JSON line
    only: str = ""  # contestants whose variant ends so
    scale: float = 1  # from the program's unit to the table's
    holds: float = 0  # a peer whose "rps" is below this fails the workload and is not compared with


@dataclass(frozen=True)
class Group:
    name: str
    suites: Tuple[str, ...]
    contestants: List[Contestant]
    tables: List[Table]
    together: bool = False  # all at the same time: for what does nothing
    kind: str = "program"  # or "server", or "compressor"
    load: Tuple[str, ...] = ()  # of a server: arguments of the load generator
    load_cpu: Optional[int] = None  # of a server: the CPU that the load generator is kept on, the server on the other
    cgroup: str = ""  # of a server: "own", "shared", or a quota in CPUs
    seconds: float = 0  # of a server


def contestant(peer, variant, program, *arguments, floor=False, **environment):
    words = tuple(str(a) for a in arguments)
    return Contestant(peer, variant, program, words, tuple(sorted(environment.items())), floor)


def hop(workload, *variants, n=None, program="hop-bench", peer="hop", options=()):
    size = () if n is None else (n,)
    return [contestant(peer, v, program, workload, v, *size, *options) for v in variants]


def tokio(workload, *variants, n=None, peer="tokio"):
    size = () if n is None else (n,)
    return [contestant(peer, v, "peer-rust", workload, v, *size) for v in variants]


def go(workload, *variants, n=None, threads=(1, 2)):
    size = () if n is None else (n,)
    return [contestant("go", f"{v}-p{p}", "peer-go", workload, v, *size, GOMAXPROCS=str(p))
            for p in threads for v in variants]


def libuv(workload, suffix="", n=None, threads=(1, 2, 4)):
    size = () if n is None else (n,)
    return [contestant("libuv", f"pool{t}{suffix}", "peer-uv", workload, f"pool{t}{suffix}", *size,
                       UV_THREADPOOL_SIZE=str(t)) for t in threads]


def floor(workload, *variants, n=None):
    size = () if n is None else (n,)
    return [contestant("floor", v, "peer-floor", workload, v, *size, floor=True) for v in variants]


def openmp(workload, *variants, n=None, threads=2, suffix=""):
    """libgomp and libomp, with their threads bound, as their users set them up when they measure."""
    size = () if n is None else (n,)
    return [contestant(peer, v + suffix, program, workload, v, *size,
                       OMP_NUM_THREADS=str(threads), OMP_PROC_BIND="true")
            for peer, program in (("libgomp", "peer-gomp"), ("libomp", "peer-libomp")) for v in variants]


def tbb(workload, *variants, n=None):
    # No OMP_PROC_BIND here: it would bind the only thread of a program that links libgomp to one core.
    size = () if n is None else (n,)
    return [contestant("tbb", v, "peer-tbb", workload, v, *size) for v in variants]


# --- the groups ---

def offload_rtt():
    runs = hop("offload_rtt", "forced", "adaptive", "on_cpu", n=5000)
    runs += floor("offload_rtt", "spin", "futex", "futex+epoll", "futex+epoll-spin20us", n=5000)
    runs += tokio("offload_rtt", "ct-blocking", "ct-rayon", "mt2-blocking", "mt2-rayon", n=5000)
    runs += go("offload_rtt", "spawn", "pool", n=20000)
    runs += libuv("offload_rtt", n=5000)
    return Group("offload_rtt", ("core",), runs, [
        Table("offload_rtt", "One empty job to the pool and back, one at a time", "ns")])


def offload_throughput(job, title):
    runs = hop("offload_throughput", *(f"{v}-{job}" for v in ("forced-ring", "forced-tasks", "adaptive-tasks")),
               n=200000)
    runs += tokio("offload_throughput", *(f"{v}-{job}" for v in (
        "ct-blocking-ring", "ct-blocking-tasks", "ct-rayon-ring", "ct-rayon-tasks", "mt2-blocking-tasks",
        "mt2-rayon-ring", "mt2-rayon-tasks")), n=100000)
    runs += tokio("offload_throughput", f"ct-blockingdef-ring-{job}", n=40000)
    runs += go("offload_throughput", f"spawn-{job}", f"pool-{job}", n=200000)
    runs += libuv("offload_throughput", f"-{job}", n=100000)
    runs += tbb("offload_throughput", f"arena-{job}", n=100000)
    return Group(f"offload_throughput_{job}", ("core",), runs, [
        Table(f"offload_throughput_{job}", title, "jobs/s", MORE)])


def fork_join():
    runs = hop("fork_join", "serial", "call1", "call2", "inline1", "inline2", n=35)
    runs += tokio("fork_join", "1", "2", n=35, peer="rayon")
    runs += tokio("fork_join", "serial", n=35, peer="rust")
    runs += tbb("fork_join", "invoke1", "invoke2", "group1", "group2", n=30)
    runs += openmp("fork_join", "task1", n=25, threads=1) + openmp("fork_join", "task2", n=25)
    runs += [contestant("go", f"goroutine-p{p}", "peer-go", "fork_join", "goroutine", 22, GOMAXPROCS=str(p))
             for p in (1, 2)]
    runs = [r if r.variant != "serial" else contestant(r.peer, r.variant, r.program, *r.arguments, floor=True)
            for r in runs]
    return Group("fork_join", ("core",), runs, [
        Table("fork_join_1", "fib(35) without a cut-off, one thread: time for each join", "ns", only="1"),
        Table("fork_join_2", "fib(35) without a cut-off, two threads: time for each join", "ns", only="2"),
        Table("fork_join_serial", "The same recursion as plain calls", "ns", only="serial")])


def parallel_overhead():
    runs = hop("parallel_for", "overhead", "overhead_cold", n=5000)
    runs += tokio("parallel_for", "overhead", n=5000, peer="rayon") + tokio("parallel_for", "overhead_cold", n=1000,
                                                                            peer="rayon")
    runs += tbb("parallel_for", "overhead", "overhead_static", n=5000)
    runs += openmp("parallel_for", "overhead-static", "overhead-guided", n=2000)
    runs += openmp("parallel_for", "overhead-dynamic", n=200)
    return Group("parallel_for_overhead", ("core",), runs, [
        Table("parallel_for_overhead", "One loop of 1000 increments on 2 threads, warm", "us")])


def parallel_work(name, n, title, schedules):
    runs = hop("parallel_for", name, n=n)
    runs += tokio("parallel_for", name, n=n, peer="rayon") + tbb("parallel_for", name, n=n)
    runs += openmp("parallel_for", *(f"{name}-{s}" for s in schedules), n=n)
    return Group(f"parallel_for_{name}", ("core", "compute"), runs, [Table(f"parallel_for_{name}", title, "us")])


def team_overhead():
    runs = hop("team_overhead", "on_team", "together", n=5000)
    runs += hop("team_overhead", "on_team", "together", n=5000, program="hop-bench-libomp", peer="hop-libomp")
    runs += openmp("team_overhead", "bare", n=5000)
    return Group("team_overhead", ("core",), runs, [
        Table("team_overhead", "An OpenMP region of 1000 increments on 2 threads: bare, and inside hop", "us")])


def spawn_join():
    runs = hop("spawn_join", "all", "waves", n=100000)
    runs += tokio("spawn_join", "ct", "mt2", n=100000) + go("spawn_join", "wg", "chan", n=100000)
    return Group("spawn_join", ("core",), runs, [
        Table("spawn_join", "100,000 tasks spawned and joined, each", "ns")])


def ping_pong():
    runs = hop("ping_pong", "cap0", "cap1", n=200000)
    runs += tokio("ping_pong", "ct", "mt2", n=200000) + go("ping_pong", "cap0", "cap1", n=200000)
    return Group("ping_pong", ("core",), runs, [
        Table("ping_pong", "A message from task to task by a channel", "ns")])


def mem_per_task():
    runs = hop("mem_per_task", "sleep", "pending", n=100000)
    runs += tokio("mem_per_task", "ct-sleep", "ct-pending", "mt2-sleep", n=100000)
    runs += go("mem_per_task", "sleep", "pending", n=100000, threads=(2,))
    return Group("mem_per_task", ("core",), runs, [
        Table("mem_per_task", "Resident memory of a task that sleeps or waits", "bytes")])


def idle_cpu():
    n = 10
    runs = hop("idle_cpu", "runtime", n=n)
    runs += hop("idle_cpu", "runtime", n=n, program="hop-bench-libomp", peer="hop-libomp")
    runs += tokio("idle_cpu", "mt2-rayon", n=n) + go("idle_cpu", "goroutines", n=n, threads=(2,))
    runs += libuv("idle_cpu", n=n, threads=(2,)) + tbb("idle_cpu", "arena", n=n)
    runs += [contestant(peer, "region", program, "idle_cpu", "region", n, OMP_NUM_THREADS="2")
             for peer, program in (("libgomp", "peer-gomp"), ("libomp", "peer-libomp"))]
    return Group("idle_cpu", ("core",), runs, [
        Table("idle_cpu", "CPU time of a program that has used everything once and sleeps for 10 s", "%")],
        together=True)


def timers():
    n = 100000
    runs = hop("timers", "sleep", n=n) + tokio("timers", "ct", "mt2", n=n) + go("timers", "sleep", "afterfunc", n=n,
                                                                              threads=(2,))
    runs += [contestant("libuv", "heap", "peer-uv", "timers", "heap", n),
             contestant("libevent", "heap", "peer-libevent", "timers", "heap", n)]
    return Group("timers", ("async",), runs, [
        Table("timers", "100,000 timers due between 1 s and 2 s: CPU time", "s"),
        Table("timers_late", "The same: how late they fire, 99th percentile", "ms", field="late_p99_us", scale=1e-3)])


def echo_tcp():
    runs = hop("echo_tcp", "task")
    runs += [contestant("floor", "epoll", "peer-floor", "echo_tcp", "epoll", floor=True),
             contestant("libevent", "event", "peer-libevent", "echo_tcp", "event"),
             contestant("libevent", "bufferevent", "peer-libevent", "echo_tcp", "bufferevent"),
             contestant("libuv", "loop", "peer-uv", "echo_tcp", "loop"),
             contestant("asio", "loop", "peer-asio", "echo_tcp", "loop"),
             contestant("tokio", "ct", "peer-rust", "echo_tcp", "ct"),
             contestant("go", "p1", "peer-go", "echo_tcp", "goroutine", GOMAXPROCS="1")]
    return Group("echo_tcp", ("async",), runs, [
        Table("echo_tcp", "Echo of 64 bytes, 50 connections in a closed loop, one core", "requests/s", MORE, "rps"),
        Table("echo_tcp_p99", "The same: 99th percentile", "us", field="p99_us")],
        kind="server", load=("--connections", "50"), load_cpu=1, seconds=3)


MIXED_LOAD = ("--connections", "32", "--heavy", "4", "--rate", str(MIXED_RATE))


def mixed_tables(name, title, holds=0):
    return [
        Table(name + "_p99", f"{title}: light requests, 99th percentile", "us", field="p99_us", holds=holds),
        Table(name + "_heavy", f"{title}: heavy requests", "1/s", MORE, "heavy_rps", holds=holds),
        Table(name + "_heavy_p99", f"{title}: heavy requests, 99th percentile", "ms", field="heavy_p99_us", scale=1e-3,
              holds=holds),
        Table(name + "_rps", f"{title}: light requests answered, of 20,000/s", "1/s", MORE, "rps")]


def mixed(cgroup, suffix, title, peers):
    runs = hop("mixed", "loop", "job")
    runs += tokio("mixed", *(v for v in ("ct-rayon", "mt2-rayon", "mt2-blocking", "mt2-inline") if v in peers))
    if "libuv" in peers:
        runs += libuv("mixed", threads=(2,))
    if "asio" in peers:
        runs += [contestant("asio", "pool2", "peer-asio", "mixed", "pool2")]
    if "go" in peers:
        runs += [contestant("go", "p2", "peer-go", "mixed", "goroutine", GOMAXPROCS="2")]
    name = "mixed" + suffix
    return Group(name, ("mixed",), runs, mixed_tables(name, title, 0.99 * MIXED_RATE), kind="server", load=MIXED_LOAD,
                 cgroup=cgroup, seconds=MIXED_SECONDS)


def parts(cgroup, suffix, title):
    """hop alone, with each part of its quality of service switched off in turn."""
    runs = [contestant("hop", name, "hop-bench", "mixed", "loop", *options) for name, options in (
        ("all parts", ()), ("mild workers", ("--qos", "mild")), ("no moderation", ("--moderate", "0")),
        ("no spinning", ("--no-spin",)), ("ordinary workers and no moderation", ("--qos", "off")),
        ("no part", ("--qos", "off", "--no-spin")))]
    name = "parts" + suffix
    return Group(name, ("parts",), runs, mixed_tables(name, title), kind="server", load=MIXED_LOAD, cgroup=cgroup,
                 seconds=MIXED_SECONDS)


def pgz():
    runs = [contestant("hop", "pgz", "pgz", "-p", "2", "-6", "-c"),
            contestant("hop", "pgz-fast-codec", "pgz", "-p", "2", "-6", "-c", "--fast-codec"),
            contestant("pigz", "p2", "pigz", "-p", "2", "-6", "-c"),
            contestant("gzip", "serial", "gzip", "-6", "-c")]
    return Group("pgz", ("compute",), runs, [
        Table("pgz", "Compressing text on two cores", "MB/s", MORE)], kind="compressor")


def groups():
    return [
        offload_rtt(),
        offload_throughput("us", "Jobs of 1 us, 256 outstanding"),
        offload_throughput("empty", "Empty jobs, 256 outstanding"),
        fork_join(),
        parallel_overhead(),
        parallel_work("balanced", 10000000, "10 M iterations of two roots", ("static", "guided", "dynamic64")),
        parallel_work("skewed", 20000, "20,000 iterations, number i costs i/10 rounds of the chain",
                      ("static", "dynamic", "guided")),
        parallel_work("reduce", 20000000, "Sum of 20 M doubles", ("static",)),
        team_overhead(),
        spawn_join(),
        ping_pong(),
        mem_per_task(),
        idle_cpu(),
        echo_tcp(),
        timers(),
        mixed("own", "", "mixed, each server in a cgroup of its own",
              ("ct-rayon", "mt2-rayon", "mt2-blocking", "libuv", "asio", "go")),
        mixed("shared", "_shared", "mixed, in a cgroup with a neighbour",
              ("ct-rayon", "mt2-blocking", "libuv", "asio")),
        mixed("1.5", "_quota", "mixed, under a quota of 1.5 CPUs", ("ct-rayon", "mt2-blocking", "libuv", "asio")),
        parts("own", "", "mixed, hop without its parts, in a cgroup of its own"),
        parts("1.5", "_quota", "mixed, hop without its parts, under a quota of 1.5 CPUs"),
        pgz(),
    ]


SUITES = ("core", "compute", "async", "mixed", "parts")


def of_suite(suite):
    return [g for g in groups() if suite == "all" or suite in g.suites]
