"""Where a registry file is: reads it whole, and finds the line of an entry."""

from __future__ import annotations

import os
import re
import stat
from typing import NamedTuple

from openai_project_guard._errors import RegistryError
from openai_project_guard._keys import digest, find_key, redact
from openai_project_guard._registry.file.lines import strings
from openai_project_guard._registry.model import Place

LARGEST = 64 * 1024 * 1024
"""Bytes; a larger file is no registry, and would take the process's memory."""

# Without waiting for whoever writes into a pipe, or for a terminal.
_READING: int = os.O_RDONLY
for _flag in ("O_NONBLOCK", "O_NOCTTY", "O_BINARY"):
    _READING |= getattr(os, _flag, 0)
# What may stand where only a walk over the whole text tells what it belongs to.
_LONG_STRINGS = (b'"""', b"'''")
_INDENTED_HEADER = re.compile(rb"\n[ \t]+\[")
_MOST_TRIES = 100  # of the places where a needle is: a key may be registered for many projects
_LONGEST_PIECE = 10_000  # bytes that are walked for each
_TOO_LARGE = f"this is larger than {LARGEST >> 20} MiB, which no registry is"
_KINDS = (
    (stat.S_ISDIR, "this is a directory. Name the registry file in it"),
    (stat.S_ISFIFO, "this is a named pipe, not a regular file"),
    (stat.S_ISSOCK, "this is a socket, not a regular file"),
    (lambda mode: not stat.S_ISREG(mode), "this is a device, not a regular file"),
)


class _Known(NamedTuple):
    """What is known of one version of a file.

    Attributes:
        version: what the system says of the file.
        lines: those of the entries, by digest: where a fingerprint belongs may be a key. 0 is that
            of an entry that is not there.
        is_whole: whether all entries are in it.
    """

    version: object
    lines: dict[bytes, int]
    is_whole: bool


class FilePlace(Place):
    """A registry file, shared by all its projects; it looks a line up only when asked for one."""

    __slots__ = ("_known", "path")

    def __init__(self, path: str | os.PathLike[str]) -> None:
        name = os.fspath(path)
        super().__init__(redact(name), redact(name))
        self.path = os.path.abspath(name)  # the process may change its directory
        self._known = _Known(None, {}, is_whole=False)

    def of(self, needle: str, project: str, *, is_listed: bool = False) -> str:
        """File and line of one entry; the file alone when the entry is no longer there."""
        try:
            line = self._line(needle, project, is_listed=is_listed)
        except (OSError, ValueError):
            line = 0
        return self.at(line) if line else self.name

    def _line(self, needle: str, project: str, *, is_listed: bool) -> int:
        status = os.stat(self.path)
        version = (status.st_mtime_ns, status.st_size, status.st_ino)
        known = self._known
        if known.version != version:
            known = self._known = _Known(version, {}, is_whole=False)
        entry = _entry(needle, project)
        if entry not in known.lines and not known.is_whole:
            data = load(self)
            line = 0 if is_listed else _line_in_usual_layout(data, needle, project)
            if line:
                known.lines[entry] = line
            else:
                lines = _lines_of_entries(_text_of(data))
                known = self._known = _Known(version, lines, is_whole=True)
        return known.lines.get(entry, 0)

    def at(self, line: int) -> str:
        """File and line."""
        return f"{self.name}, line {line}"


def _line_in_usual_layout(data: bytes, needle: str, project: str) -> int:
    """The line of an entry that has one of its own in its project's table; 0 for any other.

    A walk over all of a large file would hold up an event loop for seconds. So only the beginning
    of the table is walked, and the entry's line.
    """
    if any(quotes in data for quotes in _LONG_STRINGS) or _INDENTED_HEADER.search(data):
        return 0
    data = b"\n" + data + b"\n"
    folded, wanted, entry = data.lower(), needle.lower().encode(), _entry(needle, project)
    at = 0
    for _ in range(_MOST_TRIES):
        at = folded.find(wanted, at + 1)
        if at < 0:
            break
        table = data.rfind(b"\n[", 0, at) + 1
        first = data.find(b"{", table, at)  # in front of the table's first key
        line = max(first, data.rfind(b"\n", 0, at))
        piece = data[table : line if first < 0 else first] + data[line : data.find(b"\n", at)]
        if len(piece) <= _LONGEST_PIECE and entry in _lines_of_entries(_text_of(piece)):
            return data.count(b"\n", 0, at)
    return 0


def _text_of(data: bytes) -> str:
    return data.decode("utf-8-sig", errors="replace")


def _lines_of_entries(text: str) -> dict[bytes, int]:
    projects: dict[str | int, str] = {}  # by the name of the table
    entries: list[tuple[str, str | int, int]] = []
    for path, line, value in strings(text, deepest=5):
        match path:
            case ("projects", name, "id"):
                projects[name] = value
            case ("projects", name, "keys", int(), "fingerprint"):
                entries.append((value.lower(), name, line))
            case ("projects", name, "service_accounts", int()):
                entries.append((value, name, line))
    lines: dict[bytes, int] = {}
    for value, name, line in entries:
        lines.setdefault(_entry(value, projects.get(name, "")), line)
    return lines


def _entry(needle: str, project: str) -> bytes:
    return digest(f"{project} {needle}")


def load(place: FilePlace) -> bytes:
    """The content of the file. It does not wait, whatever the path names.

    Raises:
        RegistryError: it cannot be read, is not a regular file or is too large.
    """
    problem = data = None
    try:
        # Looked at first: opening a pipe or a device may have effects on others.
        problem = _problem_with(os.stat(place.path))
        if not problem:
            with open(os.open(place.path, _READING), "rb") as file:
                status = os.fstat(file.fileno())
                problem = _problem_with(status)
                if not problem:
                    data = file.read(status.st_size + 1)  # a larger buffer would be made at once
                    if len(data) > status.st_size:  # it has grown
                        data += file.read(LARGEST)
        if data is not None and len(data) <= LARGEST:
            return data
        problem = problem or _TOO_LARGE
    except FileNotFoundError:
        problem = "there is no such file"
        if find_key(os.path.basename(place.path)):
            problem += ", and a key is where its path or a URL belongs"
        else:
            problem += (
                ". `openai-project-guard register` makes one, with `--registry` and this path"
            )
    except PermissionError:
        problem = "this process may not read the file. Fix the file's owner or permissions"
    except (OSError, ValueError) as error:  # ValueError: a null character in the path
        problem = f"the file cannot be read ({getattr(error, 'strerror', None) or error})"
    data = None  # there may be a raw key in it
    raise RegistryError(f"{place.name}: {problem}.")


def _problem_with(status: os.stat_result) -> str | None:
    for is_kind, problem in _KINDS:
        if is_kind(status.st_mode):
            return problem
    return _TOO_LARGE if status.st_size > LARGEST else None
