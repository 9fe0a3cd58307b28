"""Activating settings with their hooks, and deactivating them: the only way to change the state."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

from openai_project_guard import _hooks
from openai_project_guard._check import log
from openai_project_guard._scope import SCOPE
from openai_project_guard._state import STATE, changing

if TYPE_CHECKING:
    from openai_project_guard._audit.record import Audit
    from openai_project_guard._settings import Settings


def activate(settings: Settings) -> None:
    """Puts the hooks in, and then makes the settings the active ones: no call falls between.

    Raises:
        UnsupportedSDKError: the installed SDK lacks a method that must be hooked; the settings are
            as they were then.
    """
    before = STATE.audit
    settings.open_audit(before)  # which may make a folder, so no lock is held meanwhile
    replaced: Audit | None = None

    def replace_settings() -> None:
        nonlocal replaced
        if settings.audit is before is not STATE.audit:  # it was closed meanwhile
            settings.open_audit()
        replaced, STATE.audit = STATE.audit, settings.audit
        STATE.settings = settings

    try:
        _hooks.install(all_clients=settings.scope == "process", then=replace_settings)
    except BaseException:
        replaced = settings.audit
        raise
    finally:
        if replaced is not None and replaced is not STATE.audit:
            replaced.close()


def deactivate() -> None:
    """Takes settings and hooks out; where somebody wrapped a hook, it stays and passes calls on."""
    with changing:
        STATE.settings = None
        _hooks.remove()
        audit, STATE.audit = STATE.audit, None
    if audit is not None:
        audit.close()


@contextmanager
def isolated() -> Iterator[None]:
    """Brings the guard back to where it was, whatever happens to it inside.

    Keys that are registered inside are forgotten; those that were registered are known inside.
    """
    with changing:
        before = {name: getattr(STATE, name) for name in STATE.__slots__}
        was_installed, registered = _hooks.is_installed(), STATE.registered.snapshot
        STATE.registered.snapshot = registered.copy()
        STATE.audit = None  # or switching the guard off inside would close it
    scope, counts = SCOPE.get(), log.take_counts()
    try:
        yield
    finally:
        SCOPE.set(scope)
        log.put_counts(counts)
        deactivate()
        STATE.registered.snapshot = registered
        for name, value in before.items():
            if name != "settings":
                setattr(STATE, name, value)
        settings = before["settings"]
        if settings is not None:
            activate(settings)
        elif was_installed:
            _hooks.install()
