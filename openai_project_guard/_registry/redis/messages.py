"""What the log says of a registry in Redis."""

from __future__ import annotations

import logging
from contextlib import suppress
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from openai_project_guard._registry.redis.state import State

_MOST = 10  # refused entries named at a time
_logger = logging.getLogger("openai_project_guard")


def log_error(message: str, *values: object) -> None:
    """Logs an error, whatever the log's handlers do: the thread that follows Redis goes on."""
    with suppress(Exception):
        _logger.error(message, *values)


def started_from_fallback(problem: str, fallback: str, age: float) -> None:
    """The process starts with the last good version, some seconds old."""
    log_error(
        "%s The last good version, in %s, is active; it is %s old.",
        problem,
        fallback,
        _spelled(age),
    )


def lost(name: str, problem: str, age: float) -> None:
    """The registry is out of reach; what is active is some seconds old."""
    log_error(
        "%s: lost (%s). The last good version, %s old, stays active.", name, problem, _spelled(age)
    )


def found(name: str, revision: str | None) -> None:
    """The registry is in reach again."""
    with suppress(Exception):
        _logger.info("%s: in touch again, at revision %s.", name, revision)


def went_back(name: str, old: str | None, new: str | None) -> None:
    """The server has another history than this process has seen."""
    log_error(
        "%s: the registry went back from revision %s to %s: the server has lost changes. "
        "Check the registry, and what was revoked lately.",
        name,
        old,
        new,
    )


def cannot_write_learned(name: str, problem: str) -> None:
    """What is learned cannot be shared."""
    log_error("%s: what is learned cannot be written (%s). It is kept in memory.", name, problem)


def changed(name: str, old: State, new: State) -> None:
    """Other entries than before are refused."""
    refused = [
        (entry, reason) for entry, reason in new.faults.items() if old.faults.get(entry) != reason
    ]
    for entry, reason in refused[:_MOST]:
        log_error("%s: the entry %s is refused: %s. The others stay active.", name, entry, reason)
    if len(refused) > _MOST:
        log_error("%s: %d more entries are refused.", name, len(refused) - _MOST)


def _spelled(seconds: float) -> str:
    if seconds < 120:
        return f"{seconds:.1f} s"
    return f"{seconds / 60:.0f} min" if seconds < 7200 else f"{seconds / 3600:.0f} h"
