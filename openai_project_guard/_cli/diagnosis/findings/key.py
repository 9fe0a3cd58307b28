"""Findings about the key."""

from __future__ import annotations

from openai_project_guard._cli.diagnosis.collect import Diagnosis
from openai_project_guard._cli.diagnosis.findings.finding import Finding, hint, names, unset
from openai_project_guard._cli.diagnosis.header_sources import origin_of
from openai_project_guard._cli.key_input import API_KEY
from openai_project_guard._cli.output import count
from openai_project_guard._keys import fingerprint_of


def no_key(at: Diagnosis) -> Finding | None:
    if at.key is not None or (at.sent and at.sent.headers.key_digest):
        return None
    return Finding(
        f"{unset(API_KEY)}, so a default client has no key.",
        f"Set {API_KEY} to the key of the project that this program works for.",
    )


def unclean_key(at: Diagnosis) -> Finding | None:
    if at.key is None or at.key.fault is None:
        return None
    whose = f" Without that it is the key of {names(at.key.records)}." if at.key.records else ""
    return Finding(
        f"{API_KEY} has {at.key.fault}: what is sent is not the key {at.key.hint}.{whose}",
        f"Set {API_KEY} to the key alone. From a file: {API_KEY}=$(cat FILE), which drops the line "
        "break.",
    )


def admin_key(at: Diagnosis) -> Finding | None:
    if at.sent is None or not at.sent.key_hint.startswith("sk-admin-"):
        return None
    return Finding(
        f"{API_KEY} holds an admin key ({at.sent.key_hint}): it belongs to the organization, pays "
        "for no project, and the API refuses inference with it.",
        f"Put a project's key into {API_KEY}, and the admin key into OPENAI_ADMIN_KEY.",
    )


def legacy_key(at: Diagnosis) -> Finding | None:
    is_legacy = at.key is not None and at.key.kind == "legacy"
    if not is_legacy and len(at.records) < 2:
        return None
    several = f", registered for {names(at.records)}" if len(at.records) > 1 else ""
    return Finding(
        f"The key {hint(at)} is a legacy user key{several}: it works in every project of its "
        "user, so the header alone decides who pays.",
        "Make a key of the project itself, register it, and retire this one.",
        is_wrong=False,
    )


def unregistered_key(at: Diagnosis) -> Finding | None:
    if at.verdict is None or at.verdict.reason != "unregistered":
        return None
    if at.key is not None and at.key.fault:
        return None  # said already
    if not any(len(known) for known in at.known):
        return None  # the empty registry is the mistake
    where = origin_of(at, "Authorization")
    return Finding(
        f"The key {hint(at)} is not in any registry. Looked in: {_looked_in(at)}.",
        f"If it is the right one: openai-project-guard register PROJECT --key-env {API_KEY}."
        if where == API_KEY
        else f"It comes from {where}: correct it there, or register it: openai-project-guard "
        "register PROJECT, which asks for the key.",
        is_wrong=at.verdict.outcome != "allowed",
    )


def server_disagrees(at: Diagnosis) -> Finding | None:
    if at.live is None or at.agrees or at.live.code == "mismatched_organization":
        return None
    if at.live.is_good:
        return Finding(
            f"The registry is out of date: it has the key {hint(at)} for {names(at.records)}, and "
            f"the API says it belongs to {at.live.project}.",
            f"Correct the entry: openai-project-guard remove {_fingerprint(at)}, then "
            f"openai-project-guard register {at.live.project} --key-env {API_KEY}.",
        )
    return Finding(
        f"{at.live.sentence}.",
        "Look at the base URL and the network."
        if at.live.status is None
        else "Use the key and the project that belong together; openai-project-guard register "
        "--verify asks the API before it registers a key.",
    )


def _looked_in(at: Diagnosis) -> str:
    return ", ".join(f"{one.name} ({count(len(one.registry), 'key')})" for one in at.registries)


def _fingerprint(at: Diagnosis) -> str:
    """As many digits of it as `remove` needs."""
    key_digest = at.sent.headers.key_digest if at.sent else None
    return fingerprint_of(key_digest)[:23] if key_digest else "FINGERPRINT"
