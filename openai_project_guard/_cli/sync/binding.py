"""Finds out which project each local key belongs to, as far as redacted values tell, and binds.

What the API shows of a key is a few characters. So a key is bound only if nothing else fits: no
key of another project, and no other local key.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from contextlib import closing
from functools import partial
from typing import Literal, NamedTuple

from openai_project_guard._cli import PROGRAM
from openai_project_guard._cli.key_input import Secret
from openai_project_guard._cli.sync.administration import Administration
from openai_project_guard._cli.sync.checkpoint import Checkpoint, Matches
from openai_project_guard._registry.changes import Draft

Outcome = Literal["bound", "registered", "moved", "ambiguous", "unknown"]


LocalKeys = Mapping[str, Secret]
"""The keys of the environment, by their variables."""


class Binding(NamedTuple):
    """What became of one local key.

    Attributes:
        outcome: `bound` now; `registered` before, and left; `moved`: likewise, but the API lists
            it for another project; `ambiguous` and `unknown`: not bound.
        projects: the ids of those that it is bound to, or may belong to.
        message: the same in words.
    """

    variable: str
    hint: str
    outcome: Outcome
    projects: tuple[str, ...]
    message: str

    @property
    def is_good(self) -> bool:
        """Whether the key has its project."""
        return self.outcome in ("bound", "registered")

    def as_json(self) -> dict[str, object]:
        """As `--json` has it, where the message bears an older name."""
        fields = self._asdict()
        says = fields.pop("message")
        return {**fields, "says": says}


def match(
    keys: LocalKeys,
    projects: Collection[str],
    address: str,
    api: Administration,
    show: Callable[[str], None],
) -> Matches:
    """Reads the keys of the projects, save those that an interrupted run had read."""
    if not keys:
        return {}
    secrets = {secret.fingerprint: secret for secret in keys.values()}
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


def bind(keys: LocalKeys, matches: Matches, draft: Draft) -> list[Binding]:
    """Adds the keys that have one project to the registry; says what became of each."""
    # Two variables may hold one key: the projects of all are read before any is bound.
    registered = {name: sorted(draft.projects_of(keys[name].fingerprint)) for name in keys}
    return [_bind(name, keys, registered[name], matches, draft) for name in keys]


def _bind(
    variable: str,
    keys: LocalKeys,
    registered: list[str],
    matches: Matches,
    draft: Draft,
) -> Binding:
    secret, fingerprint = keys[variable], keys[variable].fingerprint
    fitting = tuple(project for project, found in matches.items() if fingerprint in found)
    became = partial(Binding, variable, secret.hint)
    here, fits = (" and ".join(map(draft.named, ids)) for ids in (registered, fitting))
    if registered and fitting and not set(registered).intersection(fitting):
        return became(
            "moved",
            fitting,
            f"registered for {here}, but the API lists it for {fits}. The entry was left as it "
            f"is; if the API is right, remove the key with {PROGRAM} remove, and run sync again",
        )
    if registered:
        return became("registered", tuple(registered), f"registered for {here} already")
    if not fitting:
        problem = (
            "no project of this organization lists such a key (a legacy user key or another "
            "organization's is in no list)"
        )
    elif len(fitting) > 1:
        problem = f"what the API shows fits keys of {len(fitting)} projects, {fits}"
    elif rivals := _rivals(fingerprint, matches):
        others = " or ".join(name for name in keys if keys[name].fingerprint in rivals)
        problem = f"the key of {fits} that it may be may also be the one in {others}"
    else:
        draft.add_key(fitting[0], fingerprint, hint=secret.hint, note="sync")
        return became("bound", fitting, f"bound to {fits}")
    return became(
        "ambiguous" if fitting else "unknown",
        fitting,
        f"not bound: {problem}. If you know its project: {PROGRAM} register PROJECT --key-env "
        f"{variable}",
    )


def _rivals(fingerprint: str, matches: Matches) -> set[str]:
    """The other local keys that one of the listed keys may be as well."""
    found: set[str] = set()
    for fitting in matches.values():
        listed = set(fitting.get(fingerprint, ()))
        found.update(other for other, ids in fitting.items() if listed.intersection(ids))
    return found - {fingerprint}
