"""Writes docs/performance.md and its plot from the figures of a run."""

import math
import os
import platform
import sqlite3
import subprocess
from collections.abc import Iterable, Sequence
from html import escape
from pathlib import Path

from bench.machine import LOAD_CORE, SERVER_CORE
from bench.results import ROUTER, Goal, Measure, median_and_spread, shown
from bench.run import ALERTMANAGER, Bench

PLOT = "performance.svg"

_INTRO = """# Performance

`make bench` wrote this page. Every figure comes from one run on one machine. The router is pinned to one core; the load
generator and the sinks use another. The systems to compare run on the same core and are measured in turn, round by
round, so a ratio is more reliable than a figure. A cell shows the median over the rounds, with the smallest and the
largest figure in parentheses. A goal with a name is about the ratio to the figure of that name: the median of the ratios
of the rounds.

- **alertmanager**: Debian's Alertmanager with `group_by: ['...']` and `group_wait: 0s`. It keeps alerts in memory only.
- **skeleton**: the minimum of a durable notifier: aiohttp, pydantic, one SQLite writer with group commit and
  synchronous=FULL, 16 connections to the receiver, a record of each delivery.
- **durable**: the minimum of a durable handler: the same without sending, with one webhook row and three delivery rows.
- **decode**: decodes the body with pydantic and answers. **bare**: reads the body and answers.
- **sqlite**: the router on SQLite. Rows "on PostgreSQL" compare the router on PostgreSQL with it. Commits of both wait for the
  same disk. PostgreSQL's server may use both cores.

A figure marked as cut reached its time limit. What was missing then counts as if it had taken the whole time. If the load
before the run is not near 0, other programs used part of both cores. Times then vary by a factor of several; compare only
CPU, memory, bytes and counts.
"""


def page(bench: Bench, command: str) -> str:
    parts = [_INTRO, "## The run\n", _machine(bench, command), "\n## Figures\n", table(bench.measures)]
    if any(each.margin() is not None for each in bench.measures):
        parts += [f"\n![How far each figure is from its goal]({PLOT})\n"]
    for title, text in bench.notes.items():
        parts += [f"\n## {title}\n", text]
    return "\n".join(parts).rstrip() + "\n"


def table(measures: Iterable[Measure]) -> str:
    lines = ["| | router | compared with | goal | reached | |", "|---|---:|---|---|---:|---|"]
    for each in measures:
        others = [f"{who} {median_and_spread(v)}" for who, v in each.figures.items() if who != ROUTER]
        achieved, margin = each.achieved(), each.margin()
        reached = (
            ""
            if achieved is None or margin is None
            else f"{'✓' if margin >= 1 else '✗'} {_ratio(each, achieved)}"
        )
        cells = [
            each.title, median_and_spread(each.figures.get(ROUTER, [])), ", ".join(others),
            _goal(each.goal), reached, "; ".join(each.notes),
        ]  # fmt: skip
        lines.append(f"| {' | '.join(cell.replace('|', '/').replace(chr(10), ' ') for cell in cells)} |")
    return "\n".join(lines)


def _goal(goal: Goal | None) -> str:
    if goal is None:
        return ""
    sign = "≥" if goal.least else "≤"
    return f"{sign} {shown(goal.bound)}" + (f" × {goal.beside}" if goal.beside else "")


def _ratio(measure: Measure, achieved: float) -> str:
    return shown(achieved) + (" ×" if measure.goal and measure.goal.beside else "")


def _machine(bench: Bench, command: str) -> str:
    with Path("/proc/cpuinfo").open(encoding="utf-8") as lines:
        model = next(
            (line.partition(":")[2].strip() for line in lines if "model name" in line), platform.machine()
        )
    facts = {
        "command": f"`{command}`",
        "machine": f"{model}, {os.cpu_count()} cores; the router on core {SERVER_CORE}, the load on core {LOAD_CORE}",
        "load before the run": bench.load_before,
        "software": f"Python {platform.python_version()}, SQLite {sqlite3.sqlite_version}, event loop {bench.loop}, "
                    f"Linux {platform.release()}, {_alertmanager()}",
        "size": f"{bench.scale.rounds} rounds",
    }  # fmt: skip
    return "\n".join(f"- {name}: {fact}" for name, fact in facts.items())


def _alertmanager() -> str:
    if ALERTMANAGER is None:
        return "no Alertmanager (apt-get install prometheus-alertmanager)"
    said = subprocess.run([ALERTMANAGER, "--version"], capture_output=True, text=True, check=False)
    return " ".join((said.stdout or said.stderr).split()[:3]).replace(", version", "").rstrip(",")


def plot(measures: Sequence[Measure]) -> str:
    """Return an SVG with a bar for each goal on a logarithmic axis; a bar to the right of the line is a reached goal."""
    bars = [(each, margin) for each in measures if (margin := each.margin()) is not None]
    left, middle, row, decade, decades = 430, 290, 20, 90, 3
    width, height = left + 2 * middle, row * len(bars) + 50
    axis = left + middle
    lines = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {height}" font-family="sans-serif" font-size="11">',
        f'<rect width="{width}" height="{height}" fill="#fff"/>',
    ]
    for power in range(-decades, decades + 1):
        x = axis + power * decade
        colour = "#333" if power == 0 else "#ddd"
        label = "goal" if power == 0 else f"{10**power:g} ×"
        lines.append(f'<path d="M{x} 24V{height - 10}" stroke="{colour}"/>')
        lines.append(f'<text x="{x}" y="16" text-anchor="middle">{label}</text>')
    for number, (measure, margin) in enumerate(bars):
        y = 30 + number * row
        reach = max(-decades, min(decades, math.log10(max(margin, 1e-9)))) * decade
        colour = "#2a7f4f" if margin >= 1 else "#c0392b"
        start, size = axis + min(0.0, reach), max(1.0, abs(reach))
        lines.append(
            f'<text x="{left - 8}" y="{y + 11}" text-anchor="end">{escape(_short(measure.what))}</text>'
        )
        lines.append(f'<rect x="{start:.1f}" y="{y}" width="{size:.1f}" height="{row - 6}" fill="{colour}"/>')
    return "\n".join([*lines, "</svg>", ""])


def _short(text: str) -> str:
    return text if len(text) <= 68 else text[:67] + "…"
