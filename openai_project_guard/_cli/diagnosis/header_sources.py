"""Whatever can set the key, a header or the base URL, and what a default client takes of it."""

from __future__ import annotations

import os
from collections.abc import Iterator
from typing import NamedTuple
from urllib.parse import urlsplit

from openai_project_guard._check.header_settings import custom_headers
from openai_project_guard._cli.diagnosis.collect import CUSTOM, Diagnosis
from openai_project_guard._cli.key_input import API_KEY, bare, without_keys
from openai_project_guard._keys import hint

_URL = "base URL"
HEADERS = (
    ("Authorization", "api_key=", API_KEY, ()),
    ("OpenAI-Project", "project=", "OPENAI_PROJECT_ID", ("OPENAI_PROJECT",)),
    ("OpenAI-Organization", "organization=", "OPENAI_ORG_ID", ("OPENAI_ORGANIZATION",)),
    (_URL, "base_url=", "OPENAI_BASE_URL", ("OPENAI_API_BASE",)),
)
"""Each header, the argument and the variable that set it, and what looks like the variable."""


class HeaderSource(NamedTuple):
    """One place that can set a header, strongest first among its header's."""

    header: str  # or base URL
    name: str  # of the variable, or of the argument with =
    kind: str  # argument (a default client has none), variable, or unread: the SDK does not read it
    value: str | None  # a key as its hint
    wins: bool  # a default client takes it from here


def header_sources(at: Diagnosis) -> Iterator[HeaderSource]:
    """All of them, with what a default client of this environment takes."""
    for header, argument, variable, unread in HEADERS:
        of_headers = () if header == _URL else ("extra_headers=", "default_headers=", CUSTOM)
        for name in (*of_headers, argument, variable, *unread):
            kind = "argument" if name[-1] == "=" else "unread" if name in unread else "variable"
            value = None if kind == "argument" else _value(header, name, at)
            wins = at.sent.origins.get(header) == name and name not in at.unknown
            yield HeaderSource(header, name, kind, value, wins)


def _value(header: str, name: str, at: Diagnosis) -> str | None:
    if name in at.unknown:
        return f"unknown: refers to {' and '.join(at.unknown[name])}"
    text = next(iter(custom_headers(header)), None) if name == CUSTOM else os.environ.get(name)
    if text is None:
        return None
    if header == _URL:
        return at.without_keys(shown_url(text))
    if header == "Authorization":
        return hint(bare(text))
    return at.without_keys(text if text.isprintable() else repr(text))


def shown_url(url: str) -> str:
    """A URL without its password."""
    try:
        parts = urlsplit(url)
    except ValueError:
        return "(no URL)"
    host = parts.netloc.rpartition("@")[2]
    return without_keys(f"{parts.scheme}://{host}{parts.path}" if host else parts.path)
