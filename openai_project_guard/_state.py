"""What the guard knows of this process: one object, each field replaced in one step.

A call reads a field once and takes no lock. `_activation` is the only module that changes them.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from threading import RLock
from typing import TYPE_CHECKING

from openai_project_guard._forks import fork_safe
from openai_project_guard._keys import without_known_keys
from openai_project_guard._registry.model import is_registered
from openai_project_guard._registry.registry import Registry
from openai_project_guard._settings import Settings, build
from openai_project_guard._start_log import log_started

if TYPE_CHECKING:
    from openai_project_guard._audit.record import Audit
    from openai_project_guard._check.verdict import Verdict


@dataclass(slots=True)
class State:
    """The state of the guard in this process.

    Attributes:
        settings: those of an enabled guard; `None` while it is not enabled.
        scope_settings: those of `guard` scopes while it is not enabled, read from the environment
            when the first scope is entered; `None` until then.
        registered: the keys given to `register()`. They outlive `enable()` and `disable()`.
        observers: who is called with each verdict.
        audit: the open one of an enabled guard.
    """

    settings: Settings | None = None
    scope_settings: Settings | None = None
    registered: Registry = field(default_factory=Registry)
    observers: tuple[Callable[[Verdict], object], ...] = ()
    audit: Audit | None = None

    @property
    def active(self) -> Settings | None:
        """The settings of the enabled guard, or else those of scopes, once they are read."""
        return self.settings or self.scope_settings

    def knows(self, key_digest: bytes) -> bool:
        """Whether a key is registered."""
        registries = (self.registered,) if self.active is None else self.active.registries
        return is_registered(registries, key_digest)

    def without_keys(self, text: str) -> str:
        """A text without a key that is registered, of whatever form."""
        return without_known_keys(text, self.knows)


STATE = State()

changing = fork_safe(RLock())
"""Held while the state changes or hooks go in or out: never while anything is imported, while code
of the user's runs, or on the path of a call."""


def active_settings() -> Settings:
    """The settings that a `guard` scope builds on: those of the process, or else the environment's.

    The first scope of a process whose guard is not enabled reads them, which may log and take time.
    """
    settings = STATE.active
    if settings is None:
        # No lock is held meanwhile: this may read a file.
        read = build("enforce", STATE.registered)
        read.open_audit()
        with changing:
            settings = STATE.scope_settings = STATE.scope_settings or read
        if settings is read:
            log_started(settings, " in guard scopes alone")
        elif read.audit is not None:
            read.audit.close()
    return settings
