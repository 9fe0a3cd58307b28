"""The check of one call: judge it before it leaves, compare with the server's word after.

Nothing here waits or sends, so the sync and the async hooks run the same code; and nothing here
knows the SDK. The steps: what is about to be sent, who the key belongs to, verdict, carry it out.
"""

from __future__ import annotations

from contextvars import ContextVar
from typing import TYPE_CHECKING, Any, Protocol

from openai_project_guard import _settings
from openai_project_guard._check import observers as _observers
from openai_project_guard._check.headers import (
    NOTHING,
    Destination,
    Facts,
    Headers,
    Triple,
    Triples,
    read_credential,
    read_headers,
    read_hint,
    read_strays,
    service_account,
)
from openai_project_guard._check.verdict import Credential, Policy, Verdict, decide
from openai_project_guard._keys import fingerprint_of, redact
from openai_project_guard._registry.model import KeyRecord, records_of, records_of_account
from openai_project_guard._scope import innermost
from openai_project_guard._types import Mode, Outcome, Reason

if TYPE_CHECKING:
    from openai_project_guard._check.errors import ProjectGuardError


class Wire(Protocol):
    """What the check must know of a kind of message: an HTTP request, a WebSocket handshake."""

    def headers(self, message: Any) -> Triples:
        """Its headers, as they stand."""
        ...

    def host(self, message: Any) -> str:
        """The host it goes to."""
        ...

    def destination(self, message: Any) -> Destination:
        """Where it goes, for an observer, a log line or an error."""
        ...

    def put_project(self, message: Any, project: str) -> None:
        """Sets its `OpenAI-Project` header."""
        ...

    def billed(self, response: Any) -> bytes | None:
        """The project that the server's answer names, if it names one."""
        ...


class Call:
    """One call while it is under way.

    Attributes:
        client: the SDK's client, or `None`.
        options: the options of this call, where they are known.
        message: what passed last: a request, or the handshake of a WebSocket.
        headers: its headers as they stood then; they go when the call is over.
        facts: what was read of them.
        rows: the registry's rows that it passed by; by the short road the first of them.
        is_unanswered: the server's answer has not been compared yet.
        is_over: it has ended; a task that it started may still have it in its context.
        learns: the unregistered key's digest and hint, if its project is to be learned.
        hears_at_last_door: its answer is compared where the HTTP client gets it, for the SDK hands
            it to nobody.
    """

    __slots__ = (
        "client",
        "facts",
        "headers",
        "is_over",
        "is_unanswered",
        "learns",
        "message",
        "options",
        "rows",
    )

    hears_at_last_door = False

    def __init__(self, client: Any, options: Any = None) -> None:
        self.client = client
        self.options = options
        self.message: Any = None
        self.headers: list[Triple] = []
        self.facts: Facts = NOTHING
        self.rows: tuple[KeyRecord, ...] = ()
        self.is_over = self.is_unanswered = False
        self.learns: tuple[bytes, str] | None = None

    @classmethod
    def passed_by(cls, row: KeyRecord | None, message: Any, wire: Wire) -> Call:
        """One that nobody had to make until its answer was a surprise."""
        call = cls(None)
        facts = read_headers(wire.headers(message))
        call.let_pass(message, wire, facts, () if row is None else (row,))
        return call

    def beside(self) -> Call:
        """For a request that is sent by the way: it must not pass for this call's, or answer it."""
        return type(self)(self.client, self.options)

    def as_raised(self, error: Exception) -> BaseException:
        """A refusal in the form in which it gets through to the caller."""
        return error

    def let_pass(self, message: Any, wire: Wire, facts: Facts, rows: tuple[KeyRecord, ...]) -> None:
        """Notes what the call passed with."""
        self.message = message
        self.headers = [*wire.headers(message)]
        self.facts = facts
        self.rows = rows
        self.is_unanswered = True


_OFF = Mode.OFF  # an enum's members are looked up by a descriptor, each time

under_way: ContextVar[Call | None] = ContextVar("openai_project_guard_call", default=None)


def is_watching() -> bool:
    """Whether any setting is in force here: the whole cost of a guard that is not."""
    return _settings.in_force is not None or innermost.get() is not None


def refusal_of(call: Call, message: Any, wire: Wire) -> BaseException | None:
    """Judges what is about to leave; the error is in the form in which it gets through."""
    error = judge(call, message, wire)
    return None if error is None else call.as_raised(error)


def row_in_order(
    settings: _settings.Settings, call: Call | None, message: Any, wire: Wire
) -> KeyRecord | None:
    """Whether key and project plainly agree: the short road, which nearly every call takes.

    It decides nothing that takes longer to find out. What it does not let pass, `judge()` judges.
    """
    # No local here holds the headers: a source may log, and what takes logs may look at frames.
    if settings.sources:
        settings.refresh()
    facts = key_digest, header, organization = read_headers(wire.headers(message))
    if key_digest is None:
        return None
    for registry in settings.registries:
        row = registry.snapshot.keys.get(key_digest)
        if type(row) is KeyRecord:
            project = row.project
            if (
                project.header == header
                and (project.organization is None or organization is None)
                and (settings.policy.pinned is None or settings.policy.pinned == project.id)
            ):
                if call is not None:
                    call.let_pass(message, wire, facts, (row,))
                return row
    return None


