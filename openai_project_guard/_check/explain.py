"""The text of a refusal: what, whose key it is, where from, which line, not sent, the fix."""

from __future__ import annotations

import os
from contextlib import suppress

from openai_project_guard._check import errors  # not its names: it may be what is importing this
from openai_project_guard._check.corrections import correct_entries, place_of, register_key
from openai_project_guard._check.header_settings import Origin
from openai_project_guard._check.headers import HeaderTexts, KeyFlaw, shortened
from openai_project_guard._check.log import code_sites
from openai_project_guard._check.verdict import Verdict, is_well_formed
from openai_project_guard._env import POLICY_UNREGISTERED, PREFIX, default_registries
from openai_project_guard._keys import fingerprint_of, redact
from openai_project_guard._registry.model import LEARNED_PLACE, KeyRecord, records_of
from openai_project_guard._registry.source import Source
from openai_project_guard._registry.validate import is_project_id
from openai_project_guard._state import STATE


def explained(
    verdict: Verdict,
    headers: HeaderTexts,
    records: tuple[KeyRecord, ...],
    pinned: str | None,
    origin: Origin,
    account: str | None,
) -> errors.ProjectGuardError:
    """The error for a blocked call, with its whole explanation."""
    assert verdict.reason is not None
    text = "\n".join(
        (
            _about_to_be_sent(verdict, headers),
            _registry_says(records, headers, pinned),
            origin.sentence,
            *sites(verdict),
            "Nothing was sent.",
            f"To fix it: {_fix(verdict, headers, records, origin, pinned, account is not None)}.",
        )
    )
    return errors.BY_REASON[verdict.reason](redact(text), verdict)


def sites(verdict: Verdict) -> tuple[str, ...]:
    """The sentence that names the lines of the application, if any is known."""
    text = "; ".join(code_sites(verdict))
    return (f"{text[:1].upper()}{text[1:]}.",) if text else ()


def _about_to_be_sent(verdict: Verdict, headers: HeaderTexts) -> str:
    where, key = f"{verdict.host}{verdict.path}", f"with key {verdict.key_hint}"
    if verdict.transport == "websocket":
        what = f"A WebSocket to {where} was about to be opened {key}"
    else:
        what = f"{verdict.method} {where} was about to be sent {key}"
    if not headers.project:
        what += f" and {'an empty' if headers.project == '' else 'no'} OpenAI-Project header"
    else:
        values = shortened(headers.project).split("\n")
        what += f" and OpenAI-Project {' and '.join(map(repr, values))}"
    if verdict.reason == "organization":
        what += f" and OpenAI-Organization {shortened(headers.organization or '')!r}"
    if verdict.reason == "malformed":
        what += f", which {_what_is_malformed(headers)}"
    return what + "."


_FLAWS: dict[KeyFlaw, str] = {
    "second": "more than one key",
    "list": "more than one key",
    "bearer": "a key that has `Bearer ` in front of it",
    "basic": "a key that is sent by Basic",
    "quotes": "a key in quotes",
    "form": "a registered key in an unusual form",
}


def _what_is_malformed(headers: HeaderTexts) -> str:
    value, key = headers.project or "", headers.malformed_key
    if key is not None and is_well_formed(value):
        return f"goes with {_FLAWS[key.flaw]}"
    if "\n" in value:
        return "is there more than once or has a line break in it"
    if value != value.strip():
        return "has white space around it"
    return "has characters that no project id has"


def _registry_says(records: tuple[KeyRecord, ...], headers: HeaderTexts, pinned: str | None) -> str:
    found = [(record, headers.key_digest) for record in records]
    key, has = headers.malformed_key, "The registry has this key"
    if key is not None and STATE.active is not None:
        registries = STATE.active.registries
        found = [(each, part) for part in key.registered for each in records_of(registries, part)]
        if len(key.registered) > 1:
            has = "The registry has these keys"
        elif key.flaw in ("second", "list"):
            has = "Of these keys the registry has one,"
    entries = []
    for record, digest in found:
        project = record.project
        name = f"{project.id} ({project.alias})" if project.alias else project.id
        if project.organization:
            name += f" of {project.organization}"
        entries.append(f"{name}, in {place_of(record, fingerprint_of(digest or b''))}")
    text = f"{has} for project {'; and for '.join(entries)}"
    if not entries:
        text = _not_registered()
    if pinned is not None:
        text += f"; the scope here is pinned to project {pinned}"
    return text + "."


