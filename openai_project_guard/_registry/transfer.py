"""Copies a registry from one address to another: what would change there, and the change."""

from __future__ import annotations

from typing import TYPE_CHECKING

from openai_project_guard._registry import stores
from openai_project_guard._registry.diff import Step, compare
from openai_project_guard._registry.model import label, listing

if TYPE_CHECKING:
    from openai_project_guard._registry.changes import Draft, StoredState
    from openai_project_guard._registry.diff import Listing
    from openai_project_guard._registry.model import KeyBindings, ProjectFields


class Transfer:
    """Makes one registry what another is, or adds what it lacks. Comments of a file stay.

    Args:
        origin: the address of the registry that is right.
        target: the address of the other; it need not be there.
        merge: only add what the target does not have.

    Attributes:
        steps: what would change.
        conflicts: what is not added, in a sentence each, for the target says something else.
        is_new: whether there is nothing to change yet.

    Raises:
        RegistryError: one of them cannot be read.
    """

    def __init__(self, origin: str, target: str, *, merge: bool = False) -> None:
        self._wanted = stores.read(origin).snapshot
        self._target = target
        found = stores.find(target)
        self._version = found.version
        self._addition = _Addition(listing(self._wanted), found) if merge else None
        self.is_new = found.version is None
        self.conflicts: tuple[str, ...] = ()
        if self._addition:
            self.steps, self.conflicts = self._addition.steps, self._addition.conflicts
            return
        wanted = listing(self._wanted)
        self.steps = [
            *compare(listing(found.snapshot), wanted),
            *(
                Step("-", f"{name}, which is not in order: {fault}")
                for name, fault in found.faults.items()
            ),
        ]

    def carry_out(self) -> None:
        """Writes it.

        Raises:
            RegistryError: somebody else changed the target meanwhile, or it cannot be written.
        """
        stores.change(self._target, self._write, create=True)

    def _write(self, draft: Draft) -> None:
        if self._addition:
            self._addition.add_to(draft)
        else:
            draft.become(self._wanted, self._version)


class _Addition:
    """What one registry has and another does not: projects, service accounts and keys."""

    def __init__(
        self,
        wanted: Listing,
        found: StoredState,
    ) -> None:
        projects, keys = listing(found.snapshot)
        aliases = {fields.alias: project for project, fields in projects.items() if fields.alias}
        conflicts = []
        self._projects: dict[str, ProjectFields] = {}
        for project, fields in wanted[0].items():
            known = projects.get(project)
            if known is None:
                owner = aliases.get(fields.alias or "")
                if owner:
                    conflicts.append(
                        f"The alias {fields.alias} belongs to {owner} there, so {project} is "
                        "added without it."
                    )
                    fields = fields._replace(alias=None)
                self._projects[project] = fields
                continue
            new = tuple(a for a in fields.service_accounts if a not in known.service_accounts)
            if new:
                accounts = (*known.service_accounts, *new)
                self._projects[project] = known._replace(service_accounts=accounts)
        self._keys: dict[str, KeyBindings] = {}
        for fingerprint, bindings in wanted[1].items():
            there = keys.get(fingerprint)
            if there is None:
                self._keys[fingerprint] = bindings
            elif not bindings.keys() <= there.keys():
                names, others = (
                    " and ".join(label(p, (projects.get(p) or wanted[0][p]).alias) for p in ids)
                    for ids in (there, bindings.keys() - there.keys())
                )
                hint = next(iter(bindings.values())).hint or f"{fingerprint[:15]}…"
                conflicts.append(
                    f"The key {hint} is registered for {names} there, so it is not added to "
                    f"{others}. If it belongs to both: openai-project-guard register --also."
                )
        self.conflicts = tuple(conflicts)
        self.steps = compare((projects, keys), (projects | self._projects, keys | self._keys))

    def add_to(self, draft: Draft) -> None:
        """Adds it.

        Raises:
            RegistryError: somebody else registered one of the keys for another project meanwhile.
        """
        for project, fields in self._projects.items():
            draft.add_project(project, alias=fields.alias, organization=fields.organization)
            draft.projects[project] = draft.projects[project]._replace(
                service_accounts=fields.service_accounts
            )
        for fingerprint, bindings in self._keys.items():
            for number, (project, binding) in enumerate(bindings.items()):
                draft.add_key(
                    project, fingerprint, hint=binding.hint, note=binding.note, also=number > 0
                )
