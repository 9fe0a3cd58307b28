"""A registry while it is changed: decides what a change makes of it, whoever writes it down."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Literal, TypeVar

from openai_project_guard._errors import RegistryError
from openai_project_guard._registry.model import LEARNED, KeyBinding, ProjectFields, label, listing
from openai_project_guard._registry.validate import is_project_id

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from openai_project_guard._registry.model import KeyBindings, Listing, Place, Snapshot

Change = Literal["added", "updated", "unchanged"]
T = TypeVar("T")


@dataclass
class StoredState:
    """A registry as it is stored, before it is changed.

    Attributes:
        place: where.
        version: tells it from what was stored before or will be later (in Redis, the revision);
            `None` where there is no registry yet.
        snapshot: what is valid.
        problems: the entries that are refused, by name, with the reason.
        refused: what can be read of the keys among them.
        word: what errors call it.
        renaming: how a project's alias is changed there.
    """

    place: Place
    version: str | None
    snapshot: Snapshot
    problems: dict[str, str] = field(default_factory=dict)
    refused: dict[str, KeyBindings] = field(default_factory=dict)
    word: str = "registry"
    renaming: str = (
        "to change the alias, copy the registry into a file, change it there, and copy it back"
    )


class Draft:
    """A registry with changes that are not written yet.

    Args:
        stored: what is there so far.

    Attributes:
        old: the projects and keys that are there so far.
        projects: all that are to be there, by id.
        keys: all that are to be there, by fingerprint.
        is_replaced: whether nothing else of what is stored is to stay, valid or not.
    """

    def __init__(self, stored: StoredState) -> None:
        self.stored = stored
        projects, keys = listing(stored.snapshot)
        self.old = projects, keys | stored.refused
        self.projects, self.keys = projects.copy(), self.old[1].copy()
        self._ids = {fields.alias: name for name, fields in projects.items() if fields.alias}
        self.is_replaced = False

    @property
    def listing(self) -> Listing:
        """All that is to be there."""
        return self.projects, self.keys

    @property
    def changed(self) -> bool:
        """Whether there is anything to write."""
        return bool(self.new_projects() or self.new_keys())

    def new_projects(self) -> dict[str, ProjectFields | None]:
        """The projects that are to be different, `None` for those that go."""
        return _new(self.old[0], self.projects)

    def new_keys(self) -> dict[str, KeyBindings | None]:
        """The keys that are to be different, `None` for those that go."""
        return _new(self.old[1], self.keys)

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
        bindings = self.keys.get(fingerprint.lower(), {})
        return [project for project in bindings if project in self.projects]

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
        """Adds a key; makes the project where it is missing.

        Args:
            project: the project's id, or an alias that the registry knows.
            fingerprint: the key's fingerprint.
            alias: the project's alias, for a project that is not there yet.
            organization: the project's organization; `None` leaves it as it is.
            hint: the key's hint; `None` leaves it as it is.
            note: the key's note; `None` leaves it as it is.
            also: register the key for this project beside others (a legacy user key).

        Returns:
            `added`, or, for a key that is registered for the project, `updated` or `unchanged`.

        Raises:
            RegistryError: the project or alias does not fit, or the key is registered for another
                project.
        """
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
            self.projects[project] = ProjectFields(alias, organization or None)
            if alias:
                self._ids[alias] = project
            return project
        known = self.projects[project_id]
        name = known.alias or project_id
        if alias and alias != name:
            raise self._error(f"{project_id} is there as {name}; {self.stored.renaming}")
        if organization and organization != known.organization:
            self.projects[project_id] = known._replace(organization=organization)
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
        """Adds a key to a project that is there, or renews its hint and note; see `add()`."""
        project_id = self.id_of(project)
        fingerprint = fingerprint.lower()
        # What was learned gives way to an administrator's word, unless that adds to it, as does a
        # project that is gone.
        bindings = {
            name: binding
            for name, binding in self.keys.get(fingerprint, {}).items()
            if name == project_id
            or (
                (binding.note != LEARNED or note == LEARNED or also)
                and (name in self.projects or name in self.stored.problems)
            )
        }
        old = bindings.get(project_id, KeyBinding())
        if project_id not in bindings and bindings and not also:
            other, binding = next(iter(bindings.items()))
            name = self.projects[other].alias if other in self.projects else None
            place = self.stored.place.of(fingerprint, other)
            raise RegistryError(
                f"{place}: the key {binding.hint or fingerprint} is registered for the project "
                f"{name or other} already. Remove it there first, or, for a legacy user key that "
                "belongs to both, add it with --also."
            )
        new = KeyBinding(hint or old.hint, note or (None if old.note == LEARNED else old.note))
        change: Change = "updated" if project_id in bindings else "added"
        if change == "updated" and new == old:
            return "unchanged"
        self.keys[fingerprint] = {**bindings, project_id: new}
        return change

    def remove_key(self, fingerprint: str, *, project: str | None = None) -> int:
        """Removes a key from one project (id or alias) or from all; gives the number of entries.

        Raises:
            RegistryError: there is no such project.
        """
        removed = self.id_of(project) if project else None
        fingerprint = fingerprint.lower()
        bindings = self.keys.get(fingerprint)
        if bindings is None or (removed and removed not in bindings):
            return 0
        left = {name: binding for name, binding in bindings.items() if removed not in (None, name)}
        self._keep(fingerprint, left)
        return len(bindings) - len(left) or 1  # an entry that is refused counts too

    def remove_projects(self, projects: Iterable[str]) -> None:
        """Removes projects (ids or aliases) with their keys.

        Raises:
            RegistryError: there is no such project.
        """
        gone = {self.id_of(project) for project in projects}
        for project in gone:
            self._ids.pop(self.projects.pop(project).alias or "", None)
        for fingerprint, bindings in list(self.keys.items()):
            if not gone.isdisjoint(bindings):
                left = {name: bindings[name] for name in bindings if name not in gone}
                self._keep(fingerprint, left)

    def become(self, wanted: Listing, version: str | None) -> None:
        """Makes it another registry, whatever was there.

        Args:
            wanted: the other registry's projects and keys.
            version: the version that is to be given up for it.

        Raises:
            RegistryError: what is stored is no longer that version.
        """
        if self.stored.version != version:
            raise RegistryError(
                f"{self.stored.place.name}: somebody else has changed the {self.stored.word} "
                "meanwhile. Nothing was written; look at the difference again."
            )
        self.projects, self.keys = wanted[0].copy(), wanted[1].copy()
        self.is_replaced = True

    def _keep(self, fingerprint: str, bindings: KeyBindings) -> None:
        if bindings:
            self.keys[fingerprint] = bindings
        else:
            del self.keys[fingerprint]

    def _find(self, name: str) -> str | None:
        return name if name in self.projects else self._ids.get(name)

    def _error(self, problem: str) -> RegistryError:
        return RegistryError(f"{self.stored.place.name}: {problem}. Nothing was written.")


def _new(old: Mapping[str, T], now: Mapping[str, T]) -> dict[str, T | None]:
    changed = {name: now.get(name) for name in old if now.get(name) != old[name]}
    return changed | {name: value for name, value in now.items() if name not in old}
