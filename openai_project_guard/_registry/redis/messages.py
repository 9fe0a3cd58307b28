"""What the log says of a registry in Redis."""

from __future__ import annotations

import logging
from contextlib import suppress
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from openai_project_guard._registry.redis.state import State

STARTED_FROM_FALLBACK = "%s The last good version, in %s, is active; it is %s old."
LOST = "%s: lost (%s). The last good version, %s old, stays active."
FOUND = "%s: in touch again, at revision %s."
RELOADED = "%s: reloaded, at revision %s."
WENT_BACK = (
    "%s: the registry went back from revision %s to %s: the server has lost changes. Check the "
    "registry, and what was revoked lately."
)
CANNOT_WRITE_LEARNED = "%s: what is learned cannot be written (%s). It is kept in memory."
CANNOT_KEEP = "The last good version cannot be kept: %s"
_REFUSED = "%s: the entry %s is refused: %s. The others stay active."
_MORE_REFUSED = "%s: %d more entries are refused."
_MOST = 10  # refused entries named at a time
_logger = logging.getLogger("openai_project_guard")


def log(message: str, *values: object) -> None:
    """Logs a message, whatever the log's handlers do: the thread that follows Redis goes on."""
    with suppress(Exception):
        _logger.log(
            logging.INFO if message in (FOUND, RELOADED) else logging.ERROR, message, *values
        )


def log_refused(name: str, old: State, new: State) -> None:
    """Logs which entries are refused that were not."""
    faults = [(entry, why) for entry, why in new.faults.items() if old.faults.get(entry) != why]
    for entry, why in faults[:_MOST]:
        log(_REFUSED, name, entry, why)
    if len(faults) > _MOST:
        log(_MORE_REFUSED, name, len(faults) - _MOST)


def spelled(seconds: float) -> str:
    """A time as people say it."""
    if seconds < 120:
        return f"{seconds:.1f} s"
    return f"{seconds / 60:.0f} min" if seconds < 7200 else f"{seconds / 3600:.0f} h"
