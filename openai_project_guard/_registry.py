"""Who a key belongs to: the registry in memory. It holds fingerprints and hints, never a key."""

from __future__ import annotations

import re
import sys
from collections.abc import Iterable, Iterator
from threading import Lock
from typing import TYPE_CHECKING

from openai_project_guard._errors import ConfigurationError, forgetful
from openai_project_guard._forks import fork_safe
from openai_project_guard._key import RAW_KEY, digest, fingerprint_of, hint, refuse_unfit, shown

if TYPE_CHECKING:
    from os import PathLike

    from openai_project_guard._entry import Entry

_writing = fork_safe(Lock())

PROJECT_ID = re.compile(r"proj_[A-Za-z0-9_-]+")


class Place:
    """Where an entry stands, as an error message says it."""

    __slots__ = ("name",)

    def __init__(self, name: str) -> None:
        self.name = name

    def of(self, needle: str, project: str = "") -> str:
        """The place of one entry.

        Args:
            needle: its fingerprint or its service account.
            project: the id of its project; a key may stand under several.
        """
        del needle, project  # only a file has lines to look through
        return self.name


class Project:
    """One project of the registry, as one source describes it. It is never changed."""

    __slots__ = ("alias", "header", "id", "organization", "place")

    def __init__(
        self, named: str, place: Place, alias: str | None = None, organization: str | None = None
    ) -> None:
        self.id = named
        self.place = place
        self.alias = alias
        self.organization = organization
        self.header = named.encode()  # as a call carries it

    def is_like(self, other: Project) -> bool:
        """Whether it says the same, at the same place."""
        mine = (self.id, self.place.name, self.alias, self.organization)
        return mine == (other.id, other.place.name, other.alias, other.organization)


class Row:
    """One key of one project, as small as it can be: there may be a million of them."""

    __slots__ = ("_hint", "note", "project")

    def __init__(self, project: Project, hint: str, note: str | None = None) -> None:
        self.project = project
        # As text, its one `…` would make every character two bytes wide.
        self._hint = hint.encode(errors="surrogatepass")
        self.note = note

    @property
    def hint(self) -> str:
        """What may be shown of the key."""
        return self._hint.decode(errors="surrogatepass")


class Snapshot:
    """What a registry holds at one moment. Readers take no lock: it is swapped whole."""

    __slots__ = ("accounts", "projects", "rows")

    def __init__(self) -> None:
        self.rows: dict[bytes, Row | tuple[Row, ...]] = {}
        self.accounts: dict[str, tuple[Row, ...]] = {}
        self.projects: dict[str, Project] = {}

    def add_project(self, project: Project, service_accounts: Iterable[str] = ()) -> None:
        """Makes the project known by its id, its alias and its service accounts."""
        self.projects[project.id] = project
        if project.alias is not None:
            self.projects[project.alias] = project
        for account in service_accounts:
            row = Row(project, f"service account {account}")
            self.accounts[account] = (*self.accounts.get(account, ()), row)

    def add_key(self, key_digest: bytes, row: Row) -> None:
        """Binds a key to a project; a legacy user key may stand under several."""
        known = self.rows.get(key_digest)
        if known is None or (isinstance(known, Row) and known.project.id == row.project.id):
            self.rows[key_digest] = row
        else:
            others = (known,) if isinstance(known, Row) else known
            self.rows[key_digest] = (
                *(other for other in others if other.project.id != row.project.id),
                row,
            )


