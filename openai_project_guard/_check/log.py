"""The log: the first of identical verdicts at once, the rest as a count once a minute.

A record of a verdict points at the application's line that made the call, so any handler shows
it, and has the verdict as its attribute `verdict`. No lock is held while a handler runs.
"""

from __future__ import annotations

import atexit
import logging
import os
import sys
import threading
import time
from typing import NamedTuple

from openai_project_guard._check import terminate
from openai_project_guard._check.call_site import MADE_BEFORE, Site
from openai_project_guard._check.verdict import Verdict
from openai_project_guard._forks import fork_safe
from openai_project_guard._keys import redact

logger = logging.getLogger("openai_project_guard")

MINUTE = 60.0
_MOST = 1000  # distinct verdicts remembered at a time: paths may hold ids without end

_LEVELS = {"injected": logging.INFO, "warned": logging.WARNING, "blocked": logging.WARNING}


class _Seen(NamedTuple):
    """What else is said of a verdict: the line to point at, and the projects of the key."""

    site: Site | None
    of_key: tuple[str, ...]


_counts: dict[Verdict, int] = {}
_seen: dict[Verdict, _Seen] = {}
_since = 0.0
_lock = fork_safe(threading.RLock())  # a signal's handler may log while this thread counts
_timer: threading.Thread | None = None
_ended = threading.Event()


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
        _handler_raised()


def log_verdict(verdict: Verdict, site: Site | None = None, of_key: tuple[str, ...] = ()) -> None:
    """Logs a verdict, or counts it when an identical one was logged less than a minute ago."""
    now = time.monotonic()
    with _lock:
        due = _take_due(now) if now - _since >= MINUTE or len(_counts) >= _MOST else []
        first = verdict not in _counts
        _counts[verdict] = 0 if first else _counts[verdict] + 1
        _seen[verdict] = _Seen(site, of_key)
    _log_counts(due)
    if first:
        _log_at(verdict, _Seen(site, of_key), "")
    else:
        _log_counts_later()


def flush() -> None:
    """Logs the counts that wait for their minute to pass."""
    with _lock:
        due = _waiting()
        _start_anew()
    terminate.forget()
    _log_counts(due)


def take_counts() -> dict[Verdict, int]:
    """Forgets what was logged, and gives it."""
    with _lock:
        taken = _counts.copy()
        _start_anew()
    terminate.forget()
    return taken


def put_counts(counts: dict[Verdict, int]) -> None:
    """Brings back what was taken, in place of what was logged since."""
    with _lock:
        _counts.clear()
        _counts.update(counts)


def built(client_site: str) -> str:
    """How a sentence says where a client was built."""
    return client_site if client_site.startswith(MADE_BEFORE) else f"built at {client_site}"


atexit.register(flush)


def _start_anew() -> None:
    global _timer
    _counts.clear()
    _seen.clear()
    _timer = None
    _ended.set()


if hasattr(os, "register_at_fork"):  # what waits is logged by the parent
    os.register_at_fork(after_in_child=_start_anew)

_Due = list[tuple[Verdict, int, _Seen]]


def _waiting() -> _Due:
    known = list(_counts.items())
    return [(seen, count, _seen.get(seen, _Seen(None, ()))) for seen, count in known if count]


def _take_due(now: float) -> _Due:
    """The counts of the minute that has passed; the caller holds the lock."""
    global _since
    due = _waiting()
    _counts.clear()
    _seen.clear()
    if len(due) < _MOST // 2:  # it goes on, so it is no first time again
        for verdict, _, seen in due:
            _counts[verdict], _seen[verdict] = 0, seen
    _since = now
    return due


def _log_counts_later() -> None:
    """Sees to it that what is counted is logged, though no further call comes."""
    global _timer, _ended
    if _timer is not None and _timer.is_alive():  # after a fork, it is not
        return
    with _lock:
        if _timer is not None and _timer.is_alive():
            return
        _ended = threading.Event()
        _timer = threading.Thread(
            target=_run, args=(_ended,), name="openai-project-guard-log", daemon=True
        )
        try:
            _timer.start()
        except RuntimeError:  # the interpreter is ending, or there are too many threads
            _timer = None
    terminate.flush_then(flush)


def _run(ended: threading.Event) -> None:
    """Logs the counts once a minute, until a minute passes without any."""
    global _timer
    while not ended.wait(MINUTE):
        with _lock:
            due = _take_due(time.monotonic())
            if not due:
                _timer = None
                return
        _log_counts(due)


def _log_counts(due: _Due) -> None:
    for verdict, count, seen in due:
        _log_at(verdict, seen, f" (and {count} more)")


def _log_at(verdict: Verdict, seen: _Seen, count: str) -> None:
    """Logs a verdict as if the application's line that made the call had done so."""
    level = logging.ERROR if verdict.reason == "drift" else _LEVELS[verdict.outcome]
    message = _sentence(verdict, seen.of_key) + count
    try:
        if not logger.isEnabledFor(level):
            return
        if seen.site is None:
            logger.log(level, "%s", message, extra={"verdict": verdict})
            return
        code = seen.site.code
        record = logger.makeRecord(
            logger.name,
            level,
            os.path.abspath(code.co_filename) if code.co_filename[:1] != "<" else code.co_filename,
            seen.site.line,
            "%s",
            (message,),
            None,
            code.co_name,
            {"verdict": verdict},
        )
        logger.handle(record)
    except Exception:
        _handler_raised()


def _handler_raised() -> None:
    if logging.raiseExceptions:  # as logging's own handlers do
        sys.stderr.write("openai-project-guard: a log handler raised an error.\n")


def _sentence(verdict: Verdict, of_key: tuple[str, ...]) -> str:
    actual = "no OpenAI-Project" if not verdict.actual else f"OpenAI-Project {verdict.actual!r}"
    expected = " or ".join(verdict.expected) or "no registered project"
    said = [f"{verdict.method} {verdict.host}{verdict.path} with {actual}, key {verdict.key_hint}"]
    if verdict.reason == "drift":
        kind = (
            f"project drift: the server answered as {verdict.answered}, the registry says "
            f"{expected}"
        )
    else:
        kind = f"{verdict.outcome} ({verdict.reason})"
        said[0] += f", expected {expected}"
    if verdict.reason == "scope" and of_key:
        said.append(f"its key is registered for {' or '.join(of_key)}")
    if verdict.reason == "unregistered":
        said.append("this key is not in any registry")
    if verdict.call_site is not None:
        said.append(f"called at {verdict.call_site}")
    if verdict.client_site is not None:
        said.append(f"the client was {built(verdict.client_site)}")
    if verdict.origin is not None:
        said.append(f"set by {verdict.origin}")
    return redact(f"{kind}: {'; '.join(said)}")
