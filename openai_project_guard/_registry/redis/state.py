"""The registry that the two hashes make up at one revision."""

from __future__ import annotations

from typing import TYPE_CHECKING

from openai_project_guard._keys import FINGERPRINT, digest_of, fingerprint_of
from openai_project_guard._registry.model import KeyRecord, Place, Project, Snapshot
from openai_project_guard._registry.redis import codec

if TYPE_CHECKING:
    from collections.abc import Mapping

    from openai_project_guard._registry.model import KeyBindings
    from openai_project_guard._registry.redis.client import Stored


class State:
    """What Redis holds, as a registry. It is replaced, never changed."""

    def __init__(self, revision: str | None, snapshot: Snapshot) -> None:
        self.revision = revision
        self.snapshot = snapshot  # what is valid
        self.faults: dict[str, str] = {}  # the entries that are refused, with the reason

    @classmethod
    def of(cls, stored: Stored, place: Place) -> State:
        """The whole registry that was read."""
        state = cls(stored.revision, Snapshot())
        for field, value in sorted(stored.projects.items()):
            try:
                state._add_project(field, value or b"", place)
            except codec.InvalidEntry as fault:  # noqa: PERF203 (one entry's fault is not the next one's)
                state.faults[codec.entry_name(field)] = str(fault)
        for field, value in sorted(stored.keys.items()):
            state._add_key(field, value or b"")
        return state

    def with_keys(self, revision: str | None, keys: Mapping[bytes, bytes | None]) -> State:
        """The registry with these keys as they are now."""
        state = State(revision, self.snapshot.copy())
        state.faults = self.faults.copy()
        for field, value in keys.items():
            name = codec.entry_name(field)
            state.faults.pop(name, None)
            if FINGERPRINT.fullmatch(name):
                state.snapshot.keys.pop(digest_of(name), None)
            if value is not None:
                state._add_key(field, value)
        return state

    def knows(self, key_digest: bytes, project: str) -> bool:
        """Whether the key is registered for the project, or stored so that it belongs to none."""
        records = self.snapshot.records(key_digest)
        return (
            any(record.project.id == project for record in records)
            or fingerprint_of(key_digest) in self.faults
        )

    def _add_project(self, field: bytes, value: bytes, place: Place) -> None:
        project, fields = codec.read_project(field, value)
        if fields.alias in self.snapshot.projects:
            other = self.snapshot.projects[fields.alias].id
            raise codec.InvalidEntry(f"its alias {fields.alias} is that of {other}")
        for account in fields.service_accounts:
            if account in self.snapshot.accounts:
                other = self.snapshot.accounts[account][0].project.id
                raise codec.InvalidEntry(f"its service account {account} is that of {other} too")
        self.snapshot.add_project(
            Project(project, place, fields.alias, fields.organization), fields.service_accounts
        )

    def _add_key(self, field: bytes, value: bytes) -> None:
        try:
            self._add_bindings(*codec.read_key(field, value, self.snapshot.projects))
        except codec.InvalidEntry as fault:
            self.faults[codec.entry_name(field)] = str(fault)

    def _add_bindings(self, key_digest: bytes, bindings: KeyBindings) -> None:
        if key_digest in self.snapshot.keys:
            raise codec.InvalidEntry("it is there in capital letters too")
        projects = self.snapshot.projects
        records = [
            KeyRecord(projects[project], held.hint, held.note)
            for project, held in bindings.items()
            if project in projects
        ]
        if records:
            self.snapshot.keys[key_digest] = records[0] if len(records) == 1 else tuple(records)
        if len(records) < len(bindings):
            # Whatever else is known of the project, such as its organization, is not checked.
            missing = next(project for project in bindings if project not in projects)
            raise codec.InvalidEntry(f"its project {missing} is not there or is refused")
