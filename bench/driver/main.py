# SPDX-License-Identifier: BSD-3-Clause
"""The command line, and the course of a measurement."""
import argparse
import json
import os
import sys
import time
from dataclasses import replace

import cgroup
import machine
import plan
import plot
import programs
import report
import summary

BENCH = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
SOURCE = os.path.dirname(BENCH)
BUSY = 0.5  # a load average above this is worth a warning


def options():
    parser = argparse.ArgumentParser(
        prog="bench/run", description="Measures hop beside its peers: interleaved rounds, one table a figure.")
    parser.add_argument("suite", nargs="?", default="core", choices=[*plan.SUITES, "all"])
    parser.add_argument("--build", default=os.environ.get("HOP_BUILD", os.path.join(SOURCE, "build")),
                        help="the build folder (build)")
    parser.add_argument("--out", help="where results go (bench/results; with --quick: BUILD/measure/results)")
    parser.add_argument("--rounds", type=int, help="turns of each contestant (5)")
    parser.add_argument("--only", action="append", metavar="GROUP", help="only this group; may be repeated")
    parser.add_argument("--hop-only", action="store_true", help="without the peers")
    parser.add_argument("--quick", action="store_true", help="tiny sizes, one round: to see that everything runs")
    parser.add_argument("--list", action="store_true", help="show the groups and their contestants")
    o = parser.parse_args()
    o.rounds = o.rounds or (1 if o.quick else 5)
    o.out = o.out or (os.path.join(o.build, "measure", "results") if o.quick else os.path.join(BENCH, "results"))
    return o


# --- what will be run ---

