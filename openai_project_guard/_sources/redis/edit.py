"""Changes a registry in Redis: adds and removes keys and projects.

Its functions are those of `_sources.edit`, with a URL for the file's path.
"""

from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING, Literal, TypeVar

from openai_project_guard._errors import RegistryError
from openai_project_guard._key import fingerprint_of
from openai_project_guard._registry import PROJECT_ID, Place, Registry, Snapshot
from openai_project_guard._sources.redis.address import read_address
from openai_project_guard._sources.redis.content import Content, Raw, listing
from openai_project_guard._sources.redis.entries import (
    Holding,
    ProjectNotes,
    Unfit,
    read_key,
    read_project,
    written_key,
    written_project,
)
from openai_project_guard._sources.redis.store import Conflict, Fault, Store

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

    from openai_project_guard._sources.redis.address import Address

Change = Literal["added", "updated", "unchanged"]
T = TypeVar("T")
_ATTEMPTS = 100  # each lost one is another administrator's won one


def add(
    url: str,
    project: str,
    fingerprint: str,
    *,
    alias: str | None = None,
    organization: str | None = None,
    hint: str | None = None,
    note: str | None = None,
    also: bool = False,
) -> Change:
    """Adds a key to a registry; makes the registry and the project where they are missing.

    Args:
        url: where the registry is.
        project: the project's id, or an alias that the registry knows.
        fingerprint: the key's fingerprint.
        alias: the project's alias, for a project that is not there yet.
        organization: the project's organization; `None` leaves it as it is.
        hint: the key's hint; `None` leaves it as it is.
        note: the key's note; `None` leaves it as it is.
        also: let the key stand under this project beside others (a legacy user key).

    Returns:
        `added`, or, for a key that stands under the project already, `updated` or `unchanged`.

    Raises:
        RegistryError: the registry cannot be written, the project or alias does not fit, or the
            key stands under another project. The registry is as it was then.
    """
    with editing(url, create=True) as edit:
        project_id = edit.add_project(project, alias=alias, organization=organization)
        change = edit.add_key(project_id, fingerprint, hint=hint, note=note, also=also)
        return "updated" if change == "unchanged" and edit.changed else change


def remove(url: str, fingerprints: Iterable[str], *, project: str | None = None) -> int:
    """Removes keys from a registry, from one project (id or alias) or from all.

    Returns:
        How many entries were removed.

    Raises:
        RegistryError: the registry cannot be written.
    """
    with editing(url) as edit:
        return sum(edit.remove_key(fingerprint, project=project) for fingerprint in fingerprints)


def remove_project(url: str, project: str) -> None:
    """Removes a project (id or alias) and its keys from a registry.

    Raises:
        RegistryError: the registry cannot be written, or has no such project.
    """
    with editing(url) as edit:
        edit.remove_project(project)


def read(url: str) -> Registry:
    """The registry as it is now; it is not kept up to date.

    Raises:
        RegistryError: it cannot be read, or there is none.
    """
    registry = Registry()
    with _opened(url, writing=False) as store:
        registry.snapshot = Content.of(store.read(), Place(store.address.name)).snapshot
    return registry


def read_raw(url: str) -> Raw:
    """What Redis holds, also what is not in order; its revision is `None` where that is nothing.

    Raises:
        RegistryError: it cannot be read.
    """
    with _opened(url, writing=True, create=True) as store:
        return store.read()


def replace(url: str, snapshot: Snapshot, read: Raw) -> None:
    """Puts another registry in the place of what was read, if that is still there.

    Raises:
        RegistryError: somebody else changed it meanwhile, or it cannot be written.
    """
    projects, keys = listing(snapshot)
    wanted_projects = {name: written_project(notes) for name, notes in projects.items()}
    wanted_keys = {fingerprint_of(digest): held for digest, held in keys.items()}
    new_projects: dict[str, str | None] = {
        name: value
        for name, value in wanted_projects.items()
        if read.projects.get(name.encode()) != value.encode()
    }
    new_keys: dict[str, str | None] = {
        name: written_key(held)
        for name, held in wanted_keys.items()
        if not _holds(read.keys.get(name.encode()), name, held)
    }
    new_projects |= dict.fromkeys(_gone(read.projects, wanted_projects))
    new_keys |= dict.fromkeys(_gone(read.keys, wanted_keys))
    problem = ""
    with _opened(url, writing=True, create=True) as store:
        try:
            store.commit(read.revision, projects=new_projects, keys=new_keys)
        except Conflict:
            problem = (
                f"{store.address.name}: somebody else has changed the registry meanwhile. Nothing "
                "was written; look at the difference again."
            )
    if problem:
        raise RegistryError(problem)


def _gone(stored: dict[bytes, bytes], wanted: Iterable[str]) -> Iterator[str]:
    # A name that is not UTF-8 was not written by us, and is left to redis-cli.
    names = {name.decode("utf-8", "surrogateescape") for name in stored}
    for name in names.difference(wanted):
        if name.isprintable():
            yield name


