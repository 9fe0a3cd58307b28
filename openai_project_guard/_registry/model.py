"""What a registry holds in memory: projects, and the fingerprints of their keys. Never a key."""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import TYPE_CHECKING

from openai_project_guard._errors import ConfigurationError
from openai_project_guard._keys import RAW_KEY, shown

if TYPE_CHECKING:
    from openai_project_guard._registry.registry import Registry

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
