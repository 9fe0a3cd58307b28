"""What the log says of a registry in Redis."""

from __future__ import annotations

import logging
from contextlib import suppress
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from openai_project_guard._registry.redis.state import State

_MOST = 10  # refused entries named at a time
_logger = logging.getLogger("openai_project_guard")


def error(message: str, *values: object, level: int = logging.ERROR) -> None:
    """Logs an error, whatever the log's handlers do: the thread that follows Redis goes on."""
    with suppress(Exception):
        _logger.log(level, message, *values)


def started_from_fallback(problem: str, file: str, age: float) -> None:
    """The process starts with the last good version, some seconds old."""
    error("%s The last good version, in %s, is active; it is %s old.", problem, file, _spelled(age))


def lost(name: str, problem: str, age: float) -> None:
    """The registry is out of reach; what is active is some seconds old."""
    last_good = "The last good version, %s old, stays active."
    error(f"%s: lost (%s). {last_good}", name, problem, _spelled(age))


def found(name: str, revision: str | None) -> None:
    """The registry is in reach again."""
    error("%s: in touch again, at revision %s.", name, revision, level=logging.INFO)


def went_back(name: str, old: str | None, new: str) -> None:
    """The server has another history than this process has seen."""
    what = "the registry went back from revision %s to %s: the server has lost changes"
    error(f"%s: {what}. Check the registry, and what was revoked lately.", name, old, new)


def cannot_write_learned(name: str, problem: str) -> None:
    """What is learned cannot be shared."""
    error("%s: what is learned cannot be written (%s). It is kept in memory.", name, problem)


def changed(name: str, old: State, new: State) -> None:
    """Other entries than before are refused."""
    faults = [(entry, why) for entry, why in new.faults.items() if old.faults.get(entry) != why]
    for entry, why in faults[:_MOST]:
        error("%s: the entry %s is refused: %s. The others stay active.", name, entry, why)
    if len(faults) > _MOST:
        error("%s: %d more entries are refused.", name, len(faults) - _MOST)


def _spelled(seconds: float) -> str:
    if seconds < 120:
        return f"{seconds:.1f} s"
    return f"{seconds / 60:.0f} min" if seconds < 7200 else f"{seconds / 3600:.0f} h"