def _holds(value: bytes | None, fingerprint: str, wanted: dict[str, Holding]) -> bool:
    if value is None:
        return False
    try:
        _, holdings = read_key(fingerprint.encode(), value)
    except Unfit:
        return False
    # That it was learned is no difference; that it is in dispute is.
    return {name: held._replace(learned=False) for name, held in holdings.items()} == wanted


@contextmanager
def editing(url: str, *, create: bool = False) -> Iterator[Edit]:
    """Several changes in one step: all are written at the end, or none after an error.

    Args:
        url: where the registry is.
        create: make it where it is missing.

    Raises:
        RegistryError: it cannot be written, or it is not there.
    """
    with _opened(url, writing=True, create=create) as store:
        edit = Edit(store)
        yield edit
        edit.write()


@contextmanager
def _opened(url: str, *, writing: bool, create: bool = False) -> Iterator[Store]:
    address = read_address(url)
    store: Store | None = None
    problem = ""
    try:
        store = Store(address, writing=writing)
        if not create and store.revision() is None:
            problem = f"there is no registry under the prefix {address.prefix}"
        else:
            yield store
    except Fault as fault:
        problem = str(fault)
    finally:
        if store is not None:
            store.close()
    if problem:
        done = "It cannot be changed" if writing else "It cannot be read"
        raise RegistryError(f"{address.name}: {done}: {problem}.")


class Edit:
    """A registry in Redis while it is changed; `editing()` gives one.

    If somebody else changes the registry before `write()` does, the same steps are taken again
    from there. So nobody's change is lost, and a step that is impossible now is an error.
    """

    def __init__(self, store: Store) -> None:
        self._store = store
        self._draft = _Draft(store)
        self._steps: list[Callable[[_Draft], object]] = []

    @property
    def changed(self) -> bool:
        """Whether there is anything to write."""
        return self._draft.changed

    def add_project(
        self, project: str, *, alias: str | None = None, organization: str | None = None
    ) -> str:
        """Adds a project (id or alias) unless it is there; gives its id.

        Raises:
            RegistryError: it is neither an id nor a known alias, or the alias does not fit.
        """
        return self._take(lambda draft: draft.add_project(project, alias, organization))

    def add_key(
        self,
        project: str,
        fingerprint: str,
        *,
        hint: str | None = None,
        note: str | None = None,
        also: bool = False,
    ) -> Change:
        """Adds a key to a project of the registry, or renews its hint and note; see `add()`.

        Raises:
            RegistryError: the project is not there, or the key stands under another.
        """
        return self._take(lambda draft: draft.add_key(project, fingerprint, hint, note, also))

    def remove_key(self, fingerprint: str, *, project: str | None = None) -> int:
        """Removes a key from one project (id or alias) or from all; gives the number of entries.

        Raises:
            RegistryError: there is no such project.
        """
        return self._take(lambda draft: draft.remove_key(fingerprint, project))

    def remove_project(self, project: str) -> None:
        """Removes a project (id or alias) with its keys.

        Raises:
            RegistryError: there is no such project.
        """
        self._take(lambda draft: draft.remove_project(project))

    def write(self) -> None:
        """Writes the changes, if there are any.

        Raises:
            RegistryError: a change is impossible after what somebody else changed meanwhile.
        """
        for _ in range(_ATTEMPTS):
            draft = self._draft
            if not draft.changed:
                return
            try:
                self._store.commit(
                    draft.revision, projects=draft.new_projects(), keys=draft.new_keys()
                )
            except Conflict:
                self._draft = _Draft(self._store)
                for step in self._steps:
                    step(self._draft)
            else:
                return
        raise RegistryError(
            f"{self._store.address.name}: others change the registry all the time. Nothing was "
            "written; try again."
        )

    def _take(self, step: Callable[[_Draft], T]) -> T:
        result = step(self._draft)
        self._steps.append(step)
        return result


