"""What is told of a registry in Redis: to the log, and to observers."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from openai_project_guard._registry.redis.codec import Content
    from openai_project_guard._registry.redis.learning import Learned

_MOST = 10  # refused entries named at a time
_logger = logging.getLogger("openai_project_guard")


def loaded_from_spare(problem: str, spare: str, age: float) -> None:
    """The process starts with the last good snapshot, some seconds old."""
    _logger.error(
        "%s The last good snapshot, %s, is in force; it is %s old.", problem, spare, _spelled(age)
    )


def lost(name: str, problem: str, age: float) -> None:
    """The registry is out of reach; what is in force is some seconds old."""
    _logger.error(
        "%s: lost (%s). The last good snapshot, %s old, stays in force.",
        name,
        problem,
        _spelled(age),
    )


def found(name: str, revision: str | None) -> None:
    """The registry is in reach again."""
    _logger.info("%s: in touch again, at revision %s.", name, revision)


def went_back(name: str, old: str | None, new: str | None) -> None:
    """The server has another history than this process has seen."""
    _logger.error(
        "%s: the registry went back from revision %s to %s: the server has lost changes. "
        "Check the registry, and what was revoked lately.",
        name,
        old,
        new,
    )


def cannot_share(name: str, problem: str) -> None:
    """What is learned cannot be shared."""
    _logger.error(
        "%s: what is learned cannot be written (%s). It is kept in memory.", name, problem
    )


def changed(name: str, old: Content, new: Content) -> None:
    """Other entries than before are refused, or in dispute."""
    faults = {
        entry: reason for entry, reason in new.faults.items() if old.faults.get(entry) != reason
    }
    for entry, reason in list(faults.items())[:_MOST]:
        _logger.error("%s: the entry %s is refused: %s. The others stand.", name, entry, reason)
    if len(faults) > _MOST:
        _logger.error("%s: %d more entries are refused.", name, len(faults) - _MOST)
    for key_digest in new.disputed.keys() - old.disputed.keys():
        bindings = new.disputed[key_digest]
        _logger.error(
            "%s: the key %s was learned for %s: it belongs to none of them now. Register it where "
            "it belongs.",
            name,
            next(iter(bindings.values())).hint,
            " and for ".join(bindings),
        )


def disputed(learned: Learned, others: tuple[str, ...]) -> None:
    """Tells observers of a key that was learned for another project by another process."""
    from openai_project_guard._check import observers as _observers
    from openai_project_guard._check.verdict import Verdict

    where = learned.destination
    _observers.tell(
        Verdict(
            outcome="allowed",
            reason="drift",
            expected=others,
            actual=learned.project,
            key_hint=learned.hint,
            method=where.method if where else "",
            host=where.host if where else "",
            path=where.path if where else "",
            transport=where.transport if where else "http",
        )
    )


def _spelled(seconds: float) -> str:
    if seconds < 120:
        return f"{seconds:.1f} s"
    return f"{seconds / 60:.0f} min" if seconds < 7200 else f"{seconds / 3600:.0f} h"
