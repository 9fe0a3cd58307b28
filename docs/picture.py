"""Draws docs/demo.svg: what `openai-project-guard demo` prints on an 80-column terminal.

Run it from anywhere, in an environment that has the package's dependencies: python docs/picture.py
"""

from __future__ import annotations

import os
import re
import subprocess
import sys
from collections.abc import Iterator
from html import escape
from pathlib import Path

ROOT = Path(__file__).parent.parent
PICTURE = ROOT / "docs" / "demo.svg"

COLUMN, LINE, SIZE, MARGIN = 8.4, 20, 14, 24  # pixels
CLASSES = {"1": "bold", "2": "dim", "31": "red", "32": "green", "33": "yellow"}

# The picture brings its own ground, so that it can be read on a light and on a dark page.
HEAD = """\
<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {height}" width="{width}" \
height="{height}" role="img" aria-label="What openai-project-guard demo prints">
<style>
rect {{ fill: #12161d; stroke: #3d444d }}
text {{ fill: #d7dde4; font: {size}px ui-monospace, SFMono-Regular, Menlo, Consolas, \
"DejaVu Sans Mono", monospace }}
.bold {{ fill: #ffffff; font-weight: 600 }}
.dim {{ fill: #768390 }}
.red {{ fill: #ff7b72 }}
.green {{ fill: #56d364 }}
.yellow {{ fill: #e3b341 }}
</style>
<rect x="0.5" y="0.5" width="{inner_width}" height="{inner_height}" rx="10"/>
"""


def demo() -> str:
    """What the demo prints in colour."""
    environment = {name: value for name, value in os.environ.items() if name != "NO_COLOR"}
    return subprocess.run(
        [sys.executable, "-m", "openai_project_guard", "demo"],
        cwd=ROOT,
        env=environment | {"FORCE_COLOR": "1", "COLUMNS": "80", "PYTHONIOENCODING": "utf-8"},
        stdout=subprocess.PIPE,
        encoding="utf-8",
        check=True,
    ).stdout


def svg(output: str) -> str:
    """The terminal's output as a picture."""
    lines = ["\x1b[2m$\x1b[0m openai-project-guard demo", "", *output.splitlines()]
    width, height = round(80 * COLUMN + 2 * MARGIN), round(len(lines) * LINE + 2 * MARGIN)
    head = HEAD.format(
        width=width, height=height, inner_width=width - 1, inner_height=height - 1, size=SIZE
    )
    texts = [text for number, line in enumerate(lines) for text in _texts(line, number)]
    return head + "\n".join([*texts, "</svg>", ""])


def _texts(line: str, number: int) -> Iterator[str]:
    """A line's texts, each held to its columns whatever font the reader has."""
    column, style = 0, ""
    for piece in re.split(r"(\x1b\[\d+m)", line):
        if piece.startswith("\x1b"):
            style = CLASSES.get(piece[2:-1], "")
            continue
        for word in re.finditer(r"\S+( \S+)*", piece):
            x = MARGIN + (column + word.start()) * COLUMN
            y = MARGIN + number * LINE + SIZE
            held = f'textLength="{len(word.group()) * COLUMN:.1f}" lengthAdjust="spacingAndGlyphs"'
            styled = f' class="{style}"' if style else ""
            yield f'<text x="{x:.1f}" y="{y}" {held}{styled}>{escape(word.group())}</text>'
        column += len(piece)


if __name__ == "__main__":
    PICTURE.write_text(svg(demo()), encoding="utf-8")
