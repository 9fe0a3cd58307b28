"""The registry that the two hashes make up at one revision."""

from __future__ import annotations

from typing import TYPE_CHECKING

from openai_project_guard._keys import FINGERPRINT, digest_of, fingerprint_of
from openai_project_guard._registry.changes import StoredState
from openai_project_guard._registry.model import KeyRecord, Project, Snapshot
from openai_project_guard._registry.redis import codec

if TYPE_CHECKING:
    from collections.abc import Mapping

    from openai_project_guard._registry.model import KeyBindings, Place
    from openai_project_guard._registry.redis.client import Stored


class RedisState(StoredState):
    """What Redis holds, as a registry. It is replaced, never changed."""

    @classmethod
    def of(cls, stored: Stored, place: Place) -> RedisState:
        """The whole registry that was read."""
        state = cls(place, stored.revision, Snapshot())
        for field, value in sorted(stored.projects.items()):
            try:
                state._add_project(field, value or b"")
            except codec.InvalidEntry as error:  # noqa: PERF203 (one entry's error is not the next one's)
                state.problems[codec.entry_name(field)] = str(error)
        for field, value in sorted(stored.keys.items()):
            state._add_key(field, value or b"")
        return state

    def with_keys(self, revision: str | None, keys: Mapping[bytes, bytes | None]) -> RedisState:
        """The registry with these keys as they are now."""
        copies = self.snapshot.copy(), self.problems.copy(), self.refused.copy()
        state = RedisState(self.place, revision, *copies)
        for name in map(codec.entry_name, keys):
            state.problems.pop(name, None)
            state.refused.pop(name, None)
            if FINGERPRINT.fullmatch(name):
                state.snapshot.keys.pop(digest_of(name), None)
        for field, value in keys.items():  # afterwards: one may be another in capital letters
            if value is not None:
                state._add_key(field, value)
        return state

    def knows(self, key_digest: bytes) -> bool:
        """Whether the key is stored, be it so that it is refused."""
        return key_digest in self.snapshot.keys or fingerprint_of(key_digest) in self.problems

    def _add_project(self, field: bytes, value: bytes) -> None:
        project, fields = codec.read_project(field, value)
        if fields.alias in self.snapshot.projects:
            other = self.snapshot.projects[fields.alias].id
            raise codec.InvalidEntry(f"its alias {fields.alias} is that of {other}")
        for account in fields.service_accounts:
            if account in self.snapshot.accounts:
                other = self.snapshot.accounts[account][0].project.id
                raise codec.InvalidEntry(f"its service account {account} is that of {other} too")
        self.snapshot.add_project(
            Project(project, self.place, fields.alias, fields.organization), fields.service_accounts
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
        except codec.InvalidEntry as error:
            name = codec.entry_name(field)
            self.problems[name], self.refused[name] = str(error), bindings
