"""Writes a draft into a registry file, and keeps all else in the file as it is."""

from __future__ import annotations

import os
from contextlib import ExitStack, contextmanager
from hashlib import sha256
from typing import TYPE_CHECKING, TypeVar

from openai_project_guard._errors import RegistryError
from openai_project_guard._registry.changes import Draft, StoredState
from openai_project_guard._registry.file.atomic import locked, replace
from openai_project_guard._registry.file.layout import Layout
from openai_project_guard._registry.file.parse import parse
from openai_project_guard._registry.file.place import LARGEST, FilePlace, load
from openai_project_guard._registry.model import Snapshot, by_project, listing

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

T = TypeVar("T")


def find(path: str) -> StoredState:
    """See `stores.find()`."""
    return _read(FilePlace(path), create=True)[1]


def change(path: str, step: Callable[[Draft], T], *, create: bool = False) -> T:
    """See `stores.change()`. Of a symlink, the file behind it is replaced."""
    place = FilePlace(path)
    place.path = os.path.realpath(place.path)
    with ExitStack() as stack:
        with _as_registry_error(place):
            if create:
                os.makedirs(os.path.dirname(place.path), mode=0o700, exist_ok=True)
            elif not os.path.exists(place.path):
                load(place)  # says so, and leaves no lock beside it
            stack.enter_context(locked(place.path))
        layout, stored = _read(place, create=create)
        draft = Draft(stored)
        result = step(draft)
        if draft.changed:
            layout.change(by_project(draft.old), by_project(draft.listing))
            with _as_registry_error(place):
                replace(place.path, _checked(layout, draft))
        return result


@contextmanager
def _as_registry_error(place: FilePlace) -> Iterator[None]:
    """Turns what the system says into an error of ours, without the frames that hold the file."""
    try:
        yield
    except OSError as error:
        reason = error.strerror or str(error)
        error.__traceback__ = None
        raise RegistryError(
            f"{place.name}: the file cannot be written ({reason}). It is as it was."
        ) from None


def _read(place: FilePlace, *, create: bool) -> tuple[Layout, StoredState]:
    data, snapshot, version = b"version = 1\n", Snapshot(), None
    if not create or os.path.exists(place.path):
        data = load(place)
        try:
            snapshot, version = parse(data, place), sha256(data).hexdigest()
        except RegistryError as error:
            data = b""  # a raw key may stand in it
            raise error.with_traceback(None) from None
    renaming = "rename its table to change the alias"
    return Layout(data, place), StoredState(
        place, version, snapshot, word="file", renaming=renaming
    )


def _checked(layout: Layout, draft: Draft) -> bytes:
    """The changed text, if it says just what the draft says: nothing is lost or invented.

    Raises:
        RegistryError: a change makes the file invalid, or its layout cannot take it.
    """
    data, place, problem = layout.data(), layout.place, None
    try:
        if len(data) > LARGEST:
            problem = RegistryError(
                f"{place.name}: the file would be larger than {LARGEST >> 20} MiB, and no process "
                "would read it. Nothing was written."
            )
        elif listing(parse(data, place)) != draft.listing:
            problem = layout.refusal("this file")
    except RegistryError as error:
        problem = RegistryError(f"Nothing was written, for the file would be wrong. {error}")
    if problem:
        data = b""  # a comment may hold anything
        raise problem
    return data
