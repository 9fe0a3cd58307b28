"""What an interrupted `sync` had read, so that the next one continues there."""

from __future__ import annotations

import json
import os
import time
from collections.abc import Iterable
from contextlib import suppress
from hashlib import sha256

from openai_project_guard._registry.stores import describe, is_url

_HOUR = 3600.0
"""Seconds after which what was read is stale: keys come and go."""

Matches = dict[str, dict[str, list[str]]]
"""For each project, the keys of it that may be a local one: their ids by its fingerprint."""


class Checkpoint:
    """Keeps the matches of each project that was read, a line of JSON each: no key is among them.

    It is kept beside the registry file, or, for one at a URL, in the user's cache. What was written
    for other local keys, another organization (`about`) or too long ago does not count.
    """

    def __init__(self, address: str, about: Iterable[str]) -> None:
        self._path = _path(address)
        self._run = sha256("\n".join(about).encode()).hexdigest()
        self.matches = self._read()
        flags = os.O_WRONLY | os.O_APPEND | os.O_CREAT | (0 if self.matches else os.O_TRUNC)
        try:
            os.makedirs(os.path.dirname(self._path), mode=0o700, exist_ok=True)
            self._descriptor = os.open(self._path, flags, 0o600)
        except OSError:  # no place for it, so an interrupted run begins anew
            self._descriptor = os.open(os.devnull, os.O_WRONLY)
        if not self.matches:
            self._append({"run": self._run, "at": time.time()})

    def close(self) -> None:
        """Lets go of the file; the next run finds it."""
        os.close(self._descriptor)

    def throw_away(self) -> None:
        """Removes the file, when all is read."""
        with suppress(OSError):
            os.unlink(self._path)

    def add(self, project: str, matches: dict[str, list[str]]) -> None:
        """Keeps what was read of a project."""
        self.matches[project] = matches
        self._append({"project": project, "matches": matches})

    def _append(self, entry: dict[str, object]) -> None:
        # In one write, and a line break first: a line that a killed run left half is then alone.
        os.write(self._descriptor, f"\n{json.dumps(entry)}".encode())

    def _read(self) -> Matches:
        try:
            with open(self._path, encoding="utf-8") as file:
                lines = file.read().split("\n")
            head = json.loads(lines[1])
            if head["run"] != self._run or not 0 <= time.time() - head["at"] < _HOUR:
                return {}
        except (OSError, ValueError, LookupError, TypeError):
            return {}
        matches: Matches = {}
        for line in lines[2:]:
            with suppress(ValueError, LookupError, TypeError):
                entry = json.loads(line)
                matches[entry["project"]] = dict(entry["matches"])
        return matches


def _path(address: str) -> str:
    if is_url(address):
        cache = os.environ.get("XDG_CACHE_HOME") or os.path.join(os.path.expanduser("~"), ".cache")
        name = sha256(describe(address).name.encode()).hexdigest()[:16]
        return os.path.join(cache, "openai-project-guard", f"{name}.sync")
    directory, name = os.path.split(os.path.realpath(address))
    return os.path.join(directory, f".{name}.sync")
