"""A registry while it is changed: decides what a change makes of it, whoever writes it down."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal, NamedTuple, Protocol, TypeVar

from openai_project_guard._errors import RegistryError
from openai_project_guard._registry.model import KeyBinding, ProjectFields, label, listing
from openai_project_guard._registry.validate import is_project_id

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Iterator, Mapping

    from openai_project_guard._registry.model import KeyBindings, Place, Snapshot

Change = Literal["added", "updated", "unchanged"]
T = TypeVar("T")


class StoredState(NamedTuple):
    """A registry as it is stored somewhere, and what does not count there.

    Attributes:
        version: see `StoredRegistry`.
        snapshot: what is in order.
        faults: the entries that are refused, by name, with the reason.
    """

    version: str | None
    snapshot: Snapshot
    faults: Mapping[str, str] = {}


class StoredRegistry(Protocol):
    """A registry where it is stored, before it is changed.

    Attributes:
        word: `file` or `registry`, as errors call it.
        version: tells it from what was stored before or will be later; `None` where there is no
            registry yet.
        projects: those that are in order.
    """

    word: str
    version: str | None
    projects: dict[str, ProjectFields]

    @property
    def place(self) -> Place:
        """Where it is, as errors call it."""
        ...

    @property
    def unfit(self) -> Collection[str]:
        """The names of the projects that are not in order."""
        ...

    def key(self, fingerprint: str) -> KeyBindings | None:
        """The bindings of a key; `None` where it is not stored."""
        ...

    def keys(self) -> Iterable[str]:
        """The names of all entries."""
        ...

    def keys_of(self, projects: set[str]) -> Iterable[str]:
        """The names of the entries that have to do with one of the projects."""
        ...

    def rename(self, name: str) -> str:
        """How a project's name is written there, and what to do to change it."""
        ...