class _Draft:
    """The registry at one revision, with changes. It reads only what they need."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self._address: Address = store.address
        self.revision = store.revision()
        self._projects: dict[str, ProjectNotes] = {}
        found = store.projects()
        self._named = {field.decode("utf-8", "replace") for field in found}
        for field, value in found.items():
            try:
                project, notes = read_project(field, value)
            except Unfit:  # adding it writes it anew
                continue
            self._projects[project] = notes
        self._old_projects = dict(self._projects)
        self._keys: dict[str, dict[str, Holding]] = {}
        self._old_keys: dict[str, dict[str, Holding]] = {}
        self._unfit: set[str] = set()

    @property
    def changed(self) -> bool:
        return bool(self.new_projects() or self.new_keys())

    def new_projects(self) -> dict[str, str | None]:
        return {
            name: written_project(notes) if notes is not None else None
            for name, notes in _new(self._projects, self._old_projects)
        }

    def new_keys(self) -> dict[str, str | None]:
        changed: dict[str, str | None] = {
            name: written_key(held) if held else None
            for name, held in _new(self._keys, self._old_keys)
        }
        changed |= {name: None for name in self._unfit if not self._keys[name]}
        return changed

    def add_project(self, project: str, alias: str | None, organization: str | None) -> str:
        project_id = self._find(project)
        if project_id is None:
            if not PROJECT_ID.fullmatch(project):
                raise self._error(
                    "this is neither a project id (proj_ and letters, digits, _ or -) nor an "
                    "alias that the registry knows"
                )
            alias = None if alias == project else alias or None
            if alias and (other := self._find(alias)):
                raise self._error(f"the alias {alias} belongs to {other} already; choose another")
            self._projects[project] = self._fit(project, ProjectNotes(alias, organization or None))
            return project
        known = self._projects[project_id]
        if alias and alias != (known.alias or project_id):
            raise self._error(
                f"{project_id} stands there as {known.alias or project_id}; to change the alias, "
                "pull the registry into a file, change it there, and push it"
            )
        if organization and organization != known.organization:
            notes = known._replace(organization=organization)
            self._projects[project_id] = self._fit(project_id, notes)
        return project_id

    def add_key(
        self, project: str, fingerprint: str, hint: str | None, note: str | None, also: bool
    ) -> Change:
        project_id = self._known(project)
        fingerprint = fingerprint.lower()
        # What was learned gives way to an administrator's word, as does a project that is gone.
        holdings = {
            name: held
            for name, held in self._holdings(fingerprint).items()
            if (not held.learned and name in self._named) or name == project_id
        }
        old = holdings.get(project_id)
        if old is None and holdings and not also:
            other, held = next(iter(holdings.items()))
            name = self._projects[other].alias if other in self._projects else None
            raise RegistryError(
                f"{self._address.name}: the key {held.hint or fingerprint} stands under the "
                f"project {name or other} already. Remove it there first, or, for a legacy user "
                "key that belongs to both, add it with --also."
            )
        new = Holding(hint or (old.hint if old else ""), note or (old.note if old else None))
        if new == old:
            return "unchanged"
        self._keys[fingerprint] = self._fit_key(fingerprint, {**holdings, project_id: new})
        return "added" if old is None else "updated"

    def remove_key(self, fingerprint: str, project: str | None) -> int:
        fingerprint = fingerprint.lower()
        holdings = dict(self._holdings(fingerprint))
        removed = [self._known(project)] if project else list(holdings)
        count = sum(holdings.pop(name, None) is not None for name in removed)
        self._keys[fingerprint] = holdings
        return max(count, fingerprint in self._unfit and not project)

    def remove_project(self, project: str) -> None:
        project_id = self._known(project)
        del self._projects[project_id]
        for field, value in self._store.keys().items():
            if project_id.encode() in value:
                fingerprint = field.decode("utf-8", "replace")
                holdings = self._holdings(fingerprint, value)
                self._keys[fingerprint] = {
                    name: held for name, held in holdings.items() if name != project_id
                }

    def _holdings(self, fingerprint: str, value: bytes | None = None) -> dict[str, Holding]:
        """What stands beside a key; nothing for an entry that is not in order."""
        if fingerprint not in self._keys:
            value = value or self._store.key(fingerprint)
            found: dict[str, Holding] = {}
            if value is not None:
                try:
                    _, found = read_key(fingerprint.encode(), value)
                except Unfit:
                    self._unfit.add(fingerprint)
            self._old_keys[fingerprint] = self._keys[fingerprint] = found
        return self._keys[fingerprint]

    def _find(self, name: str) -> str | None:
        if name in self._projects:
            return name
        return next((key for key, notes in self._projects.items() if notes.alias == name), None)

    def _known(self, project: str) -> str:
        project_id = self._find(project)
        if project_id is None:
            raise self._error("the registry has no such project")
        return project_id

    def _fit(self, project: str, notes: ProjectNotes) -> ProjectNotes:
        problem = ""
        try:
            read_project(project.encode(), written_project(notes).encode(errors="surrogatepass"))
        except Unfit as fault:
            problem = str(fault)
        if problem:
            raise self._error(f"the project {project} cannot be written so: {problem}")
        return notes

    def _fit_key(self, fingerprint: str, holdings: dict[str, Holding]) -> dict[str, Holding]:
        problem = ""
        try:
            read_key(fingerprint.encode(), written_key(holdings).encode(errors="surrogatepass"))
        except Unfit as fault:
            problem = str(fault)
        if problem:
            raise self._error(f"the key {fingerprint} cannot be written so: {problem}")
        return holdings

    def _error(self, problem: str) -> RegistryError:
        return RegistryError(f"{self._address.name}: {problem}. Nothing was written.")


N = TypeVar("N")


def _new(now: dict[str, N], old: dict[str, N]) -> Iterator[tuple[str, N | None]]:
    for name in {**old, **now}:
        if now.get(name) != old.get(name):
            yield name, now.get(name)
