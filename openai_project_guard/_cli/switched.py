"""The guard switched on or off for a while, without a trace in the log; then as it was before."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

from openai_project_guard import _hooks, _settings
from openai_project_guard._api import disable, enable
from openai_project_guard._check import log as _log
from openai_project_guard._check import observers as _observers

if TYPE_CHECKING:
    from openai_project_guard._check.verdict import Verdict
    from openai_project_guard._settings import RegistrySource
    from openai_project_guard._types import Mode


@contextmanager
def off() -> Iterator[None]:
    """No call is checked inside."""
    before = _settings.in_force
    disable()
    try:
        yield
    finally:
        _restore(before)


@contextmanager
def on(mode: Mode, registry: RegistrySource | None = None) -> Iterator[list[Verdict]]:
    """Calls are checked inside, with the environment's settings; gives their verdicts.

    Raises:
        ConfigurationError: the settings are not in order.
    """
    before, is_silent = _settings.in_force, _log.logger.disabled
    verdicts: list[Verdict] = []
    _log.logger.disabled = True
    _observers.add_observer(verdicts.append)
    try:
        enable(mode, registry=registry)
        yield verdicts
    finally:
        _observers.remove_observer(verdicts.append)
        _log.flush()  # now, lest the counts be logged when the process ends
        _log.logger.disabled = is_silent
        _restore(before)


@contextmanager
def without_variables() -> Iterator[None]:
    """None of the SDK's variables and ours is set inside."""
    kept = {name: os.environ.pop(name) for name in list(os.environ) if name.startswith("OPENAI_")}
    try:
        yield
    finally:
        os.environ.update(kept)


def _restore(before: _settings.Settings | None) -> None:
    disable()
    if before is not None:
        with _settings.changing:
            _hooks.install(process_wide=before.scope == "process")
            _settings.in_force = before
