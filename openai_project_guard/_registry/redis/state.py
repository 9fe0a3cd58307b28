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
    """What Redis holds, as a registry. It is replaced, never changed.

    Attributes:
        revision: the registry's.
        snapshot: what is valid.
        faults: the entries that are refused, by name, with the reason.
        refused: what can be read of the keys among them.
    """

    def __init__(self, revision: str | None, snapshot: Snapshot) -> None:
        self.revision = revision
        self.snapshot = snapshot
        self.faults: dict[str, str] = {}
        self.refused: dict[str, KeyBindings] = {}

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
        state.faults, state.refused = self.faults.copy(), self.refused.copy()
        for field, value in keys.items():
            name = codec.entry_name(field)
            state.faults.pop(name, None)
            state.refused.pop(name, None)
            if FINGERPRINT.fullmatch(name):
                state.snapshot.keys.pop(digest_of(name), None)
            if value is not None:
                state._add_key(field, value)
        return state

    def knows(self, key_digest: bytes) -> bool:
        """Whether the key is stored, be it so that it is refused."""
        return key_digest in self.snapshot.keys or fingerprint_of(key_digest) in self.faults

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
        projects = self.snapshot.projects
        bindings: KeyBindings = {}
        try:
            key_digest, bindings = codec.read_key(field, value, projects)
            if key_digest in self.snapshot.keys:
                raise codec.InvalidEntry("it is there in capital letters too")
            for project, binding in bindings.items():
                if project in projects:
                    record = KeyRecord(projects[project], binding.hint, binding.note)
                    self.snapshot.add_key(key_digest, record)
            if missing := [project for project in bindings if project not in projects]:
                # Whatever else is known of the project, such as its organization, is not checked.
                raise codec.InvalidEntry(f"its project {missing[0]} is not there or is refused")
        except codec.InvalidEntry as fault:
            name = codec.entry_name(field)
            self.faults[name], self.refused[name] = str(fault), bindings
