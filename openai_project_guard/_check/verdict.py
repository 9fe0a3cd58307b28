"""The verdict on one call: a pure function of what is sent, who the key belongs to, and policy."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from openai_project_guard._registry.model import KeyRecord
from openai_project_guard._types import Credential, Mode, Outcome, Policy, Reason, Transport

ALLOWED: Final[tuple[Outcome, Reason | None]] = ("allowed", None)


@dataclass(frozen=True, slots=True)
class Verdict:
    """What was decided about one call. It never holds a key.

    Attributes:
        outcome: `allowed`, `injected`, `warned` or `blocked`.
        reason: `missing`, `mismatch`, `malformed`, `unregistered`, `scope`, `organization`,
            `drift`; `None` where nothing is wrong.
        expected: the ids of the projects that would have passed.
        actual: the value of the `OpenAI-Project` header as it was about to leave, or `None`.
        key_hint: what may be shown of the key, such as `sk-proj-…Ab3d`.
        method: the HTTP method.
        host: the host the call goes to.
        path: the path of the call, without its query.
        transport: `http` or `websocket`.
        call_site: the line of the application that made the call, `path:line in function`, or that
            waits for it in another task or thread; followed by `(nearest known)` where another
            line may have made it. `None` on a plain `allowed`, which does not pay for looking.
        client_site: where the client was built, likewise.
        origin: a short name of the place that set the wrong value: `project=`,
            `OPENAI_PROJECT_ID`, `extra_headers` (also where they bring a key without its project),
            `unknown`, …; `None` on a plain `allowed`.
        answered: on `drift`, the project that the server named.

    Example:
        >>> def count(verdict: Verdict) -> None:
        ...     metrics[verdict.outcome, verdict.reason] += 1
        >>> add_observer(count)
    """

    outcome: Outcome
    reason: Reason | None
    expected: tuple[str, ...]
    actual: str | None
    key_hint: str
    method: str
    host: str
    path: str
    transport: Transport
    call_site: str | None = None
    client_site: str | None = None
    origin: str | None = None
    answered: str | None = None


def decide(
    project: str | None,
    organization: str | None,
    records: Sequence[KeyRecord],
    policy: Policy,
    credential: Credential = "key",
) -> tuple[Outcome, Reason | None]:
    """Judges one call.

    Args:
        project: the value of its `OpenAI-Project` header; several values joined by newlines.
        organization: the value of its `OpenAI-Organization` header, likewise.
        records: the registry's records of its key.
        policy: what applies to the call.
        credential: what kind of credential it carries; it matters where there are no records.
    """
    mode, unregistered, pinned, _ = policy
    belongs = False
    for record in records:  # first, for nearly every call ends here
        if record.project.id == project:
            if pinned is not None and pinned != project:
                return _refused("scope", mode)
            if _in_organization(record, organization):
                return ALLOWED
            belongs = True
    if belongs:
        return _refused("organization", mode)

    if credential == "malformed" or (project and not is_well_formed(project)):
        return _refused("malformed", mode)
    if pinned is not None and project and project != pinned:
        return _refused("scope", mode)
    if credential != "key":
        return ALLOWED
    if not records:
        if unregistered == "block":
            return _refused("unregistered", mode)
        if pinned is None or project:
            is_logged = mode is Mode.WARN or unregistered == "warn"
            return ("warned" if is_logged else "allowed"), "unregistered"
    elif pinned is not None and all(record.project.id != pinned for record in records):
        return _refused("scope", mode)
    elif project:
        return _refused("mismatch", mode)
    if mode is Mode.INJECT and (filling := injectable(records, pinned)):
        for record in records:
            if record.project.id == filling and not _in_organization(record, organization):
                return _refused("organization", mode)
        return "injected", "missing"
    return _refused("missing", mode)


def injectable(records: Sequence[KeyRecord], pinned: str | None) -> str | None:
    """The one project that a missing header may be filled with, if there is just one."""
    if pinned is not None:
        return pinned
    ids = {record.project.id for record in records}
    return ids.pop() if len(ids) == 1 else None


def is_well_formed(value: str) -> bool:
    """Whether a header value has neither space around it nor control or non-ASCII characters."""
    return value.isascii() and value.isprintable() and value == value.strip()


def _in_organization(record: KeyRecord, organization: str | None) -> bool:
    wanted = record.project.organization
    return wanted is None or organization in (None, "", wanted)


def _refused(reason: Reason, mode: Mode) -> tuple[Outcome, Reason]:
    return ("warned" if mode is Mode.WARN else "blocked"), reason


def project_of(verdict: Verdict, projects: tuple[str, ...] | None = None) -> str | None:
    """The project that a call is counted for, where that is one.

    Never the header's value alone: anybody may send anything, and each value would be a time
    series of its own.

    Args:
        verdict: what was decided.
        projects: those that the key is registered for. Where they are not given, they are those
            that the verdict expects; in a pinned scope that is the pinned one.
    """
    known = verdict.expected if projects is None else projects
    if verdict.actual in known:
        return verdict.actual
    return known[0] if len(known) == 1 else None


def is_noteworthy(verdict: Verdict) -> bool:
    """Whether a call was not simply allowed, or its answer contradicts the registry."""
    return verdict.outcome != "allowed" or verdict.reason == "drift"
