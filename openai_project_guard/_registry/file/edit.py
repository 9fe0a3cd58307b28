"""Writes a draft into a registry file, and keeps all else in the file as it is."""

from __future__ import annotations

import os
from contextlib import ExitStack, contextmanager
from hashlib import sha256
from typing import TYPE_CHECKING

from openai_project_guard._errors import RegistryError
from openai_project_guard._registry.changes import Draft, StoredState
from openai_project_guard._registry.file.atomic import locked, replace
from openai_project_guard._registry.file.layout import (
    Layout,
    TableEdit,
    other_fields,
    spelled,
    written_project,
)
from openai_project_guard._registry.file.parse import parse
from openai_project_guard._registry.file.place import LARGEST, FilePlace, load
from openai_project_guard._registry.model import KeyBinding, KeyBindings, Snapshot, listing

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

_EMPTY = b"version = 1\n"


def find(path: str) -> StoredState:
    """See `stores.find()`."""
    place = FilePlace(path)
    if not os.path.exists(place.path):
        return StoredState(None, Snapshot())
    data, snapshot = _read(place)
    return StoredState(_version(data), snapshot)


@contextmanager
def editing(path: str | os.PathLike[str], *, create: bool = False) -> Iterator[Draft]:
    """Several changes in one step: all are written at the end, or none after an error.

    Args:
        path: the file; of a symlink, the file behind it is replaced.
        create: make the file, and its directory, where they are missing.

    Raises:
        RegistryError: the file is not valid or cannot be written.
    """
    place = FilePlace(path)
    place.path = os.path.realpath(place.path)  # a symlink stays, the file behind it is replaced
    with ExitStack() as stack:
        with _as_registry_error(place):
            if create:
                os.makedirs(os.path.dirname(place.path), mode=0o700, exist_ok=True)
            elif not os.path.exists(place.path):
                load(place)  # says so, and leaves no lock beside it
            stack.enter_context(locked(place.path))
        stored = _StoredInFile(place, create=create)
        draft = Draft(stored)
        yield draft
        with _as_registry_error(place):
            stored.replace(draft)


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


class _StoredInFile:
    """What stands in the file; see `changes.StoredRegistry`.

    Beside the text it keeps what the file says, and `replace()` compares the two before the file
    is put in place: whatever the layout, nothing is lost or invented.
    """

    word = "file"

    def __init__(self, place: FilePlace, *, create: bool) -> None:
        self.place = place
        is_new = create and not os.path.exists(place.path)
        data, snapshot = (_EMPTY, Snapshot()) if is_new else _read(place)
        self.version = None if is_new else _version(data)
        self.projects, self._keys = listing(snapshot)
        self.unfit = ()  # a file that is not in order is not changed at all
        self._layout = Layout(data, place)

    def key(self, fingerprint: str) -> KeyBindings | None:
        return self._keys.get(fingerprint)

    def keys(self) -> Iterable[str]:
        return self._keys

    def keys_of(self, projects: set[str]) -> Iterable[str]:
        return (name for name, binding in self._keys.items() if not projects.isdisjoint(binding))

    def rename(self, name: str) -> str:
        return f"[projects.{spelled(name)}]; rename that table to change the alias"

    def replace(self, draft: Draft) -> None:
        """Puts the changed file in place of the old one, if there was a change.

        Raises:
            RegistryError: a change makes the file invalid, or its layout cannot take it.
            OSError: the file cannot be written.
        """
        if not draft.changed:
            return
        tables, new_projects = self._tables(draft)
        self._layout.change(tables)
        data = self._layout.data(new_projects)
        keys = {**self._keys, **dict(draft.new_keys())}
        wanted = (draft.projects, {name: binding for name, binding in keys.items() if binding})
        problem = None
        try:
            if len(data) > LARGEST:
                problem = RegistryError(
                    f"{self.place.name}: the file would be larger than {LARGEST >> 20} MiB, and no "
                    "process would read it. Nothing was written."
                )
            elif listing(parse(data, self.place)) != wanted:
                problem = self._layout.refusal("this file")
        except RegistryError as error:
            problem = RegistryError(f"Nothing was written, for the file would be wrong. {error}")
        if problem:
            data = b""  # a comment may hold anything
            raise problem
        replace(self.place.path, data)

    def _tables(self, draft: Draft) -> tuple[dict[str, TableEdit | None], list[str]]:
        """What becomes of the tables, by name, and those to come."""
        tables: dict[str, TableEdit | None] = {}
        names: dict[str, str] = {}  # of the tables that stay
        coming: dict[str, dict[str, KeyBinding]] = {}
        for project, old in self.projects.items():
            fields, name = draft.projects.get(project), old.alias or project
            if fields is not None and fields.alias == old.alias:
                names[project] = name
                if fields != old:
                    before, after = other_fields(old), other_fields(fields)
                    new = {field: after[field] for field in after if after[field] != before[field]}
                    tables[name] = TableEdit(new, {})
            else:
                tables[name] = None
        coming = {project: {} for project in draft.projects if project not in names}
        for fingerprint, bindings in draft.looked_at():
            before_of, after_of = self._keys.get(fingerprint) or {}, bindings or {}
            for project in {**before_of, **after_of}:
                binding = after_of.get(project)
                if project in coming and binding:
                    coming[project][fingerprint] = binding
                elif project in names and before_of.get(project) != binding:
                    edit = tables.setdefault(names[project], TableEdit({}, {}))
                    assert edit is not None
                    edit.keys[fingerprint] = binding
        new_projects = [
            written_project(project, draft.projects[project], keys)
            for project, keys in coming.items()
        ]
        return tables, new_projects


def _read(place: FilePlace) -> tuple[bytes, Snapshot]:
    data = load(place)
    try:
        return data, parse(data, place)
    except RegistryError as error:
        data = b""  # a raw key may stand in it
        raise error.with_traceback(None) from None


def _version(data: bytes) -> str:
    return sha256(data).hexdigest()
