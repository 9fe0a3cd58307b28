"""Where a header's value came from. Looked up only once a call is being refused."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from openai_project_guard._check.call import Sender
from openai_project_guard._keys import digest, hint, redact
from openai_project_guard._types import Transport


@dataclass(frozen=True, slots=True)
class Setting:
    """A header, and the names under which the SDK takes its value."""

    header: str
    argument: str
    variable: str


PROJECT = Setting("OpenAI-Project", "project", "OPENAI_PROJECT_ID")
ORGANIZATION = Setting("OpenAI-Organization", "organization", "OPENAI_ORG_ID")


@dataclass(frozen=True, slots=True)
class Origin:
    """Where a value came from, as a sentence, and what to do there, as the start of one."""

    sentence: str
    cure: str


def origin_of(setting: Setting, value: str | None, sender: Sender, transport: Transport) -> Origin:
    """Where the value of a header came from; `None` asks why there is none.

    The SDK lets the call's own headers win over the client's, and those over the argument; of two
    places that hold the same value the one that wins is named.
    """
    header, argument, variable = setting.header, setting.argument, setting.variable
    of_call = _find(sender.call_headers, header)
    if not sender.is_sdk and transport == "http":
        return Origin(
            f"This request does not go through the openai package: what sends it sets {header}.",
            f"have the code that sends it set {header}",
        )
    if value is None:
        if of_call:
            return Origin(
                f"`extra_headers` of this call takes the client's {header} out.",
                f"take {header} out of its `extra_headers`",
            )
        if _find(sender.client_headers, header):
            return Origin(
                f"`default_headers` or OPENAI_CUSTOM_HEADERS spells {header} in another way, and "
                "the SDK drops that.",
                f"spell it {header} there, or pass `{argument}=` to the client",
            )
        if sender.settings.get(argument):
            return Origin(
                f"The client has a `{argument}=`, but something took the header out.",
                f"look for the code that removes {header}",
            )
        return Origin(
            f"Nothing sets the header: the client has no `{argument}=`, and {variable} was not set "
            "when it was made.",
            f"pass `{argument}=` to the client or set {variable}",
        )
    # The SDK merges the variable into the client's own headers, from openai 2.31 to 2.35 on.
    of_variable = _find(_custom_headers(), header)
    of_client = _find(sender.client_headers, header)
    if _is_among(value, of_call):
        place, cure = "`extra_headers` of this call", "correct its `extra_headers`"
    elif _is_among(value, of_variable) and (not sender.is_sdk or _is_among(value, of_client)):
        place, cure = "OPENAI_CUSTOM_HEADERS in the environment", "correct OPENAI_CUSTOM_HEADERS"
    elif _is_among(value, of_client):
        place, cure = "`default_headers` of the client", "correct its `default_headers`"
    elif _is_among(value, (os.environ.get(variable),)):
        place, cure = f"{variable} in the environment", f"correct or unset {variable}"
    elif _is_among(value, (sender.settings.get(argument),)):
        place = f"the client's `{argument}=` (`with_options()` and `copy()` keep it)"
        cure = f"give the client the right `{argument}=`, in with_options(api_key=...) too"
    elif not sender.is_sdk:  # a WebSocket: the client is not to be seen from where it is opened
        place = f"the client's `{argument}=` or `extra_headers` of connect()"
        cure = f"correct the client's `{argument}=` or the `extra_headers` of connect()"
    else:
        place = "outside the SDK's settings (a subclass, an event hook or an auth flow)"
        cure = f"look for the code that sets {header}"
    return Origin(f"That {header} comes from {place}.", cure)


def _is_among(value: str, found: tuple[Any, ...]) -> bool:
    """Whether one of these is the value, which is shown without any key that is in it."""
    texts = (text for text in found if isinstance(text, str))
    return any(value in (text, redact(text), hint(text.strip())) for text in texts)


def origin_of_key(key_digest: bytes | None, sender: Sender) -> Origin:
    """Where the call's key came from."""
    of_variable = _find(_custom_headers(), "Authorization")
    if _find(sender.call_headers, "Authorization"):
        place, cure = "`extra_headers` of this call", "correct its `extra_headers`"
    elif any(digest(value.partition(" ")[2].strip()) == key_digest for value in of_variable):
        place, cure = "OPENAI_CUSTOM_HEADERS in the environment", "correct OPENAI_CUSTOM_HEADERS"
    elif digest(os.environ.get("OPENAI_API_KEY", "")) == key_digest:
        place, cure = "OPENAI_API_KEY in the environment", "correct OPENAI_API_KEY"
    elif digest(sender.settings.get("api_key") or "") == key_digest:
        place, cure = "the client's `api_key=`", "give the client the right `api_key=`"
    else:
        place = "outside the client's `api_key=` (a header, an event hook or an auth flow)"
        cure = "look for the code that sets Authorization"
    return Origin(f"The key comes from {place}.", cure)


def _custom_headers() -> dict[str, str]:
    """What the SDK reads from `OPENAI_CUSTOM_HEADERS`: a header a line."""
    lines = os.environ.get("OPENAI_CUSTOM_HEADERS", "").split("\n")
    pairs = (line.partition(":") for line in lines)
    return {name.strip(): value.strip() for name, colon, value in pairs if colon}


def _find(headers: object, header: str) -> tuple[Any, ...]:
    """The values that a mapping of headers gives a name, whatever its case."""
    if not isinstance(headers, Mapping):
        return ()
    return tuple(value for name, value in headers.items() if name.lower() == header.lower())
