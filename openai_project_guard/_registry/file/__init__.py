"""The registry in a file: the store for addresses that are paths; see `stores.Store`."""

from __future__ import annotations

from typing import TYPE_CHECKING, TypeVar

from openai_project_guard._registry.file.place import FilePlace
from openai_project_guard._registry.file.watch import WatchedFile
from openai_project_guard._registry.registry import Registry

if TYPE_CHECKING:
    from collections.abc import Callable

    from openai_project_guard._registry.changes import Draft, StoredState

__all__ = ["change", "describe", "find", "open_source", "read"]
T = TypeVar("T")
open_source, read, describe = WatchedFile, Registry.from_file, FilePlace


def find(address: str) -> StoredState:
    """See `stores.find()`."""
    from openai_project_guard._registry.file.edit import find

    return find(address)


def change(address: str, step: Callable[[Draft], T], *, create: bool = False) -> T:
    """See `stores.change()`."""
    from openai_project_guard._registry.file.edit import change

    return change(address, step, create=create)
