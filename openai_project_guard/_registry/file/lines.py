"""Where things stand in a TOML text: the lines that an error names.

`tomllib` tells no positions, so the text is walked once more, and only when an error needs it. The
walk trusts what the decoder has found out already: that the text is TOML, or TOML up to the line
in question.
"""

from __future__ import annotations

import re
import sys
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Iterator

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

Path = tuple[str | int, ...]
"""The way to a value: names, and positions in arrays."""

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


class Repeated(NamedTuple):
    """A thing that stands in the text twice: its path, and the line where it stands first."""

    path: Path
    first: int


class _Node:
    """A name or an array's element.

    It knows what it is in, not its whole path: one for each element of a deeply nested array would
    take the memory of the process.
    """

    __slots__ = ("around", "count", "depth", "line", "part")

    def __init__(self, around: _Node | None, part: str | int, line: int) -> None:
        self.around = around
        self.part = part
        self.line = line  # where it stands first
        self.count = 0  # of the elements so far, if it is an [[array of tables]]
        self.depth: int = around.depth + 1 if around else 0

    def path(self) -> Path:
        parts: list[str | int] = []
        node = self
        while node.around:
            parts.append(node.part)
            node = node.around
        return tuple(reversed(parts))


class _Tree:
    """All that the walk came by; without a reference downwards, so that it goes at once."""

    def __init__(self) -> None:
        self.root = _Node(None, "", 1)
        self._nodes: dict[tuple[_Node, str | int], _Node] = {}

    def find(self, around: _Node, part: str | int) -> _Node | None:
        return self._nodes.get((around, part))

    def put(self, around: _Node, part: str | int, line: int) -> _Node:
        node = self._nodes.get((around, part))
        if node is None:
            node = self._nodes[around, part] = _Node(around, part, line)
        return node


class Lines:
    """The lines of the names and array elements of a TOML text."""

    def __init__(self, text: str) -> None:
        self._tree = _Tree()
        for _ in _walk(text, self._tree):
            pass

    def of(self, path: Path) -> int:
        """The line where the value, or else the nearest thing around it, stands first."""
        node = self._tree.root
        for part in path:
            found = self._tree.find(node, part)
            if found is None:
                break
            node = found
        return node.line


def repeated_at(line: int, text: str) -> Repeated | None:
    """What stands at this line and stood before."""
    again = (
        node for node, at, value in _walk(text) if at == line and node.line < line and not value
    )
    deepest = max(again, key=lambda node: node.depth, default=None)
    return Repeated(deepest.path(), deepest.line) if deepest else None


def strings(text: str, deepest: int) -> Iterator[tuple[Path, int, str]]:
    """The strings in a text, with path and line, down to so many levels."""
    for node, line, value in _walk(text):
        if value.startswith(("'", '"')) and node.depth <= deepest:
            yield node.path(), line, _unquoted(value)


def blocks(parent: Path, text: str) -> dict[str | int, tuple[int, int]]:
    """First and last line of each table in a table, if it has a [header] and is in one piece.

    Comments and empty lines behind a table belong to what follows.
    """
    lines = text.split("\n")
    depth = len(parent)
    runs: list[tuple[str | int | None, int]] = []  # who owns the lines from there on
    before = None
    for node, line, _ in _walk(text):
        while node.depth > depth + 1 and node.around:
            node = node.around
        if node is before:
            continue
        before, at = node, node.path()
        if parent[: len(at)] != at:
            owner = at[depth] if at[:depth] == parent else None
            if not runs or runs[-1][0] != owner:
                runs.append((owner, line))
    found: dict[str | int, tuple[int, int]] = {}
    torn = set()
    ends = [line - 1 for _, line in runs[1:]] + [len(lines)]
    for (owner, first), last in zip(runs, ends, strict=True):
        if owner is None:
            continue
        if owner in found or not lines[first - 1].lstrip().startswith("["):
            torn.add(owner)
        while not lines[last - 1].strip() or lines[last - 1].lstrip().startswith("#"):
            last -= 1
        found[owner] = first, last
    return {name: block for name, block in found.items() if name not in torn}


def of_long_number(text: str, digits: int) -> int | None:
    """The line of the first decimal whole number of more than so many digits."""
    found = None
    for _, line, piece in _walk(text):
        if found and piece != ".":  # else it was the beginning of a number with a fraction
            break
        number = piece.lstrip("+-").replace("_", "")
        found = line if len(number) > digits and number.isdecimal() else None
    return found


def of_deepest(text: str) -> int:
    """The line where most brackets are open."""
    depth = most = 0
    found = 1
    for piece, line in _tokens(text):
        if piece in ("[", "{"):
            depth += 1
            if depth > most:
                most, found = depth, line
        elif piece in ("]", "}"):
            depth -= 1
    return found


def _walk(text: str, tree: _Tree | None = None) -> Iterator[tuple[_Node, int, str]]:
    """Each name and array element, with its line; once more with its value, if that is one."""
    tree = tree or _Tree()
    header = tree.root  # of the [table] the piece is in
    around: list[tuple[_Node, int | None]] = []  # inline tables; arrays with their next position
    naming = True  # left of "="
    brackets = 0  # of a header
    name: list[str] = []
    at = tree.root
    for piece, line in _tokens(text):
        if piece == "\n":
            if not around:
                naming, name = True, []
        elif naming and piece == "[":
            brackets += 1
        elif naming and piece == "]":
            if brackets:
                header = tree.root
                for part in name:
                    if header.count:  # it means the latest element
                        header = tree.put(header, header.count - 1, line)
                        yield header, line, ""
                    header = tree.put(header, part, line)
                    yield header, line, ""
                if brackets == 2:
                    header.count += 1
                    header = tree.put(header, header.count - 1, line)
                    yield header, line, ""
            brackets = 0
        elif naming and piece == "=":
            at, naming = around[-1][0] if around else header, False
            for part in name:
                at = tree.put(at, part, line)
                yield at, line, ""
        elif piece in ("]", "}"):
            del around[-1:]
            naming = False
        elif piece == ",":
            node, position = around[-1] if around else (header, None)
            if position is None:
                naming, name = True, []
            else:
                around[-1] = (node, position + 1)
        elif naming:
            if piece != ".":
                name.append(_unquoted(piece))
        else:
            node, position = around[-1] if around else (header, None)
            if position is not None:
                at = tree.put(node, position, line)
                yield at, line, ""
            if piece in ("[", "{"):
                naming, name = piece == "{", []
                around.append((at, None if naming else 0))
            else:
                yield at, line, piece


def _tokens(text: str) -> Iterator[tuple[str, int]]:
    line = 1
    for match in _TOKEN.finditer(text):
        piece = match.group()
        if piece[0] == "#":
            continue
        yield piece, line
        if piece[0] in "\n\"'":
            line += piece.count("\n")


def _unquoted(name: str) -> str:
    if name[0] not in "\"'":
        return name
    if "\\" not in name and not name.startswith(('"""', "'''")):
        return name[1:-1]
    try:
        unquoted: str = tomllib.loads(f"it = {name}")["it"]
    except ValueError:  # right of where the decoder gave up
        return name
    return unquoted
