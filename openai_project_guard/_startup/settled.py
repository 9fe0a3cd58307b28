"""Whether it is settled if this process is guarded: by a call, or by what the environment said."""

from __future__ import annotations

_is_settled = False


def settle() -> None:
    """Says that `enable()` or `disable()` was called: the environment is not to undo that."""
    global _is_settled
    _is_settled = True


def is_settled() -> bool:
    """Whether somebody has said so."""
    return _is_settled
