"""`Registry`: who a key belongs to. It holds fingerprints and hints, never a key."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from os import PathLike
from threading import RLock

from openai_project_guard._errors import ConfigurationError, hide_frames
from openai_project_guard._forks import fork_safe
from openai_project_guard._keys import digest, fingerprint_of, hint, redact, validate_key
from openai_project_guard._registry import validate
from openai_project_guard._registry.entry import Entry
from openai_project_guard._registry.model import KeyRecord, Place, Project, Snapshot
from openai_project_guard._registry.validate import validate_argument, validate_project_id

_writing = fork_safe(RLock())  # a signal handler may register a key meanwhile


class Registry:
    """The projects and their keys. Safe to share between threads.

    A new one is empty: `register()` fills it, `Registry.from_file()` reads one from a file.

    Args:
        place: what an error calls the place where its keys are to be corrected, such as the URL of
            a vault; what looks like a password in it is not shown. Default: of each key, the line
            of code that registered it.

    Example:
        >>> registry = Registry()
        >>> registry.register("sk-proj-0123456789Ab3d", "proj_support")
        >>> [entry.project for entry in registry.lookup("sk-proj-0123456789Ab3d")]
        ['proj_support']
        >>> registry
        <Registry: 1 key, 1 project>
    """

    __slots__ = ("_place", "snapshot")

    def __init__(self, *, place: str | None = None) -> None:
        self.snapshot = Snapshot()
        self._place = None if place is None else Place(redact(place))

    @classmethod
    @hide_frames
    def from_file(cls, path: str | PathLike[str]) -> Registry:
        """Reads a registry file (`openai-projects.toml`).

        Args:
            path: the file.

        Raises:
            RegistryError: the file cannot be read or is not valid; it names file, line and field.

        Example:
            >>> len(Registry.from_file("openai-projects.toml"))  # doctest: +SKIP
            12
        """
        from openai_project_guard._registry.file.parse import read

        registry = cls()
        registry.snapshot = read(path)
        return registry

    @hide_frames
    def register(
        self,
        key: str,
        project: str,
        *,
        organization: str | None = None,
        note: str | None = None,
    ) -> None:
        """Adds a key. Only its fingerprint and its hint are kept.

        Args:
            key: the API key itself.
            project: the id of the project it belongs to, or an alias this registry knows.
            organization: the organization's id, checked on each call when given.
            note: whatever helps to recognise the key later.

        Raises:
            ConfigurationError: the key cannot be registered, the project or the organization is no
                id of one, or the note has a key in it.

        Example:
            >>> Registry().register("sk-proj-0123456789Ab3d", "proj_support", note="CI runner")
        """
        validate_key(key, note, organization)
        if organization:
            validate_argument("organization", validate.organization, organization)
        if note:
            validate_argument("note", validate.text, note)
        known = self.snapshot.projects.get(project) if isinstance(project, str) else None
        self.add(
            digest(key),
            Project(
                known.id if known else validate_project_id(project),
                place=self._place or Place(sys.intern(f"register() at {_calling_line()}")),
                alias=known.alias if known else None,
                organization=organization or (known.organization if known else None),
            ),
            hint(key),
            note,
        )

    @hide_frames
    def lookup(self, key: str) -> tuple[Entry, ...]:
        """The entries of a key: one, none, or several for a legacy user key.

        Args:
            key: the API key itself.

        Raises:
            ConfigurationError: the key is no string.

        Example:
            >>> Registry().lookup("sk-proj-0123456789Ab3d")
            ()
        """
        if not isinstance(key, str):
            raise ConfigurationError(f"A key must be a string, not {type(key).__name__}.")
        found = digest(key)
        return tuple(_entry(found, record) for record in self.snapshot.records(found))

    def __len__(self) -> int:
        """How many entries there are: a key of two projects has two."""
        return sum(1 for _ in self._records())

    def __iter__(self) -> Iterator[Entry]:
        return (_entry(*found, is_listed=True) for found in self._records())

    def __bool__(self) -> bool:
        return True  # an empty registry is still a registry, not a missing one

    def __repr__(self) -> str:
        keys, projects = (
            len(self.snapshot.keys),
            {record.project.id for _, record in self._records()},
        )
        return f"<Registry: {_count(keys, 'key')}, {_count(len(projects), 'project')}>"

    def _records(self) -> Iterator[tuple[bytes, KeyRecord]]:
        snapshot = self.snapshot
        for key_digest in list(snapshot.keys):  # another thread may register meanwhile
            for record in snapshot.records(key_digest):
                yield key_digest, record

    def add(self, key_digest: bytes, project: Project, key_hint: str, note: str | None) -> None:
        """Adds a key by its digest."""
        with _writing:
            known = self.snapshot.projects.get(project.id)
            if known is None:
                self.snapshot.add_project(project)
            elif known.is_like(project):
                project = known  # one for all the keys that one line of code registers
            self.snapshot.add_key(key_digest, KeyRecord(project, key_hint, note))


def _entry(key_digest: bytes, record: KeyRecord, *, is_listed: bool = False) -> Entry:
    fingerprint = fingerprint_of(key_digest)
    project = record.project
    return Entry(
        fingerprint=fingerprint,
        hint=record.hint,
        project=project.id,
        alias=project.alias,
        organization=project.organization,
        note=record.note,
        place=project.place.of(fingerprint, project.id, is_listed=is_listed),
    )


def _count(number: int, thing: str) -> str:
    return f"{number} {thing}{'' if number == 1 else 's'}"


def _calling_line() -> str:
    """File and line of the caller outside this package."""
    frame = sys._getframe(1)
    while frame.f_back and frame.f_globals.get("__name__", "").startswith("openai_project_guard."):
        frame = frame.f_back
    return f"{frame.f_code.co_filename}:{frame.f_lineno}"
