"""The words of the package: modes, outcomes and reasons, as plain strings and as types."""

from __future__ import annotations

from enum import Enum
from typing import Final, Literal

Outcome = Literal["allowed", "injected", "warned", "blocked"]
Reason = Literal[
    "missing", "mismatch", "malformed", "unregistered", "scope", "organization", "drift"
]
ModeName = Literal["enforce", "inject", "warn", "off"]
Unregistered = Literal["block", "warn", "allow", "learn"]
CallScope = Literal["sdk", "process"]
Transport = Literal["http", "websocket"]

UNREGISTERED: Final = ("block", "warn", "allow", "learn")
CALL_SCOPES: Final = ("sdk", "process")


class Mode(str, Enum):
    """What happens to a call that is not in order; each mode equals its lower-case string.

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
