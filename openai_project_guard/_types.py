"""The types that every room shares: modes, outcomes, reasons, the policy, the destination."""

from __future__ import annotations

from enum import Enum
from typing import Literal, NamedTuple, NoReturn, get_args

from openai_project_guard._errors import ConfigurationError

Outcome = Literal["allowed", "injected", "warned", "blocked"]
Reason = Literal[
    "missing", "mismatch", "malformed", "unregistered", "scope", "organization", "drift"
]
ModeName = Literal["enforce", "inject", "warn", "off"]
Unregistered = Literal["block", "warn", "allow", "learn"]
CallScope = Literal["sdk", "process"]
OnError = Literal["raise", "log"]
Transport = Literal["http", "websocket"]

Credential = Literal["key", "admin", "ephemeral", "malformed"]

UNREGISTERED: tuple[Unregistered, ...] = get_args(Unregistered)
CALL_SCOPES: tuple[CallScope, ...] = get_args(CallScope)
ON_ERROR_CHOICES: tuple[OnError, ...] = get_args(OnError)


class Mode(str, Enum):
    """What happens to a wrong call; each mode equals its lower-case string.

    Example:
        >>> Mode.WARN == "warn"
        True
    """

    ENFORCE = "enforce"
    """The call is refused with an error."""
    INJECT = "inject"
    """A missing header is put in; every other wrong call is refused."""
    WARN = "warn"
    """The call is sent and logged."""
    OFF = "off"
    """Nothing is checked."""

    def __str__(self) -> str:
        return self.value

    @classmethod
    def _missing_(cls, value: object) -> NoReturn:
        from openai_project_guard._keys import shown

        value = shown(value)  # or this frame would hold a key that was pasted here
        accepted = ", ".join(cls)
        raise ConfigurationError(f"mode={value} is not a mode. Accepted: {accepted}.")


class Policy(NamedTuple):
    """What applies to one call: the settings of the process under the innermost scope.

    Attributes:
        mode: what happens to a wrong call.
        unregistered: what happens to a key that no registry knows.
        pinned: the id of the only project that passes, or `None`.
        is_override: whether the mode is that of `OPENAI_PROJECT_GUARD_OVERRIDE`, which no scope
            changes.
    """

    mode: Mode
    unregistered: Unregistered
    pinned: str | None
    is_override: bool = False


class Destination(NamedTuple):
    """Where a call goes. Made only when somebody asks: an observer, a log record, an error."""

    method: str
    host: str
    path: str
    transport: Transport

    def __str__(self) -> str:
        verb = "WebSocket" if self.transport == "websocket" else self.method
        return f"{verb} {self.host}{self.path}"
