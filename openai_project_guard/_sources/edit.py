"""Changes the registry file: adds and removes keys and projects, and keeps all else as it is."""

from __future__ import annotations

import os
from contextlib import ExitStack, contextmanager
from typing import TYPE_CHECKING, Literal, NamedTuple

from openai_project_guard._errors import RegistryError
from openai_project_guard._key import digest_of
from openai_project_guard._registry import PROJECT_ID, Row, Snapshot
from openai_project_guard._sources.file import FilePlace, load, parse
from openai_project_guard._sources.layout import KeyNotes, Layout, spelled, written_project
from openai_project_guard._sources.replace import locked, replace

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

Change = Literal["added", "updated", "unchanged"]


class _ProjectNotes(NamedTuple):
    """What stands beside a project's id."""

    alias: str | None
    organization: str | None
    service_accounts: frozenset[str]


def add(
    path: str | os.PathLike[str],
    project: str,
    fingerprint: str,
    *,
    alias: str | None = None,
    organization: str | None = None,
    hint: str | None = None,
    note: str | None = None,
    also: bool = False,
) -> Change:
    """Adds a key to a registry file; makes the file and the project where they are missing.

    Args:
        path: the file; of a symlink, the file behind it is replaced.
        project: the project's id, or an alias that the file knows.
        fingerprint: the key's fingerprint.
        alias: the project's alias, for a project that is not in the file yet.
        organization: the project's organization; `None` leaves it as it is.
        hint: the key's hint; `None` leaves it as it is.
        note: the key's note; `None` leaves it as it is.
        also: let the key stand under this project beside others (a legacy user key).

    Returns:
        `added`, or, for a key that stands under the project already, `updated` or `unchanged`.

    Raises:
        RegistryError: the file is not valid or cannot be written, the project or alias does not
            fit, or the key stands under another project. The file is as it was then.
    """
    with editing(path, create=True) as edit:
        project_id = edit.add_project(project, alias=alias, organization=organization)
        change = edit.add_key(project_id, fingerprint, hint=hint, note=note, also=also)
        return "updated" if change == "unchanged" and edit.changed else change


def remove(
    path: str | os.PathLike[str], fingerprints: Iterable[str], *, project: str | None = None
) -> int:
    """Removes keys from a registry file, from one project (id or alias) or from all.

    Returns:
        How many entries were removed.

    Raises:
        RegistryError: the file is not valid or cannot be written.
    """
    with editing(path) as edit:
        return sum(edit.remove_key(fingerprint, project=project) for fingerprint in fingerprints)


def remove_project(path: str | os.PathLike[str], project: str) -> None:
    """Removes a project (id or alias) and its keys from a registry file.

    Raises:
        RegistryError: the file is not valid or cannot be written, or has no such project.
    """
    with editing(path) as edit:
        edit.remove_project(project)


@contextmanager
def editing(path: str | os.PathLike[str], *, create: bool = False) -> Iterator[Edit]:
    """Several changes in one step: all are written at the end, or none after an error.

    Args:
        path: the file.
        create: make the file, and its directory, where they are missing.

    Raises:
        RegistryError: the file is not valid or cannot be written.
    """
    place = FilePlace(path)
    place.path = os.path.realpath(place.path)  # a symlink stays, the file behind it is replaced
    with ExitStack() as stack:
        with _telling(place):
            if create:
                os.makedirs(os.path.dirname(place.path), mode=0o700, exist_ok=True)
            elif not os.path.exists(place.path):
                load(place)  # says so, and leaves no lock beside it
            stack.enter_context(locked(place.path))
        edit = _opened(place, create=create)
        yield edit
        with _telling(place):
            edit.write()


@contextmanager
def _telling(place: FilePlace) -> Iterator[None]:
    """Turns what the system says into an error of ours, without the frames that hold the file."""
    try:
        yield
    except OSError as error:
        reason = error.strerror or str(error)
        error.__traceback__ = None
        raise RegistryError(
            f"{place.name}: the file cannot be written ({reason}). It is as it was."
        ) from None


def _opened(place: FilePlace, *, create: bool) -> Edit:
    if create and not os.path.exists(place.path):
        return Edit(place, b"version = 1\n", Snapshot())
    data = load(place)
    try:
        return Edit(place, data, parse(data, place))
    except RegistryError as error:
        data = b""  # a raw key may stand in it
        raise error.with_traceback(None) from None


