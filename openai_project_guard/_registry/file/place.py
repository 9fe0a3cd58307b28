"""Where a registry file is: reads it whole, and finds the line of an entry."""

from __future__ import annotations

import os
import stat

from openai_project_guard._errors import RegistryError
from openai_project_guard._keys import digest, redact
from openai_project_guard._registry.file.lines import strings
from openai_project_guard._registry.model import Place

LARGEST = 64 * 1024 * 1024
"""Bytes; a larger file is no registry, and would take the process's memory."""

# Without waiting for whoever writes into a pipe, or for a terminal.
_READING: int = os.O_RDONLY
for _flag in ("O_NONBLOCK", "O_NOCTTY", "O_BINARY"):
    _READING |= getattr(os, _flag, 0)
_TOO_LARGE = f"this is larger than {LARGEST >> 20} MiB, which no registry is"
_KINDS = (
    (stat.S_ISDIR, "this is a directory. Name the registry file in it"),
    (stat.S_ISFIFO, "this is a named pipe, not a regular file"),
    (stat.S_ISSOCK, "this is a socket, not a regular file"),
    (lambda mode: not stat.S_ISREG(mode), "this is a device, not a regular file"),
)


class FilePlace(Place):
    """A registry file, shared by all its projects; it looks a line up only when asked for one."""

    __slots__ = ("_known", "path")

    def __init__(self, path: str | os.PathLike[str]) -> None:
        name = os.fspath(path)
        super().__init__(redact(name), redact(name))
        self.path = os.path.abspath(name)  # the process may change its directory
        self._known: tuple[object, dict[bytes, int]] = (None, {})

    def of(self, needle: str, project: str) -> str:
        """File and line of one entry; the file alone when the entry is no longer there."""
        try:
            line = self._lines().get(_entry(needle, project))
        except (OSError, ValueError):
            line = None
        return self.at(line) if line else self.name

    def _lines(self) -> dict[bytes, int]:
        """The lines of all entries, by digest: where a fingerprint belongs may be a key.

        Kept while the file is the same: listing a registry asks for every entry.
        """
        status = os.stat(self.path)
        version = (status.st_mtime_ns, status.st_size, status.st_ino)
        known, lines = self._known
        if known != version:
            lines = _lines_of_entries(load(self).decode("utf-8-sig", errors="replace"))
            self._known = (version, lines)
        return lines

    def at(self, line: int) -> str:
        """File and line."""
        return f"{self.name}, line {line}"


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
        problem = "there is no such file. `openai-project-guard register` makes one"
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
