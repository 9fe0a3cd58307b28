"""Draws the documentation's terminal pictures: what commands print on 80 columns.

Run it from anywhere, in an environment that has the package's dependencies: python docs/picture.py
"""

from __future__ import annotations

import os
import re
import subprocess
import sys
import tempfile
import textwrap
from collections.abc import Iterator
from html import escape
from pathlib import Path

ROOT = Path(__file__).parent.parent
PICTURE = ROOT / "docs" / "demo.svg"
REFUSAL = ROOT / "docs" / "images" / "refusal.svg"
REPORT = ROOT / "docs" / "images" / "report.svg"

COLUMN, LINE, SIZE, MARGIN = 8.4, 20, 14, 24  # pixels
CLASSES = {"1": "bold", "2": "dim", "31": "red", "32": "green", "33": "yellow"}

SUPPORT = "sk-proj-9vTq2LwX7bYk4RmN8cZs6HdJ3gPf5AeU-Ab3d"
BILLING = "sk-proj-2kXv6FtB8nQm4ZcJ9rWd7HsL3yPg5TeA-Ef5g"

# The program of the refusal, and that of the report: a service with a mistake.
APP = """\
import openai
openai.OpenAI().models.list()
"""
SERVICE = """\
import os
import openai

support = openai.OpenAI(api_key=os.environ["SUPPORT_KEY"], project="proj_5fPqTn0w")
billing = support.with_options(api_key=os.environ["BILLING_KEY"])

def answer():
    support.models.list()

def invoice():
    try:
        billing.models.list()
    except openai.AuthenticationError:
        pass

for _ in range(40):
    answer()
for _ in range(3):
    invoice()
"""

# A picture brings its own ground, so that it can be read on a light and on a dark page.
HEAD = """\
<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {height}" width="{width}" \
height="{height}" role="img" aria-label="What {command} prints">
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
    return _printed(ROOT, "demo")


def refusal() -> str:
    """What a program with a wrong variable ends with."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name).resolve()
        (folder / "app.py").write_text(APP)
        _printed(folder, "register proj_5fPqTn0w --alias support-bot --key-env OPENAI_API_KEY")
        said = _printed(folder, "run -- app.py", OPENAI_PROJECT_ID="proj_8hRsLm2x")
        error = said[said.index("openai_project_guard.ProjectMismatchError") :]
        lines = error.replace(str(folder), "/srv/app").splitlines()
    return "\n".join(
        ["…", *(line for long in lines for line in textwrap.wrap(long, 80, break_on_hyphens=False))]
    )


def report() -> str:
    """What a report says of the service, run against a server on this machine."""
    from openai_project_guard.loopback import loopback_api

    owners = {SUPPORT: "proj_5fPqTn0w", BILLING: "proj_8hRsLm2x"}
    with tempfile.TemporaryDirectory() as name, loopback_api(owners) as api:
        folder = Path(name).resolve()
        (folder / "app.py").write_text(SERVICE)
        keys = {"SUPPORT_KEY": SUPPORT, "BILLING_KEY": BILLING}
        for key, project in zip(keys, owners.values(), strict=True):
            _printed(folder, f"register {project} --key-env {key}", **keys)
        command = "run --mode warn --audit audit -- app.py"
        _printed(folder, command, **keys, OPENAI_BASE_URL=api.base_url)
        return _printed(folder, "report audit")


def _printed(folder: Path, command: str, **more: str) -> str:
    """What a command of ours prints in colour, on either stream."""
    environment = {
        name: value
        for name, value in os.environ.items()
        if name not in ("NO_COLOR", "PYTHONPATH") and not name.startswith("OPENAI_")
    } | {
        "COLUMNS": "80",
        "FORCE_COLOR": "1",
        "PYTHON_COLORS": "0",  # of tracebacks, from Python 3.13 on: as before
        "OPENAI_API_KEY": SUPPORT,
        "PYTHONIOENCODING": "utf-8",
        "PYTHONPATH": str(ROOT),
        "XDG_CONFIG_HOME": str(folder),
    }
    return subprocess.run(  # noqa: S603  # our own commands
        [sys.executable, "-m", "openai_project_guard", *command.split()],
        cwd=folder,
        env=environment | more,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        encoding="utf-8",
        check=False,
    ).stdout


def svg(output: str, command: str = "openai-project-guard demo") -> str:
    """The terminal's output as a picture."""
    lines = [f"\x1b[2m$\x1b[0m {command}", "", *output.splitlines()]
    width, height = round(80 * COLUMN + 2 * MARGIN), round(len(lines) * LINE + 2 * MARGIN)
    head = HEAD.format(
        command=command,
        width=width,
        height=height,
        inner_width=width - 1,
        inner_height=height - 1,
        size=SIZE,
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


def pictures() -> Iterator[tuple[Path, str]]:
    """Each picture, and where it is kept."""
    yield PICTURE, svg(demo())
    yield REFUSAL, svg(refusal(), "openai-project-guard run -- python app.py")
    yield REPORT, svg(report(), "openai-project-guard report audit")


if __name__ == "__main__":
    for file, drawn in pictures():
        file.write_text(drawn, encoding="utf-8")
