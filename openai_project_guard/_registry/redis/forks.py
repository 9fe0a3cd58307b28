"""Followers go on in a child after a fork, each with a thread and connections of its own."""

from __future__ import annotations

import os
from contextlib import suppress
from typing import TYPE_CHECKING
from weakref import WeakSet

if TYPE_CHECKING:
    from openai_project_guard._registry.redis.follower import Follower

_followers: WeakSet[Follower] = WeakSet()


def survive(follower: Follower) -> None:
    """Has a follower start anew in every child, for as long as anybody wants it."""
    _followers.add(follower)


def _renew_all() -> None:
    # At once, rather than at the first call: that call could not wait, and may come hours later.
    for follower in list(_followers):
        with suppress(Exception):
            follower.renew_after_fork()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_renew_all)
