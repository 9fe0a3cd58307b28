"""What processes learn together: the first to learn a key's project has its way.

Two that learn different projects for a key cannot both be right. Then both are written, and the key
belongs to neither until an administrator registers it.
"""

from __future__ import annotations

from threading import RLock
from typing import TYPE_CHECKING, NamedTuple

from openai_project_guard._keys import fingerprint_of
from openai_project_guard._registry.model import (
    KeyBinding,
    KeyBindings,
    KeyRecord,
    Place,
    Project,
    ProjectFields,
    Snapshot,
)
from openai_project_guard._registry.redis import codec
from openai_project_guard._registry.redis.state import State
from openai_project_guard._registry.registry import Registry

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from openai_project_guard._registry.redis.client import Client, Stored, Values

_MOST = 10_000


class Learned(NamedTuple):
    """The server's word on a key."""

    hint: str
    project: str


class ActiveRegistry:
    """What calls are judged by: Redis's registry, and what was learned and is not written yet.

    One thread brings it up to date, and any thread may add what it learns.
    """

    def __init__(self) -> None:
        self.registry = Registry()  # always the same object
        self.state = State(None, Snapshot())
        self.learned: dict[bytes, Learned] = {}  # what is to be written, by the key's digest
        self.restart_after_fork()

    def restart_after_fork(self) -> None:
        """Leaves the lock to the parent, where another thread may hold it."""
        self._lock = RLock()  # a signal handler may make a call in the midst of another one

    def activate(self, state: State) -> None:
        """Puts what Redis holds in the place of what it held."""
        with self._lock:
            self.state = state
            self._swap()

    def learn(self, key_digest: bytes, learned: Learned) -> bool:
        """Adds what was learned; whether there was room."""
        with self._lock:
            if self.state.knows(key_digest, learned.project) or key_digest in self.learned:
                return True
            if len(self.learned) >= _MOST:
                return False
            self.learned[key_digest] = learned
            self._swap()
        return True

    def forget(self, key_digests: Iterable[bytes]) -> None:
        """Lets go of what was learned: it is written, or Redis knows better."""
        with self._lock:
            for key_digest in key_digests:
                self.learned.pop(key_digest, None)
            self._swap()

    def _swap(self) -> None:
        snapshot = self.state.snapshot
        if self.learned:
            snapshot = snapshot.copy()
            for key_digest, learned in self.learned.items():
                if key_digest in snapshot.keys:
                    continue  # another's word; whose key it is, is about to be settled
                project = snapshot.projects.get(learned.project) or Project(
                    learned.project, Place("what was learned from the server's answer")
                )
                if project.id not in snapshot.projects:
                    snapshot.add_project(project)
                snapshot.add_key(key_digest, KeyRecord(project, learned.hint, "learned"))
        self.registry.snapshot = snapshot


def write_learned(client: Client, learned: Mapping[bytes, Learned]) -> None:
    """Writes what was learned, but for what Redis knows better. Raises a `Fault`."""
    wanted = {fingerprint_of(key_digest): held for key_digest, held in learned.items()}
    projects = {held.project for held in wanted.values()}

    def add(stored: Stored) -> Values:
        keys = {
            fingerprint: codec.key_value(bindings)
            for fingerprint, held in wanted.items()
            if (bindings := _bindings(fingerprint, stored.keys[fingerprint.encode()], held))
        }
        needed = {wanted[fingerprint].project for fingerprint in keys}
        new = [project for project in needed if stored.projects[project.encode()] is None]
        return dict.fromkeys(new, codec.project_value(ProjectFields())), keys

    client.update(lambda: client.read_some(projects=projects, keys=wanted), add)


def _bindings(fingerprint: str, value: bytes | None, learned: Learned) -> KeyBindings | None:
    """What is to be written for a key; `None` where that stays as it is."""
    bindings: KeyBindings = {}
    if value is not None:
        try:
            _, bindings = codec.read_key(fingerprint.encode(), value)
        except codec.InvalidEntry:
            return None  # for an administrator to mend, or to say whose it is
        if learned.project in bindings or not all(held.learned for held in bindings.values()):
            return None
    return {**bindings, learned.project: KeyBinding(learned.hint, "learned", learned=True)}
