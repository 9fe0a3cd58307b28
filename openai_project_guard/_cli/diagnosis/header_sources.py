"""Every variable and argument that can set the key or a header, and which one wins."""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import dataclass
from urllib.parse import urlsplit

from openai_project_guard._cli.diagnosis.collect import Diagnosis
from openai_project_guard._cli.key_input import API_KEY, without_keys
from openai_project_guard._keys import digest, hint

CUSTOM = "OPENAI_CUSTOM_HEADERS"
_NOT_GIVEN = "argument"


@dataclass(frozen=True)
class HeaderSource:
    """One place that can set a header, strongest first among its header's.

    Attributes:
        header: the header, or `base URL`.
        name: the variable, or the argument with `=`.
        kind: `variable`, `argument` (a default client has none), or `unread` for a variable that
            looks as if the SDK read it.
        value: the current value, a key as its hint; `None` where it is not set.
        wins: whether a default client takes it from here.
    """

    header: str
    name: str
    kind: str
    value: str | None
    wins: bool


@dataclass(frozen=True)
class _Header:
    name: str
    argument: str
    variable: str
    unread: str | None = None


_HEADERS = (
    _Header("Authorization", "api_key=", API_KEY),
    _Header("OpenAI-Project", "project=", "OPENAI_PROJECT_ID", "OPENAI_PROJECT"),
    _Header("OpenAI-Organization", "organization=", "OPENAI_ORG_ID", "OPENAI_ORGANIZATION"),
)


def header_sources(diagnosis: Diagnosis) -> list[HeaderSource]:
    """All of them, with what a default client of this environment takes."""
    found = [source for header in _HEADERS for source in _of_header(header, diagnosis)]
    return [*found, *_of_base_url()]


def origin_of(diagnosis: Diagnosis, header: str) -> str:
    """The variable that a default client takes a header from."""
    winning = (s.name for s in header_sources(diagnosis) if s.header == header and s.wins)
    return next(winning, "the environment")


def _of_header(header: _Header, diagnosis: Diagnosis) -> Iterator[HeaderSource]:
    is_taken = False
    for name, kind in (
        ("extra_headers=", _NOT_GIVEN),
        ("default_headers=", _NOT_GIVEN),
        (CUSTOM, "variable"),
        (header.argument, _NOT_GIVEN),
        (header.variable, "variable"),
        (header.unread, "unread"),
    ):
        if name is None:
            continue
        text = None
        if kind != _NOT_GIVEN:
            text = _custom(header.name) if name == CUSTOM else os.environ.get(name)
        if name in diagnosis.unknown:
            refers = " and ".join(diagnosis.unknown[name])
            yield HeaderSource(header.name, name, kind, f"unknown: refers to {refers}", wins=False)
            continue
        wins = kind == "variable" and not is_taken and _is_sent(header.name, text, diagnosis)
        is_taken = is_taken or wins
        yield HeaderSource(header.name, name, kind, _shown(header.name, text), wins)


def _is_sent(header: str, text: str | None, diagnosis: Diagnosis) -> bool:
    if not text or diagnosis.sent is None:
        return False
    headers = diagnosis.sent.headers
    if header == "Authorization":
        return text.isascii() and digest(text.strip()) == headers.key_digest
    return text == (headers.project if header == "OpenAI-Project" else headers.organization)


def _shown(header: str, text: str | None) -> str | None:
    if text is None:
        return None
    if header == "Authorization":
        return hint(text.strip().strip("\"'"))
    return without_keys(text if text.isprintable() else repr(text))


def _of_base_url() -> Iterator[HeaderSource]:
    url = os.environ.get("OPENAI_BASE_URL")
    yield HeaderSource("base URL", "base_url=", _NOT_GIVEN, None, wins=False)
    yield HeaderSource(
        "base URL", "OPENAI_BASE_URL", "variable", shown_url(url), wins=url is not None
    )
    old = shown_url(os.environ.get("OPENAI_API_BASE"))
    yield HeaderSource("base URL", "OPENAI_API_BASE", "unread", old, wins=False)


def shown_url(url: str | None) -> str | None:
    """A URL without its password."""
    if not url:
        return url
    try:
        parts = urlsplit(url)
    except ValueError:
        return "(no URL)"
    host = parts.netloc.rpartition("@")[2]
    return without_keys(f"{parts.scheme}://{host}{parts.path}" if host else parts.path)


def _custom(header: str) -> str | None:
    """What the SDK reads from `OPENAI_CUSTOM_HEADERS` for a header; of the key, the key."""
    for line in os.environ.get(CUSTOM, "").split("\n"):
        name, colon, value = line.partition(":")
        if colon and name.strip().lower() == header.lower():
            value = value.strip()
            return value.removeprefix("Bearer ") if header == "Authorization" else value
    return None
