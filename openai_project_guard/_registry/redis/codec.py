"""The registry that the two hashes make up at one revision."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from openai_project_guard._registry.model import KeyRecord, Place, Project, Snapshot
from openai_project_guard._registry.redis.entries import Unfit, name_of, read_key, read_project

if TYPE_CHECKING:
    from collections.abc import Mapping

    from openai_project_guard._registry.model import KeyBindings


class Raw(NamedTuple):
    """What Redis holds, as it is."""

    revision: str | None
    projects: dict[bytes, bytes]
    keys: dict[bytes, bytes]


class Change(NamedTuple):
    """What a message says: the values that are new, and `None` for what is gone."""

    before: str | None
    after: str
    projects: dict[str, str | None]
    keys: dict[str, str | None]
    is_complete: bool = True  # else it was too large for a message


class Content:
    """What Redis holds, as a registry. It is replaced, never changed.

    Attributes:
        revision: Redis's revision.
        snapshot: what is in order.
        disputed: the keys that belong to nobody, for two projects were learned for each; by
            digest, with what stands beside them.
        faults: the entries that are refused, by name, with the reason.
    """

    def __init__(self, revision: str | None, snapshot: Snapshot) -> None:
        self.revision = revision
        self.snapshot = snapshot
        self.disputed: dict[bytes, KeyBindings] = {}
        self.faults: dict[str, str] = {}
        self._checksum: int | None = None

    @classmethod
    def of(cls, raw: Raw, place: Place) -> Content:
        """The registry that was read."""
        content = cls(raw.revision, Snapshot())
        content._checksum = _checksum(raw)
        for field, value in sorted(raw.projects.items()):
            try:
                content._add_project(field, value, place)
            except Unfit as fault:  # noqa: PERF203 (one entry's fault is not the next one's)
                content.faults[name_of(field)] = str(fault)
        for field, value in sorted(raw.keys.items()):
            content._add_key(field, value)
        return content

    def is_of(self, raw: Raw) -> bool:
        """Whether the very same was read again."""
        return raw.revision == self.revision and _checksum(raw) == self._checksum

    def has(self, key_digest: bytes, project: str) -> bool:
        """Whether the key belongs to the project, or is in dispute so that it belongs to none."""
        rows = self.snapshot.keys.get(key_digest, ())
        return key_digest in self.disputed or any(
            row.project.id == project for row in ((rows,) if isinstance(rows, KeyRecord) else rows)
        )

    def after(self, change: Change, place: Place) -> Content | None:
        """The registry after a change; `None` if the whole must be read for it."""
        if change.before != self.revision or not change.is_complete:
            return None
        snapshot = Snapshot()
        snapshot.keys = self.snapshot.keys.copy()
        snapshot.accounts = self.snapshot.accounts.copy()
        snapshot.projects = self.snapshot.projects.copy()
        content = Content(change.after, snapshot)
        content.disputed, content.faults = self.disputed.copy(), self.faults.copy()
        for project, value in change.projects.items():
            # Every row of a project that is there already would change with it.
            if value is None or project in snapshot.projects or project in content.faults:
                return None
            try:
                content._add_project(project.encode(), value.encode(), place)
            except Unfit:
                return None
        for fingerprint, value in change.keys.items():
            content._remove_key(fingerprint)
            if value is not None:
                content._add_key(fingerprint.encode(), value.encode())
        return content

    def _add_project(self, field: bytes, value: bytes, place: Place) -> None:
        project, notes = read_project(field, value)
        if notes.alias in self.snapshot.projects:
            other = self.snapshot.projects[notes.alias].id
            raise Unfit(f"its alias {notes.alias} is that of {other}")
        for account in notes.service_accounts:
            if account in self.snapshot.accounts:
                other = self.snapshot.accounts[account][0].project.id
                raise Unfit(f"its service account {account} stands under {other} too")
        self.snapshot.add_project(
            Project(project, place, notes.alias, notes.organization), notes.service_accounts
        )

    def _add_key(self, field: bytes, value: bytes) -> None:
        try:
            key_digest, bindings = read_key(field, value)
        except Unfit as fault:
            self.faults[name_of(field)] = str(fault)
            return
        for project, held in bindings.items():
            if held.disputed:
                self.disputed[key_digest] = bindings
            elif project not in self.snapshot.projects:
                # Whatever else is known of the project, such as its organization, is not checked.
                self.faults[name_of(field)] = f"its project {project} is not there or is refused"
            else:
                row = KeyRecord(self.snapshot.projects[project], held.hint, held.note)
                self.snapshot.add_key(key_digest, row)

    def _remove_key(self, fingerprint: str) -> None:
        self.faults.pop(name_of(fingerprint.encode()), None)
        try:
            key_digest = bytes.fromhex(fingerprint.removeprefix("sha256:"))
        except ValueError:
            return
        self.snapshot.keys.pop(key_digest, None)
        self.disputed.pop(key_digest, None)


def count_of(revision: str | None) -> int:
    """How many changes a revision stands for."""
    number = (revision or "").partition("-")[0]
    return int(number) if number.isdecimal() else 0


def _checksum(raw: Raw) -> int:
    return hash((_hash(raw.projects), _hash(raw.keys)))


def _hash(values: Mapping[bytes, bytes]) -> int:
    return hash(frozenset(values.items()))  # whatever the order
