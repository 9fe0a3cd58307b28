"""What to change about a call that is not in order: where, and to what."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from openai_project_guard._audit.line import Record
from openai_project_guard._check.verdict import is_well_formed
from openai_project_guard._registry.validate import is_project_id

_OF_A_KEY = ("api_key=", "OPENAI_API_KEY", "workload_identity")
_LINE = re.compile(r":\d+ in ")
_PLAIN = re.compile(r"[!-~]+")
_REGISTRY: Final = "where the program reads another registry than openai-projects.toml"
_IN_CODE: Final = "in the code, where that registers its keys"


@dataclass(slots=True)
class Change:
    """One change to make, and the wrong calls that it corrects.

    Attributes:
        sentence: what to change.
        records: the calls, worst first: one record for each call site and for each header that was
            sent there, over all hosts and methods. They have the key in common, and the client
            too, unless the registry is what is to be changed.
    """

    sentence: str
    records: list[Record]

    @property
    def by_header(self) -> list[list[Record]]:
        """The calls, by the client and by the header that it sent."""
        groups: dict[tuple[object, ...], list[Record]] = {}
        for record in self.records:
            is_scope = record.reason == "scope"
            same = (record.client_site, record.expected, is_scope, sent_with(record))
            groups.setdefault(same, []).append(record)
        return list(groups.values())


def sent_with(record: Record) -> str:
    """The header that the calls carried, and what set it."""
    header = f"OpenAI-Project {_shown(record.actual)}" if record.actual else "no OpenAI-Project"
    if record.reason == "organization":  # its value is in no verdict
        header = "another OpenAI-Organization than the registry has for it"
    if record.origin in (None, "unknown", "unset"):
        return header
    verb = "see" if record.origin == "extra_headers" else "from"  # they may bring the key alone
    is_of_key = record.reason == "unregistered" or has_malformed_key(record)
    is_of_key |= record.origin in _OF_A_KEY
    return f"{header} ({'key from' if is_of_key else verb} {record.origin})"


def has_malformed_key(record: Record) -> bool:
    """Whether it is the key that is malformed, or one of two: the header is in order then."""
    if record.reason != "malformed" or not is_well_formed(record.actual or ""):
        return False
    return ", " not in (record.actual or "")  # else there were two headers


def change_for(record: Record) -> str | None:
    """What to change, as one sentence; `None` where nothing has to be.

    The edit that is named first concerns this client alone: other clients may live by a variable.
    """
    if record.is_others or (record.outcome == "allowed" and record.reason is None):
        return None
    expected = " or ".join(record.expected) or "its project"
    reason, origin = record.reason, record.origin
    if reason == "drift":
        answered = record.answered or "the project that the server named"
        key = record.key_hint or "HINT"
        commands = commands_after_drift(key, record.expected, record.actual, answered, "NAME")
        return (
            f"Correct the registry, which has the key for {expected}, while the server answered as "
            f"{answered}: openai-project-guard {', then '.join(commands)}, where NAME is the "
            "variable that holds it (with --registry FILE for each registry that has the key, "
            f"{_REGISTRY}; or {_IN_CODE}). Its calls are then to carry OpenAI-Project {answered}."
        )
    if reason == "unregistered" and origin == "workload_identity":
        return (
            "If the client's service account is right, list it under service_accounts of its "
            "project, in the registry. If it is not: "
            f"{_lower(_pass(record, 'another workload_identity='))}."
        )
    if reason == "unregistered":
        return (
            "If the key is right, register it for the project that it belongs to: "
            "openai-project-guard register PROJECT --key-env NAME, where NAME is the variable that "
            f"holds it (with --registry FILE {_REGISTRY}; or {_IN_CODE}). If it is registered "
            "already, its registry could not be read: openai-project-guard doctor says why. If it "
            f"is not right: {_lower(_other_key(record))}."
        )
    if has_malformed_key(record):
        return f"{_key_alone(record)}."
    if reason == "scope":
        return (
            f"{_at_call(record)}, use a client with a key and the project of {expected}, or move "
            f"the call out of the scope that is pinned to {expected}."
        )
    if reason == "organization":
        if origin == "extra_headers":
            return (
                f"{_at_call(record)}, set OpenAI-Organization in extra_headers to the one that the "
                f"registry has for {expected}."
            )
        if origin in ("organization=", "OPENAI_ORG_ID"):
            passed = _pass(record, f"the organization= that the registry has for {expected}")
            return f"{passed}{_or_set(record, 'that organization')}."
        if origin == "OPENAI_CUSTOM_HEADERS":
            return "Take OpenAI-Organization out of OPENAI_CUSTOM_HEADERS."
        client = f"of the client{_built(record)}"
        if origin in ("default_headers", "http_client"):
            return f"Take OpenAI-Organization out of {origin} {client}."
        return f"Find what sets the OpenAI-Organization {client}, and take it out."
    if origin == "extra_headers":
        return f"{_at_call(record)}, set OpenAI-Project in extra_headers to {expected}."
    if reason == "missing" and record.transport == "websocket":
        # Before releases 3.15 and 3.36 the SDK leaves the client's project off some WebSockets.
        headers = f'extra_headers={{"OpenAI-Project": {_quoted(record)}}}'
        return f"{_at_call(record)}, pass {headers} to connect()."
    if reason == "missing":
        return f"{_pass(record, _project(record))}."
    if origin == "http_client":
        return (
            f"{_pass(record, f'an http_client= whose headers have OpenAI-Project {expected}')}, or "
            "none."
        )
    if origin in ("default_headers", "OPENAI_CUSTOM_HEADERS"):  # they win over project=
        headers = f'default_headers={{"OpenAI-Project": {_quoted(record)}}}'
        if origin == "default_headers" or _last_step(record)[0]:
            return f"{_pass(record, headers)}."
        return (
            f"Take OpenAI-Project out of OPENAI_CUSTOM_HEADERS; then: "
            f"{_lower(_pass(record, _project(record)))}."
        )
    if origin in ("project=", "OPENAI_PROJECT_ID"):
        return f"{_pass(record, _project(record))}{_or(record)}{_or_set(record, expected)}."
    return (
        f"Find what sets the OpenAI-Project of the client{_built(record)}, and set it to "
        f"{expected}."
    )


def commands_after_drift(
    key: str, expected: Sequence[str], sent: str | None, answered: str, variable: str
) -> list[str]:
    """The commands by which a registry comes to say of a key what the server said.

    Of a key of several projects, the entry that the server contradicted goes, and no other.
    """
    register = f"register {answered} --key-env {variable}"
    if len(expected) <= 1:
        return [f"remove {key}", register]
    wrong = [f"remove {key} --project {sent}"] if sent in expected else []
    return [*wrong, f"{register} --also"]


def _or(record: Record) -> str:
    """What else may be right where the project came from an argument, or stood in for one."""
    other = ""
    if record.origin == "project=" and not _last_step(record)[0]:
        other = " (or set openai.project, if that is where it stands)"
    if record.reason != "mismatch":
        return other
    if is_project_id(record.actual or ""):
        return f"{other}, or give it a key of {record.actual}"
    return f"{other}: the header takes a project's id, proj_…, not its name or its alias"


def _key_alone(record: Record) -> str:
    """How to send one key in its usual form: the record does not tell which of these it lacks."""
    alone = "one Authorization header, Bearer KEY, without quotes, and no second key in api-key"
    if record.origin == "extra_headers":
        return f"{_at_call(record)}, send {alone}"
    client = f"the client{_built(record)}"
    if record.origin == "OPENAI_CUSTOM_HEADERS":
        return f"Have {record.origin} give {client} {alone}"
    if record.origin not in ("OPENAI_API_KEY", "api_key="):
        return f"Find what sets the key of {client}, and have it send {alone}"
    second = "if it is so already, take the second key, in api-key, out of the headers"
    if record.origin == "OPENAI_API_KEY":
        second += f" of {client}"
        return f"Set OPENAI_API_KEY to the key alone, without quotes or Bearer; {second}"
    return f"{_pass(record, 'the key alone as api_key=, without quotes or Bearer,')}; {second}"


def _shown(value: str) -> str:
    """A header's value, in quotes if what is wrong with it might not be seen."""
    if _PLAIN.fullmatch(value):
        return value
    return repr(value).replace(" ", "\u00a0")  # where no line breaks, and no page leaves one out


