# SPDX-License-Identifier: BSD-3-Clause
"""Tables, for a terminal and in Markdown."""


def number(x):
    """Three significant digits, with k and M."""
    if x is None:
        return "-"
    for size, suffix in ((1e6, " M"), (1e4, " k")):
        if abs(x) >= size:
            scaled = x / (1e6 if suffix == " M" else 1e3)
            return f"{scaled:.{2 if scaled < 10 else 1 if scaled < 100 else 0}f}{suffix}"
    if x == 0 or abs(x) >= 100:
        return f"{x:.0f}"
    return f"{x:.1f}" if abs(x) >= 10 else f"{x:.2f}" if abs(x) >= 0.01 else f"{x:.1g}"


def cells(row):
    mark = {"hop": "", "peer": "", "floor": " (floor)"}[row.kind] + ("" if row.holds else " (fails the rate)")
    return [row.key + mark, number(row.median), f"{number(min(row.values))} to {number(max(row.values))}",
            f"{row.ratio:.2f}" if row.ratio is not None else "-", f"{row.cpus:.2f}" if row.cpus is not None else "-"]


HEAD = ["", "median", "least to most", "x best peer", "CPUs"]


def verdict_in_words(v):
    unit = v["unit"]
    if v["value"] is None:
        return f"{v['hop']}: not measured"
    if v["bound"] is None:
        return f"{v['hop']}: {number(v['value'])} {unit}, nothing to compare with"
    said = f" ({v['said']})" if v["said"] else ""
    return (f"{v['hop']}: {number(v['value'])} {unit}, target {v['side']} {number(v['bound'])}{said}: "
            f"{'met' if v['met'] else 'NOT MET'}")


def terminal_table(table, rows, verdicts):
    lines = [HEAD] + [cells(r) for r in rows]
    lines[0] = [f"{table.name} [{table.unit}]"] + HEAD[1:]
    widths = [max(len(line[i]) for line in lines) for i in range(len(HEAD))]
    out = ["", table.title]
    for line, row in zip(lines, [None] + rows):
        mark = "*" if row and row.kind == "hop" else " "
        out.append(f"{mark} " + line[0].ljust(widths[0]) + "".join("  " + c.rjust(w) for c, w in
                                                                   zip(line[1:], widths[1:])))
    out += [f"  target: {verdict_in_words(v)}" for v in verdicts]
    return "\n".join(out)


def markdown_table(table, rows, verdicts, plot):
    out = [f"## {table.name}", "", f"{table.title}, {table.unit}; {table.better} is better.", "",
           "| | median | least to most | x best peer | CPUs |", "|---|---:|---:|---:|---:|"]
    for row in rows:
        line = cells(row)
        if row.kind == "hop":
            line[:2] = [f"**{line[0]}**", f"**{line[1]}**"]
        out.append("| " + " | ".join(line) + " |")
    if verdicts:
        out += [""] + [f"- {verdict_in_words(v)}" for v in verdicts]
    if plot:
        out += ["", f"![{table.title}]({plot})"]
    return "\n".join(out) + "\n"
