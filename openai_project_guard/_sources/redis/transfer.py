"""Moves a registry between a file and Redis: what would change, and the change."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from openai_project_guard._errors import RegistryError
from openai_project_guard._key import fingerprint_of
from openai_project_guard._registry import Place, Snapshot
from openai_project_guard._sources.edit import editing
from openai_project_guard._sources.file import read as read_file
from openai_project_guard._sources.redis.address import read_address
from openai_project_guard._sources.redis.content import Content, listing
from openai_project_guard._sources.redis.difference import Step, difference
from openai_project_guard._sources.redis.edit import read, read_raw, replace
from openai_project_guard._sources.redis.entries import ProjectNotes
from openai_project_guard._sources.redis.spare import written
from openai_project_guard._sources.replace import locked
from openai_project_guard._sources.replace import replace as replace_file

if TYPE_CHECKING:
    from openai_project_guard._sources.edit import Edit


class Push:
    """Makes the registry in Redis what a file says.

    Args:
        path: the file.
        url: where the registry is, or is to be.

    Attributes:
        steps: what would change.

    Raises:
        RegistryError: one of them cannot be read.
    """

    def __init__(self, path: str, url: str) -> None:
        self._url = url
        self._wanted = read_file(path)
        self._found = read_raw(url)
        content = Content.of(self._found, Place(read_address(url).name))
        self.is_new = self._found.revision is None
        self.steps = difference(content.snapshot, self._wanted)
        keys = listing(self._wanted)[1]
        self.steps += [
            Step("-", f"the dispute over key {next(iter(holdings.values())).hint}")
            for digest, holdings in content.disputed.items()
            if digest not in keys
        ]
        self.steps += [
            Step("-", f"{name}, which is not in order: {fault}")
            for name, fault in content.faults.items()
        ]

    def carry_out(self) -> None:
        """Writes it.

        Raises:
            RegistryError: somebody else changed the registry meanwhile, or it cannot be written.
        """
        replace(self._url, self._wanted, self._found)


class Pull:
    """Makes a file say what the registry in Redis is. Comments and layout of the file stay.

    Args:
        path: the file; it need not be there.
        url: where the registry is.

    Attributes:
        steps: what would change.

    Raises:
        RegistryError: one of them cannot be read.
    """

    def __init__(self, path: str, url: str) -> None:
        self._path = path
        self._wanted = read(url).snapshot
        self.is_new = not os.path.exists(path)
        self._found = Snapshot() if self.is_new else read_file(path)
        self.steps = difference(self._found, self._wanted)

    def carry_out(self) -> None:
        """Writes it.

        Raises:
            RegistryError: the file cannot be written, or not without losing its layout.
        """
        if self.is_new:
            path = os.path.realpath(self._path)
            with locked(path):
                replace_file(path, written(self._wanted).encode(errors="surrogatepass"))
            return
        with editing(self._path) as edit:
            self._edit(edit)

    def _edit(self, edit: Edit) -> None:
        (old_projects, old_keys), (projects, keys) = listing(self._found), listing(self._wanted)
        _refuse_accounts(self._path, old_projects, projects)
        renewed = set()
        for project, before in old_projects.items():
            after = projects.get(project)
            # What the editor cannot change in place is taken out and put in again.
            if after is None or _is_renewed(before, after):
                edit.remove_project(project)
                renewed.add(project)
        for project, notes in projects.items():
            edit.add_project(project, alias=notes.alias, organization=notes.organization)
        for key_digest in {**old_keys, **keys}:
            fingerprint = fingerprint_of(key_digest)
            before_of, after_of = old_keys.get(key_digest, {}), keys.get(key_digest, {})
            for project in {**before_of, **after_of}:
                held, wanted = before_of.get(project), after_of.get(project)
                if project in renewed:
                    held = None
                if held == wanted:
                    continue
                if held is not None:
                    edit.remove_key(fingerprint, project=project)
                if wanted is not None:
                    edit.add_key(
                        project, fingerprint, hint=wanted.hint, note=wanted.note, also=True
                    )


def _is_renewed(before: ProjectNotes, after: ProjectNotes) -> bool:
    has_lost = bool(before.organization) and not after.organization
    return before.alias != after.alias or has_lost


def _refuse_accounts(path: str, old: dict[str, ProjectNotes], new: dict[str, ProjectNotes]) -> None:
    """Refuses what the file's editor cannot write yet.

    Raises:
        RegistryError: a project has other service accounts than the file says.
    """
    none = ProjectNotes()
    for project, notes in new.items():
        before = old.get(project, none)
        same = set(before.service_accounts) == set(notes.service_accounts)
        if not same or (notes.service_accounts and _is_renewed(before, notes)):
            raise RegistryError(
                f"{path}: the service accounts of {project} are others in Redis, and cannot be "
                "changed in a file that is there. Change them by hand first, or pull into a new "
                "file. Nothing was written."
            )
