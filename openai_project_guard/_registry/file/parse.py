"""The registry file, `openai-projects.toml`: reads it, and says what is wrong with it and where.

Two things shape this module. A file that is not valid may hold a raw key, so no error may be
raised from a frame that holds what was read: the reader lists its mistakes, `parse()` raises the
first. And lines cost time that only a mistake should pay, so they are looked up afterwards.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Iterable
from typing import Any, NamedTuple, TypeVar

from openai_project_guard._errors import RegistryError
from openai_project_guard._keys import digest, find_key, is_secret
from openai_project_guard._registry import validate
from openai_project_guard._registry.file.lines import Lines, Path
from openai_project_guard._registry.file.mistakes import (
    Mistake,
    conflicts,
    spelled_path,
    syntax_error,
)
from openai_project_guard._registry.file.place import FilePlace, load
from openai_project_guard._registry.model import KeyRecord, Project, Snapshot
from openai_project_guard._registry.validate import FieldError

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

T = TypeVar("T")
_FIELDS = ("version", "projects")
_PROJECT_FIELDS = ("id", "organization", "service_accounts", "keys")
_KEY_FIELDS = ("fingerprint", "hint", "note")
_LARGEST_SHOWN = 10**9
_MOST_PARTS = 200  # of a name in dots


class _FieldMistake(NamedTuple):
    """A mistake in a field whose line is not looked up yet."""

    field: Path
    message: str
    first: Path | None = None  # of a thing that may be there once: where it is already


def read(path: str | os.PathLike[str]) -> Snapshot:
    """What a registry file holds.

    Raises:
        RegistryError: the file cannot be read or is not valid.
    """
    place = FilePlace(path)
    return parse(load(place), place)


def parse(data: bytes, place: FilePlace) -> Snapshot:
    """What the content of a registry file says.

    Raises:
        RegistryError: it is not valid; the message names file, line and field.
    """
    snapshot, mistakes = _read(data, place, 1)
    if not mistakes:
        return snapshot
    data = b""  # there may be a raw key in it
    line, message = mistakes[0]
    raise RegistryError(f"{place.at(line) if line else place.name}: {message}")


def find_mistakes(path: str | os.PathLike[str]) -> list[Mistake]:
    """All that is wrong with a registry file, in the order of its lines; nothing if it is valid.

    Args:
        path: the file.

    Example:
        >>> [mistake.line for mistake in find_mistakes("openai-projects.toml")]  # doctest: +SKIP
        [4, 12]
    """
    place = FilePlace(path)
    try:
        data = load(place)
    except RegistryError as error:
        return [Mistake(None, str(error).removeprefix(f"{place.name}: "))]
    return sorted(_read(data, place)[1], key=lambda mistake: mistake.line or 0)


def _read(data: bytes, place: FilePlace, most: int | None = None) -> tuple[Snapshot, list[Mistake]]:
    """What the content says, and what is wrong with it, up to so many mistakes."""
    reader = Reader(place)
    if not data.strip():
        return reader.snapshot, [Mistake(1, "version: it is missing; the file is empty.")]
    try:
        text = data.decode("utf-8-sig")  # an editor on Windows may have left its mark in front
    except UnicodeDecodeError as error:
        line = data.count(b"\n", 0, error.start) + 1
        return reader.snapshot, [
            Mistake(line, "this is not UTF-8. Save the file as UTF-8 text."),
        ]
    deep = _line_with_too_many_parts(text)
    if deep:
        return reader.snapshot, [Mistake(deep, f"there are more than {_MOST_PARTS} dots in it.")]
    try:
        found = tomllib.loads(text)
    except (ValueError, RecursionError) as error:  # TOMLDecodeError is a ValueError
        return reader.snapshot, conflicts(text) or [syntax_error(error, text)]
    reader.read(found)
    if not reader.mistakes:
        return reader.snapshot, []
    lines = Lines(text)
    mistakes = []
    for field, message, first in reader.mistakes[:most]:
        text = f"{spelled_path(field, reader.is_key)}: {message}"
        if first:
            text += f" The first is {spelled_path(first, reader.is_key)}, line {lines.of(first)}."
        mistakes.append(Mistake(lines.of(field), text))
    return reader.snapshot, mistakes


def _line_with_too_many_parts(text: str) -> int | None:
    """The line of a name that would take minutes: for each of its parts tomllib looks at all."""
    if text.count(".") > _MOST_PARTS:
        for number, line in enumerate(text.split("\n"), start=1):
            if line.count(".") > _MOST_PARTS:
                return number
    return None


class Reader:
    """Makes a snapshot of what the decoder found, and lists what is wrong with it."""

    def __init__(self, place: FilePlace) -> None:
        self._place = place
        self.snapshot = Snapshot()
        self.mistakes: list[_FieldMistake] = []

    def read(self, found: dict[str, Any]) -> None:
        """Reads the file's outermost table."""
        self._check_names((), found, _FIELDS)
        if "version" not in found:
            self._add(("version",), "it is missing; the file begins with version = 1.")
        else:
            version = self._checked(("version",), validate.typed, found["version"], int)
            if version not in (None, 1):
                # Python writes no number of more than 4,300 digits.
                other = f"version {version}" if abs(version) < _LARGEST_SHOWN else "this"
                self._add(("version",), f"this release reads version 1 of the format, not {other}.")
                return  # whose fields may be others
        projects = self._checked(("projects",), validate.typed, found.get("projects", {}), dict)
        for name, table in (projects or {}).items():
            self.read_project(name, table)
        for name in filter(self.is_key, projects or ()):
            self._add(("projects", name), f"its name is a raw key. {validate.NO_KEY_HERE}")

    def is_key(self, name: str) -> bool:
        """Whether this is a key of the registry itself."""
        return is_secret(name) and digest(name) in self.snapshot.keys

    def read_project(self, name: str, table: Any) -> None:
        """Reads one project's table."""
        path = ("projects", name)
        if self._checked(path, validate.typed, table, dict) is None:
            return
        self._check_names(path, table, _PROJECT_FIELDS)
        project_id = None
        if "id" in table:
            project_id = self._checked((*path, "id"), validate.project_id, table["id"])
        else:
            self._add((*path, "id"), 'it is missing; give the project\'s id: id = "proj_…".')
        # A project without an alias has its own id for the table's name.
        alias = None if name == project_id else self._checked(path, validate.alias, name)
        known = self.snapshot.projects.get(project_id or "")
        if known:
            self._add(
                (*path, "id"),
                f"the project {project_id} is in the file twice; move its keys into one table.",
                ("projects", known.alias or known.id, "id"),
            )
        organization = table.get("organization")
        if organization is not None:
            field = (*path, "organization")
            organization = self._checked(field, validate.organization, organization)
        # The keys of a project without an id are looked at for their own mistakes.
        project = Project(project_id or "", self._place, alias, organization)
        accounts = self._accounts(table.get("service_accounts", []), (*path, "service_accounts"))
        if project_id and not known:
            self.snapshot.add_project(project, accounts)
        self._read_keys(project, table.get("keys", []), (*path, "keys"))

    def _accounts(self, found: Any, path: Path) -> Iterable[str]:
        accounts: dict[str, int] = {}  # with the position of each
        for position, value in enumerate(self._checked(path, validate.typed, found, list) or ()):
            field = (*path, position)
            account = self._checked(field, validate.service_account, value)
            if account is None:
                continue
            if account in accounts:
                first = (*path, accounts[account])
                self._add(field, "this service account is in the project twice.", first)
            elif records := self.snapshot.accounts.get(account):
                other = records[0].project
                self._add(
                    field,
                    "this service account is in two projects, and a call could be either's. "
                    "Leave it where it belongs.",
                    ("projects", other.alias or other.id, "service_accounts"),
                )
            accounts.setdefault(account, position)
        return accounts

    def _read_keys(self, project: Project, keys: Any, path: Path) -> None:
        before: dict[bytes, int] = {}
        for position, key in enumerate(self._checked(path, validate.typed, keys, list) or ()):
            # 20,000 times in a large file: what is wrong is looked at closely only then.
            try:
                key_digest = validate.fingerprint(key["fingerprint"])
                hint, note = key.get("hint", ""), key.get("note")
                if hint != "":
                    validate.hint(hint, key_digest)
                if note is not None:
                    validate.note(note, key_digest)
                is_fit = key_digest not in before and len(key) == 1 + ("hint" in key) + (
                    note is not None
                )
            except (FieldError, LookupError, TypeError):
                is_fit = False
            if is_fit:
                before[key_digest] = position
                self.snapshot.add_key(key_digest, KeyRecord(project, hint, note))
            else:
                self._explain_key(key, (*path, position), before)

    def _explain_key(self, key: Any, path: Path, before: dict[bytes, int]) -> None:
        """Lists what is wrong with a key."""
        if isinstance(key, str):
            self._add(path, 'a key is written { fingerprint = "sha256:…" }, not as a string.')
            return
        if self._checked(path, validate.typed, key, dict) is None:
            return
        self._check_names(path, key, _KEY_FIELDS)
        field = (*path, "fingerprint")
        if "fingerprint" not in key:
            self._add(field, f"it is missing. {validate.HOW_TO_FINGERPRINT}")
        key_digest = None
        if "fingerprint" in key:
            key_digest = self._checked(field, validate.fingerprint, key["fingerprint"])
        if key_digest in before:
            first = (*path[:-1], before[key_digest], "fingerprint")
            self._add(field, "this fingerprint is in the project twice.", first)
        self._checked((*path, "hint"), validate.hint, key.get("hint", ""), key_digest or b"")
        if "note" in key:
            self._checked((*path, "note"), validate.note, key["note"], key_digest or b"")

    def _check_names(self, path: Path, table: dict[str, Any], known: tuple[str, ...]) -> None:
        for name in table:
            if find_key(name):
                self._add((*path, name), f"there is a raw key here. {validate.NO_KEY_HERE}")
            elif name not in known:
                self._add(
                    (*path, name),
                    f"there is no such field here; there are {', '.join(known)}.",
                )

    def _checked(self, field: Path, rule: Callable[..., T], value: Any, *more: Any) -> T | None:
        """The value as the rule gives it; `None`, and a mistake, if the rule refuses it."""
        try:
            return rule(value, *more)
        except FieldError as error:
            self._add(field, str(error))
        return None

    def _add(self, field: Path, message: str, first: Path | None = None) -> None:
        self.mistakes.append(_FieldMistake(field, message, first))
