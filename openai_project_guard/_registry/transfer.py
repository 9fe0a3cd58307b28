"""Copies a registry from one address to another: what would change there, and the change."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal, NamedTuple

from openai_project_guard._registry import stores
from openai_project_guard._registry.model import ProjectFields, label, listing

if TYPE_CHECKING:
    from collections.abc import Iterator

    from openai_project_guard._registry.changes import Draft, StoredState
    from openai_project_guard._registry.model import KeyBinding, Listing


class Difference(NamedTuple):
    """One of what would change, for an administrator to look at first.

    Attributes:
        sign: `+` for what is new, `-` for what goes, `~` for what becomes something else.
        text: what it is.
    """

    sign: Literal["+", "-", "~"]
    text: str


class Transfer:
    """Makes one registry what another is, or adds what it lacks. Comments of a file stay.

    Args:
        origin: the address of the registry that is right.
        target: the address of the other; it need not be there.
        merge: only add what the target does not have.

    Attributes:
        differences: what would change.
        conflicts: what is not added, in a sentence each, for the target says something else.
        is_new: whether there is nothing to change yet.

    Raises:
        RegistryError: one of them cannot be read.
    """

    def __init__(self, origin: str, target: str, *, merge: bool = False) -> None:
        self._origin = listing(stores.read(origin).snapshot)
        self._target = target
        self._merge = merge
        found = stores.find(target)
        self._version = found.version
        self.is_new = found.version is None
        wanted, self.conflicts = self._plan(found)
        self.differences = [*_compare(listing(found.snapshot), wanted)]
        if not merge:
            self.differences += [
                Difference("-", f"{name}, which is not in order: {problem}")
                for name, problem in found.problems.items()
            ]

    def carry_out(self) -> None:
        """Writes it.

        Raises:
            RegistryError: somebody else changed the target meanwhile, or it cannot be written.
        """
        stores.change(self._target, self._write, create=True)

    def _write(self, draft: Draft) -> None:
        wanted, conflicts = self._plan(draft.stored)
        if self._merge and conflicts == self.conflicts:  # others' additions are no hindrance
            draft.projects = wanted[0]
            draft.keys |= {name: new for name, new in wanted[1].items() if not draft.keys.get(name)}
        else:
            draft.become(wanted, self._version)

    def _plan(self, found: StoredState) -> tuple[Listing, tuple[str, ...]]:
        """What the target is to hold, and what it cannot take in."""
        if not self._merge:
            return self._origin, ()
        projects, keys = listing(found.snapshot)
        aliases = {fields.alias: project for project, fields in projects.items() if fields.alias}
        conflicts = []
        for project, fields in self._origin[0].items():
            if project in projects:
                accounts = (*projects[project].service_accounts, *fields.service_accounts)
                fields = projects[project]._replace(service_accounts=tuple(dict.fromkeys(accounts)))
            elif owner := aliases.get(fields.alias or ""):
                conflicts.append(
                    f"The alias {fields.alias} belongs to {owner} there, so {project} is added "
                    "without it."
                )
                fields = fields._replace(alias=None)
            projects[project] = fields
        for fingerprint, bindings in self._origin[1].items():
            there = keys.setdefault(fingerprint, bindings)
            if not bindings.keys() <= there.keys():
                names, others = (
                    " and ".join(label(project, projects[project].alias) for project in ids)
                    for ids in (there, bindings.keys() - there.keys())
                )
                hint = next(iter(bindings.values())).hint or f"{fingerprint[:15]}…"
                conflicts.append(
                    f"The key {hint} is registered for {names} there, so it is not added to "
                    f"{others}. If it belongs to both: openai-project-guard register --also."
                )
        return (projects, keys), tuple(conflicts)


def _compare(old: Listing, new: Listing) -> Iterator[Difference]:
    for project in sorted(old[0] | new[0]):
        before, after = (
            _described(project, part[0][project]) if project in part[0] else None
            for part in (old, new)
        )
        if before != after:
            yield _difference("project", before, after)
    for fingerprint in sorted(old[1] | new[1]):
        bindings, wanted = (part[1].get(fingerprint, {}) for part in (old, new))
        for project in sorted(bindings | wanted):
            if bindings.get(project) != wanted.get(project):
                before, after = (
                    _key(fingerprint, part[project]) if project in part else None
                    for part in (bindings, wanted)
                )
                yield _difference("key", before, after, f" of {project}")


def _difference(kind: str, before: str | None, after: str | None, of: str = "") -> Difference:
    sign: Literal["+", "-", "~"] = "~" if before and after else "-" if before else "+"
    change = f": now {after}" if sign == "~" else ""
    return Difference(sign, f"{kind} {before or after}{of}{change}")


def _described(project: str, fields: ProjectFields) -> str:
    facts = [fields.organization] if fields.organization else []
    if fields.service_accounts:
        facts.append("service accounts " + " ".join(sorted(fields.service_accounts)))
    return ", ".join([label(project, fields.alias), *facts])


def _key(fingerprint: str, binding: KeyBinding) -> str:
    name = binding.hint or f"{fingerprint[:15]}…"
    return f"{name} ({binding.note})" if binding.note else name
