"""What is in use here: versions, settings, and whatever can set the key or a header."""

from __future__ import annotations

import os
import platform
from collections.abc import Iterator
from typing import NamedTuple
from urllib.parse import urlsplit

from openai_project_guard import _env
from openai_project_guard._check.origin import custom_headers
from openai_project_guard._cli import PROGRAM
from openai_project_guard._cli.diagnosis.collect import CUSTOM, Diagnosis
from openai_project_guard._cli.key_input import API_KEY, bare, without_keys
from openai_project_guard._keys import hint
from openai_project_guard._versions import version_of

_PACKAGES = (PROGRAM, "openai", "wrapt", "httpx", "httpx2", "websockets", "tomlkit")
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
    text = os.environ.get(name)
    if name == CUSTOM:
        text = next(iter(custom_headers(header)), None)
    if text is None:
        return None
    if header == _URL:
        return shown_url(text)
    if header == "Authorization":
        return hint(bare(text))
    return without_keys(text if text.isprintable() else repr(text))


def shown_url(url: str) -> str:
    """A URL without its password."""
    try:
        parts = urlsplit(url)
    except ValueError:
        return "(no URL)"
    host = parts.netloc.rpartition("@")[2]
    return without_keys(f"{parts.scheme}://{host}{parts.path}" if host else parts.path)


def settings_of(at: Diagnosis) -> Iterator[tuple[str, str, str | None]]:
    """Each setting's name, its value and the variable that it comes from; `None` for the default.

    What the registries are is not shown here, but what is in them.
    """
    in_use = {_env.PREFIX: str(at.mode)}
    if at.settings is not None:
        policy = at.settings.policy
        in_use[_env.POLICY_UNREGISTERED] = policy.unregistered
        in_use[_env.PROJECT] = policy.pinned or "not pinned"
        in_use[_env.HOSTS] = ", ".join(sorted(at.settings.hosts))
        in_use[_env.SCOPE] = at.settings.scope
    for variable in (known.name for known in _env.VARIABLES):
        if variable in (_env.REGISTRY, _env.KEYS):
            continue
        name = variable.removeprefix(_env.PREFIX)[1:].lower() or "mode"
        text, value = _env.text(variable), in_use.get(variable)
        if text and (value is None or at.settings is None):
            value = without_keys(text)
        default = "in memory only" if variable == _env.LEARNED else "not set"
        yield name, value or default, variable if text else None


def versions() -> dict[str, str | None]:
    """The versions of Python and of the packages that matter; `None` where one is not installed."""
    return {"python": platform.python_version(), **{name: version_of(name) for name in _PACKAGES}}
