"""Where things stand in a TOML text: the lines that an error names.

`tomllib` tells no positions, so the text is walked once more, and only when an error needs it. The
walk trusts what the decoder has found out already: that the text is TOML, or TOML up to the line
in question.
"""

from __future__ import annotations

import re
import sys
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

Path = tuple[str | int, ...]
"""The way to a value: names, and positions in arrays."""

_DEEPEST = 1000  # levels; each has a path of its length

# A string without an end, right of where the decoder gave up, reaches to the end of the text: or
# the rest would be looked through from each of its quotation marks.
_TOKEN = re.compile(
    r'"""(?:\\.|[^\\])*?(?:"""(?!")|\\?\Z)'
    r"|'''.*?(?:'''(?!')|\Z)"
    r'|"(?:\\.|[^"\\])*"?'
    r"|'[^']*'?"
    r"|\#[^\n]*"
    r"|[\n\[\]{}=,.]"
    r"|[^\s\"'\#\[\]{}=,.]+",
    re.DOTALL,
)


class Lines:
    """The lines of the names and array elements of a TOML text."""

    def __init__(self, text: str) -> None:
        self._text = text
        self._all = list(_walk(text))
        self._first: dict[Path, int] = {}
        for path, line in self._all:
            self._first.setdefault(path, line)

    def of(self, path: Path) -> int:
        """The line where the value, or else the nearest thing around it, stands first."""
        while path and path not in self._first:
            path = path[:-1]
        return self._first.get(path, 1)

    def repeated_at(self, line: int) -> Path | None:
        """What stands at this line and stood before."""
        again = [path for path, at in self._all if at == line and self._first[path] < line]
        return max(again, key=len, default=None)

    def blocks(self, parent: Path) -> dict[str | int, tuple[int, int]]:
        """First and last line of each table in a table, if it has a [header] and is in one piece.

        Comments and empty lines behind a table belong to what follows.
        """
        text = self._text.split("\n")
        depth = len(parent)
        runs: list[tuple[str | int | None, int]] = []  # who owns the lines from there on
        for at, line in self._all:
            if parent[: len(at)] != at:
                owner = at[depth] if at[:depth] == parent else None
                if not runs or runs[-1][0] != owner:
                    runs.append((owner, line))
        found: dict[str | int, tuple[int, int]] = {}
        torn = set()
        ends = [line - 1 for _, line in runs[1:]] + [len(text)]
        for (owner, first), last in zip(runs, ends, strict=True):
            if owner is None:
                continue
            if owner in found or not text[first - 1].lstrip().startswith("["):
                torn.add(owner)
            while not text[last - 1].strip() or text[last - 1].lstrip().startswith("#"):
                last -= 1
            found[owner] = first, last
        return {name: block for name, block in found.items() if name not in torn}


def _walk(text: str) -> Iterator[tuple[Path, int]]:
    header: Path = ()  # of the [table] the piece is in
    counts: dict[Path, int] = {}  # of the elements of [[an array of tables]] so far
    around: list[tuple[Path, int | None]] = []  # inline tables; arrays with their next position
    naming = True  # left of "="
    brackets = 0  # of a header
    name: Path = ()
    at: Path = ()
    for piece, line in _tokens(text):
        path, position = around[-1] if around else (header, None)
        if piece == "\n":
            if not around:
                naming, name = True, ()
        elif naming and piece == "[":
            brackets += 1
        elif naming and piece == "]":
            if brackets:
                header = _resolved(name, counts)
                if brackets == 2:
                    counts[header] = counts.get(header, 0) + 1
                    header = (*header, counts[header] - 1)
                yield from _each(header, line)
            brackets = 0
        elif naming and piece == "=":
            at, naming = (*path, *name), False
            yield from _each(at, line, len(path) + 1)
        elif piece in ("]", "}"):
            del around[-1:]
            naming = False
        elif piece == ",":
            if position is None:
                naming, name = True, ()
            else:
                around[-1] = (path, position + 1)
        elif naming:
            if len(name) == _DEEPEST:
                return  # each part copies those before it
            if piece != ".":
                name = (*name, _unquoted(piece))
        else:
            if position is not None:
                at = (*path, position)
                yield at, line
            if piece in ("[", "{"):
                if len(around) == _DEEPEST:
                    return  # the decoder has not come so far either
                naming, name = piece == "{", ()
                around.append((at, None if naming else 0))


def _tokens(text: str) -> Iterator[tuple[str, int]]:
    line, counted = 1, 0
    for match in _TOKEN.finditer(text):
        line += text.count("\n", counted, match.start())
        counted = match.start()
        if not match.group().startswith("#"):
            yield match.group(), line


def _each(path: Path, line: int, shortest: int = 1) -> Iterator[tuple[Path, int]]:
    for length in range(shortest, len(path) + 1):
        yield path[:length], line


def _resolved(name: Path, counts: dict[Path, int]) -> Path:
    """A header's name; within an array of tables it means the latest element."""
    path: Path = ()
    for part in name[:-1]:
        path = (*path, part)
        if path in counts:
            path = (*path, counts[path] - 1)
    return (*path, *name[-1:])


def _unquoted(name: str) -> str:
    if name[0] not in "\"'":
        return name
    try:
        unquoted: str = tomllib.loads(f"it = {name}")["it"]
    except ValueError:  # right of where the decoder gave up
        return name
    return unquoted
