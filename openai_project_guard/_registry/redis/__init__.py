"""The registry in Redis or Valkey, shared by a fleet.

What Redis holds, under a prefix (`openai-project-guard`, or the URL's `?prefix=`):

- `PREFIX:projects`, a hash: by project id, `{"alias": …, "organization": …,
  "service_accounts": […]}`
- `PREFIX:keys`, a hash: by fingerprint, `{project id: {"hint": …, "note": …}}`
- `PREFIX:revision`, a string such as `57-9f86d081`: how many changes there were, and a random part
- `PREFIX:changes`, a channel: after each change the new revision, and behind it, with a space
  before each, the fingerprints of the keys that are different; the revision alone if a project is
  different, or too many keys are

Values are JSON; what is absent, empty or null is left out. A key that was learned has the note
"learned": the first process to write it has its way, until an administrator registers the key.
There is no key in any of this, only fingerprints and hints.

A writer watches the revision, and changes the hashes and the revision and publishes that in one
transaction, or not at all if the revision is not the one that it had read. So nobody's change is
lost. The second half of a revision is random: after a fail-over that lost a change, two servers'
57th changes are told apart.

A reader subscribes first and reads the whole registry then. At a message it reads the entries that
are named, or the whole if none is, or if messages are missing before this one. It reads the whole
also at each new connection, and where a look at the revision (every five seconds) finds another
one. No change can be missed, whatever is lost on the way.

Each module has one job, which its first line says. This one is the store; see `stores.Store`.
"""

from __future__ import annotations

import weakref
from typing import TYPE_CHECKING

from openai_project_guard import _env
from openai_project_guard._registry.model import Place
from openai_project_guard._registry.redis.edit import change, find, read
from openai_project_guard._registry.redis.fallback import FallbackFile
from openai_project_guard._registry.redis.follower import Follower
from openai_project_guard._registry.redis.url import parse_url
from openai_project_guard._registry.source import Source

if TYPE_CHECKING:
    from openai_project_guard._registry.source import Status

__all__ = ["RedisSource", "change", "describe", "find", "open_source", "read"]


def open_source(address: str) -> RedisSource:
    """See `stores.open_source()`.

    Args:
        address: a URL as redis-py takes it, with two options of our own: `prefix=NAME`, and
            `replica=HOST:PORT`, once for each server to turn to when the first is gone.

    Raises:
        RegistryError: redis-py is not installed, the URL is not understood, or the registry cannot
            be loaded and the file that `OPENAI_PROJECT_GUARD_SNAPSHOT` names has no last good
            version of it.
    """
    url, path = parse_url(address), _env.path(_env.SNAPSHOT)
    follower = Follower(url, FallbackFile(path, url.name) if path else None)
    follower.open()
    return RedisSource(url.name, follower)


def describe(address: str) -> Place:
    """See `stores.describe()`."""
    name = parse_url(address).name
    return Place(name, name)


class RedisSource(Source):
    """A registry in Redis, kept up to date for as long as this object is there."""

    def __init__(self, name: str, follower: Follower) -> None:
        self.name = self.writable_at = name
        self.registry = follower.registry
        self._follower = follower
        # The thread holds the follower, not this: it ends when the source is no longer used,
        # and before the interpreter does. A weak reference to this would not do: a forked child
        # keeps what the thread, which it does not have, held at the fork.
        weakref.finalize(self, follower.stop)

    @property
    def problem(self) -> str | None:
        """See `Source.problem`."""
        is_lost = self.status().state == "stale"
        return f"{self.name}: the registry is out of reach." if is_lost else None

    def status(self) -> Status:
        """How it is doing now."""
        return self._follower.status()

    def remember(self, key_digest: bytes, key_hint: str, project: str) -> bool:
        """See `Source.remember()`. It did not if this user may not write."""
        return self._follower.remember(key_digest, key_hint, project)
