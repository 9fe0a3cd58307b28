"""The registry in a file: the store for addresses that are paths; see `stores.Store`."""

from __future__ import annotations

from typing import TYPE_CHECKING, TypeVar

if TYPE_CHECKING:
    from collections.abc import Callable

    from openai_project_guard._registry.changes import Draft, StoredState
    from openai_project_guard._registry.file.place import FilePlace
    from openai_project_guard._registry.file.watch import WatchedFile
    from openai_project_guard._registry.registry import Registry

T = TypeVar("T")


def open_source(address: str) -> WatchedFile:
    """See `stores.open_source()`."""
    from openai_project_guard._registry.file.watch import WatchedFile

    return WatchedFile(address)


def read(address: str) -> Registry:
    """See `stores.read()`."""
    from openai_project_guard._registry.registry import Registry

    return Registry.from_file(address)


def find(address: str) -> StoredState:
    """See `stores.find()`."""
    from openai_project_guard._registry.file.edit import find

    return find(address)


def change(address: str, step: Callable[[Draft], T], *, create: bool = False) -> T:
    """See `stores.change()`."""
    from openai_project_guard._registry.file.edit import editing

    with editing(address, create=create) as draft:
        return step(draft)


def describe(address: str) -> FilePlace:
    """See `stores.describe()`."""
    from openai_project_guard._registry.file.place import FilePlace

    return FilePlace(address)