class Registry:
    """The projects and their keys. Safe to share between threads.

    Args:
        None. An empty registry is filled with `register()`; `Registry.from_file()` reads one.

    Example:
        >>> registry = Registry()
        >>> registry.register("sk-proj-0123456789Ab3d", "proj_support")
        >>> [entry.project for entry in registry.lookup("sk-proj-0123456789Ab3d")]
        ['proj_support']
        >>> registry
        <Registry: 1 key, 1 project>
    """

    __slots__ = ("snapshot",)

    def __init__(self) -> None:
        self.snapshot = Snapshot()

    @classmethod
    @forgetful
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
        from openai_project_guard._sources.file import read

        registry = cls()
        registry.snapshot = read(path)
        return registry

    @forgetful
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
            ConfigurationError: the key is empty or unfit, the project is no project id, or the
                note or the organization has a key in it.

        Example:
            >>> Registry().register("sk-proj-0123456789Ab3d", "proj_support", note="CI runner")
        """
        refuse_unfit(key, note, organization)
        known = self.snapshot.projects.get(project) if isinstance(project, str) else None
        self.add(
            digest(key),
            Project(
                known.id if known else refuse_unfit_project(project),
                place=Place(sys.intern(f"register() at {_calling_line()}")),
                alias=known.alias if known else None,
                organization=organization or (known.organization if known else None),
            ),
            hint(key),
            note,
        )

    @forgetful
    def lookup(self, key: str) -> tuple[Entry, ...]:
        """The entries of a key: one, none, or several for a legacy user key.

        Args:
            key: the API key itself.

        Example:
            >>> Registry().lookup("sk-proj-0123456789Ab3d")
            ()
        """
        if not isinstance(key, str):
            raise ConfigurationError(f"A key must be a string, not {type(key).__name__}.")
        found = digest(key)
        return tuple(_entry(found, row) for row in rows_of((self,), found))

    def __len__(self) -> int:
        return sum(1 if isinstance(row, Row) else len(row) for row in self._all().values())

    def __iter__(self) -> Iterator[Entry]:
        for key_digest, rows in self._all().items():
            for row in (rows,) if isinstance(rows, Row) else rows:
                yield _entry(key_digest, row)

    def __bool__(self) -> bool:
        return True  # an empty registry is still a registry, not a missing one

    def __repr__(self) -> str:
        keys, projects = len(self), len({entry.project for entry in self})
        return f"<Registry: {_count(keys, 'key')}, {_count(projects, 'project')}>"

    def _all(self) -> dict[bytes, Row | tuple[Row, ...]]:
        return self.snapshot.rows.copy()  # another thread may register meanwhile

    def add(self, key_digest: bytes, project: Project, key_hint: str, note: str | None) -> None:
        """Adds a key by its digest."""
        with _writing:
            known = self.snapshot.projects.get(project.id)
            if known is None:
                self.snapshot.add_project(project)
            elif known.is_like(project):
                project = known  # one for all the keys that one line of code registers
            self.snapshot.add_key(key_digest, Row(project, key_hint, note))


def rows_of(registries: Iterable[Registry], key_digest: bytes) -> tuple[Row, ...]:
    """The rows of a key in several registries; any of them makes its project pass."""
    found: tuple[Row, ...] = ()
    for registry in registries:
        row = registry.snapshot.rows.get(key_digest)
        if row is not None:
            found += (row,) if isinstance(row, Row) else row
    return found


def rows_of_account(registries: Iterable[Registry], account: str) -> tuple[Row, ...]:
    """The rows of a workload identity's service account."""
    return tuple(
        row for registry in registries for row in registry.snapshot.accounts.get(account, ())
    )


def is_project_id(value: str) -> bool:
    """Whether this is `proj_` and letters, digits, `_`, `-`, and no key pasted behind it."""
    return PROJECT_ID.fullmatch(value) is not None and not RAW_KEY.search(value)


def project_id(registries: Iterable[Registry], name: str, said: str = "project=") -> str:
    """The id behind an id or an alias; `said` is how an error calls the place that named it.

    Raises:
        ConfigurationError: it is neither a project id nor an alias that a registry knows.
    """
    known: list[str] = []
    for registry in registries:
        project = registry.snapshot.projects.get(name) if isinstance(name, str) else None
        if project is not None:
            return project.id
        known += [project.alias for project in registry.snapshot.projects.values() if project.alias]
    if isinstance(name, str) and is_project_id(name):
        return name
    known = sorted(set(known))
    aliases = (
        f"the {'alias' if len(known) == 1 else 'aliases'} {', '.join(known)}"
        if known
        else "no alias"
    )
    raise ConfigurationError(
        f"{said} {shown(name)} is neither a project id (proj_ and letters, digits, _ or -) "
        f"nor a known alias. The registry has {aliases}."
    )


def refuse_unfit_project(value: object) -> str:
    """The project id itself, if it is one.

    Raises:
        ConfigurationError: it is not `proj_` and letters, digits, `_`, `-`.
    """
    if isinstance(value, str) and is_project_id(value):
        return value
    raise ConfigurationError(
        f"{shown(value)} is not a project id. A project id is proj_ and letters, digits, _ or -, "
        "as the project's settings page shows it; it is not the project's name."
    )


def _entry(key_digest: bytes, row: Row) -> Entry:
    from openai_project_guard._entry import Entry

    fingerprint = fingerprint_of(key_digest)
    project = row.project
    return Entry(
        fingerprint=fingerprint,
        hint=row.hint,
        project=project.id,
        alias=project.alias,
        organization=project.organization,
        note=row.note,
        place=project.place.of(fingerprint, project.id),
    )


def _count(number: int, thing: str) -> str:
    return f"{number} {thing}{'' if number == 1 else 's'}"


def _calling_line() -> str:
    """File and line of the caller outside this package."""
    frame = sys._getframe(1)
    while frame.f_back and frame.f_globals.get("__name__", "").startswith(__package__ + "."):
        frame = frame.f_back
    return f"{frame.f_code.co_filename}:{frame.f_lineno}"
