"""What processes learn together: the first to write a key's project has its way."""

from __future__ import annotations

from threading import RLock
from typing import TYPE_CHECKING

from openai_project_guard._keys import fingerprint_of
from openai_project_guard._registry.model import (
    LEARNED,
    LEARNED_PLACE,
    KeyBinding,
    KeyRecord,
    Place,
    Project,
    ProjectFields,
    Snapshot,
)
from openai_project_guard._registry.redis import codec
from openai_project_guard._registry.redis.state import RedisState
from openai_project_guard._registry.registry import Registry

if TYPE_CHECKING:
    from collections.abc import Iterable

    from openai_project_guard._registry.redis.client import Client, Stored, Values

_MOST = 10_000
Learned = dict[bytes, tuple[str, str]]
"""What was learned: by the digest of a key the id of its project, and its hint."""


class ActiveRegistry:
    """What calls are judged by: Redis's registry, and what was learned and is not written yet.

    One thread brings it up to date, and any thread may add what it learns.
    """

    def __init__(self, place: Place) -> None:
        self.registry = Registry()  # always the same object
        self.state = RedisState(place, None, Snapshot())
        self.learned: Learned = {}  # what is to be written
        self.restart_after_fork()

    def restart_after_fork(self) -> None:
        """Leaves the lock to the parent, where another thread may hold it."""
        self._lock = RLock()  # a signal handler may make a call in the midst of another one

    def activate(self, state: RedisState, written: Iterable[bytes] = ()) -> None:
        """Puts what Redis holds in the place of what it held, and of what is written there now."""
        with self._lock:
            self.state = state
            for key_digest in written:
                self.learned.pop(key_digest, None)
            self._swap()

    def learn(self, key_digest: bytes, key_hint: str, project: str) -> bool:
        """Adds what was learned; whether there was room."""
        with self._lock:
            if self.state.knows(key_digest) or key_digest in self.learned:
                return True
            if len(self.learned) >= _MOST:
                return False
            self.learned[key_digest] = project, key_hint
            self._swap()
        return True

    def _swap(self) -> None:
        snapshot = self.state.snapshot
        if self.learned:
            snapshot = snapshot.copy()
            for key_digest, (project_id, hint) in self.learned.items():
                if self.state.knows(key_digest):
                    continue  # another was the first
                if project_id not in snapshot.projects:
                    place = Place(LEARNED_PLACE, self.state.place.address)
                    snapshot.add_project(Project(project_id, place))
                record = KeyRecord(snapshot.projects[project_id], hint, LEARNED)
                snapshot.add_key(key_digest, record)
        self.registry.snapshot = snapshot


def write_learned(client: Client, learned: Learned) -> None:
    """Writes what was learned, but for what is stored already. Raises a `ServerError`."""
    wanted = {fingerprint_of(key_digest): found for key_digest, found in learned.items()}
    projects = {project for project, _ in wanted.values()}

    def add(stored: Stored) -> Values:
        keys = {
            fingerprint: codec.key_value({project: KeyBinding(hint, LEARNED)})
            for fingerprint, (project, hint) in wanted.items()
            if stored.keys[fingerprint.encode()] is None
        }
        needed = {wanted[fingerprint][0] for fingerprint in keys}
        new = [project for project in needed if stored.projects[project.encode()] is None]
        return dict.fromkeys(new, codec.project_value(ProjectFields())), keys

    client.update(lambda: client.read(projects, wanted), add)
