"""The package's logger, and records that do no harm whatever its handlers do."""

from __future__ import annotations

import logging
import sys
from contextlib import suppress

logger = logging.getLogger("openai_project_guard")


def log(level: int, message: str, *args: object, exc_info: BaseException | None = None) -> None:
    """Logs a record; neither a call nor a thread ends by a log handler that raises.

    Args:
        level: a level of `logging`.
        message: with `%s` for each of `args`.
        args: what the message is about; never a key.
        exc_info: an error of the user's code, shown with its traceback.
    """
    try:
        logger.log(level, message, *args, exc_info=exc_info)
    except Exception:
        log_handler_raised()


def log_handler_raised() -> None:
    """Says on stderr that a log handler raised, where `logging` itself would."""
    if logging.raiseExceptions and sys.stderr is not None:
        with suppress(OSError, ValueError):  # it may be closed
            sys.stderr.write("openai-project-guard: a log handler raised an error.\n")
