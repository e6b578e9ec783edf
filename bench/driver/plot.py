# SPDX-License-Identifier: BSD-3-Clause
"""One table as a bar chart in SVG: bars are medians, whiskers the least and the most of the rounds."""
import math
from html import escape

import report

WIDTH, LEFT, RIGHT, TOP, ROW, FOOT = 860, 230, 110, 66, 24, 52
COLOURS = {"hop": "#0b6e4f", "peer": "#8a94a3", "floor": "#c9b458"}
LOG_BEYOND = 30  # a range of more than this is drawn on a logarithmic axis


class Linear:
    """From 0."""

    def __init__(self, highest):
        step = 10 ** math.floor(math.log10(highest))
        step = next(step * f for f in (0.1, 0.2, 0.25, 0.5, 1, 2) if highest / (step * f) <= 6)
        self.ticks = [i * step for i in range(math.floor(highest / step) + 1)]
        self.end = highest

    def at(self, value):
        return value / self.end


class Logarithmic:
    def __init__(self, lowest, highest):
        self.low = math.floor(math.log10(lowest))
        self.high = math.log10(highest)
        self.ticks = [10.0 ** e for e in range(self.low, math.floor(self.high) + 1)]

    def at(self, value):
        return (math.log10(max(value, 10.0 ** self.low)) - self.low) / (self.high - self.low)


def axis_for(rows):
    values = [v for r in rows for v in r.values if v > 0]
    if not values:
        return None
    low, high = min(r.median for r in rows if r.median > 0), max(values) * 1.02
    if high / low > LOG_BEYOND:
        return Logarithmic(min(values), high)
    return Linear(high)


def text(x, y, words, size=12, anchor="start", colour="#222", weight="normal"):
    return (f'<text x="{x:.1f}" y="{y:.1f}" font-size="{size}" text-anchor="{anchor}" fill="{colour}" '
            f'font-weight="{weight}">{escape(words)}</text>')


def line(x1, y1, x2, y2, colour, width=1):
    return f'<line x1="{x1:.1f}" y1="{y1:.1f}" x2="{x2:.1f}" y2="{y2:.1f}" stroke="{colour}" stroke-width="{width}"/>'


def draw_row(row, y, axis, x_of):
    middle = y + ROW / 2
    weight = "bold" if row.kind == "hop" else "normal"
    out = [text(LEFT - 8, middle + 4, row.key, anchor="end", weight=weight)]
    if row.median > 0:
        out.append(f'<rect x="{LEFT}" y="{y + 4}" width="{max(x_of(row.median) - LEFT, 1):.1f}" height="{ROW - 8}" '
                   f'fill="{COLOURS[row.kind]}"/>')
    low, high = x_of(min(row.values)), x_of(max(row.values))
    out += [line(low, middle, high, middle, "#222"), line(low, middle - 3, low, middle + 3, "#222"),
            line(high, middle - 3, high, middle + 3, "#222")]
    out.append(text(LEFT + (WIDTH - LEFT - RIGHT) + 8, middle + 4, report.number(row.median), weight=weight))
    return out


def svg(table, rows):
    """The chart, or nothing if there is nothing to draw."""
    axis = axis_for(rows)
    if axis is None:
        return None
    height, span = TOP + ROW * len(rows) + FOOT, WIDTH - LEFT - RIGHT
    bottom = TOP + ROW * len(rows)

    def x_of(value):
        return LEFT + span * min(max(axis.at(value), 0), 1)

    out = [f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {height}" width="{WIDTH}" height="{height}" '
           'font-family="sans-serif">', f'<rect width="{WIDTH}" height="{height}" fill="#fff"/>',
           text(14, 24, table.title, size=15, weight="bold"),
           text(14, 46, f"{table.name}: {table.unit}, {table.better} is better; bars: median of the rounds, "
                        "lines: least to most", colour="#555")]
    for tick in axis.ticks:
        out += [line(x_of(tick), TOP, x_of(tick), bottom, "#ddd"),
                text(x_of(tick), bottom + 16, report.number(tick) if tick else "0", size=11, anchor="middle")]
    out.append(line(LEFT, bottom, LEFT + span, bottom, "#222"))
    for i, row in enumerate(rows):
        out += draw_row(row, TOP + i * ROW, axis, x_of)
    scale = ", logarithmic" if isinstance(axis, Logarithmic) else ""
    out.append(text(LEFT + span / 2, bottom + 38, table.unit + scale, anchor="middle"))
    return "\n".join(out + ["</svg>"]) + "\n"
