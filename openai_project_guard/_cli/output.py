"""What commands print, in the colours, characters and width that the output can show."""

from __future__ import annotations

import json
import os
import shutil
import sys
from collections.abc import Sequence
from itertools import zip_longest
from textwrap import wrap
from typing import NamedTuple, TextIO

from openai_project_guard._cli import output_errors
from openai_project_guard._errors import ConfigurationError

_STYLES = {"bold": 1, "dim": 2, "red": 31, "green": 32, "yellow": 33}
_ASCII = {"✓": "+", "✗": "x", "─": "-", "│": "|", "┼": "+", "…": "...", "\u00a0": " "}
MARKS = {None: ("?", "yellow"), True: ("✓", "green"), False: ("✗", "red")}
"""Of what is not known, good, or wrong."""
_NARROWEST_COLUMN, _NARROWEST_LINE = 8, 20
"""Characters; a terminal too narrow for that gets longer lines."""


class Cell(NamedTuple):
    """One field of a table."""

    text: str
    style: str = ""


def cells(*texts: str) -> tuple[Cell, ...]:
    """A row of a table without any style."""
    return tuple(map(Cell, texts))


class Terminal:
    """A stream to write to, with the colours, characters and width it can show."""

    def __init__(self, stream: TextIO | None = None) -> None:
        self._stream = stream or sys.stdout
        self._encoding = getattr(self._stream, "encoding", None) or "utf-8"
        self._has_color = _has_color(self._stream)
        shown = "".join(_ASCII).encode(self._encoding, "ignore").decode(self._encoding)
        self._characters = {} if shown == "".join(_ASCII) else _ASCII
        self.width = shutil.get_terminal_size((80, 24)).columns

    def line(self, text: str = "", style: str = "") -> None:
        """Writes a line, whatever its length."""
        self._write(self._styled(self._shown(text), style))

    def json(self, value: object) -> None:
        """Writes a value as JSON."""
        self.line(json.dumps(value, indent=2))

    def paragraph(self, text: str, style: str = "", *, first: str = "") -> None:
        """Writes a text, broken between words into lines that fit; its own line breaks stay.

        `first` is put before it, such as a mark; the other lines get as many spaces. A line that is
        indented is a command to be pasted, and stays as it is.
        """
        indent = self._shown(first)
        for part in self._shown(text).splitlines():
            if part.startswith("    "):
                self._write(part)
                continue
            for line in wrap(
                part,
                max(self.width - 1, _NARROWEST_LINE),
                initial_indent=indent,
                subsequent_indent=" " * len(first),
                break_on_hyphens=False,
                break_long_words=False,
            ):
                self._write(self._styled(line, style))
            indent = " " * len(first)

    def result(self, text: str, *, is_good: bool | None) -> None:
        """Writes whether something is as it should be; `None` where that is not known."""
        mark, style = MARKS[is_good]
        self.paragraph(text, style, first=f"{mark} ")

    def good(self, text: str) -> None:
        """Writes what was done, or is as it should be."""
        self.result(text, is_good=True)

    def bad(self, text: str) -> None:
        """Writes what is wrong."""
        self.result(text, is_good=False)

    def warning(self, text: str) -> None:
        """Writes what is only worth knowing."""
        self.paragraph(text, "yellow", first="! ")

    def table(self, head: Sequence[str], rows: Sequence[Sequence[Cell]]) -> None:
        """Writes a table. Columns of numbers are set flush right.

        A title is broken at its spaces, and whatever makes the table too wide for the terminal.
        """
        table = [[Cell(title, "bold") for title in head], *rows]
        table = [[Cell(self._shown(cell.text), cell.style) for cell in row] for row in table]
        columns = list(zip(*table, strict=True))
        widths = [
            max(*map(len, title.text.split()), *(len(cell.text) for cell in cells))
            for title, *cells in columns
        ]
        while (
            1 + sum(widths) + 3 * (len(widths) - 1) > self.width and max(widths) > _NARROWEST_COLUMN
        ):
            widths[widths.index(max(widths))] -= 1
        sides = [
            ">" if all(cell.text.isdigit() for cell in cells) else "<" for _, *cells in columns
        ]
        rule, bar, cross = (self._shown(character) for character in "─│┼")
        bar = self._styled(f" {bar} ", "dim")
        for number, row in enumerate(table):
            if number == 1:
                line = f"{rule}{cross}{rule}".join(rule * width for width in widths)
                self._write(self._styled(rule + line, "dim"))
            broken = [
                wrap(cell.text, width, break_on_hyphens=False)
                for cell, width in zip(row, widths, strict=True)
            ]
            for parts in zip_longest(*broken, fillvalue=""):
                fields = [
                    self._styled(f"{part:{side}{width}}", cell.style)
                    for part, cell, side, width in zip(parts, row, sides, widths, strict=True)
                ]
                self._write(" " + bar.join(fields))

    def _shown(self, text: str) -> str:
        for character, plain in self._characters.items():
            text = text.replace(character, plain)
        return text.encode(self._encoding, "replace").decode(self._encoding)

    def _styled(self, text: str, style: str) -> str:
        if not (self._has_color and style and text):
            return text
        return f"\x1b[{_STYLES[style]}m{text}\x1b[0m"

    def _write(self, line: str) -> None:
        with output_errors():
            self._stream.write(line.rstrip() + "\n")


def _has_color(stream: TextIO) -> bool:
    if os.environ.get("NO_COLOR"):
        return False
    if os.environ.get("FORCE_COLOR"):
        return True
    if os.environ.get("TERM") == "dumb" or (os.name == "nt" and "WT_SESSION" not in os.environ):
        return False
    return stream.isatty()


def count(number: int, noun: str) -> str:
    """A number with its noun: `1 key`, `2,000 keys`."""
    return f"{number:,} {noun}{'' if number == 1 else 's'}"


def confirm(question: str) -> bool:
    """Asks at the terminal before something is lost.

    Raises:
        ConfigurationError: standard input is not a terminal.
    """
    if sys.stdin is None or not sys.stdin.isatty():
        raise ConfigurationError(f"{question} Not a terminal, so cannot ask. Pass --yes.")
    sys.stderr.write(f"{question} [y/N] ")
    sys.stderr.flush()
    return sys.stdin.readline().strip().lower() in ("y", "yes")
