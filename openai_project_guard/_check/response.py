"""The server's answer: the project that it names, compared with what the registry says."""

from __future__ import annotations

from typing import Any, Final

from openai_project_guard._check import observers
from openai_project_guard._check.call import Call, MessageAdapter
from openai_project_guard._check.check import describe_wrong_call, project_ids
from openai_project_guard._check.faults import log_fault
from openai_project_guard._check.header_settings import ORGANIZATION
from openai_project_guard._check.headers import (
    HeaderTexts,
    HeaderValues,
    read_headers,
    read_hint,
    shortened,
)
from openai_project_guard._check.origin import origin_of
from openai_project_guard._check.verdict import ALLOWED, decide
from openai_project_guard._errors import OWN_FAULTS
from openai_project_guard._keys import fingerprint_of
from openai_project_guard._registry.model import KeyRecord, records_of
from openai_project_guard._state import STATE
from openai_project_guard._types import Mode, Policy


def check_response(call: Call, response: Any, message: Any, adapter: MessageAdapter) -> None:
    """Compares the project that the answer names with the registry; whatever fails is logged."""
    try:
        answered = adapter.response_project(response)
        if answered is None or call.values is None:
            return
        for record in call.records:
            if record.project.header == answered:
                return
        _check_other_project(call, answered, response, message, adapter)
    except OWN_FAULTS as fault:
        log_fault(fault, "The answer was returned unchecked.")


def recalled_call(message: Any, adapter: MessageAdapter) -> Call:
    """A call that passed, made again from its request: aiohttp shows an answer without its call."""
    call, settings = Call(), STATE.settings
    values = read_headers(adapter.headers(message))
    if settings is not None and values.key_digest is not None:
        call.values = values
        call.records = records_of(settings.registries, values.key_digest)
        call.learns = (
            not call.records
            and settings.policy.unregistered == "learn"
            and settings.is_openai(adapter.host(message))
        )
    return call


def _check_other_project(
    call: Call, answered: bytes, response: Any, message: Any, adapter: MessageAdapter
) -> None:
    assert call.values is not None
    records = all_records(call.values, call.records)
    if any(record.project.header == answered for record in records):
        return
    named = HeaderTexts.of(call.values).without_keys(answered.decode("latin-1"))
    if records:
        texts, expected = HeaderTexts.of(call.values).shown(), project_ids(records)
        found = describe_wrong_call(
            call, message, adapter, texts, "allowed", "drift", expected, named
        )
        observers.notify(found.verdict, found.site)
    elif call.learns and call.values.key_digest is not None:
        from openai_project_guard._check.learn import learn

        learn(
            call.values.key_digest,
            read_hint(adapter.headers(message)),
            named,
            adapter.status(response),
        )


def all_records(values: HeaderValues, passed_by: tuple[KeyRecord, ...]) -> tuple[KeyRecord, ...]:
    """A key's records in every registry, where the call may have passed by the first."""
    settings = STATE.settings
    if settings is None or not passed_by or values.key_digest is None:
        return passed_by
    known = records_of(settings.registries, values.key_digest)
    return (*passed_by, *(record for record in known if record not in passed_by))


_STRICT: Final = Policy(Mode.ENFORCE, "block", None)
_PROJECT, _ORGANIZATION = "mismatched_project", "mismatched_organization"


def add_note(error: BaseException, call: Call, adapter: MessageAdapter) -> None:
    """Notes on the server's 401 what the guard had checked, if it had let the call pass."""
    code = getattr(error, "code", None)
    if code not in (_PROJECT, _ORGANIZATION) or not call.records:
        return
    from openai_project_guard._check.corrections import correct_entries, place_of

    assert call.values is not None
    needle = fingerprint_of(call.values.key_digest or b"")
    records = all_records(call.values, call.records)
    texts = HeaderTexts.of(call.values)
    if decide(texts.project, texts.organization, records, _STRICT) != ALLOWED:
        return  # it was sent with a warning, and the server refused what the guard had warned of
    places: dict[str, list[str]] = {}
    for record in records:
        places.setdefault(record.project.id, []).append(f"in {place_of(record, needle)}")
    checked = " or ".join(f"{project} ({' and '.join(found)})" for project, found in places.items())
    note = (
        "openai-project-guard let this call pass: the registry has its key for project "
        f"{checked}, and that is what its OpenAI-Project header said. "
    )
    sent, texts = texts.project, texts.shown()
    if code == _ORGANIZATION and texts.organization:
        note += _on_organization(adapter, texts, records)
    else:
        wrong = [record for record in records if record.project.id == sent]
        correct = correct_entries(wrong, needle, has_others=len(wrong) < len(records))
        note += f"The server knows better, so the registry is out of date: {correct}."
    if hasattr(error, "add_note"):
        error.add_note(note)
    else:
        error.__notes__ = [*getattr(error, "__notes__", ()), note]  # type: ignore[attr-defined]


def _on_organization(
    adapter: MessageAdapter, texts: HeaderTexts, records: tuple[KeyRecord, ...]
) -> str:
    """Of an organization the registry may know nothing: then the header is what is wrong."""
    if any(record.project.organization == texts.organization for record in records):
        return (
            f"The registry also has {texts.organization} as the project's organization. The server "
            "knows better, so the registry is out of date: correct the organization there."
        )
    header_sources = adapter.header_sources()
    origin = origin_of(ORGANIZATION, texts.organization, header_sources, "http", texts.key_digest)
    value = shortened(texts.organization or "")
    return (
        f"But its OpenAI-Organization header said {value!r}, of which the registry "
        f"says nothing. {origin.sentence} To fix it: {origin.fix}, or add the project's "
        "organization to the registry so that the guard checks it."
    )
