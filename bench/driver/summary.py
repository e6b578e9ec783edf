# SPDX-License-Identifier: BSD-3-Clause
"""From figures to rows: medians over the rounds, the best peer, and whether the targets are met."""
import json
import statistics
from dataclasses import dataclass
from fnmatch import fnmatch
from typing import List, Optional

import plan


@dataclass
class Row:
    key: str
    kind: str  # "hop", "peer" or "floor"
    values: List[float]  # one a round
    cpus: Optional[float]
    holds: bool = True  # carries the workload, so that it can be compared with
    ratio: Optional[float] = None  # to the best peer

    @property
    def median(self):
        return statistics.median(self.values)


def kind_of(contestant):
    if contestant.floor:
        return "floor"
    return "hop" if contestant.peer.startswith("hop") else "peer"


def best_of(rows, better):
    if not rows:
        return None
    return (min if better == plan.LESS else max)(rows, key=lambda r: r.median)


def rows_of(table, contestants, figures):
    """The rows of one table, best first. figures: key -> list of dictionaries, one a round."""
    rows = []
    for c in contestants:
        had = [f for f in figures.get(c.key, []) if table.field in f]
        if not had or not c.variant.endswith(table.only):
            continue
        cpus = [f["cpus"] for f in had if "cpus" in f]
        rates = [f["rps"] for f in had if "rps" in f]
        values = [f[table.field] * table.scale for f in had]
        rows.append(Row(c.key, kind_of(c), values, statistics.median(cpus) if cpus else None,
                        not table.holds or not rates or statistics.median(rates) >= table.holds))
    best = best_peer(table, rows)
    for row in rows:
        row.ratio = row.median / best.median if best and best.median else None
    return sorted(rows, key=lambda r: r.median, reverse=table.better == plan.MORE)


def best_peer(table, rows):
    return best_of([r for r in rows if r.kind == "peer" and r.holds], table.better)


# --- targets ---

def read_targets(path):
    with open(path, encoding="utf-8") as file:
        return json.load(file)


def matching(rows, patterns):
    return [r for r in rows if any(fnmatch(r.key, p) for p in patterns)]


def bound_of(target, reference):
    """The figure that the target asks for, and how it is said."""
    side = "at most" if "at_most" in target or "at_most_plus" in target or "at_most_value" in target else "at least"
    if "at_most_value" in target:
        return side, target["at_most_value"], ""
    if reference is None:
        return side, None, ""
    if "at_most_plus" in target:
        return side, reference.median + target["at_most_plus"], f"{reference.key} + {target['at_most_plus']:g}"
    factor = target.get("at_most", target.get("at_least"))
    return side, reference.median * factor, f"{factor:g} x {reference.key}"


def judge(target, table, rows):
    """One target: a dictionary with what was asked for, what was reached, and "met", which is None if unknown."""
    ours = best_of(matching(rows, target["hop"]), table.better)
    theirs = None
    if "against" in target:
        theirs = best_of([r for r in matching(rows, target["against"]) if r.kind != "hop" and r.holds], table.better)
        if target["against"] == ["*"]:
            theirs = best_peer(table, rows)
    side, bound, said = bound_of(target, theirs)
    verdict = {"table": table.name, "hop": ours.key if ours else " ".join(target["hop"]), "unit": table.unit,
               "side": side, "bound": bound, "said": said, "value": ours.median if ours else None, "met": None}
    if ours and bound is not None:
        reached = ours.median <= bound if side == "at most" else ours.median >= bound
        verdict["met"] = reached and ours.holds
    return verdict


def verdicts(targets, table, rows):
    return [judge(t, table, rows) for t in targets if t["table"] == table.name]
