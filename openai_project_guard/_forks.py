"""Locks that a child process can take, whatever the parent's other threads were doing."""

from __future__ import annotations

import os
from typing import Any, TypeVar

L = TypeVar("L", bound=Any)


def fork_safe(lock: L) -> L:
    """Has every fork wait for the lock: no child starts with it held by a thread that it lacks.

    A fork takes the locks in the reverse order of these calls: one that is taken inside another is
    to be made before it.
    """
    if hasattr(os, "register_at_fork"):
        os.register_at_fork(
            before=lock.acquire, after_in_parent=lock.release, after_in_child=lock.release
        )
    return lock