class Draft:
    """A registry with changes that are not written yet.

    Args:
        stored: what is there so far. Of its keys only those are read that the changes need.

    Attributes:
        projects: all that are to be there, by id.
    """

    def __init__(self, stored: StoredRegistry) -> None:
        self.stored = stored
        self.projects = dict(stored.projects)
        self._ids = {notes.alias: name for name, notes in self.projects.items() if notes.alias}
        self._dropped: set[str] = set()
        self._old_keys: dict[str, KeyBindings | None] = {}
        self._keys: dict[str, KeyBindings | None] = {}

    @property
    def changed(self) -> bool:
        """Whether there is anything to write."""
        return any(True for _ in (*self.new_projects(), *self.new_keys()))

    def new_projects(self) -> Iterator[tuple[str, ProjectFields | None]]:
        """The projects that are to be different, `None` for those that go."""
        yield from ((name, None) for name in self._dropped - self.projects.keys())
        yield from _new(self.stored.projects, self.projects)

    def new_keys(self) -> Iterator[tuple[str, KeyBindings | None]]:
        """The keys that are to be different, `None` for those that go."""
        return _new(self._old_keys, self._keys)

    def looked_at(self) -> Iterable[tuple[str, KeyBindings | None]]:
        """The keys that were looked at, as they are to be."""
        return self._keys.items()

    def named(self, project: str) -> str:
        """A project (id or alias) as people know it, such as `support-bot (proj_5fPqTn0w)`."""
        project_id = self.id_of(project)
        return label(project_id, self.projects[project_id].alias)

    def id_of(self, project: str) -> str:
        """The id of a project (id or alias).

        Raises:
            RegistryError: there is no such project.
        """
        project_id = self._find(project)
        if project_id is None:
            raise self._error(f"the {self.stored.word} has no such project")
        return project_id

    def projects_of(self, fingerprint: str) -> list[str]:
        """The ids of the projects that a key belongs to; none if its entry is refused."""
        return [
            project
            for project, held in (self.key(fingerprint.lower()) or {}).items()
            if project in self.projects
        ]

    def add(
        self,
        project: str,
        fingerprint: str,
        *,
        alias: str | None = None,
        organization: str | None = None,
        hint: str | None = None,
        note: str | None = None,
        also: bool = False,
    ) -> Change:
        """Adds a key, and its project where that is missing; see `stores.add()`."""
        project_id = self.add_project(project, alias=alias, organization=organization)
        change = self.add_key(project_id, fingerprint, hint=hint, note=note, also=also)
        return "updated" if change == "unchanged" and self.changed else change

    def add_project(
        self, project: str, *, alias: str | None = None, organization: str | None = None
    ) -> str:
        """Adds a project (id or alias) unless it is there; gives its id.

        Raises:
            RegistryError: it is neither an id nor a known alias, or the alias does not fit.
        """
        project_id = self._find(project)
        if project_id is None:
            if not is_project_id(project):
                raise self._error(
                    "this is neither a project id (proj_ and letters, digits, _ or -) nor an "
                    f"alias that the {self.stored.word} knows"
                )
            alias = None if alias == project else alias or None
            if alias and (other := self._find(alias)):
                raise self._error(f"the alias {alias} belongs to {other} already; choose another")
            self._put(project, ProjectFields(alias, organization or None))
            return project
        known = self.projects[project_id]
        name = known.alias or project_id
        if alias and alias != name:
            raise self._error(f"{project_id} is there as {self.stored.rename(name)}")
        if organization and organization != known.organization:
            self._put(project_id, known._replace(organization=organization))
        return project_id

    def add_key(
        self,
        project: str,
        fingerprint: str,
        *,
        hint: str | None = None,
        note: str | None = None,
        also: bool = False,
    ) -> Change:
        """Adds a key to a project that is there, or renews its hint and note; see `stores.add()`.

        Raises:
            RegistryError: the project is not there, or the key is registered for another.
        """
        project_id = self.id_of(project)
        fingerprint = fingerprint.lower()
        # What was learned gives way to an administrator's word, as does a project that is gone.
        bindings = {
            name: held
            for name, held in (self.key(fingerprint) or {}).items()
            if name == project_id or (not held.learned and self._has(name))
        }
        old = bindings.get(project_id)
        if old is None and bindings and not also:
            other, held = next(iter(bindings.items()))
            name = self.projects[other].alias if other in self.projects else None
            raise RegistryError(
                f"{self.stored.place.of(fingerprint)}: the key {held.hint or fingerprint} is "
                f"registered for the project {name or other} already. Remove it there first, or, "
                "for a legacy user key that belongs to both, add it with --also."
            )
        new = KeyBinding(hint or (old.hint if old else ""), note or (old.note if old else None))
        if new == old:
            return "unchanged"
        self._keys[fingerprint] = {**bindings, project_id: new}
        return "added" if old is None else "updated"

    def remove_key(self, fingerprint: str, *, project: str | None = None) -> int:
        """Removes a key from one project (id or alias) or from all; gives the number of entries.

        Raises:
            RegistryError: there is no such project.
        """
        removed = {self.id_of(project)} if project else None
        fingerprint = fingerprint.lower()
        bindings = self.key(fingerprint)
        if bindings is None:
            return 0
        left = {name: held for name, held in bindings.items() if removed and name not in removed}
        if left == bindings and removed:
            return 0
        self._keys[fingerprint] = left or None
        return len(bindings) - len(left) or 1  # one that is not in order counts too

    def remove_projects(self, projects: Iterable[str]) -> None:
        """Removes projects (ids or aliases) with their keys.

        Raises:
            RegistryError: there is no such project.
        """
        gone = {self.id_of(project) for project in projects}
        for project in gone:
            self._ids.pop(self.projects.pop(project).alias or "", None)
        added = [name for name, held in self._keys.items() if not gone.isdisjoint(held or ())]
        for fingerprint in {*self.stored.keys_of(gone), *added}:
            bindings = self.key(fingerprint) or {}
            left = {name: held for name, held in bindings.items() if name not in gone}
            self._keys[fingerprint] = left or None

    def become(self, snapshot: Snapshot, version: str | None) -> None:
        """Makes it another registry, whatever was there.

        Args:
            snapshot: the other registry.
            version: the version that is to be given up for it.

        Raises:
            RegistryError: what is stored is no longer that version.
        """
        if self.stored.version != version:
            raise RegistryError(
                f"{self.stored.place.name}: somebody else has changed the {self.stored.word} "
                "meanwhile. Nothing was written; look at the difference again."
            )
        self.projects, keys = listing(snapshot)
        self._dropped = set(self.stored.unfit)
        for name in {**dict.fromkeys(self.stored.keys()), **keys}:
            wanted, old = keys.get(name), self.key(name)
            # That it was learned is no difference; that it was for several is.
            told = {project: held._replace(learned=False) for project, held in (old or {}).items()}
            self._keys[name] = old if told == wanted else wanted

    def key(self, fingerprint: str) -> KeyBindings | None:
        """The bindings that a key is to have; `None` where it is to have none."""
        if fingerprint not in self._keys:
            found = self.stored.key(fingerprint)
            self._keys[fingerprint] = self._old_keys[fingerprint] = found
        return self._keys[fingerprint]

    def _put(self, project: str, notes: ProjectFields) -> None:
        self.projects[project] = notes
        if notes.alias:
            self._ids[notes.alias] = project

    def _find(self, name: str) -> str | None:
        return name if name in self.projects else self._ids.get(name)

    def _has(self, project_id: str) -> bool:
        return project_id in self.projects or project_id in self.stored.unfit

    def _error(self, problem: str) -> RegistryError:
        return RegistryError(f"{self.stored.place.name}: {problem}. Nothing was written.")


def _new(
    old: Mapping[str, T | None], now: Mapping[str, T | None]
) -> Iterator[tuple[str, T | None]]:
    for name in {**old, **now}:
        if now.get(name) != old.get(name):
            yield name, now.get(name)