def _fix(
    verdict: Verdict,
    headers: HeaderTexts,
    records: tuple[KeyRecord, ...],
    origin: Origin,
    pinned: str | None,
    is_account: bool,
) -> str:
    expected = " or ".join(verdict.expected)
    if verdict.reason == "unregistered" and is_account:
        return origin.fix
    if verdict.reason == "unregistered":
        return _fix_of_unregistered(origin)
    if verdict.reason == "organization":
        wanted = " or ".join(record.project.organization or "" for record in records)
        return f"{origin.fix} (expected: {wanted}), or correct the registry's entry"
    if verdict.reason == "scope":
        return (
            f"use a key and an OpenAI-Project of {pinned} here, or make this call outside the "
            f"scope that is pinned to it (guard(project=...), enable(project=...) or "
            "OPENAI_PROJECT_GUARD_PROJECT)"
        )
    if verdict.reason == "missing" and len(verdict.expected) > 1:
        return (
            f"{origin.fix} (expected: {expected}): the registry has this key for several "
            'projects, so mode="inject" has none to put in'
        )
    if verdict.reason == "missing":
        return (
            f'{origin.fix} (expected: {expected}), or use mode="inject", or {PREFIX}=inject, to '
            "have it put in"
        )
    fix = f"{origin.fix} (expected: {expected})" if expected else origin.fix
    if verdict.reason == "malformed" and is_well_formed(headers.project or ""):
        return origin.fix
    if verdict.reason == "malformed":
        return f"{fix}; send one OpenAI-Project header and one Authorization header, Bearer KEY"
    if not is_project_id(headers.project or ""):
        return f"{fix}: the header takes a project's id, proj_…, not its name or its alias"
    if len(verdict.expected) > 1 and not is_account:
        return (
            f"{fix}, or use a key of project {verdict.actual}. If this key belongs to that, too: "
            f"{register_key(verdict.actual or '', records, also=True)}"
        )
    needle = fingerprint_of(headers.key_digest or b"")
    if any(record.project.place.name == LEARNED_PLACE for record in records):  # no line to correct
        correct = correct_entries(records, needle, has_others=False)
    else:
        places = " and in ".join(place_of(record, needle) for record in records)
        correct = f"correct it in {places}"
    return (
        f"{fix}, or use a key of project {verdict.actual}. If this key does belong to "
        f"{verdict.actual}, the registry's entry is wrong: {correct}"
    )


def _fix_of_unregistered(origin: Origin) -> str:
    register = register_key("PROJECT")
    if "--key-env" in register:
        register = f"register it: {register}"
    fix = f"if the key is right, {register}; if it is not, {origin.fix}"
    unread = [source.name for source in _sources() if source.problem]
    if unread:
        fix = (
            f"first correct {' and '.join(unread)}, or have it in reach, for the key may be in it. "
            f"Where it is not: {fix}"
        )
    return (
        f'{fix}. To let such calls through meanwhile: unregistered="warn", or '
        f"{POLICY_UNREGISTERED}=warn"
    )


def _sources() -> tuple[Source, ...]:
    settings = STATE.active
    return settings.sources if settings else ()


def _not_registered() -> str:
    """That the key is in no registry, which were looked in, and which could not be."""
    settings, sources = STATE.active, _sources()
    text = "This key is not in any registry"
    if settings is None or sources or any(map(len, settings.registries)):
        problems = [source.problem for source in sources if source.problem]
        looked_in = ", ".join(
            f"the last good version of {source.name}" if source.problem else source.name
            for source in sources
            if source.is_read
        )
        text += ", as far as they can be read" if problems else ""
        text += f": not in {looked_in}" if looked_in else ""
        return ". ".join((text, *(problem.removesuffix(".") for problem in problems)))
    files = [*default_registries()]
    with suppress(OSError):  # the current directory may be gone
        files = [*map(os.path.abspath, files)]
    return f"{text}: none was named, and neither {' nor '.join(files)} is there"
