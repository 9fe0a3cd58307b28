"""Findings about the project and the organization."""

from __future__ import annotations

import os

from openai_project_guard._cli.diagnosis.collect import Diagnosis
from openai_project_guard._cli.diagnosis.findings.finding import Finding, hint, ids, names, unset
from openai_project_guard._cli.diagnosis.header_sources import CUSTOM, origin_of
from openai_project_guard._cli.key_input import API_KEY
from openai_project_guard._keys import redact
from openai_project_guard._registry.model import Project
from openai_project_guard._registry.validate import is_project_id
from openai_project_guard._types import Mode


def stale_project(at: Diagnosis) -> Finding | None:
    where = origin_of(at, "OpenAI-Project")
    if API_KEY in at.unknown and at.project and is_project_id(at.project):
        if _known(at, at.project) or not any(known.snapshot.projects for known in at.known):
            return None
        return Finding(
            f"{where} says {at.project}, a project that no registry knows.",
            "Set it to a project of the registry, or add the project there.",
        )
    project = _other_project(at)
    if project is None or not is_project_id(project) or _known(at, project):
        return None
    return Finding(
        f"{where} is stale: it says {project}, a project that no registry knows. The key "
        f"{hint(at)} belongs to {names(at.records)}.",
        f"{_set(where, ids(at))}, or unset it where {ids(at)} is set in another way.",
    )


def key_of_another_project(at: Diagnosis) -> Finding | None:
    project = _other_project(at)
    known = _known(at, project) if project else None
    if known is None or known.id != project:
        return None
    where = origin_of(at, "OpenAI-Project")
    return Finding(
        f"The key {hint(at)} is the key of another project: it belongs to {names(at.records)}, and "
        f"{where} says {known.label}.",
        f"{_set(where, ids(at))}, or set {API_KEY} to a key of {known.label}.",
    )


def name_for_id(at: Diagnosis) -> Finding | None:
    project = at.project
    if not project or is_project_id(_unwrapped(project)):
        return None
    where = origin_of(at, "OpenAI-Project")
    known = _known(at, _unwrapped(project))
    if known is None:
        return Finding(
            f"{where} says {redact(repr(project))}, which is no project id; perhaps it is the "
            "project's name. The API wants the id, proj_ and letters and digits.",
            f"{_set(where, ids(at) or 'the id on the settings page of the project')}.",
        )
    return Finding(
        f"{where} says {project!r}: that is the project's name (its alias in the registry), and "
        f"the API wants its id, {known.id}.",
        f"{_set(where, known.id)}.",
    )


def unclean_project(at: Diagnosis) -> Finding | None:
    project = at.project
    if not project or project == (bare := _unwrapped(project)) or not is_project_id(bare):
        return None
    where = origin_of(at, "OpenAI-Project")
    return Finding(
        f"{where} has quotes or white space around the project id: {project!r}.",
        f"{_set(where, bare)}, alone.",
    )


def wrong_variable(at: Diagnosis) -> Finding | None:
    value = os.environ.get("OPENAI_PROJECT")
    if not value or value == at.project:
        return None
    sentence = "OPENAI_PROJECT is set, and the SDK does not read it: it reads OPENAI_PROJECT_ID"
    if at.project:
        return Finding(
            f"{sentence}, which says {redact(at.project)}.", "Unset OPENAI_PROJECT.", is_wrong=False
        )
    state = unset("OPENAI_PROJECT_ID").removeprefix("OPENAI_PROJECT_ID")
    return Finding(f"{sentence}, which{state}.", "Name the variable OPENAI_PROJECT_ID instead.")


def no_project(at: Diagnosis) -> Finding | None:
    if API_KEY in at.unknown:
        if at.project or at.judged_as is Mode.INJECT or not at.is_openai:
            return None
    elif at.verdict is None or at.verdict.reason != "missing" or at.verdict.outcome == "injected":
        return None
    if os.environ.get("OPENAI_PROJECT"):
        return None  # said already
    return Finding(
        f"Nothing names a project: {unset('OPENAI_PROJECT_ID')}. The API would bill whatever "
        "project the key belongs to.",
        f"Set OPENAI_PROJECT_ID to {ids(at) or 'the id of the project'}.",
    )


def another_organization(at: Diagnosis) -> Finding | None:
    by_server = at.live is not None and at.live.code == "mismatched_organization"
    if not by_server and (at.verdict is None or at.verdict.reason != "organization"):
        return None
    said = at.sent.headers.organization if at.sent else None
    wanted = " or ".join(
        sorted({record.project.organization or "" for record in at.records} - {""})
    )
    where = origin_of(at, "OpenAI-Organization")
    return Finding(
        f"The key {hint(at)} is the key of another organization: it belongs to "
        f"{wanted or 'one that the registry does not name'}, and {where} says {said}.",
        f"Set {where} to {wanted or 'the organization of the key'}, or unset it.",
    )


def pinned_elsewhere(at: Diagnosis) -> Finding | None:
    if at.verdict is None or at.verdict.reason != "scope" or at.settings is None:
        return None
    pinned = at.settings.policy.pinned
    return Finding(
        f"OPENAI_PROJECT_GUARD_PROJECT pins this process to {pinned}; the key {hint(at)} belongs "
        f"to {names(at.records) or 'no registered project'} and the header says {at.project}.",
        f"Use a key and a header of {pinned}, or change OPENAI_PROJECT_GUARD_PROJECT.",
    )


def _set(where: str, project: str) -> str:
    """What to do where a default client takes its OpenAI-Project from."""
    if where == CUSTOM:  # which holds whole lines
        return f"Have {CUSTOM} say OpenAI-Project: {project}"
    return f"Set {where} to {project}"


def _other_project(at: Diagnosis) -> str | None:
    """The project that is sent, if the key is registered and not for that one."""
    project = at.project
    if not project or not at.records or any(record.project.id == project for record in at.records):
        return None
    return project


def _known(at: Diagnosis, name: str) -> Project | None:
    for registry in at.known:
        for known, project in registry.snapshot.projects.items():
            if known.lower() == name.lower():
                return project
    return None


def _unwrapped(value: str) -> str:
    return value.strip().strip("\"'").strip()