def _other_key(record: Record) -> str:
    """How to replace the key; headers win over the argument."""
    if record.origin == "extra_headers":
        return f"{_at_call(record)}, set Authorization in extra_headers to another key"
    if record.origin == "OPENAI_CUSTOM_HEADERS":
        return "Set Authorization in OPENAI_CUSTOM_HEADERS to another key"
    return _pass(record, "another api_key=")


def _or_set(record: Record, whose: str) -> str:
    """That the variable may be corrected instead, unless the client was made from a right one."""
    is_variable = record.origin in ("OPENAI_PROJECT_ID", "OPENAI_ORG_ID")
    if not is_variable or _last_step(record)[0]:
        return ""
    return f"; or, if every client is to work for {whose}, set {record.origin} to it"


def _pass(record: Record, what: str) -> str:
    """That the client is to be given something, at the last step in which it was built.

    There a derived client got its wrong value, or could get the right one.
    """
    method, place = _last_step(record)
    if place is None:
        return f"Pass {what} to the client{_built(record)}"
    return f"At {place}, pass {what} to {method + '()' if method else 'the client'}"


def _last_step(record: Record) -> tuple[str, str | None]:
    """`with_options` or `copy`, if the client was derived by it; and where, if that is known."""
    step = (record.client_site or "").rpartition(", then ")[2]
    method, at, place = step.partition(" at ")
    if not at or not method.isidentifier():
        method, place = "", step
    return (method, place) if _LINE.search(place) else ("", None)


def _built(record: Record) -> str:
    place = _last_step(record)[1] or record.client_site
    return f" built at {place}" if place else ""


def _at_call(record: Record) -> str:
    return f"At {record.call_site}" if record.call_site else "Where the call is made"


def _project(record: Record) -> str:
    return f"project={_quoted(record)}"


def _quoted(record: Record) -> str:
    return " or ".join(f'"{project}"' for project in record.expected) or "…"


def _lower(sentence: str) -> str:
    return sentence[0].lower() + sentence[1:]
