"""What is different between two registries, for an administrator to look at first."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal, NamedTuple

from openai_project_guard._registry.model import label, listing

if TYPE_CHECKING:
    from collections.abc import Iterator

    from openai_project_guard._registry.model import (
        KeyBinding,
        KeyBindings,
        ProjectFields,
        Snapshot,
    )

Sign = Literal["+", "-", "~"]


class Step(NamedTuple):
    """One difference.

    Attributes:
        sign: `+` for what is new, `-` for what goes, `~` for what becomes something else.
        text: what it is.
    """

    sign: Sign
    text: str


def difference(old: Snapshot, new: Snapshot) -> list[Step]:
    """The steps from one registry to another."""
    (old_projects, old_keys), (new_projects, new_keys) = listing(old), listing(new)
    return [
        *_of_projects(old_projects, new_projects),
        *_of_keys(old_keys, new_keys),
    ]


def _of_projects(old: dict[str, ProjectFields], new: dict[str, ProjectFields]) -> Iterator[Step]:
    for project in sorted({*old, *new}):
        before, after = old.get(project), new.get(project)
        if before is None and after is not None:
            yield Step("+", f"project {_described(project, after)}")
        elif before is not None and after is None:
            yield Step("-", f"project {_described(project, before)}")
        elif before is not None and after is not None and _sorted(before) != _sorted(after):
            yield Step(
                "~", f"project {_described(project, before)}: now {_described(project, after)}"
            )


def _of_keys(old: dict[str, KeyBindings], new: dict[str, KeyBindings]) -> Iterator[Step]:
    for fingerprint in sorted({*old, *new}):
        before, after = old.get(fingerprint, {}), new.get(fingerprint, {})
        for project in sorted({*before, *after}):
            held, wanted = before.get(project), after.get(project)
            if held == wanted:
                continue
            shown = held or wanted
            assert shown is not None
            name = f"key {_key(fingerprint, shown)} of {project}"
            if held is None:
                yield Step("+", name)
            elif wanted is None:
                yield Step("-", name)
            else:
                yield Step("~", f"{name}: now {_key(fingerprint, wanted)}")


def _described(project: str, notes: ProjectFields) -> str:
    facts = [notes.organization] if notes.organization else []
    if notes.service_accounts:
        facts.append("service accounts " + " ".join(notes.service_accounts))
    name = label(project, notes.alias)
    return f"{name}, {', '.join(facts)}" if facts else name


def _sorted(notes: ProjectFields) -> ProjectFields:
    return notes._replace(service_accounts=tuple(sorted(notes.service_accounts)))


def _key(fingerprint: str, held: KeyBinding) -> str:
    name = held.hint or f"{fingerprint[:15]}…"
    return f"{name} ({held.note})" if held.note else name
