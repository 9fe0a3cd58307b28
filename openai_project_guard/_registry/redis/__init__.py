"""The registry in Redis or Valkey, shared by a fleet.

What Redis holds, under a prefix (`openai-project-guard`, or the URL's `?prefix=`):

- `PREFIX:projects`, a hash: by project id, `{"alias": …, "organization": …,
  "service_accounts": […]}`
- `PREFIX:keys`, a hash: by fingerprint, `{project id: {"hint": …, "note": …}}`
- `PREFIX:revision`, a string such as `57-9f86d081`: how many changes there were, and a random part
- `PREFIX:changes`, a channel: each change, `{"from": revision, "to": revision, "projects": …,
  "keys": …}`; without the last two, it was too large for a message

Values are JSON; what is absent, empty or null is left out. A learned key has `"learned": true`
beside its hint, and `"disputed": true` once two projects were learned for it: then it belongs to
neither. There is no key in any of this, only fingerprints and hints.

A writer watches the revision, and changes the hashes, the revision and tells of it in one
transaction, or not at all if the revision is not the one that it had read. So nobody's change is
lost. The second half of a revision is random: after a fail-over that lost a change, two servers'
57th changes are told apart.

A reader subscribes first and reads the whole registry then. Each message says which revision it
starts from; one that does not start from the reader's own has it read the whole anew. So does each
new connection, and each look at the revision (every five seconds) that finds another one. No change
can be missed, whatever is lost on the way.

Each module has one job: `address` the URL, `entries` the hashes' values, `content` the registry
that they make up, `store` the commands, `follow` the thread that keeps a registry up to date,
`in_force` what that thread puts in force, `forks` its going on in a child, `telling` what the log
is told, `learned` what is learned together, `spare` the snapshot file, `edit` changes by an
administrator, `difference` what `push` and `pull` would change.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, TypeVar

if TYPE_CHECKING:
    from collections.abc import Callable

    from openai_project_guard._registry.changes import Draft, StoredState
    from openai_project_guard._registry.model import Place
    from openai_project_guard._registry.redis.source import RedisSource
    from openai_project_guard._registry.registry import Registry

T = TypeVar("T")


def open_source(address: str) -> RedisSource:
    """See `stores.open_source()`."""
    return open_redis(address)


def open_redis(url: str) -> RedisSource:
    """The source behind a `redis://`, `rediss://` or `unix://` URL; its registry is loaded.

    Args:
        url: as redis-py takes it, with two options of our own: `prefix=NAME`, and
            `replica=HOST:PORT`, once for each server to turn to when the first is gone.

    Raises:
        RegistryError: redis-py is not installed, or the registry cannot be loaded and there is no
            last good snapshot in the file that `OPENAI_PROJECT_GUARD_SNAPSHOT` names.
    """
    from openai_project_guard._registry.redis.source import connect

    return connect(url)


def read(address: str) -> Registry:
    """See `stores.read()`."""
    from openai_project_guard._registry.redis.edit import read

    return read(address)


def find(address: str) -> StoredState:
    """See `stores.find()`."""
    from openai_project_guard._registry.redis.edit import find

    return find(address)


def change(address: str, step: Callable[[Draft], T], *, create: bool = False) -> T:
    """See `stores.change()`."""
    from openai_project_guard._registry.redis.edit import change

    return change(address, step, create=create)


def describe(address: str) -> Place:
    """See `stores.describe()`."""
    from openai_project_guard._registry.model import Place
    from openai_project_guard._registry.redis.url import read_address

    return Place(read_address(address).name)
