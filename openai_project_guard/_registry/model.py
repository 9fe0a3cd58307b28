"""What a registry holds in memory: projects, and the fingerprints of their keys. Never a key."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from functools import partial
from typing import NamedTuple, Protocol

from openai_project_guard._errors import ConfigurationError
from openai_project_guard._keys import fingerprint_of, shown, without_known_keys
from openai_project_guard._registry.validate import is_project_id

LEARNED = "learned"
"""The note of a key that no administrator has registered."""
LEARNED_PLACE = "what was learned from the server's answer"
"""What the place of such a key is called in the memory of the process that learned it."""


class HasSnapshot(Protocol):
    """A registry, as far as looking things up in it goes."""

    @property
    def snapshot(self) -> Snapshot:
        """What it holds at this moment."""
        ...


class Place:
    """Where an entry stands, as an error message says it.

    Attributes:
        name: what the place is called.
        address: the registry that a command changes there, as `--registry` takes it, without a
            password; `None` where no command reaches, as in code.
    """

    __slots__ = ("address", "name")

    def __init__(self, name: str, address: str | None = None) -> None:
        self.name = name
        self.address = address

    def of(self, needle: str, project: str, *, is_listed: bool = False) -> str:
        """The place of one entry.

        Args:
            needle: its fingerprint or its service account.
            project: the id of its project; a key may be registered for several.
            is_listed: whether the places of all entries are asked for. Default: no.
        """
        del needle, project, is_listed  # only a file has lines to look through
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

    @property
    def label(self) -> str:
        """What people call it, such as `support-bot (proj_5fPqTn0w)`."""
        return label(self.id, self.alias)

    def is_like(self, other: Project) -> bool:
        """Whether it says the same, at the same place."""
        mine = (self.id, self.place.name, self.alias, self.organization)
        return mine == (other.id, other.place.name, other.alias, other.organization)


class KeyRecord:
    """One key of one project, as small as it can be: there may be a million of them.

    Attributes:
        project: the project that it is registered for.
        note: whatever was noted with it.
    """

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

    @property
    def service_account(self) -> str | None:
        """The service account's id, where this is one and not a key."""
        return None


class _AccountRecord(KeyRecord):
    __slots__ = ("_account",)

    def __init__(self, project: Project, account: str) -> None:
        super().__init__(project, "")
        self._account = account

    @property
    def service_account(self) -> str:
        return self._account


class ProjectFields(NamedTuple):
    """What a registry says of a project beside its id."""

    alias: str | None = None
    organization: str | None = None
    service_accounts: tuple[str, ...] = ()


class KeyBinding(NamedTuple):
    """What a registry says of a key, for one project that it is registered for."""

    hint: str = ""
    note: str | None = None


KeyBindings = dict[str, KeyBinding]
"""A key's bindings by project. None at all: the entry is there, but not valid."""
Listing = tuple[dict[str, ProjectFields], dict[str, KeyBindings]]
"""Projects by id, and keys by fingerprint."""
ProjectAndKeys = tuple[ProjectFields, dict[str, KeyBinding]]
ByProject = dict[str, ProjectAndKeys]
"""The same as a file has it: a project, and its keys by fingerprint."""


