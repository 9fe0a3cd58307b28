"""Who is told of verdicts: the log, and whoever asked to be."""

from __future__ import annotations

import logging
from collections.abc import Callable
from contextvars import ContextVar
from threading import RLock

from openai_project_guard._check.call_site import Site
from openai_project_guard._check.log import log_verdict
from openai_project_guard._check.verdict import Verdict, is_noteworthy
from openai_project_guard._errors import ConfigurationError, hide_frames
from openai_project_guard._forks import fork_safe
from openai_project_guard._keys import shown
from openai_project_guard._log import log
from openai_project_guard._state import STATE

Observer = Callable[[Verdict], object]

_writing = fork_safe(RLock())

_running: ContextVar[tuple[Observer, ...]] = ContextVar(
    "openai_project_guard_observers", default=()
)
"""The observers that this code was called by: of two that make a call each, every one would be
told of the other's without end."""


@hide_frames
def add_observer(fn: Observer) -> None:
    """Has `fn(verdict)` called for every checked call, allowed ones too.

    It runs on the path of the call, so it should be quick. An error in it is logged and changes
    nothing for the call. A call that it makes itself, or a task that it starts, is checked, too,
    but only the other observers are told. Adding the same function twice is adding it once.

    Args:
        fn: takes one `Verdict`; what it returns is ignored.

    Example:
        >>> seen = []
        >>> add_observer(seen.append)
    """
    if not callable(fn):
        raise ConfigurationError(f"An observer is called with each verdict; {shown(fn)} cannot be.")
    with _writing:
        if fn not in STATE.observers:
            STATE.observers = (*STATE.observers, fn)


def remove_observer(fn: Observer) -> None:
    """Takes `fn` off again; one that is not there is no error.

    Args:
        fn: the function that was given to `add_observer()`.

    Example:
        >>> remove_observer(print)
    """
    with _writing:
        STATE.observers = tuple(known for known in STATE.observers if known != fn)


def notify(verdict: Verdict, site: Site | None = None, projects: tuple[str, ...] = ()) -> None:
    """Logs the verdict, unless it is `allowed`, and hands it to every observer.

    Args:
        verdict: what was decided.
        site: the line that made the call, which the log record points at.
        projects: the projects that the key is registered for.
    """
    if is_noteworthy(verdict):
        log_verdict(verdict, site, projects)
    if verdict.reason is not None:
        settings = STATE.active
        if settings is not None and settings.audit is not None:
            settings.audit.record(verdict)
    running = _running.get()
    for observer in STATE.observers:
        if observer in running:
            continue
        token = _running.set((*running, observer))
        try:
            observer(verdict)
        except Exception as error:
            name = getattr(observer, "__qualname__", type(observer).__qualname__)
            log(logging.ERROR, "The observer %s raised an error.", name, exc_info=error)
        finally:
            _running.reset(token)
