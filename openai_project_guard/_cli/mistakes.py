"""The mistakes that `check` and `doctor` know by name: what is wrong in words, and what mends it.

To add one, write a function of a `Situation` that gives a `Finding` or `None`, and list it below.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import dataclass
from typing import NamedTuple

from openai_project_guard._cli.secret import without_keys
from openai_project_guard._cli.situation import KEY, Situation
from openai_project_guard._cli.values import CUSTOM, origin, shown_url
from openai_project_guard._keys import redact
from openai_project_guard._registry.model import Project
from openai_project_guard._registry.validate import is_project_id
from openai_project_guard._settings import HOST_NAME
from openai_project_guard._types import Mode


class Finding(NamedTuple):
    """What a function of this module says."""

    sentence: str
    cure: str
    is_wrong: bool = True


@dataclass(frozen=True)
class Mistake:
    """A mistake that was recognised.

    Attributes:
        name: of the mistake, for programs.
        sentence: what is wrong.
        cure: what mends it.
        is_wrong: whether it puts the environment out of order; else it is only worth knowing.
    """

    name: str
    sentence: str
    cure: str
    is_wrong: bool


def recognise(situation: Situation) -> list[Mistake]:
    """The mistakes of a situation: those that put it out of order first."""
    found = [
        Mistake(name, without_keys(finding.sentence), without_keys(finding.cure), finding.is_wrong)
        for name, recognised in MISTAKES.items()
        if (finding := recognised(situation)) is not None
    ]
    return sorted(found, key=lambda mistake: not mistake.is_wrong)


def _no_key(at: Situation) -> Finding | None:
    if at.key is not None or (at.sent and at.sent.headers.key_digest):
        return None
    return Finding(
        f"{KEY} is not set, so a default client has no key.",
        f"Set {KEY} to the key of the project that this program works for.",
    )


def _unclean_key(at: Situation) -> Finding | None:
    if at.key is None or at.key.fault is None:
        return None
    whose = f" Without that it is the key of {_names(at.key.rows)}." if at.key.rows else ""
    return Finding(
        f"{KEY} has {at.key.fault}: what is sent is not the key {at.key.hint}.{whose}",
        f"Set {KEY} to the key alone. From a file: {KEY}=$(cat FILE), which drops the line break.",
    )


def _admin_key(at: Situation) -> Finding | None:
    if at.sent is None or not at.sent.key_hint.startswith("sk-admin-"):
        return None
    return Finding(
        f"{KEY} holds an admin key ({at.sent.key_hint}): it belongs to the organization, pays for "
        "no project, and the API refuses inference with it.",
        f"Put a project's key into {KEY}, and the admin key into OPENAI_ADMIN_KEY.",
    )


def _stale_project(at: Situation) -> Finding | None:
    project = _other_project(at)
    if project is None or not is_project_id(project) or _known(at, project):
        return None
    where = origin(at, "OpenAI-Project")
    return Finding(
        f"{where} is stale: it says {project}, a project that no registry knows. The key "
        f"{_hint(at)} belongs to {_names(at.rows)}.",
        f"{_set(where, _ids(at))}, or unset it where {_ids(at)} is set in another way.",
    )


def _key_of_another_project(at: Situation) -> Finding | None:
    project = _other_project(at)
    known = _known(at, project) if project else None
    if known is None or known.id != project:
        return None
    where = origin(at, "OpenAI-Project")
    return Finding(
        f"The key {_hint(at)} is the key of another project: it belongs to {_names(at.rows)}, and "
        f"{where} says {_name(known)}.",
        f"{_set(where, _ids(at))}, or set {KEY} to a key of {_name(known)}.",
    )


def _name_for_id(at: Situation) -> Finding | None:
    project = at.project
    if not project or is_project_id(_unwrapped(project)):
        return None
    where = origin(at, "OpenAI-Project")
    known = _known(at, _unwrapped(project))
    if known is None:
        return Finding(
            f"{where} says {redact(repr(project))}, which is no project id; perhaps it is the "
            "project's name. The API wants the id, proj_ and letters and digits.",
            f"{_set(where, _ids(at) or 'the id on the settings page of the project')}.",
        )
    return Finding(
        f"{where} says {project!r}: that is the project's name (its alias in the registry), and "
        f"the API wants its id, {known.id}.",
        f"{_set(where, known.id)}.",
    )


def _unclean_project(at: Situation) -> Finding | None:
    project = at.project
    if not project or project == (bare := _unwrapped(project)) or not is_project_id(bare):
        return None
    where = origin(at, "OpenAI-Project")
    return Finding(
        f"{where} has quotes or white space around the project id: {project!r}.",
        f"{_set(where, bare)}, alone.",
    )


def _wrong_variable(at: Situation) -> Finding | None:
    value = os.environ.get("OPENAI_PROJECT")
    if not value or value == at.project:
        return None
    sentence = "OPENAI_PROJECT is set, and nobody reads it: the SDK reads OPENAI_PROJECT_ID"
    if at.project:
        return Finding(
            f"{sentence}, which says {redact(at.project)}.", "Unset OPENAI_PROJECT.", is_wrong=False
        )
    return Finding(f"{sentence}, which is not set.", "Name the variable OPENAI_PROJECT_ID instead.")


def _no_project(at: Situation) -> Finding | None:
    if at.verdict is None or at.verdict.reason != "missing" or at.verdict.outcome == "injected":
        return None
    if os.environ.get("OPENAI_PROJECT"):
        return None  # said already
    return Finding(
        "Nothing names a project: OPENAI_PROJECT_ID is not set. The API would bill whatever "
        "project the key belongs to.",
        f"Set OPENAI_PROJECT_ID to {_ids(at) or 'the id of the project'}.",
    )


def _another_organization(at: Situation) -> Finding | None:
    by_server = at.live is not None and at.live.code == "mismatched_organization"
    if not by_server and (at.verdict is None or at.verdict.reason != "organization"):
        return None
    said = at.sent.headers.organization if at.sent else None
    wanted = " or ".join(sorted({row.project.organization or "" for row in at.rows} - {""}))
    where = origin(at, "OpenAI-Organization")
    return Finding(
        f"The key {_hint(at)} is the key of another organization: it belongs to "
        f"{wanted or 'one that the registry does not name'}, and {where} says {said}.",
        f"Set {where} to {wanted or 'the organization of the key'}, or unset it.",
    )


def _set(where: str, project: str) -> str:
    """What to do where a default client takes its OpenAI-Project from."""
    if where == CUSTOM:  # which holds whole lines
        return f"Have {CUSTOM} say OpenAI-Project: {project}"
    return f"Set {where} to {project}"


def _legacy_key(at: Situation) -> Finding | None:
    is_legacy = at.key is not None and at.key.kind == "legacy"
    if not is_legacy and len(at.rows) < 2:
        return None
    several = f", registered for {_names(at.rows)}" if len(at.rows) > 1 else ""
    return Finding(
        f"The key {_hint(at)} is a legacy user key{several}: it works in every project of its "
        "user, so the header alone decides who pays.",
        "Make a key of the project itself, register it, and retire this one.",
        is_wrong=False,
    )


def _unregistered_key(at: Situation) -> Finding | None:
    if at.verdict is None or at.verdict.reason != "unregistered":
        return None
    if at.key is not None and at.key.fault:
        return None  # said already
    if not any(len(known) for known in at.known):
        return None  # the empty registry is the mistake
    where = origin(at, "Authorization")
    return Finding(
        f"No registry knows the key {_hint(at)}.",
        f"If it is the right one: openai-project-guard register PROJECT --key-env {KEY}."
        if where == KEY
        else f"It comes from {where}: correct it there, or register it: openai-project-guard "
        "register PROJECT, which asks for the key.",
        is_wrong=at.verdict.outcome != "allowed",
    )


def _pinned_elsewhere(at: Situation) -> Finding | None:
    if at.verdict is None or at.verdict.reason != "scope" or at.settings is None:
        return None
    pinned = at.settings.policy.pinned
    return Finding(
        f"OPENAI_PROJECT_GUARD_PROJECT pins this process to {pinned}; the key {_hint(at)} belongs "
        f"to {_names(at.rows) or 'no registered project'} and the header says {at.project}.",
        f"Use a key and a header of {pinned}, or change OPENAI_PROJECT_GUARD_PROJECT.",
    )


def _other_host(at: Situation) -> Finding | None:
    if at.sent is None or at.settings is None or at.is_openai:
        return None
    url = os.environ.get("OPENAI_BASE_URL")
    if not HOST_NAME.fullmatch(at.sent.host):
        return Finding(
            f"OPENAI_BASE_URL is {'empty' if not url else 'no URL with a host'}, so no call can "
            "go anywhere.",
            "Unset it, or set it to a URL such as https://api.openai.com/v1.",
        )
    unseen = "so the guard does not look at its calls"
    judged = "the guard looks at its calls only because this key is registered"
    return Finding(
        f"The base URL is not OpenAI's ({shown_url(url) or at.sent.host}), "
        f"{unseen if at.verdict is None else judged}.",
        f"Unset OPENAI_BASE_URL, or, if {at.sent.host} hands calls on to OpenAI, add it to "
        "OPENAI_PROJECT_GUARD_HOSTS.",
        is_wrong=at.verdict is None,
    )


def _hooks_removed(at: Situation) -> Finding | None:
    if at.hooks is None or at.hooks.are_good or at.hooks.error:
        return None
    lost = " and ".join(at.hooks.lost)
    return Finding(
        f"Another tool took the guard's hook off {lost}: calls go by it unseen."
        if lost
        else "The hooks do not work: another tool took them off, or replaced what they sit on.",
        "Call openai_project_guard.enable() after that tool has started.",
    )


def _sdk_unsupported(at: Situation) -> Finding | None:
    if at.hooks is None or at.hooks.error is None:
        return None
    return Finding(at.hooks.error, "Change the release of openai or of openai-project-guard.")


def _registry_empty(at: Situation) -> Finding | None:
    if any(named.error for named in at.registries) or any(len(known) for known in at.known):
        return None
    if at.registries:
        return Finding(
            f"The registry is empty: {' and '.join(named.name for named in at.registries)} "
            "has no key.",
            "Add one: openai-project-guard register PROJECT.",
        )
    return Finding(
        "There is no registry: no variable names one, and there is no openai-projects.toml here.",
        "Make one: openai-project-guard register PROJECT.",
    )


def _registry_unreadable(at: Situation) -> Finding | None:
    broken = [named.error for named in at.registries if named.error]
    if not broken:
        return None
    return Finding(
        f"A registry cannot be read. {' '.join(broken)}",
        "Mend or restore it, or correct OPENAI_PROJECT_GUARD_REGISTRY.",
    )


def _settings_unusable(at: Situation) -> Finding | None:
    if at.settings_error is None or any(named.error for named in at.registries):
        return None
    if at.hooks is not None and at.hooks.error:
        return None
    return Finding(at.settings_error, "Correct or unset that setting.")


def _server_disagrees(at: Situation) -> Finding | None:
    if at.live is None or at.agrees or at.live.code == "mismatched_organization":
        return None
    if at.live.is_good:
        return Finding(
            f"The registry is out of date: it has the key {_hint(at)} for {_names(at.rows)}, and "
            f"the API says it belongs to {at.live.project}.",
            f"Register it anew: openai-project-guard register {at.live.project} --key-env {KEY}.",
        )
    return Finding(
        f"{at.live.said}.",
        "Look at the base URL and the network."
        if at.live.status is None
        else "Use the key and the project that belong together; openai-project-guard register "
        "--verify asks the API before it registers a key.",
    )


def _guard_off(at: Situation) -> Finding | None:
    if at.mode is not Mode.OFF or at.settings_error:
        return None
    return Finding(
        "OPENAI_PROJECT_GUARD is off or not set: the guard checks only where the program itself "
        "calls enable() or uses @guard.",
        "Set OPENAI_PROJECT_GUARD=enforce and import openai_project_guard at start-up.",
        is_wrong=False,
    )


def _guard_only_warns(at: Situation) -> Finding | None:
    if at.mode is not Mode.WARN:
        return None
    return Finding(
        "OPENAI_PROJECT_GUARD is warn: a wrong call is logged and sent all the same.",
        "Set OPENAI_PROJECT_GUARD=enforce when the log has been quiet for long enough.",
        is_wrong=False,
    )


MISTAKES: dict[str, Callable[[Situation], Finding | None]] = {
    "settings_unusable": _settings_unusable,
    "registry_unreadable": _registry_unreadable,
    "registry_empty": _registry_empty,
    "sdk_unsupported": _sdk_unsupported,
    "hooks_removed": _hooks_removed,
    "no_key": _no_key,
    "unclean_key": _unclean_key,
    "admin_key": _admin_key,
    "other_host": _other_host,
    "key_of_another_project": _key_of_another_project,
    "stale_project": _stale_project,
    "name_for_id": _name_for_id,
    "unclean_project": _unclean_project,
    "wrong_variable": _wrong_variable,
    "no_project": _no_project,
    "another_organization": _another_organization,
    "unregistered_key": _unregistered_key,
    "pinned_elsewhere": _pinned_elsewhere,
    "server_disagrees": _server_disagrees,
    "legacy_key": _legacy_key,
    "guard_off": _guard_off,
    "guard_only_warns": _guard_only_warns,
}
"""Each mistake's name, which `--json` shows, and the function that recognises it."""


def _other_project(at: Situation) -> str | None:
    """The project that is sent, if the key is registered and not for that one."""
    project = at.project
    if not project or not at.rows or any(row.project.id == project for row in at.rows):
        return None
    return project


def _known(at: Situation, name: str) -> Project | None:
    for registry in at.known:
        for known, project in registry.snapshot.projects.items():
            if known.lower() == name.lower():
                return project
    return None


def _unwrapped(value: str) -> str:
    return value.strip().strip("\"'").strip()


def _hint(at: Situation) -> str:
    return at.sent.key_hint if at.sent else ""


def _name(project: Project) -> str:
    return f"{project.alias} ({project.id})" if project.alias else project.id


def _names(rows: tuple[object, ...]) -> str:
    return " and ".join(_name(row.project) for row in rows)  # type: ignore[attr-defined]


def _ids(at: Situation) -> str:
    return " or ".join(row.project.id for row in at.rows)
