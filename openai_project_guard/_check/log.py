"""The log: the first of identical verdicts at once, the rest as a count once a minute."""

from __future__ import annotations

import atexit
import logging
import sys
import time
from threading import Lock

from openai_project_guard._check.verdict import Verdict
from openai_project_guard._forks import fork_safe
from openai_project_guard._keys import redact

logger = logging.getLogger("openai_project_guard")

MINUTE = 60.0
_MOST = 1000  # distinct verdicts remembered at a time: paths may hold ids without end

_LEVELS = {"injected": logging.INFO, "warned": logging.WARNING, "blocked": logging.WARNING}

_counts: dict[Verdict, int] = {}
_since = 0.0
_lock = fork_safe(Lock())


def log(
    level: int | str, message: str, *args: object, exc_info: BaseException | None = None
) -> None:
    """Logs a record. A log handler that raises must not change the fate of a call.

    Args:
        level: a level of `logging`, by number or name.
        message: with `%s` for each of `args`.
        args: what the message is about; never a key.
        exc_info: an error of the user's code, shown with its traceback.
    """
    number = logging.getLevelName(level.upper()) if isinstance(level, str) else level
    try:
        logger.log(number, message, *args, exc_info=exc_info)
    except Exception:
        if logging.raiseExceptions:  # as logging's own handlers do
            sys.stderr.write("openai-project-guard: a log handler raised an error.\n")


def log_verdict(verdict: Verdict) -> None:
    """Logs a verdict, or counts it when an identical one was logged less than a minute ago."""
    global _since
    now = time.monotonic()
    with _lock:
        due: dict[Verdict, int] = {}
        if now - _since >= MINUTE or len(_counts) >= _MOST:
            due = {seen: count for seen, count in _counts.items() if count}
            _counts.clear()
            if len(due) < _MOST // 2:
                _counts.update(dict.fromkeys(due, 0))  # goes on, so it is no first time again
            _since = now
        first = verdict not in _counts
        _counts[verdict] = 0 if first else _counts[verdict] + 1
    _log_counts(due)
    if first:
        log(_level(verdict), "%s", _sentence(verdict))


def flush() -> None:
    """Logs the counts that wait for their minute to pass."""
    with _lock:
        due = {seen: count for seen, count in _counts.items() if count}
        _counts.clear()
    _log_counts(due)


def take_counts() -> dict[Verdict, int]:
    """Forgets what was logged, and gives it."""
    with _lock:
        taken = _counts.copy()
        _counts.clear()
    return taken


def put_counts(counts: dict[Verdict, int]) -> None:
    """Brings back what was taken, in place of what was logged since."""
    with _lock:
        _counts.clear()
        _counts.update(counts)


atexit.register(flush)


def _log_counts(due: dict[Verdict, int]) -> None:
    for verdict, count in due.items():
        log(_level(verdict), "%s (and %d more)", _sentence(verdict), count)


def _level(verdict: Verdict) -> int:
    return logging.ERROR if verdict.reason == "drift" else _LEVELS[verdict.outcome]


def _sentence(verdict: Verdict) -> str:
    actual = "no OpenAI-Project" if not verdict.actual else f"OpenAI-Project {verdict.actual!r}"
    expected = " or ".join(verdict.expected) or "no registered project"
    return redact(
        f"{verdict.outcome} ({verdict.reason}): {verdict.method} {verdict.host}{verdict.path} "
        f"with {actual}, key {verdict.key_hint}, expected {expected}"
    )