class Snapshot:
    """What a registry holds at one moment. Readers take no lock: it is swapped whole.

    Attributes:
        keys: the records of each key, by its digest; mostly there is one.
        accounts: the records of each service account, by its id.
        projects: the projects, by id and by alias.
    """

    __slots__ = ("accounts", "keys", "projects")

    def __init__(self) -> None:
        self.keys: dict[bytes, KeyRecord | tuple[KeyRecord, ...]] = {}
        self.accounts: dict[str, tuple[KeyRecord, ...]] = {}
        self.projects: dict[str, Project] = {}

    def copy(self) -> Snapshot:
        """Another one that holds the same."""
        copied = Snapshot()
        copied.keys = self.keys.copy()
        copied.accounts = self.accounts.copy()
        copied.projects = self.projects.copy()
        return copied

    def records(self, key_digest: bytes) -> tuple[KeyRecord, ...]:
        """The records of a key."""
        found = self.keys.get(key_digest, ())
        return (found,) if isinstance(found, KeyRecord) else found

    def add_project(self, project: Project, service_accounts: Iterable[str] = ()) -> None:
        """Makes the project known by its id, its alias and its service accounts."""
        self.projects[project.id] = project
        if project.alias is not None:
            self.projects[project.alias] = project
        for account in service_accounts:
            record = _AccountRecord(project, account)
            self.accounts[account] = (*self.accounts.get(account, ()), record)

    def add_key(self, key_digest: bytes, record: KeyRecord) -> None:
        """Registers a key for a project; a legacy user key may be registered for several."""
        known = self.records(key_digest)
        others = [other for other in known if other.project.id != record.project.id]
        self.keys[key_digest] = (*others, record) if others else record


def label(project_id: str, alias: str | None) -> str:
    """What people call a project: its alias and its id, or the id alone."""
    return f"{alias} ({project_id})" if alias else project_id


def listing(snapshot: Snapshot) -> Listing:
    """A snapshot's projects by id, and its keys by fingerprint."""
    accounts: dict[str, list[str]] = {}
    for account, records in snapshot.accounts.items():
        accounts.setdefault(records[0].project.id, []).append(account)
    projects = {
        project.id: ProjectFields(
            project.alias, project.organization, tuple(accounts.get(project.id, ()))
        )
        for project in snapshot.projects.values()
    }
    keys = {
        fingerprint_of(key_digest): {
            record.project.id: KeyBinding(record.hint, record.note)
            for record in snapshot.records(key_digest)
        }
        for key_digest in snapshot.keys
    }
    return projects, keys


def by_project(listing: Listing) -> ByProject:
    """The same, project by project."""
    projects: ByProject = {project: (fields, {}) for project, fields in listing[0].items()}
    for fingerprint, bindings in listing[1].items():
        for project, binding in bindings.items():
            projects[project][1][fingerprint] = binding
    return projects


def records_of(registries: Iterable[HasSnapshot], key_digest: bytes) -> tuple[KeyRecord, ...]:
    """The records of a key in several registries; any of them makes its project pass."""
    return tuple(
        record for registry in registries for record in registry.snapshot.records(key_digest)
    )


def is_registered(registries: Iterable[HasSnapshot], key_digest: bytes) -> bool:
    """Whether one of the registries has the key with this digest."""
    return bool(records_of(registries, key_digest))


def records_of_account(registries: Iterable[HasSnapshot], account: str) -> tuple[KeyRecord, ...]:
    """The records of a workload identity's service account."""
    return tuple(
        record for registry in registries for record in registry.snapshot.accounts.get(account, ())
    )


def project_id(registries: Sequence[HasSnapshot], name: str, argument: str = "project=") -> str:
    """The id behind an id or an alias; `argument` is what an error calls the place of the name.

    Raises:
        ConfigurationError: it is neither a project id nor an alias that a registry knows.
    """
    for registry in registries:
        project = registry.snapshot.projects.get(name) if isinstance(name, str) else None
        if project is not None:
            return project.id
    if isinstance(name, str) and is_project_id(name):
        return name
    # Copied, for another thread may register a key of one more project meanwhile.
    projects = [
        known for registry in registries for known in [*registry.snapshot.projects.values()]
    ]
    known = sorted({project.alias for project in projects if project.alias})
    aliases = (
        f"The registry has the {'alias' if len(known) == 1 else 'aliases'} {', '.join(known)}"
        if known
        else "No registry has an alias"
    )
    without_keys = without_known_keys(shown(name), partial(is_registered, registries))
    raise ConfigurationError(
        f"{argument} {without_keys} is neither a project id (proj_ and letters, digits, _ or -) "
        f"nor a known alias. {aliases}."
    )