def judge(
    call: Call, message: Any, wire: Wire, *, is_trial: bool = False
) -> ProjectGuardError | None:
    """Judges what is about to leave. An error is returned, not raised: the hook knows how.

    A trial finds out only whether it would be refused; what passes is judged once more later.
    """
    settings = _settings.in_force
    scope = innermost.get()
    if scope is not None:
        settings = settings or _settings.base_of_scopes()
        policy = scope.over(settings.policy)
    elif settings is not None:
        policy = settings.policy
    else:
        return None
    if policy.mode is _OFF:
        return None
    if settings.sources:
        settings.refresh()
    facts = read_headers(wire.headers(message))
    if facts[0] is None:
        return None
    rows = records_of(settings.registries, facts[0])
    credential: Credential = "key"
    if not rows:
        rows = _rows_of_identity(call, settings, message, wire)
        credential = read_credential(wire.headers(message))
        if not rows and any(map(settings.knows, read_strays(wire.headers(message)))):
            credential = "malformed"
        elif not rows and not settings.is_openai(wire.host(message)):
            return None
    headers = Headers.of(facts)
    outcome, reason = decide(headers.project, headers.organization, rows, policy, credential)
    if is_trial and outcome != "blocked":
        return None
    if reason is None:
        call.let_pass(message, wire, facts, rows)
        if not _observers.observers:
            return None
    headers, facts = headers.shown(), NOTHING  # a frame's locals: somebody pastes a key anywhere
    return _carry_out(call, message, wire, headers, rows, policy, outcome, reason)


def _carry_out(
    call: Call,
    message: Any,
    wire: Wire,
    headers: Headers,
    rows: tuple[KeyRecord, ...],
    policy: Policy,
    outcome: Outcome,
    reason: Reason | None,
) -> ProjectGuardError | None:
    verdict = _verdict(
        message,
        wire,
        outcome=outcome,
        reason=reason,
        expected=_ids(rows) if policy.pinned is None else (policy.pinned,),
        actual=headers.project,
    )
    if outcome == "blocked":
        from openai_project_guard._check.explain import refusal

        error = refusal(verdict, headers, rows, policy.pinned, call.client, call.options)
        _observers.tell(verdict)
        return error
    if outcome == "injected":
        wire.put_project(message, verdict.expected[0])
    _observers.tell(verdict)
    call.let_pass(message, wire, read_headers(wire.headers(message)), rows)
    if reason == "unregistered" and policy.unregistered == "learn" and headers.key_digest:
        call.learns = headers.key_digest, verdict.key_hint
    return None


def _verdict(
    message: Any,
    wire: Wire,
    *,
    outcome: Outcome,
    reason: Reason | None,
    expected: tuple[str, ...],
    actual: str | None,
) -> Verdict:
    destination = wire.destination(message)
    return Verdict(
        outcome=outcome,
        reason=reason,
        expected=expected,
        actual=None if actual is None else actual.replace("\n", ", "),
        key_hint=read_hint(wire.headers(message)),
        method=destination.method,
        host=redact(destination.host),
        path=redact(destination.path),
        transport=destination.transport,
    )


def _rows_of_identity(
    call: Call, settings: _settings.Settings, message: Any, wire: Wire
) -> tuple[KeyRecord, ...]:
    """The rows of the client's workload identity, if this call is sent in its name.

    The SDK exchanges the identity for a short-lived token, which no registry can know.
    """
    account = service_account(call.client, read_hint(wire.headers(message)))
    return () if account is None else records_of_account(settings.registries, account)


def hear(call: Call, response: Any, message: Any, wire: Wire) -> None:
    """Compares the project that the server says it billed with the registry's."""
    if not call.is_unanswered:
        return
    call.is_unanswered = False
    answer = wire.billed(response)
    if answer is None:
        return
    for row in call.rows:
        if row.project.header == answer:
            return
    rows = _all_rows(call)
    if any(row.project.header == answer for row in rows):
        return
    billed = redact(answer.decode("latin-1"))
    if rows:
        _observers.tell(
            _verdict(
                message,
                wire,
                outcome="allowed",
                reason="drift",
                expected=_ids(rows),
                actual=billed,
            )
        )
    elif call.learns is not None:
        from openai_project_guard._check.learn import learn

        learns, call.learns = call.learns, None
        learn(*learns, billed, response.status_code, wire.destination(message))


def _all_rows(call: Call) -> tuple[KeyRecord, ...]:
    """The rows of its key in every registry, where it may have passed by the first."""
    settings = _settings.in_force
    if settings is None or not call.rows or call.facts[0] is None:
        return call.rows
    known = records_of(settings.registries, call.facts[0])
    return (*call.rows, *(row for row in known if row not in call.rows))


def _ids(rows: tuple[KeyRecord, ...]) -> tuple[str, ...]:
    return tuple(dict.fromkeys(row.project.id for row in rows))


_SERVER_DISAGREES = ("mismatched_project", "mismatched_organization")


def annotate(call: Call, error: BaseException) -> None:
    """Notes on the server's 401 what the guard had checked, if it had let the call pass."""
    if getattr(error, "code", None) not in _SERVER_DISAGREES or not call.rows:
        return
    needle = fingerprint_of(call.facts[0] or b"")
    checked = " or ".join(
        f"{row.project.id} (in {row.project.place.of(needle, row.project.id)})"
        for row in _all_rows(call)
    )
    note = (
        "openai-project-guard let this call pass: the registry has its key for project "
        f"{checked}, and that is what its OpenAI-Project header said. The server knows better, so "
        "the registry is out of date: run openai-project-guard sync, or register the key anew."
    )
    if hasattr(error, "add_note"):
        error.add_note(note)
    else:
        error.__notes__ = [*getattr(error, "__notes__", ()), note]  # type: ignore[attr-defined]
