"""Whether it is decided if this process is guarded: by a call, or by what the environment said."""

from __future__ import annotations

_is_decided = False


def mark_decided() -> None:
    """Says that `enable()` or `disable()` was called: the environment is not to undo that."""
    global _is_decided
    _is_decided = True


def is_decided() -> bool:
    """Whether somebody has said so."""
    return _is_decided
