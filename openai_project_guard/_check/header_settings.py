"""What the SDK takes a header's value from, and the name that such a place has."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from openai_project_guard._check.headers import HeaderTexts


@dataclass(frozen=True, slots=True)
class Setting:
    """A header, and the names under which the SDK takes its value."""

    header: str
    argument: str
    variable: str

    @property
    def of_variable(self) -> str | None:
        """The value of its variable, just now."""
        return os.environ.get(self.variable)


@dataclass(frozen=True, slots=True)
class Origin:
    """Where a value came from.

    Attributes:
        name: the short name of the place: `project=`, `OPENAI_PROJECT_ID`, `extra_headers`, …;
            `unset` where nothing sets it, `unknown` where that cannot be seen.
        sentence: the same as a sentence.
        fix: what to do there, as the start of a sentence.
    """

    name: str
    sentence: str
    fix: str


KEY = Setting("Authorization", "api_key", "OPENAI_API_KEY")
PROJECT = Setting("OpenAI-Project", "project", "OPENAI_PROJECT_ID")
ORGANIZATION = Setting("OpenAI-Organization", "organization", "OPENAI_ORG_ID")
SETTINGS = (KEY, PROJECT, ORGANIZATION)


def as_it_was(variable: str) -> str:
    """The other place that an argument, or a header, of a client may come from."""
    return f"{variable} as it was when the client was made"


def custom_headers(header: str) -> tuple[str, ...]:
    """The values that `OPENAI_CUSTOM_HEADERS`, a header a line, gives a header."""
    lines = os.environ.get("OPENAI_CUSTOM_HEADERS", "").split("\n")
    pairs = (line.partition(":") for line in lines)
    return values_of({name.strip(): value.strip() for name, colon, value in pairs if colon}, header)


def values_of(headers: Mapping[str, Any], header: str) -> tuple[Any, ...]:
    """The values that a mapping of headers gives a name, whatever its case."""
    return tuple(value for name, value in headers.items() if name.lower() == header.lower())


def is_among(value: str, key_digest: bytes | None, found: tuple[Any, ...]) -> bool:
    """Whether one of these is the value, which is shown without any key that is in it.

    Args:
        value: the value, as it is shown.
        key_digest: that of the call's key.
        found: what it may come from.
    """
    headers = HeaderTexts(key_digest, None, None)
    shown = ((text, headers.without_keys(text)) for text in found if isinstance(text, str))
    return any(value in (text, hidden, hidden.strip()) for text, hidden in shown)


def unquote(name: str, value: str, otherwise: str) -> str:
    """What to change about a value that has quotes around it; else what is said otherwise."""
    if len(value) > 2 and value[0] == value[-1] and value[0] in "\"'":
        return f"take the quotes off the value in {name}, which docker --env-file keeps"
    return otherwise
