"""The check of one call, just before it leaves.

Nothing here waits or sends, so the sync and the async hooks run the same code; and nothing here
knows the SDK. In this order: what is about to be sent, who the key belongs to, verdict, outcome.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any, NamedTuple

from openai_project_guard._check import observers
from openai_project_guard._check.call import Call, MessageAdapter
from openai_project_guard._check.call_site import Site, call_site
from openai_project_guard._check.faults import log_source_fault, refusal_for_fault
from openai_project_guard._check.header_settings import Origin
from openai_project_guard._check.headers import (
    HeaderTexts,
    HeaderValues,
    MalformedKey,
    candidate_digests,
    flaw_of_key,
    read_credential,
    read_headers,
    read_hint,
    shortened,
)
from openai_project_guard._check.origin import origin_of_call
from openai_project_guard._check.verdict import Verdict, decide
from openai_project_guard._errors import OWN_FAULTS
from openai_project_guard._registry.model import KeyRecord, records_of, records_of_account
from openai_project_guard._scope import SCOPE, current_scope
from openai_project_guard._settings import Settings
from openai_project_guard._state import STATE, active_settings
from openai_project_guard._types import Credential, Mode, Outcome, Policy, Reason

if TYPE_CHECKING:
    from openai_project_guard._audit.record import Audit
    from openai_project_guard._check.errors import ProjectGuardError

_OFF = Mode.OFF  # an enum's members are looked up by a descriptor, each time


def is_active() -> bool:
    """Whether any settings apply here: the whole cost of a guard that is not enabled."""
    return STATE.settings is not None or SCOPE.get() is not None


def refusal(
    call: Call, message: Any, adapter: MessageAdapter, *, dry_run: bool = False
) -> BaseException | None:
    """Checks what is about to leave.

    Args:
        call: what is known of it; on a pass, it is noted there what it passed with.
        message: what is about to leave.
        adapter: how such a message is read.
        dry_run: only find out whether it would be refused; what passes is checked again later.

    Returns:
        The error to raise instead of sending it, or `None`. It is returned, not raised: no frame
        with the headers among its locals may be in its traceback.
    """
    try:
        settings = STATE.settings
        if (
            settings is not None
            and not dry_run
            and not STATE.observers
            and SCOPE.get() is None
            and _fast_path_allows(settings, call, message, adapter)
        ):
            return None
        error = _judge(call, message, adapter, dry_run)
    except OWN_FAULTS as fault:
        error = refusal_for_fault(fault)
    return None if error is None else call.as_raised(error, message)


def _fast_path_allows(
    settings: Settings, call: Call, message: Any, adapter: MessageAdapter
) -> bool:
    """The fast path: whether key and project plainly agree, as they do in nearly every call.

    It decides nothing that takes longer to find out. What it does not let pass, `_judge()` judges.
    """
    # No local here holds the headers: a source may log, and what takes logs may look at frames.
    if settings.sources:
        settings.refresh(log_source_fault)
    values = read_headers(adapter.headers(message))
    key_digest, header, organization, second = values
    if key_digest is None or second is not None:
        return False
    for registry in settings.registries:
        record = registry.snapshot.keys.get(key_digest)
        if type(record) is KeyRecord:
            project = record.project
            if (
                project.header == header
                and (project.organization is None or organization is None)
                and (settings.policy.pinned is None or settings.policy.pinned == project.id)
            ):
                call.records = (record,)
                # A client with a `send()` of its own is judged before that and after it.
                if settings.audit is not None and (call.values != values or call.is_sent):
                    _count_allowed(settings.audit, call, values, message, adapter)
                call.values = values
                return True
    return False


def _judge(
    call: Call, message: Any, adapter: MessageAdapter, dry_run: bool
) -> ProjectGuardError | None:
    settings, scope = STATE.settings, current_scope()
    if scope is None and settings is None:
        return None
    values = read_headers(adapter.headers(message))
    is_second_look = values == call.values and not call.is_sent
    if not is_second_look and not dry_run:
        call.forget()  # after a redirect, the answer to come is another host's
    settings = settings or active_settings()
    if settings.sources:
        settings.refresh(log_source_fault)
    policy = settings.policy if scope is None else scope.apply_to(settings.policy)
    if policy.mode is _OFF or values.key_digest is None:
        return None
    records = records_of(settings.registries, values.key_digest)
    credential: Credential = "key"
    registered: tuple[bytes, ...] = ()
    if not records:
        records = _records_of_identity(call, settings, message, adapter)
        credential = read_credential(adapter.headers(message))
        if not records:
            registered = _registered_among(settings, candidate_digests(adapter.headers(message)))
            if registered:
                credential = "malformed"
            elif not settings.is_openai(adapter.host(message)):
                return None
    elif values.second_digest is not None:
        registered = _registered_among(settings, candidate_digests(adapter.headers(message)))
        if {*registered} - {values.key_digest}:
            records, credential = (), "malformed"
    texts = HeaderTexts.of(values)
    if credential == "malformed":
        flaw = flaw_of_key(adapter.headers(message))
        texts = texts._replace(malformed_key=MalformedKey(flaw, registered))
    outcome, reason = decide(texts.project, texts.organization, records, policy, credential)
    if dry_run and outcome != "blocked":
        return None
    is_told = reason is None or (outcome != "blocked" and (outcome, reason) == call.judged)
    if is_second_look and is_told:
        return None
    call.judged = outcome, reason
    if reason is None:
        call.values, call.records = values, records
        if settings.audit is not None:
            _count_allowed(settings.audit, call, values, message, adapter)
        if not STATE.observers:
            return None
    texts = texts.shown()  # a frame's locals: somebody pastes a key anywhere
    del values
    return _carry_out(call, message, adapter, texts, records, policy, outcome, reason)


def _registered_among(settings: Settings, digests: list[bytes]) -> tuple[bytes, ...]:
    return tuple(filter(settings.knows, dict.fromkeys(digests)))


def _count_allowed(
    audit: Audit, call: Call, values: HeaderValues, message: Any, adapter: MessageAdapter
) -> None:
    """Counts an allowed call in the audit."""
    hint, project = "", None
    for record in call.records:  # of several, that of the header: a key may have more than one
        hint = record.hint
        if record.project.header == values.project:
            project = record.project.id
            break
    site = call.client_site or adapter.header_sources().client_site
    audit.record_allowed(
        None if site is None else str(site),
        hint or read_hint(adapter.headers(message)),
        project,
        adapter.host(message),
        message.method,
    )


def _carry_out(
    call: Call,
    message: Any,
    adapter: MessageAdapter,
    texts: HeaderTexts,
    records: tuple[KeyRecord, ...],
    policy: Policy,
    outcome: Outcome,
    reason: Reason | None,
) -> ProjectGuardError | None:
    expected = project_ids(records) if policy.pinned is None else (policy.pinned,)
    if reason is None:
        observers.notify(allowed_verdict(message, adapter, expected, texts))
        return None
    found = describe_wrong_call(call, message, adapter, texts, outcome, reason, expected)
    verdict = found.verdict
    if outcome == "blocked":
        from openai_project_guard._check.explain import explained

        error = explained(verdict, texts, records, policy.pinned, found.origin, found.account)
        observers.notify(verdict, found.site, project_ids(records))
        return error
    if outcome == "injected":
        adapter.put_project(message, verdict.expected[0])
    observers.notify(verdict, found.site, project_ids(records))
    call.values, call.records = read_headers(adapter.headers(message)), records
    call.learns = reason == "unregistered" and policy.unregistered == "learn"
    return None


class WrongCall(NamedTuple):
    """The verdict on a wrong call, and what an error and the log say beside it."""

    verdict: Verdict
    origin: Origin
    site: Site | None
    account: str | None


def describe_wrong_call(
    call: Call,
    message: Any,
    adapter: MessageAdapter,
    texts: HeaderTexts,
    outcome: Outcome,
    reason: Reason,
    expected: tuple[str, ...],
    answered: str | None = None,
) -> WrongCall:
    """The verdict on a wrong call: with where in the code, and what set it."""
    verdict = allowed_verdict(message, adapter, expected, texts)
    account = None if verdict.key_hint.startswith("sk-") else call.service_account
    header_sources, site = adapter.header_sources(), call_site()
    origin = origin_of_call(reason, texts, header_sources, verdict.transport, account, expected)
    verdict = replace(
        verdict,
        outcome=outcome,
        reason=reason,
        call_site=None if site is None else str(site),
        client_site=None if header_sources.client_site is None else str(header_sources.client_site),
        origin=origin.name,
        answered=answered,
    )
    return WrongCall(verdict, origin, site, account)


def allowed_verdict(
    message: Any, adapter: MessageAdapter, expected: tuple[str, ...], texts: HeaderTexts
) -> Verdict:
    """The verdict on an allowed call, without a key in it."""
    destination, actual = adapter.destination(message), texts.project
    return Verdict(
        outcome="allowed",
        reason=None,
        expected=expected,
        actual=None if actual is None else shortened(actual.replace("\n", ", ")),
        key_hint=read_hint(adapter.headers(message)),
        method=_on_one_line(destination.method),
        host=_on_one_line(texts.without_keys(destination.host)),
        path=_on_one_line(texts.without_keys(destination.path)),
        transport=destination.transport,
    )


def _on_one_line(text: str) -> str:
    """A text whose line breaks and control characters are escaped: an id in a path is anyone's."""
    text = shortened(text)
    if text.isprintable():
        return text
    return "".join(char if char.isprintable() else ascii(char)[1:-1] for char in text)


def _records_of_identity(
    call: Call, settings: Settings, message: Any, adapter: MessageAdapter
) -> tuple[KeyRecord, ...]:
    """The records of the client's workload identity, if this call is sent in its name.

    The SDK exchanges the identity for a short-lived token, which no registry can know. An API key
    on such a client is somebody's override, and stands for itself.
    """
    account = call.service_account
    if account is None or read_hint(adapter.headers(message)).startswith("sk-"):
        return ()
    return records_of_account(settings.registries, account)


def project_ids(records: tuple[KeyRecord, ...]) -> tuple[str, ...]:
    """The ids of the projects that a key is registered for, each once."""
    return tuple(dict.fromkeys(record.project.id for record in records))
