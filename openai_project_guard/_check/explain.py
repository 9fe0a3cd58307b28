"""The text of a refusal: what, what the registry says, where from, nothing sent, how to fix it."""

from __future__ import annotations

from openai_project_guard._check.call import Sender
from openai_project_guard._check.errors import BY_REASON, ProjectGuardError
from openai_project_guard._check.headers import HeaderTexts
from openai_project_guard._check.origin import (
    ORGANIZATION,
    PROJECT,
    Origin,
    origin_of,
    origin_of_key,
)
from openai_project_guard._check.verdict import Verdict, is_well_formed
from openai_project_guard._keys import fingerprint_of, redact
from openai_project_guard._registry.model import KeyRecord
from openai_project_guard._registry.validate import is_project_id


def explained(
    verdict: Verdict,
    headers: HeaderTexts,
    records: tuple[KeyRecord, ...],
    pinned: str | None,
    sender: Sender,
    service_account: str | None,
) -> ProjectGuardError:
    """The error for a blocked call, with its whole explanation."""
    reason = verdict.reason
    assert reason is not None
    account = None if verdict.key_hint.startswith("sk-") else service_account
    if reason == "organization":
        origin = origin_of(ORGANIZATION, headers.organization, sender, verdict.transport)
    elif reason == "unregistered" and account:
        origin = Origin(
            f"The call is sent for the service account {account}, by the client's workload "
            "identity.",
            f"list {account} under service_accounts of its project, in the registry",
        )
    elif reason == "unregistered" or (reason == "malformed" and _is_well_formed(headers)):
        origin = origin_of_key(headers.key_digest, sender)
    elif reason == "missing" and verdict.transport == "websocket":
        origin = _missing_on_websocket(sender)
    else:
        origin = origin_of(PROJECT, headers.project or None, sender, verdict.transport)
    text = "\n".join(
        (
            _about_to_be_sent(verdict, headers),
            _registry_says(records, headers.key_digest, pinned),
            origin.sentence,
            "Nothing was sent.",
            f"To fix it: {_cure(verdict, headers, records, origin, pinned, account is not None)}.",
        )
    )
    return BY_REASON[reason](redact(text), verdict)


def _about_to_be_sent(verdict: Verdict, headers: HeaderTexts) -> str:
    where, key = f"{verdict.host}{verdict.path}", f"with key {verdict.key_hint}"
    if verdict.transport == "websocket":
        what = f"A WebSocket to {where} was about to be opened {key}"
    else:
        what = f"{verdict.method} {where} was about to be sent {key}"
    if not headers.project:
        what += f" and {'an empty' if headers.project == '' else 'no'} OpenAI-Project header"
    else:
        what += f" and OpenAI-Project {' and '.join(map(repr, headers.project.split(chr(10))))}"
    if verdict.reason == "organization":
        what += f" and OpenAI-Organization {headers.organization!r}"
    if verdict.reason == "malformed":
        what += f", which {_fault(headers)}"
    return what + "."


def _is_well_formed(headers: HeaderTexts) -> bool:
    return not headers.project or is_well_formed(headers.project)


def _fault(headers: HeaderTexts) -> str:
    if _is_well_formed(headers):
        return "goes with more than one key, or with a registered key in an unusual form"
    value = headers.project or ""
    if "\n" in value:
        return "is there more than once or has a line break in it"
    if value != value.strip():
        return "has white space around it"
    return "has characters that no project id has"


def _registry_says(
    records: tuple[KeyRecord, ...], key_digest: bytes | None, pinned: str | None
) -> str:
    needle = fingerprint_of(key_digest or b"")
    if not records:
        says = "No registry knows this key"
    else:
        stands = []
        for record in records:
            project = record.project
            name = f"{project.id} ({project.alias})" if project.alias else project.id
            if project.organization:
                name += f" of {project.organization}"
            place = project.place.of(record.service_account or needle, project.id)
            stands.append(f"{name}, in {place}")
        says = f"The registry has this key for project {'; and for '.join(stands)}"
    if pinned is not None:
        says += f"; the scope here is pinned to project {pinned}"
    return says + "."


def _cure(
    verdict: Verdict,
    headers: HeaderTexts,
    records: tuple[KeyRecord, ...],
    origin: Origin,
    pinned: str | None,
    is_account: bool,
) -> str:
    expected = " or ".join(verdict.expected)
    if verdict.reason == "unregistered" and is_account:
        return origin.cure
    if verdict.reason == "unregistered":
        return (
            "if the key is right, register it: openai-project-guard register PROJECT "
            "--key-env NAME, where NAME is the variable that holds the key, or add it to what "
            "enable(registry=...) was given; if it is not, "
            f'{origin.cure}. To let such calls through meanwhile: unregistered="warn"'
        )
    if verdict.reason == "organization":
        wanted = " or ".join(record.project.organization or "" for record in records)
        return f"{origin.cure} (expected: {wanted}), or correct the registry's entry"
    if verdict.reason == "scope":
        return (
            f"use a key and an OpenAI-Project of {pinned} here, or make this call outside the "
            f"scope that is pinned to it (guard(project=...), enable(project=...) or "
            "OPENAI_PROJECT_GUARD_PROJECT)"
        )
    if verdict.reason == "missing" and len(verdict.expected) > 1:
        return (
            f"{origin.cure} (expected: {expected}): the registry has this key for several "
            'projects, so mode="inject" has none to put in'
        )
    if verdict.reason == "missing":
        return f'{origin.cure} (expected: {expected}), or use mode="inject" to have it put in'
    cure = f"{origin.cure} (expected: {expected})" if expected else origin.cure
    if verdict.reason == "malformed":
        return f"{cure}; send one OpenAI-Project header and one Authorization header, Bearer KEY"
    if not is_project_id(headers.project or ""):
        return f"{cure}: the header takes a project's id, proj_…, not its name or its alias"
    return (
        f"{cure}, or use a key of project {verdict.actual}. If the key does belong to "
        f"{verdict.actual}, register it there: openai-project-guard register {verdict.actual}"
    )


def _missing_on_websocket(sender: Sender) -> Origin:
    if sender.websocket_note is None:
        return Origin(
            "Nothing sets the header on this WebSocket: neither the client nor connect() names a "
            "project.",
            "pass `project=` to the client, or extra_headers={'OpenAI-Project': ...} to connect()",
        )
    return Origin(
        f"Nothing sets the header on this WebSocket: {sender.websocket_note}.",
        "pass extra_headers={'OpenAI-Project': ...} to connect(), or upgrade openai",
    )
