"""The contract's table of verdicts, read slowly: what may happen to a call, whatever the code does.

Written from the text of the contract alone, and naive on purpose: it collects every situation that
a call is in and lets the severest decide. Where several situations are equally severe, the text
does not say which is named, and any of them is right.
"""

from __future__ import annotations

from typing import NamedTuple

SEVERITY = ("allowed", "warned", "injected", "blocked")
Answer = tuple[str, "str | None"]
UNSEEN: Answer = ("unseen", None)


class Entry(NamedTuple):
    """One key of one project."""

    key: str
    project: str
    organization: str | None = None
    in_process: bool = False
    """Whether it was given to `register()`; else it is in the registry."""


class Case(NamedTuple):
    """A call, and everything that its verdict may depend on."""

    mode: str
    unregistered: str
    pinned: str | None
    entries: tuple[Entry, ...]
    is_openai_host: bool
    keys: tuple[str, ...]
    """The keys of its `Authorization` headers; one, or none, as a rule."""
    api_keys: tuple[str, ...]
    """The keys of its `api-key` headers, which other servers than OpenAI's read."""
    projects: tuple[bytes, ...]
    """The values of its `OpenAI-Project` headers."""
    organizations: tuple[bytes, ...]
    """The values of its `OpenAI-Organization` headers; one, or none."""


def possible(case: Case) -> set[Answer]:
    """Every outcome and reason that the contract allows for the call."""
    keys = case.keys or case.api_keys
    registered = {entry.key for entry in case.entries}
    if case.mode == "off" or not keys:
        return {UNSEEN}
    if not case.is_openai_host and registered.isdisjoint(case.keys + case.api_keys):
        return {UNSEEN}

    certain = of_header(case)
    open_to_reading: set[str] = set()
    projects: set[str] = set()
    # The contract speaks of "its key": a call that leaves open which one that is, must not leave.
    if len(keys) > 1 or any(key in registered and key not in keys for key in case.api_keys):
        certain.add("malformed")
    elif keys[0] in registered:
        entries = [entry for entry in case.entries if entry.key == keys[0]]
        projects = {entry.project for entry in entries}
        certain |= of_project(case, projects)
        here = projects & {value.decode("latin-1") for value in case.projects} or projects
        others = [is_another(case, entry) for entry in entries if entry.project in here]
        if any(others):
            (certain if all(others) else open_to_reading).add("organization")
        if case.pinned and case.pinned not in projects:
            certain.add("scope")
    elif not keys[0].startswith(("sk-admin-", "ek_")):  # "allowed without a project header"
        certain.add("unregistered")
        if case.pinned and not any(case.projects):  # "only that project's header passes"
            certain.add("missing")
    injectable = {case.pinned} if case.pinned else projects

    is_clear = len(injectable) == 1
    answers: set[Answer] = set()
    for situations in [certain, certain | open_to_reading] if open_to_reading else [certain]:
        effects = {reason: effect(case, reason, is_clear) for reason in situations}
        worst = max(effects.values(), key=SEVERITY.index, default="allowed")
        answers |= {(worst, reason) for reason, what in effects.items() if what == worst}
        if not effects:
            answers.add(("allowed", None))
    return answers


def of_header(case: Case) -> set[str]:
    """The situations that the header is in whoever the key belongs to."""
    found: set[str] = set()
    if len(case.projects) > 1 or any(is_malformed(value) for value in case.projects):
        found.add("malformed")
    if case.pinned and any(v not in (b"", case.pinned.encode()) for v in case.projects):
        found.add("scope")
    return found


def of_project(case: Case, projects: set[str]) -> set[str]:
    """The situations of a header beside a key of these projects."""
    values = [value for value in case.projects if value]
    if not values:
        return {"missing"}
    return {"mismatch"} if any(v.decode("latin-1") not in projects for v in values) else set()


def is_malformed(value: bytes) -> bool:
    """Surrounding space, control or non-ASCII characters."""
    return value != value.strip() or any(byte < 32 or byte > 126 for byte in value)


def is_another(case: Case, entry: Entry) -> bool:
    """Whether the call names another organization than the entry does."""
    if entry.organization is None:
        return False
    return any(value not in (b"", entry.organization.encode()) for value in case.organizations)


def effect(case: Case, reason: str, is_clear: bool) -> str:
    """What comes of a situation in a mode."""
    what = "blocked"
    if reason == "missing" and case.mode == "inject" and is_clear:
        what = "injected"
    if reason == "unregistered":
        by_setting = {"block": "blocked", "warn": "warned", "allow": "allowed", "learn": "allowed"}
        what = "blocked" if case.mode == "warn" else by_setting[case.unregistered]
    return "warned" if case.mode == "warn" and what == "blocked" else what
