"""Draws docs/images/performance.svg and fills docs/performance.md from docs/benchmark.json.

That file is what the benchmark printed:

    python benchmarks/run.py --json >docs/benchmark.json
    python docs/charts.py
"""

from __future__ import annotations

import json
import re
from html import escape
from pathlib import Path
from typing import Any

DOCS = Path(__file__).parent
RESULTS = DOCS / "benchmark.json"
PICTURE = DOCS / "images" / "performance.svg"
PAGE = DOCS / "performance.md"
MARKS = ("<!-- filled by docs/charts.py -->\n", "<!-- until here -->\n")

WIDTH, MARGIN, LINE = 480, 20, 22  # pixels, few enough for a telephone
START, LIMIT, END = MARGIN, 390, 450  # where a bar begins, where its target is, where it is cut off

HEAD = """\
<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {height}" width="{width}" \
height="{height}" role="img" aria-label="Each measurement as a part of its target">
<style>
.ground {{ fill: #12161d; stroke: #3d444d }}
text {{ fill: #d7dde4; font: 14px system-ui, -apple-system, "Segoe UI", Roboto, \
"DejaVu Sans", sans-serif }}
.what {{ fill: #ffffff }}
.met {{ fill: #2f8f46 }}
.missed {{ fill: #d1584f }}
.limit {{ stroke: #e3b341; stroke-width: 2; stroke-dasharray: 5 4 }}
.label {{ fill: #e3b341; text-anchor: middle }}
</style>
<rect class="ground" x="0.5" y="0.5" width="{inner_width}" height="{inner_height}" rx="10"/>
"""


def svg(results: dict[str, Any]) -> str:
    """A bar for each case: how much of what the target allows it takes."""
    y, parts = MARGIN + 24, []
    for row in results["rows"]:
        if row["measured"]:
            for line in _wrapped(row["what"]):
                parts.append(f'<text class="what" x="{MARGIN}" y="{y}">{escape(line)}</text>')
                y += LINE
            for case, value in row["measured"].items():
                parts += _bar(row, case, value, y)
                y += LINE + 4
            y += 10
    height = y + 4
    limit = (
        f'<text class="label" x="{LIMIT}" y="{MARGIN + 4}">target</text>'
        f'<path class="limit" d="M{LIMIT} {MARGIN + 12}V{height - 14}"/>'
    )
    head = HEAD.format(width=WIDTH, height=height, inner_width=WIDTH - 1, inner_height=height - 1)
    return head + "\n".join([*parts, limit, "</svg>", ""])


def _bar(row: dict[str, Any], case: str, value: float, y: int) -> list[str]:
    part = row["target"] / value if row["at_least"] else value / row["target"]
    kind = "met" if part <= 1 else "missed"
    width = min(part * (LIMIT - START), END - START)
    measured = f"{case}: " * bool(case) + _figure(row, value)
    inside = width > 8 * len(measured) + 16
    return [
        f'<rect class="{kind}" x="{START}" y="{y - 13}" width="{width:.1f}" height="17" rx="3"/>',
        f'<text x="{START + (8 if inside else width + 8):.1f}" y="{y}">{escape(measured)}</text>',
    ]


def _wrapped(text: str) -> list[str]:
    lines = [""]
    for word in text.replace("`", "").split():
        if len(lines[-1]) + len(word) > 48:  # the target's line is to the right of it
            lines.append("")
        lines[-1] = f"{lines[-1]} {word}".strip()
    return lines


def table(results: dict[str, Any]) -> str:
    """What was measured on which machine, and the targets beside it."""
    lines = ["| what | target | measured | |", "|---|---|---|---|"]
    for row in results["rows"]:
        bound = "at least" if row["at_least"] else "at most"
        unit = _unit(row)
        measured = _figures(row, row["measured"])
        if row.get("beside"):
            measured += f" ({_figures(row, row['beside'])})"
        verdict = {None: "skipped", True: "met", False: "missed"}[row["met"]]
        target = f"{bound} {number(row['target'])}{unit}"
        lines.append(f"| {row['what']} | {target} | {measured or row['skipped']} | {verdict} |")
    how = "coarsely (`--quick`), which takes a minute" if results["is_quick"] else "in full"
    return f"Measured {how}, on this machine: {results['machine']}.\n\n" + "\n".join(lines) + "\n"


def _unit(row: dict[str, Any]) -> str:
    unit: str = row["unit"]
    return unit if len(unit) == 1 else f" {unit.strip()}"


def _figures(row: dict[str, Any], values: dict[str, float]) -> str:
    return "; ".join(f"{case}: " * bool(case) + _figure(row, each) for case, each in values.items())


def _figure(row: dict[str, Any], value: float) -> str:
    return f"{number(value, row['target'])}{_unit(row)}"


def number(value: float, target: float | None = None) -> str:
    """With three digits, or as many more as tell it from a target that it is not."""
    text = f"{value:,.0f}" if abs(value) >= 100 or value == int(value) else f"{value:.3g}"
    digits = 3
    while value != target and float(text.replace(",", "")) == target:
        digits += 1
        text = f"{value:,.{digits}g}"
    return text


def page(text: str, results: dict[str, Any]) -> str:
    """The page with what was measured between its marks."""
    begin, end = map(re.escape, MARKS)
    filled = f"{MARKS[0]}{table(results)}{MARKS[1]}"
    return re.sub(f"(?s){begin}.*{end}", lambda _: filled, text)


if __name__ == "__main__":
    found = json.loads(RESULTS.read_text(encoding="utf-8"))
    PICTURE.write_text(svg(found), encoding="utf-8")
    PAGE.write_text(page(PAGE.read_text(encoding="utf-8"), found), encoding="utf-8")
