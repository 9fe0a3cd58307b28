"""Where a call's key came from, and what to change there."""

from __future__ import annotations

import os
from typing import Any

from openai_project_guard._check.call import HeaderSources
from openai_project_guard._check.header_settings import (
    KEY,
    Origin,
    as_it_was,
    custom_headers,
    unquote,
    values_of,
)
from openai_project_guard._check.headers import KeyFlaw
from openai_project_guard._keys import digest

_SECOND = "api-key"  # a header that may hold another key, beside Authorization


def origin_of_key(
    key_digest: bytes | None, sources: HeaderSources, flaw: KeyFlaw | None = None
) -> Origin:
    """Where the call's key came from.

    Args:
        key_digest: of the key, as it is sent.
        sources: where the call's headers come from.
        flaw: what is wrong with the form in which the key is sent.
    """

    def is_sent(*texts: str | None) -> bool:
        return any(text and digest(text.strip()) == key_digest for text in texts)

    def is_sent_by(headers: tuple[Any, ...]) -> bool:
        texts = [value for value in headers if isinstance(value, str)]
        return is_sent(*texts, *(text.partition(" ")[2] for text in texts))

    step, value = sources.step_with(KEY.argument), ""
    if sources.brings_key:
        name, place = "extra_headers", "`extra_headers` of this call"
        fix = "correct its `extra_headers`"
    elif is_sent_by(custom_headers(KEY.header)):
        name = "OPENAI_CUSTOM_HEADERS"
        place, fix = f"{name} in the environment", f"correct {name}"
    elif is_sent_by(values_of(sources.client_headers, KEY.header)):
        name, place = "default_headers", "`default_headers` of the client"
        fix = f"correct {sources.default_headers_with(KEY.header)}"
    elif is_sent(KEY.of_variable):
        name, value = KEY.variable, os.environ[KEY.variable]
        place, fix = f"{name} in the environment", f"correct {name}"
    elif is_sent(sources.settings.get(KEY.argument)):
        name, value = f"{KEY.argument}=", sources.settings[KEY.argument]
        place = "the client's `api_key=`"
        fix = "give the client the right `api_key=`"
        if sources.is_module:
            place, fix = "`openai.api_key`", "correct `openai.api_key`"
        if step is None:
            place += f", or from {as_it_was(KEY.variable)}"
        else:
            fix = f"correct the `api_key=` of {step.as_call}"
    else:
        name = "unknown"
        place = "outside the client's `api_key=` (a header, an event hook or an auth flow)"
        fix = "look for the code that sets Authorization"
    if flaw == "second":
        fix = f"send one of the two keys: {_out_of_second(sources)}"
    elif flaw == "bearer" and value:
        fix = f"take `Bearer ` off the value in {name}: the SDK adds it"
    elif flaw is not None:
        fix += "; what is to be sent is one Authorization header: Bearer KEY, without quotes"
    return Origin(name, f"The key comes from {place}.", unquote(name, value.strip(), fix))


def _out_of_second(sources: HeaderSources) -> str:
    for headers, place in (
        (sources.call_headers, "`extra_headers` of this call"),
        (sources.client_headers, sources.default_headers_with(_SECOND)),
        (sources.http_headers, "the headers of the client's `http_client=`"),
    ):
        if values_of(headers, _SECOND):
            return f"take `{_SECOND}` out of {place}"
    return f"look for the code that sets `{_SECOND}`"
