"""What is in force here: Redis's registry, and what was learned and is not written there yet."""

from __future__ import annotations

from threading import Lock
from typing import TYPE_CHECKING

from openai_project_guard._registry.model import KeyRecord, Place, Project, Snapshot
from openai_project_guard._registry.redis.codec import Content
from openai_project_guard._registry.registry import Registry

if TYPE_CHECKING:
    from openai_project_guard._registry.redis.codec import Change
    from openai_project_guard._registry.redis.learning import Learned

_MOST_LEARNED = 10_000


class InForce:
    """A registry that one thread keeps up to date, and that any thread may add what it learns to.

    Args:
        place: where its entries stand.

    Attributes:
        registry: what calls are judged by; always the same object.
        content: what Redis holds, as far as it is known here.
        learned: what is to be written, by the key's digest.
    """

    def __init__(self, place: Place) -> None:
        self.registry = Registry()
        self.content = Content(None, Snapshot())
        self.learned: dict[bytes, Learned] = {}
        self._place = place
        self._swapping = Lock()  # held while a snapshot is put in force

    def renew_after_fork(self) -> None:
        """Leaves the lock to the parent, where another thread may hold it."""
        self._swapping = Lock()

    def take(self, content: Content) -> None:
        """Puts what Redis holds in force."""
        self.content = content
        with self._swapping:
            for key_digest, learned in [*self.learned.items()]:
                if content.has(key_digest, learned.project):
                    del self.learned[key_digest]
            self._swap()

    def after(self, told: list[Change | None]) -> Content | None:
        """What is in force after the changes; `None` where they do not lead on from it."""
        revisions = [change.after for change in told if change is not None]
        if not revisions:
            return None
        known = self.content.revision
        if known in revisions:  # told before, or while the whole was read
            told = told[revisions.index(known) + 1 :]
        content: Content | None = self.content
        for change in told:
            content = content.after(change, self._place) if content and change else None
        return content

    def learn(self, key_digest: bytes, learned: Learned) -> bool:
        """Adds what was learned; whether there was room."""
        with self._swapping:
            if self.content.has(key_digest, learned.project) or key_digest in self.learned:
                return True
            if len(self.learned) >= _MOST_LEARNED:
                return False
            self.learned[key_digest] = learned
            self._swap()
        return True

    def forget(self, key_digest: bytes) -> None:
        """Takes out what was learned of a key: it is settled."""
        with self._swapping:
            self.learned.pop(key_digest, None)
            self._swap()

    def _swap(self) -> None:
        content, snapshot = self.content.snapshot, self.content.snapshot
        if self.learned:
            snapshot = Snapshot()
            snapshot.keys, snapshot.accounts = content.keys.copy(), content.accounts
            snapshot.projects = content.projects.copy()
            for key_digest, learned in self.learned.items():
                if key_digest in content.keys:
                    continue  # another's word; whose it is, is about to be settled
                project = content.projects.get(learned.project) or Project(
                    learned.project, Place("what was learned from the server's answer")
                )
                if project.id not in snapshot.projects:
                    snapshot.add_project(project)
                snapshot.add_key(key_digest, KeyRecord(project, learned.hint, "learned"))
        self.registry.snapshot = snapshot
