"""Findings on what a default client sends: its key, its project, its organization."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator

from openai_project_guard import _env
from openai_project_guard._audit.change import commands_after_drift
from openai_project_guard._cli import PROGRAM
from openai_project_guard._cli.diagnosis.collect import CUSTOM, Diagnosis, Finding, note
from openai_project_guard._cli.key_input import API_KEY, bare
from openai_project_guard._cli.output import count
from openai_project_guard._keys import digest, fingerprint_of, hint, redact
from openai_project_guard._registry.model import Project
from openai_project_guard._registry.validate import is_project_id
from openai_project_guard._types import Mode


def find(at: Diagnosis) -> Iterator[Finding]:
    """All of them."""
    yield from _on_the_key(at)
    yield from _on_the_project(at, at.sent.project or "")
    yield from _on_no_project(at)
    yield from _on_the_verdict(at)
    yield from _on_the_answer(at)


def _on_the_key(at: Diagnosis) -> Iterator[Finding]:
    if not os.environ.get(API_KEY) and not at.sent.key_digest:
        yield Finding(
            "no_key",
            f"{_unset(API_KEY)}, so a default client has no key.",
            f"Set {API_KEY} to the key of the project that this program works for.",
        )
    if flaw := _flaw_of_key():
        key = bare(os.environ[API_KEY])
        whose = _labels(at.projects_of(digest(key)))
        yield Finding(
            "unclean_key",
            f"{API_KEY} has {flaw}"
            + (
                ", so no call can be sent."
                if at.sent.unsendable == "authorization"
                else f": what is sent is not the key {hint(key if key.isascii() else '')}."
            )
            + (f" Without that it is the key of {whose}." if whose else ""),
            f"Set {API_KEY} to the key alone."
            + (f" From a file: {API_KEY}=$(cat FILE), which drops it." if "break" in flaw else ""),
        )
    if at.sent.hint.startswith("sk-admin-"):
        yield Finding(
            "admin_key",
            f"{API_KEY} holds an admin key ({at.sent.hint}): it belongs to the organization, pays "
            "for no project, and the API refuses inference with it.",
            f"Put a project's key into {API_KEY}, and the admin key into OPENAI_ADMIN_KEY.",
        )
    is_of_several = len(at.projects) > 1
    if is_of_several or at.sent.hint.startswith(("sk-…", "sk-None-")):
        several = f", registered for {_labels(at.projects)}" if is_of_several else ""
        yield note(
            "legacy_key",
            f"The key {at.sent.hint} is a legacy user key{several}: it works in every project of "
            "its user, so the header alone decides who pays.",
            "Make a key of the project itself, register it, and retire this one.",
        )


def _flaw_of_key() -> str | None:
    key = os.environ.get(API_KEY, "")
    if not bare(key).isascii():
        return "a character that no key has"
    if key.strip() and key.strip()[0] in "\"'‘’“”":
        return "quotes around it"
    if key.endswith(("\n", "\r")):
        return "a line break at its end"
    if key.lower().startswith("bearer "):
        return "the word Bearer in front of it"
    if key != key.strip() or len(key.split()) > 1:
        return "white space around or in it"
    return None


def _flaw_of_organization(at: Diagnosis) -> str | None:
    if not os.environ.get("OPENAI_ORG_ID", "").isascii():
        return "a character that no id has"
    if at.sent.unsendable == "openai-organization":
        return "white space around or in it"
    return None


def _on_the_project(at: Diagnosis, project: str) -> Iterator[Finding]:
    where, ids, owners = _where(at, "OpenAI-Project"), _ids(at), _labels(at.projects)
    # OPENAI_CUSTOM_HEADERS holds whole lines.
    correct = f"Have {CUSTOM} say OpenAI-Project:" if where == CUSTOM else f"Set {where} to"
    bare_id = project.strip().strip("\"'").strip()
    known = at.find_project(bare_id)
    is_of_another = at.projects and (known is None or known.id not in [p.id for p in at.projects])
    other_key = f", and {API_KEY} to a key of that project" if known and is_of_another else ""
    if not project:
        return
    if not is_project_id(bare_id):
        yield Finding(
            "name_for_id",
            f"{where} says {redact(repr(project))}"
            + (
                ": that is the project's name (its alias in the registry), and the API wants its "
                f"id, {known.id}."
                if known
                else ", which is no project id; perhaps it is the project's name. The API wants "
                "the id, proj_ and letters and digits."
            ),
            f"{correct} {known.id if known else ids or 'the id on the settings page'}{other_key}.",
        )
    elif project != bare_id:
        yield Finding(
            "unclean_project",
            f"{where} has quotes or white space around the project id: {project!r}.",
            f"{correct} {bare_id}, alone{other_key}.",
        )
    elif API_KEY in at.unknown and not known and any(each.projects for each in at.registries):
        yield Finding(
            "stale_project",
            f"{where} says {project}, a project that no registry knows.",
            "Set it to a project of the registry, or add the project there.",
        )
    elif is_of_another and known:
        yield Finding(
            "key_of_another_project",
            f"The key {at.sent.hint} is the key of another project: it belongs to {owners}, and "
            f"{where} says {known.label}.",
            f"{correct} {ids}, or set {API_KEY} to a key of {known.label}.",
        )
    elif is_of_another:
        yield Finding(
            "stale_project",
            f"{where} is stale: it says {project}, a project that no registry knows. The key "
            f"{at.sent.hint} belongs to {owners}.",
            f"{correct} {ids}, or unset it where {ids} is set in another way.",
        )


def _on_no_project(at: Diagnosis) -> Iterator[Finding]:
    project, is_unset = at.sent.project, _unset("OPENAI_PROJECT_ID")
    misread = os.environ.get("OPENAI_PROJECT")
    if misread and misread != project:
        state = f"says {redact(project)}" if project else is_unset.partition(" ")[2]
        yield Finding(
            "wrong_variable",
            "OPENAI_PROJECT is set, and the SDK does not read it: it reads OPENAI_PROJECT_ID, "
            f"which {state}.",
            "Unset OPENAI_PROJECT." if project else "Name the variable OPENAI_PROJECT_ID instead.",
            is_wrong=not project,
        )
    is_missing = bool(at.refusal and at.refusal[0] == "ProjectMissingError")
    if API_KEY in at.unknown:
        is_missing = not project and at.judged_as is not Mode.INJECT and at.is_openai
    if is_missing and not misread:
        yield Finding(
            "no_project",
            f"Nothing names a project: {is_unset}. The API would bill whatever project the key "
            "belongs to.",
            f"Set OPENAI_PROJECT_ID to {_ids(at) or 'the id of the project'}.",
        )


def _on_the_verdict(at: Diagnosis) -> Iterator[Finding]:
    reason = at.verdict.reason if at.verdict else None
    if reason == "organization" or (at.live and at.live.code == "mismatched_organization"):
        where = _where(at, "OpenAI-Organization")
        wanted = " or ".join(sorted({own.organization or "" for own in at.projects} - {""}))
        yield Finding(
            "another_organization",
            f"The key {at.sent.hint} is the key of another organization: it belongs to "
            f"{wanted or 'one that the registry does not name'}, and {where} says "
            f"{at.sent.organization}.",
            f"Set {where} to {wanted or 'the organization of the key'}, or unset it.",
        )
    if flaw := _flaw_of_organization(at):
        yield Finding(
            "unclean_organization",
            f"OPENAI_ORG_ID has {flaw}, so no call can be sent.",
            "Set OPENAI_ORG_ID to the id of the key's organization, or unset it.",
        )
    elif at.sent.unsendable and CUSTOM in os.environ and not _flaw_of_key():
        yield Finding(
            "unclean_header",
            f"{CUSTOM} sets a header that HTTP does not allow, "
            f"{redact(repr(at.sent.unsendable))}, so no call can be sent.",
            "Correct it there, or take it out.",
        )
    if reason == "scope" and at.settings:
        pinned = at.settings.policy.pinned
        yield Finding(
            "pinned_elsewhere",
            f"{_env.PROJECT} pins this process to {pinned}; the key {at.sent.hint} belongs to "
            f"{_labels(at.projects) or 'no registered project'} and the header says "
            f"{at.sent.project}.",
            f"Use a key and a header of {pinned}, or change {_env.PROJECT}.",
        )
    keys = {each.name: each.keys for each in at.registries}
    # Not where the key's flaw or the empty registry has been named already.
    if reason == "unregistered" and not _flaw_of_key() and any(keys.values()):
        looked_in = (f"{name} ({count(number, 'key')})" for name, number in keys.items())
        where = _where(at, "Authorization")
        yield Finding(
            "unregistered_key",
            f"The key {at.sent.hint} is not in any registry. Looked in: {', '.join(looked_in)}.",
            f"If it is the right one: openai-project-guard register PROJECT --key-env {API_KEY}."
            if where == API_KEY
            else f"It comes from {where}: correct it there, or register it: openai-project-guard "
            "register PROJECT, which asks for the key.",
            is_wrong=at.verdict is not None and at.verdict.outcome != "allowed",
        )


def _on_the_answer(at: Diagnosis) -> Iterator[Finding]:
    if at.live is None or at.agrees or at.live.code == "mismatched_organization":
        return
    message = f"{at.live.sentence}."
    fix = (
        "Use the key and the project that belong together; openai-project-guard register --verify "
        "asks the API before it registers a key."
    )
    if at.live.status is None:
        fix = "Look at the base URL and the network."
    elif at.live.is_good and at.sent.key_digest:
        message = (
            f"The registry is out of date: it has the key {at.sent.hint} for "
            f"{_labels(at.projects)}, and the API says it belongs to {at.live.project}."
        )
        commands = commands_after_drift(
            fingerprint_of(at.sent.key_digest)[:23],  # as many digits of it as `remove` needs
            [project.id for project in at.projects],
            at.sent.project,
            str(at.live.project),
            API_KEY,
        )
        fix = f"Correct the entry: {', then '.join(f'{PROGRAM} {each}' for each in commands)}."
    yield Finding("server_disagrees", message, fix)


def _where(at: Diagnosis, header: str) -> str:
    """The variable that a default client takes a header from."""
    origin = at.sent.origins.get(header, "")
    return origin if origin in os.environ else "the environment"


def _unset(variable: str) -> str:
    return f"{variable} is {'empty' if variable in os.environ else 'not set'}"


def _labels(projects: Iterable[Project]) -> str:
    return " and ".join(project.label for project in projects)


def _ids(at: Diagnosis) -> str:
    return " or ".join(own.id for own in at.projects)
