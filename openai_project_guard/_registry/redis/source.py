"""The source behind a `redis://` URL: its registry, and the end of it."""

from __future__ import annotations

import weakref
from typing import TYPE_CHECKING

from openai_project_guard import _env
from openai_project_guard._registry.redis.fallback import Spare
from openai_project_guard._registry.redis.follower import Follower
from openai_project_guard._registry.redis.forks import survive
from openai_project_guard._registry.redis.url import read_address
from openai_project_guard._registry.source import Source

if TYPE_CHECKING:
    from openai_project_guard._registry.registry import Registry
    from openai_project_guard._registry.source import Status
    from openai_project_guard._types import Destination

SNAPSHOT = _env.PREFIX + "_SNAPSHOT"


def connect(url: str) -> RedisSource:
    """See `open_redis()`."""
    address = read_address(url)
    path = _env.text(SNAPSHOT)
    spare = Spare(path, address.name) if path else None
    follower = Follower(address, spare)
    follower.open()
    survive(follower)
    return RedisSource(address.name, follower)


class RedisSource(Source):
    """A registry in Redis, kept up to date for as long as this object is there.

    Args:
        name: the URL without user and password.
        follower: what keeps it up to date.
    """

    def __init__(self, name: str, follower: Follower) -> None:
        self.name = name
        self._follower = follower
        self.registry: Registry = follower.registry
        # The thread holds the follower, not this: it ends when nobody wants the source any more,
        # and before the interpreter does.
        weakref.finalize(self, follower.stop)

    def refresh(self, now: float) -> None:
        """Nothing: the thread sees to it, and the call goes on."""

    def status(self) -> Status:
        """How the source stands now, for a dashboard."""
        return self._follower.status()

    def remember(
        self,
        key_digest: bytes,
        key_hint: str,
        project: str,
        destination: Destination | None = None,
    ) -> bool:
        """Takes in what the server said of an unregistered key, and shares it; does not wait.

        Args:
            key_digest: the key's SHA-256.
            key_hint: what may be shown of the key.
            project: the id of the project that the server named.
            destination: the call that it answered, for observers should there be a dispute.

        Returns:
            Whether that is settled here. If not, because this user may not write, the caller
            remembers it.
        """
        return self._follower.remember(key_digest, key_hint, project, destination)
