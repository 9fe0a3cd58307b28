"""Finds out which project each local key belongs to, as far as redacted values tell, and binds.

What the API shows of a key is a few characters. So a key is bound only if nothing else fits: no
key of another project, and no other local key.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import closing
from dataclasses import dataclass
from typing import Literal, NamedTuple

from openai_project_guard._cli.key_input import Secret
from openai_project_guard._cli.sync.administration import Administration
from openai_project_guard._cli.sync.checkpoint import Checkpoint, Matches
from openai_project_guard._registry.changes import Draft

Outcome = Literal["bound", "registered", "moved", "ambiguous", "unknown"]

_NOTE = "sync"


class LocalKey(NamedTuple):
    """A key of the environment, and its variable."""

    variable: str
    secret: Secret


@dataclass(frozen=True)
class Binding:
    """What became of one local key.

    Attributes:
        variable: its variable.
        hint: what may be shown of it.
        outcome: `bound` now; `registered` before, and left; `moved`: likewise, but the API lists
            it for another project; `ambiguous` and `unknown`: not bound.
        projects: the ids of those that it is bound to, or may belong to.
        says: the same in words.
    """

    variable: str
    hint: str
    outcome: Outcome
    projects: tuple[str, ...]
    says: str

    @property
    def is_good(self) -> bool:
        """Whether the key has its project."""
        return self.outcome in ("bound", "registered")


def match(
    keys: Sequence[LocalKey],
    projects: Sequence[str],
    address: str,
    api: Administration,
    show: Callable[[str], None],
) -> Matches:
    """Reads the keys of the projects, save those that an interrupted run had read.

    Args:
        keys: the local ones.
        projects: the ids of the projects.
        address: where the registry is.
        api: where to read.
        show: is told how far it is.
    """
    secrets = {key.secret.fingerprint: key.secret for key in keys}
    checkpoint = Checkpoint(address, (api.identity, *sorted(secrets)))
    with closing(checkpoint):
        for number, project in enumerate(projects, start=1):
            show(f"reading keys: {number:,} of {len(projects):,} projects")
            if project not in checkpoint.matches:
                fitting: dict[str, list[str]] = {}
                for listed in api.keys(project):
                    for fingerprint, secret in secrets.items():
                        if listed.fits(secret):
                            fitting.setdefault(fingerprint, []).append(listed.id)
                checkpoint.add(project, fitting)
    checkpoint.throw_away()
    return {project: checkpoint.matches[project] for project in projects}


def bind(keys: Sequence[LocalKey], matches: Matches, draft: Draft) -> list[Binding]:
    """Adds the keys that have one project to the registry; says what became of each."""
    return list(_bind(keys, matches, draft))


def _bind(keys: Sequence[LocalKey], matches: Matches, draft: Draft) -> Iterator[Binding]:
    # Two variables may hold one key: the projects of all are read before any is bound.
    registered_for = {key: draft.projects_of(key.secret.fingerprint) for key in keys}
    for key, registered in registered_for.items():
        variable, secret = key
        fitting = [project for project, found in matches.items() if secret.fingerprint in found]
        rivals = _rivals(secret.fingerprint, matches)
        outcome = _outcome(set(registered), fitting, has_rivals=bool(rivals))
        if outcome == "bound":
            draft.add_key(fitting[0], secret.fingerprint, hint=secret.hint, note=_NOTE)
        names = {project: draft.named(project) for project in (*registered, *fitting)}
        others = [key.variable for key in keys if key.secret.fingerprint in rivals]
        yield Binding(
            variable,
            secret.hint,
            outcome,
            tuple(sorted(registered)) if outcome == "registered" else tuple(fitting),
            _message(outcome, variable, sorted(registered), fitting, others, names),
        )


def _rivals(fingerprint: str, matches: Matches) -> set[str]:
    """The other local keys that one of the listed keys may be as well."""
    found: set[str] = set()
    for fitting in matches.values():
        listed = set(fitting.get(fingerprint, ()))
        found.update(other for other, ids in fitting.items() if listed.intersection(ids))
    return found - {fingerprint}


def _outcome(registered: set[str], fitting: Sequence[str], *, has_rivals: bool) -> Outcome:
    if registered:
        return "moved" if fitting and registered.isdisjoint(fitting) else "registered"
    if not fitting:
        return "unknown"
    return "ambiguous" if has_rivals or len(fitting) > 1 else "bound"


def _message(
    outcome: Outcome,
    variable: str,
    registered: Sequence[str],
    fitting: Sequence[str],
    others: Sequence[str],
    names: dict[str, str],
) -> str:
    register = f"openai-project-guard register PROJECT --key-env {variable}"
    here, fits = (" and ".join(names[id_] for id_ in ids) for ids in (registered, fitting))
    if outcome == "bound":
        return f"bound to {fits}"
    if outcome == "registered":
        return f"registered for {here} already"
    if outcome == "moved":
        return (
            f"registered for {here}, but the API lists it for {fits}. The entry was left as it "
            "is; if the API is right, remove the key with openai-project-guard remove, and run "
            "sync again"
        )
    if outcome == "unknown":
        return (
            "not bound: no project of this organization lists such a key (a legacy user key or "
            f"another organization's is in no list). If you know its project: {register}"
        )
    if len(fitting) > 1:
        why = f"what the API shows fits keys of {len(fitting)} projects, {fits}"
    else:
        why = f"the key of {fits} that it may be may also be the one in {' or '.join(others)}"
    return f"not bound: {why}. If you know its project: {register}"
