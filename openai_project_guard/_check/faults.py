"""When the guard itself fails: an allowed call goes on, and one that cannot be judged does not."""

from __future__ import annotations

import logging
from types import TracebackType
from typing import TYPE_CHECKING

from openai_project_guard._check.verdict import Verdict
from openai_project_guard._keys import redact
from openai_project_guard._log import log
from openai_project_guard._scope import current_scope
from openai_project_guard._state import STATE
from openai_project_guard._types import Mode

if TYPE_CHECKING:
    from openai_project_guard._check.errors import ProjectGuardError

_MOST = 100

_logged: set[str] = set()


def log_fault(fault: BaseException, effect: str) -> None:
    """Logs a fault of our own, once for each place; without a traceback, which has locals."""
    text = f"{_described(fault)} {effect}"
    if text not in _logged and len(_logged) < _MOST:
        _logged.add(text)
        log(logging.ERROR, "%s Please report it.", text)


def log_source_fault(fault: Exception, name: str) -> None:
    """Logs that a registry could not be brought up to date."""
    log_fault(fault, f"The registry of {name} was not brought up to date.")


def refusal_for_fault(fault: BaseException) -> ProjectGuardError | None:
    """What becomes of a call that cannot be judged: refused in enforce and inject, else sent."""
    if _mode() in (Mode.WARN, Mode.OFF):
        log_fault(fault, "The call was sent without a check.")
        return None
    from openai_project_guard._check.errors import ProjectGuardError

    log_fault(fault, "The call was refused.")
    verdict = Verdict("blocked", None, (), None, "", "", "", "", "http")
    return ProjectGuardError(
        f"{_described(fault)} So this call cannot be checked, and nothing was sent. "
        'Please report it. To send such calls meanwhile: mode="warn", or '
        "OPENAI_PROJECT_GUARD_OVERRIDE=warn",
        verdict,
    )


def _mode() -> Mode:
    settings, scope = STATE.active, current_scope()
    if settings is None:
        return Mode.ENFORCE if scope is not None else Mode.OFF
    return settings.policy.mode if scope is None else scope.apply_to(settings.policy).mode


def _described(fault: BaseException) -> str:
    text = redact(f"{type(fault).__name__}: {fault}"[:500])
    return f"openai-project-guard failed at {_line(fault.__traceback__)} with {text}."


def _line(traceback: TracebackType | None) -> str:
    while traceback is not None and traceback.tb_next is not None:
        traceback = traceback.tb_next
    if traceback is None:
        return "an unknown place"
    code = traceback.tb_frame.f_code
    return f"{code.co_filename}:{traceback.tb_lineno} ({code.co_name})"
