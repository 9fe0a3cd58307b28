"""The log: the first of identical verdicts at once, the rest as a count once a minute.

A record of a verdict points at the application's line that made the call, so any handler shows
it, and has the verdict as its attribute `verdict`. No lock is held while a handler runs.
"""

from __future__ import annotations

import atexit
import logging
import os
import threading
import time
from contextlib import suppress

from openai_project_guard._check import terminate
from openai_project_guard._check.call_site import Site
from openai_project_guard._check.verdict import Verdict
from openai_project_guard._forks import fork_safe
from openai_project_guard._keys import redact
from openai_project_guard._log import log_handler_raised, logger

MINUTE = 60.0
_MOST = 1000  # distinct verdicts remembered at a time: paths may hold ids without end

_LEVELS = {"injected": logging.INFO, "warned": logging.WARNING, "blocked": logging.WARNING}
_OUTCOMES = {
    "injected": "sent with its project put in",
    "warned": "sent with a warning",
    "blocked": "refused",
}
_REASONS = {
    "missing": "no OpenAI-Project header",
    "mismatch": "OpenAI-Project is not the project of its key",
    "malformed": "its headers are malformed",
    "unregistered": "its key is not in any registry that was read",
    "scope": "it is not of the project that is pinned here",
    "organization": "OpenAI-Organization is not the organization of its project",
}

_Counts = dict[Verdict, tuple[int, "Site | None", tuple[str, ...]]]
"""How many more there were of a verdict; the line to point at, and the projects of the key."""

_counts: _Counts = {}
_since = 0.0
_lock = fork_safe(threading.RLock())  # a signal's handler may log while this thread counts
_timer: threading.Timer | None = None


def log_verdict(verdict: Verdict, site: Site | None = None, projects: tuple[str, ...] = ()) -> None:
    """Logs a verdict, or counts it when an identical one was logged less than a minute ago."""
    now = time.monotonic()
    with _lock:
        due = _take_due(now) if now - _since >= MINUTE or len(_counts) >= _MOST else {}
        known = _counts.get(verdict)
        _counts[verdict] = (0 if known is None else known[0] + 1, site, projects)
    _log_counts(due)
    if known is None:
        _log_at(verdict, site, projects)
    else:
        _log_counts_later()


def flush() -> None:
    """Logs the counts that wait for their minute to pass."""
    _log_counts(take_counts())


def take_counts() -> _Counts:
    """Forgets what was logged, and gives it."""
    with _lock:
        taken = _counts.copy()
        if _timer is not None:
            _timer.cancel()
        _start_anew()
    terminate.end()
    return taken


def put_counts(counts: _Counts) -> None:
    """Brings back what was taken, in place of what was logged since."""
    with _lock:
        _counts.clear()
        _counts.update(counts)


def code_sites(verdict: Verdict) -> list[str]:
    """Where in the application's code: the call, and the building of its client."""
    sites = [] if verdict.call_site is None else [f"called at {verdict.call_site}"]
    if verdict.client_site is not None:
        sites.append(f"the client was built at {verdict.client_site}")
    return sites


atexit.register(flush)
terminate.write_at_end(flush)


def _start_anew() -> None:
    global _timer
    _counts.clear()
    _timer = None


if hasattr(os, "register_at_fork"):  # what waits is logged by the parent
    os.register_at_fork(after_in_child=_start_anew)


def _take_due(now: float) -> _Counts:
    """The counts of the minute that has passed; the caller holds the lock."""
    global _since
    due = {verdict: known for verdict, known in _counts.items() if known[0]}
    _counts.clear()
    if len(due) < _MOST // 2:  # it goes on, so it is no first time again
        _counts.update({verdict: (0, *known[1:]) for verdict, known in due.items()})
    _since = now
    return due


def _log_counts_later() -> None:
    """Sees to it that what is counted is logged, though no further call comes."""
    global _timer
    terminate.begin()  # at each, for only the main thread can
    with _lock:
        if _timer is not None:
            return
        timer = threading.Timer(MINUTE, _minute_has_passed)
        timer.name, timer.daemon = "openai-project-guard-log", True
        with suppress(RuntimeError):  # the interpreter is ending, or there are too many threads
            timer.start()
            _timer = timer


def _minute_has_passed() -> None:
    """Logs the counts, and those of the next minute if there were any."""
    global _timer
    with _lock:
        _timer = None
        due = _take_due(time.monotonic())
    if due:
        _log_counts(due)
        _log_counts_later()


def _log_counts(counts: _Counts) -> None:
    for verdict, (more, site, projects) in counts.items():
        if more:
            _log_at(verdict, site, projects, f" (and {more} more)")


def _log_at(
    verdict: Verdict, site: Site | None, projects: tuple[str, ...], count: str = ""
) -> None:
    """Logs a verdict as if the application's line that made the call had done so."""
    level = logging.ERROR if verdict.reason == "drift" else _LEVELS[verdict.outcome]
    message, extra = _sentence(verdict, projects) + count, {"verdict": verdict}
    try:
        if not logger.isEnabledFor(level):
            return
        if site is None:
            logger.log(level, "%s", message, extra=extra)
            return
        path, name = site.code.co_filename, site.code.co_name
        path = path if path[:1] == "<" else os.path.abspath(path)
        logger.handle(
            logger.makeRecord(
                logger.name, level, path, site.line, "%s", (message,), None, name, extra
            )
        )
    except Exception:
        log_handler_raised()


def _sentence(verdict: Verdict, projects: tuple[str, ...]) -> str:
    expected = " or ".join(verdict.expected) or "no registered project"
    call = f"{verdict.method} {verdict.host}{verdict.path}"
    if verdict.actual:
        call += f" with OpenAI-Project {verdict.actual!r}"
    call += f", key {verdict.key_hint}"
    if verdict.reason == "drift":
        what = f"project drift: the server answered as {verdict.answered}, the registry says "
        what += expected
    else:
        what = f"{_OUTCOMES[verdict.outcome]}: {_REASONS[verdict.reason or 'missing']}"
        call += f", expected {expected}"
    details = [call]
    if verdict.reason == "scope" and projects:
        details.append(f"its key is registered for {' or '.join(projects)}")
    details += code_sites(verdict)
    if verdict.origin not in (None, "unset"):
        verb = "see" if verdict.origin == "extra_headers" else "set by"  # it may be the key alone
        details.append(f"{verb} {verdict.origin}")
    return redact(f"{what}: {'; '.join(details)}")
