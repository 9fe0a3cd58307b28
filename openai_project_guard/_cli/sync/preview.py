"""A registry to try changes on: nothing of it is ever written."""

from __future__ import annotations

from collections.abc import Iterable

from openai_project_guard._registry import stores
from openai_project_guard._registry.changes import Draft
from openai_project_guard._registry.model import KeyBindings, listing


def preview(address: str) -> Draft:
    """A draft of what is there, without a lock and without a way to write it."""
    return Draft(_Copy(address))


class _Copy:
    """See `changes.StoredRegistry`."""

    word = "registry"
    unfit = ()

    def __init__(self, address: str) -> None:
        found = stores.find(address)
        self.version = found.version
        self.place = stores.describe(address)
        self.projects, self._keys = listing(found.snapshot)

    def key(self, fingerprint: str) -> KeyBindings | None:
        return self._keys.get(fingerprint)

    def keys(self) -> Iterable[str]:
        return self._keys

    def keys_of(self, projects: set[str]) -> Iterable[str]:
        return [name for name, found in self._keys.items() if not projects.isdisjoint(found)]

    def rename(self, name: str) -> str:
        return name
