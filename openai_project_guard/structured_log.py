"""Verdicts as events of structlog; needs the package `structlog`.

Example:
    >>> from openai_project_guard import add_observer
    >>> from openai_project_guard.structured_log import StructlogObserver
    >>> add_observer(StructlogObserver())
"""

from __future__ import annotations

from typing import Any

import structlog

from openai_project_guard._check.verdict import Verdict, is_noteworthy
from openai_project_guard._metrics import fields_of

__all__ = ["StructlogObserver"]

_METHODS = {"injected": "info", "warned": "warning", "blocked": "warning", "allowed": "error"}


class StructlogObserver:
    """An observer that logs the event `openai_call`, with the verdict's fields.

    What is not known is left out. The call site is there once more in its parts: `code.filepath`,
    `code.lineno` and `code.function`.

    A call that is simply allowed is not logged. Levels: info for `injected`, warning for `warned`
    and `blocked`, error for an answer that contradicts the registry. Each call is an event: unlike
    the logger `openai_project_guard`, it does not count alike ones.

    Args:
        logger: logs the events. Default: `structlog.get_logger("openai_project_guard")`.

    Example:
        >>> from openai_project_guard import add_observer
        >>> add_observer(StructlogObserver())
    """

    def __init__(self, logger: Any = None) -> None:
        self._logger = logger or structlog.get_logger("openai_project_guard")

    def __call__(self, verdict: Verdict) -> None:
        """Logs one verdict, if it is worth an event."""
        if is_noteworthy(verdict):
            fields = fields_of(verdict)
            known = {name: value for name, value in fields.items() if value is not None}
            getattr(self._logger, _METHODS[verdict.outcome])("openai_call", **known)