def quick_size(contestant):
    """The contestant with a size that takes next to no time."""
    if len(contestant.arguments) < 3 or not contestant.arguments[2].isdigit():
        return contestant
    workload, variant, size, *rest = contestant.arguments
    small = {"fork_join": 18, "idle_cpu": 1}.get(workload, max(int(size) // 100, 300))
    return replace(contestant, arguments=(workload, variant, str(small), *rest))


def is_ours(contestant):
    return contestant.peer.startswith("hop") or contestant.floor


def present(groups, where, o):
    """The groups with the contestants that are there; says which are not."""
    kept, missing = [], {}
    for group in groups:
        if o.only and group.name not in o.only:
            continue
        if cgroup.is_quota(group.cgroup) and cgroup.why_no_quota():
            missing[group.name] = cgroup.why_no_quota()
            continue
        there = []
        for c in group.contestants:
            if o.hop_only and not is_ours(c):
                continue
            if where.find(c.program):
                there.append(quick_size(c) if o.quick else c)
            else:
                missing[c.program] = where.why_missing(c.program)
        if there:
            kept.append(replace(group, contestants=there))
    for what, why in missing.items():
        print(f"left out: {what}: {why}")
    return kept, missing


# --- measuring ---

class Progress:
    """One line that is written over on a terminal, one line a round elsewhere."""

    def __init__(self, total):
        self.total, self.done, self.began = total, 0, time.monotonic()
        self.live = sys.stdout.isatty()

    def show(self, words):
        if not self.live:
            return
        spent = time.monotonic() - self.began
        left = f", {spent / self.done * (self.total - self.done) / 60:.1f} min left" if self.done else ""
        print(f"\r\033[K[{self.done}/{self.total}{left}] {words}", end="", flush=True)

    def say(self, words):
        print(f"\r\033[K{words}" if self.live else words, flush=True)


def turns(contestants, round_number):
    """The order of a round: each begins with another contestant."""
    at = round_number % len(contestants)
    return contestants[at:] + contestants[:at]


def measure(where, group, contestant, o):
    if group.kind == "server":
        return programs.measure_server(where, group, contestant, 0.3 if o.quick else group.seconds)
    if group.kind == "compressor":
        return programs.measure_compressor(where, group, contestant, 3_000_000 if o.quick else 300_000_000)
    return programs.measure_program(where, contestant, 1 if o.quick else 3)


class Course:
    """Everything measured: figures[group][key] is a list with one dictionary a round."""

    def __init__(self, groups, where, o):
        self.groups, self.where, self.options = groups, where, o
        self.figures = {g.name: {} for g in groups}
        self.failures = {}
        self.progress = Progress(o.rounds * sum(len(g.contestants) for g in groups))

    def run(self):
        for r in range(self.options.rounds):
            began = time.monotonic()
            for group in self.groups:
                self.take_turns(group, r)
            self.progress.say(f"round {r + 1} of {self.options.rounds}: {time.monotonic() - began:.0f} s")

    def take_turns(self, group, r):
        order = turns(group.contestants, r)
        if group.together:
            self.progress.show(f"round {r + 1}: {group.name}, all at once")
            results = programs.measure_together(self.where, order, 1)
            for contestant, result in zip(order, results):
                self.note(group, contestant, result)
            return
        for contestant in order:
            self.progress.show(f"round {r + 1}: {group.name} {contestant.key}")
            try:
                self.note(group, contestant, measure(self.where, group, contestant, self.options))
            except programs.Failed as failed:
                self.note(group, contestant, failed)

    def note(self, group, contestant, result):
        self.progress.done += 1
        if isinstance(result, programs.Failed):
            self.failures[f"{group.name} {contestant.key}"] = str(result)
            self.progress.say(f"FAILED: {group.name}: {result}")
            return
        self.figures[group.name].setdefault(contestant.key, []).append(result)


# --- results ---

def probe_of(figures):
    """How far apart the two CPUs are: the spinning floor, which small figures move with."""
    spins = [f["median"] for f in figures.get("offload_rtt", {}).get("floor/spin", [])]
    return f" A round trip between two spinning threads took {min(spins):.0f} to {max(spins):.0f} ns." if spins else ""


def notes_of(figures):
    notes, all_figures = set(), [f for g in figures.values() for had in g.values() for f in had]
    notes.update(f["note"] for f in all_figures if "note" in f)
    if any(f.get("realtime") == 0 for f in all_figures):
        notes.add("The load generator was not allowed to be SCHED_FIFO: its own waits are in the latencies.")
    return sorted(notes)


class Report:
    """The tables of a course: for a terminal, in Markdown, and as plots."""

    def __init__(self, course, targets):
        self.shown, self.markdown, self.plots, self.verdicts = [], [], {}, []
        for group in course.groups:
            for table in group.tables:
                rows = summary.rows_of(table, group.contestants, course.figures[group.name])
                if rows:
                    self.add(table, rows, summary.verdicts(targets, table, rows))

    def add(self, table, rows, verdicts):
        chart = plot.svg(table, rows)
        name = table.name + ".svg" if chart else ""
        if chart:
            self.plots[name] = chart
        self.verdicts += verdicts
        self.shown.append(report.terminal_table(table, rows, verdicts))
        self.markdown.append(report.markdown_table(table, rows, verdicts, name))


def write_results(course, facts, missing, o):
    tables = Report(course, summary.read_targets(os.path.join(BENCH, "targets.json")))
    words = machine.in_words(facts) + probe_of(course.figures)
    notes = notes_of(course.figures)
    notes += [f"Left out: {what}: {why}." for what, why in missing.items()]
    notes += [f"Failed: {what}: {why}." for what, why in course.failures.items()]
    everything = {"machine": facts, "rounds": o.rounds, "quick": o.quick, "notes": notes, "targets": tables.verdicts,
                  "figures": course.figures}
    os.makedirs(o.out, exist_ok=True)
    files = {**tables.plots, o.suite + ".json": json.dumps(everything, indent=1) + "\n",
             o.suite + ".md": "\n\n".join([f"# {o.suite}", words, *notes, *tables.markdown])}
    for name, content in files.items():
        with open(os.path.join(o.out, name), "w", encoding="utf-8") as file:
            file.write(content)
    print("\n".join([*tables.shown, "", words, *notes]))
    print(f"\nwritten: {os.path.join(o.out, o.suite)}.md, .json, and a .svg for each table")
    return tables.verdicts


def use_two_cpus():
    """Peers' pools have two threads; so everything is kept on two CPUs, of different cores if there are such."""
    cpus = sorted(os.sched_getaffinity(0))
    if len(cpus) < 2:
        print("there is one CPU only: these figures say little")
        return
    others = [c for c in cpus if c not in machine.siblings(cpus[0])] or cpus[1:]
    os.sched_setaffinity(0, {cpus[0], others[0]})


def main():
    o = options()
    groups = plan.of_suite(o.suite)
    if o.list:
        for group in groups:
            print(group.name + ": " + " ".join(c.key for c in group.contestants))
        return 0
    where = programs.Programs(o.build)
    use_two_cpus()
    groups, missing = present(groups, where, o)
    if not groups:
        print("nothing to run", file=sys.stderr)
        return 1
    facts = machine.facts(SOURCE)
    if facts["load_at_start"] > BUSY and not o.quick:
        print(f"the machine is busy (load average {facts['load_at_start']:.1f}): these figures will be noisy")
    course = Course(groups, where, o)
    try:
        course.run()
    except KeyboardInterrupt:
        course.progress.say("interrupted: the tables are of what was measured so far")
    facts["load_at_end"] = os.getloadavg()[0]
    judged = write_results(course, facts, missing, o)
    met = sum(1 for v in judged if v["met"])
    known = sum(1 for v in judged if v["met"] is not None)
    print(f"targets met: {met} of {known}; failed runs: {len(course.failures)}")
    return 1 if course.failures else 0