class Edit:
    """A registry file while it is changed; `editing()` gives one.

    Beside the text it keeps what the file is to say in the end, and `write()` compares the two
    before the file is put in place: whatever the layout, nothing is lost or invented.

    Attributes:
        changed: whether there is anything to write.
    """

    def __init__(self, place: FilePlace, data: bytes, snapshot: Snapshot) -> None:
        self._place = place
        self._layout = Layout(data, place)
        self._projects, self._keys = _content(snapshot)
        self._new: dict[str, dict[bytes, KeyNotes]] = {}  # projects to come, with their keys
        self.changed = False

    def add_project(
        self, project: str, *, alias: str | None = None, organization: str | None = None
    ) -> str:
        """Adds a project (id or alias) unless it is there; gives its id.

        Raises:
            RegistryError: it is neither an id nor a known alias, or the alias does not fit.
        """
        project_id = self._find(project)
        if project_id is None:
            if not PROJECT_ID.fullmatch(project):
                raise self._error(
                    "this is neither a project id (proj_ and letters, digits, _ or -) nor an "
                    "alias that the file knows"
                )
            if alias and (other := self._find(alias)):
                raise self._error(f"the alias {alias} belongs to {other} already; choose another")
            self._projects[project] = _ProjectNotes(
                None if alias == project else alias or None, organization or None, frozenset()
            )
            self._new[project] = {}
            self.changed = True
            return project
        known = self._projects[project_id]
        if alias and alias != (known.alias or project_id):
            table = f"[projects.{spelled(known.alias or project_id)}]"
            raise self._error(
                f"{project_id} stands there as {table}; rename that table to change the alias"
            )
        if organization and organization != known.organization:
            self._projects[project_id] = known._replace(organization=organization)
            self.changed = True
            if project_id not in self._new:
                self._layout.set_organization(self._name(project_id), organization)
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
        """Adds a key to a project of the file, or renews its hint and note; see `add()`.

        Raises:
            RegistryError: the project is not there, or the key stands under another.
        """
        project_id = self._known(project)
        key_digest = digest_of(fingerprint)
        holders = self._keys.setdefault(key_digest, {})
        old = holders.get(project_id)
        if old is None and holders and not also:
            other, notes = next(iter(holders.items()))
            raise RegistryError(
                f"{self._place.of(fingerprint)}: the key {notes.hint or fingerprint} stands under "
                f"the project {self._projects[other].alias or other} already. Remove it there "
                "first, or, for a legacy user key that belongs to both, add it with --also."
            )
        new = KeyNotes(hint or (old.hint if old else ""), note or (old.note if old else None))
        if new == old:
            return "unchanged"
        holders[project_id] = new
        self.changed = True
        if project_id in self._new:
            self._new[project_id][key_digest] = new
        elif old is None:
            self._layout.add_key(self._name(project_id), key_digest, new)
        else:
            self._layout.renew_key(self._name(project_id), key_digest, new)
        return "added" if old is None else "updated"

    def remove_key(self, fingerprint: str, *, project: str | None = None) -> int:
        """Removes a key from one project (id or alias) or from all; gives the number of entries.

        Raises:
            RegistryError: there is no such project.
        """
        key_digest = digest_of(fingerprint)
        holders = self._keys.get(key_digest, {})
        removed = [self._known(project)] if project else list(holders)
        removed = [project_id for project_id in removed if holders.pop(project_id, None)]
        for project_id in removed:
            self.changed = True
            if project_id in self._new:
                del self._new[project_id][key_digest]
            else:
                self._layout.remove_key(self._name(project_id), key_digest)
        return len(removed)

    def remove_project(self, project: str) -> None:
        """Removes a project (id or alias) with its keys. Comments around it stay.

        Raises:
            RegistryError: there is no such project.
        """
        project_id = self._known(project)
        name = self._name(project_id)
        del self._projects[project_id]
        for holders in self._keys.values():
            holders.pop(project_id, None)
        self.changed = True
        if self._new.pop(project_id, None) is None:
            self._layout.remove_project(name)

    def write(self) -> None:
        """Puts the changed file in place of the old one, if there was a change.

        Raises:
            RegistryError: a change makes the file invalid, or its layout cannot take it.
            OSError: the file cannot be written.
        """
        if not self.changed:
            return
        data = self._layout.data(
            [
                written_project(project_id, *self._projects[project_id][:2], keys)
                for project_id, keys in self._new.items()
            ]
        )
        wanted = (self._projects, {key: held for key, held in self._keys.items() if held})
        problem = None
        try:
            if _content(parse(data, self._place)) != wanted:
                problem = self._layout.refusal("this file")
        except RegistryError as error:
            problem = RegistryError(f"Nothing was written, for the file would be wrong. {error}")
        if problem:
            data = b""  # a comment may hold anything
            raise problem
        replace(self._place.path, data)

    def _find(self, name: str) -> str | None:
        if name in self._projects:
            return name
        return next((key for key, notes in self._projects.items() if notes.alias == name), None)

    def _known(self, project: str) -> str:
        project_id = self._find(project)
        if project_id is None:
            raise self._error("the file has no such project")
        return project_id

    def _name(self, project_id: str) -> str:
        return self._projects[project_id].alias or project_id

    def _error(self, problem: str) -> RegistryError:
        return RegistryError(f"{self._place.name}: {problem}. Nothing was written.")


def _content(
    snapshot: Snapshot,
) -> tuple[dict[str, _ProjectNotes], dict[bytes, dict[str, KeyNotes]]]:
    accounts: dict[str, set[str]] = {}
    for account, holders in snapshot.accounts.items():
        accounts.setdefault(holders[0].project.id, set()).add(account)
    projects = {
        project.id: _ProjectNotes(
            project.alias, project.organization, frozenset(accounts.get(project.id, ()))
        )
        for project in snapshot.projects.values()
    }
    keys = {
        key_digest: {
            row.project.id: KeyNotes(row.hint, row.note)
            for row in ((rows,) if isinstance(rows, Row) else rows)
        }
        for key_digest, rows in snapshot.rows.items()
    }
    return projects, keys
