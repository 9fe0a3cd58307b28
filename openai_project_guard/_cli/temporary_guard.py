"""The guard switched on or off for a while, without a trace in the log; then as it was before."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager
from typing import TYPE_CHECKING

from openai_project_guard import _env
from openai_project_guard._check import log
from openai_project_guard._check.observers import add_observer
from openai_project_guard._cli.env_files import environment
from openai_project_guard._log import logger

if TYPE_CHECKING:
    from openai_project_guard._check.verdict import Verdict
    from openai_project_guard._sources import RegistrySource
    from openai_project_guard._types import Mode


@contextmanager
def disabled() -> Iterator[None]:
    """No call is checked inside; whatever is enabled or observes inside is gone afterwards."""
    # These import the SDK, which `--help` of a command does not need.
    from openai_project_guard._activation import deactivate, isolated

    with isolated():
        deactivate()
        yield


@contextmanager
def enabled(mode: Mode, registry: RegistrySource | None = None) -> Iterator[list[Verdict]]:
    """Calls are checked inside, with the environment's settings; gives their verdicts."""
    from openai_project_guard._api import enable

    verdicts: list[Verdict] = []
    # No call of ours belongs into the program's audit; and a fault is to be shown, not logged.
    with disabled(), silent(), without_variables(_env.AUDIT):
        add_observer(verdicts.append)
        enable(mode, registry=registry, on_error="raise")
        yield verdicts


@contextmanager
def silent() -> Iterator[None]:
    """Nothing is logged inside."""
    before = logger.disabled
    logger.disabled = True
    try:
        yield
    finally:
        log.flush()  # now, or the counts would be logged when the process ends
        logger.disabled = before


def without_variables(names: str) -> AbstractContextManager[None]:
    """Inside, the environment variables whose whole name fits this expression are not set."""
    return environment({name: v for name, v in os.environ.items() if not re.fullmatch(names, name)})
