"""Where a wrong value came from, and what to change there.

Looked up only for a wrong call: for its verdict, the log, and its error.
"""

from __future__ import annotations

import os
from dataclasses import replace
from functools import partial

from openai_project_guard._check.call import HeaderSources
from openai_project_guard._check.header_settings import (
    ORGANIZATION,
    PROJECT,
    Origin,
    Setting,
    as_it_was,
    custom_headers,
    is_among,
    unquote,
    values_of,
)
from openai_project_guard._check.headers import HeaderTexts
from openai_project_guard._check.origin_of_key import origin_of_key
from openai_project_guard._check.verdict import is_well_formed
from openai_project_guard._keys import digest
from openai_project_guard._types import Reason, Transport


def origin_of_call(
    reason: Reason,
    headers: HeaderTexts,
    sources: HeaderSources,
    transport: Transport,
    account: str | None,
    expected: tuple[str, ...],
) -> Origin:
    """Where what is wrong with a call came from.

    Args:
        reason: what is wrong.
        headers: the headers that the call carried, as they may be shown.
        sources: where its headers come from.
        transport: how it is sent.
        account: the service account in whose name it is sent, if it is.
        expected: the projects that would have passed.
    """
    project, malformed_key = headers.project or "", headers.malformed_key
    if reason == "organization":
        return origin_of(ORGANIZATION, headers.organization, sources, transport, headers.key_digest)
    if reason == "malformed" and malformed_key is not None and is_well_formed(project):
        return origin_of_key(headers.key_digest, sources, malformed_key.flaw)
    if reason == "unregistered" or (reason == "scope" and project in ("", *expected)):
        if account is None:
            return origin_of_key(headers.key_digest, sources)
        return Origin(
            "workload_identity",
            f"The call is sent for the service account {account}, by the client's workload "
            "identity.",
            f"list {account} under service_accounts of its project, in the registry",
        )
    if reason == "missing" and transport == "websocket":
        return _missing_on_websocket(sources)
    origin = origin_of(PROJECT, headers.project, sources, transport, headers.key_digest)
    key = origin_of_key(headers.key_digest, sources)
    is_clients_key = key.name in ("api_key=", "OPENAI_API_KEY", "extra_headers")
    if not sources.is_sdk or account is not None or is_clients_key:
        return origin
    return replace(origin, sentence=f"{origin.sentence} {key.sentence}")


def origin_of(
    setting: Setting,
    value: str | None,
    sources: HeaderSources,
    transport: Transport,
    key_digest: bytes | None = None,
) -> Origin:
    """Where the value of a header came from; `None` or an empty one asks why there is none.

    The SDK lets the call's own headers win over the client's, and those over the argument; of two
    places that hold the same value the one that wins is named.
    """
    header, argument, variable = setting.header, setting.argument, setting.variable
    if not sources.is_sdk and transport == "http":
        return Origin(
            "unknown",
            f"This request does not go through the openai package: what sends it sets {header}.",
            f"have the code that sends it set {header}",
        )
    if not value:
        return _origin_of_none(setting, sources)
    is_set_by = partial(is_among, value, key_digest)
    of_call = values_of(sources.call_headers, header)
    # The SDK merges the variable into the client's own headers, from openai 2.31 to 2.35 on.
    of_variable = custom_headers(header)
    of_client = values_of(sources.client_headers, header)
    of_argument = (sources.settings.get(argument),)
    if is_set_by(of_call):
        name, place = "extra_headers", "`extra_headers` of this call"
        fix = "correct its `extra_headers`"
    elif is_set_by(of_variable) and (not sources.is_sdk or is_set_by(of_client)):
        name = "OPENAI_CUSTOM_HEADERS"
        place, fix = f"{name} in the environment", f"correct {name}"
    elif is_set_by(of_client):
        name, place = "default_headers", "`default_headers` of the client"
        fix = f"correct {sources.default_headers_with(header)}"
        if sources.step_with(header.lower()) is None:
            place += f", or from {as_it_was('OPENAI_CUSTOM_HEADERS')}"
    elif is_set_by((os.environ.get(variable),)) and (not sources.is_sdk or is_set_by(of_argument)):
        name, place = variable, f"{variable} in the environment"
        # Where there is no project, the next call is refused for that.
        change = "correct" if setting is PROJECT else "correct or unset"
        fix = f"{change} {variable} where it is set (a .env file, perhaps), "
        fix += f"and any `{argument}=` that repeats it"
        fix = _fix_of_setting(setting, sources, key_digest, fix)
    elif is_set_by(of_argument):
        name = f"{argument}="
        fix = _fix_of_setting(setting, sources, None, f"give the client the right `{name}`")
        place = f"the client's `{name}` (`with_options()` and `copy()` keep it)"
        if sources.is_module:
            place, fix = f"`openai.{argument}`", f"correct `openai.{argument}`"
        if sources.step_with(argument) is None:
            place += f", or from {as_it_was(variable)}"
    elif is_set_by(values_of(sources.http_headers, header)):
        name, place = "http_client", "the headers of the client's `http_client=`"
        fix = f"take {header} out of them, and pass `{argument}=` to the client"
    elif not sources.is_sdk:  # a WebSocket: the client is not to be seen from where it is opened
        name = "unknown"
        place = f"the client's `{argument}=` or `extra_headers` of connect()"
        fix = f"correct the client's `{argument}=` or the `extra_headers` of connect()"
    else:
        name = "unknown"
        place = "outside the SDK's settings (a subclass, an event hook or an auth flow)"
        fix = f"look for the code that sets {header}"
    quoted = "" if name == "unknown" else unquote(name, value, "")
    if name not in ("unknown", "extra_headers") and sources.brings_key and not quoted:
        name, fix = "extra_headers", _fix_of_call(header)  # the client is right for its own key
    return Origin(name, f"That {header} comes from {place}.", quoted or fix)


def _origin_of_none(setting: Setting, sources: HeaderSources) -> Origin:
    """Why there is no such header, or an empty one."""
    header, argument, variable = setting.header, setting.argument, setting.variable
    of_client = values_of(sources.client_headers, header)
    has_argument = bool(sources.settings.get(argument))
    for value in values_of(sources.call_headers, header):
        change = f"take {header} out of"
        if sources.brings_key or not (has_argument or any(of_client)):
            change = f"give {header} a value in"
        sentence = f"`extra_headers` of this call takes the client's {header} out{_by(value)}."
        return Origin("extra_headers", sentence, f"{change} its `extra_headers`")
    if sources.brings_key and (of_client or not has_argument):
        return Origin(
            "extra_headers",
            "Nothing sets the header; the key comes from `extra_headers` of this call.",
            _fix_of_call(header),
        )
    for value in of_client:
        if not value:
            place, where = "`default_headers` of the client", sources.default_headers_with(header)
            name = "default_headers"
            if value in custom_headers(header):
                name = place = where = "OPENAI_CUSTOM_HEADERS"
            change = f"take {header} out of" if has_argument else f"give {header} a value in"
            sentence = f"{place} sets {header} to nothing{_by(value)}."
            return Origin(name, sentence, f"{change} {where}")
    if of_client:
        return Origin(
            "default_headers",
            f"`default_headers` or OPENAI_CUSTOM_HEADERS spells {header} in another way, and "
            "the SDK drops that.",
            f"spell it {header} there, or pass `{argument}=` to the client",
        )
    if has_argument:
        return Origin(
            "unknown",
            f"The client has a `{argument}=`, but something took the header out.",
            f"look for the code that removes {header}",
        )
    step = sources.step_with(argument, "api_key")
    pass_it = f"pass `{argument}=` to {'the client' if step is None else step.as_call}"
    if os.environ.get(variable) == "":
        return Origin(
            variable,
            f"Nothing sets the header: {variable} is set, but it is empty.",
            f"give {variable} a value, or {pass_it}",
        )
    if sources.settings.get(argument) == "":
        return Origin(
            f"{argument}=",
            f"The client's `{argument}=`, or {as_it_was(variable)}, is an empty string.",
            f"give the client's `{argument}=` a value",
        )
    if step is not None and step.by != "__init__":
        return Origin(
            "unset",
            f"Nothing sets the header: neither the client nor {step.method}(), which gave it "
            f"another key, has a `{argument}=`.",
            f"also pass `{argument}=` to {step.as_call}",
        )
    if sources.is_module:
        return Origin(
            "unset",
            f"Nothing sets the header: `openai.{argument}` is not set, nor is {variable}.",
            f"set `openai.{argument}` or {variable}",
        )
    return Origin(
        "unset",
        f"Nothing sets the header: the client has no `{argument}=`, and {variable} was not set "
        "when it was made.",
        f"{pass_it}{'' if step is None else ','} or set {variable}",
    )


def _by(value: object) -> str:
    """How a header is taken out, where its value does not show that."""
    return "" if isinstance(value, str) else f", by {type(value).__name__}()"


def _fix_of_setting(
    setting: Setting, sources: HeaderSources, key_digest: bytes | None, otherwise: str
) -> str:
    """What to change about a client's argument, or the variable that stands in for it.

    Other clients may live by the same value: one that got another key by `with_options()` is put
    right there, and one with a key of its own where it is built.
    """
    argument = setting.argument
    step = sources.step_with(argument, *(["api_key"] if setting is PROJECT else []))
    if step is not None and argument in step.gives:
        return f"correct the `{argument}=` of {step.as_call}"
    if step is not None:
        return f"also pass `{argument}=` to {step.as_call}"
    of_variable = os.environ.get("OPENAI_API_KEY")
    if key_digest is not None and of_variable and digest(of_variable) != key_digest:
        return (
            f"pass `{argument}=` where the client is given this key, which is not the one in "
            f"OPENAI_API_KEY that {setting.variable} may be right for"
        )
    return otherwise


def _fix_of_call(header: str) -> str:
    return f"add {header} to the `extra_headers` of this call, which give it its key"


def _missing_on_websocket(sources: HeaderSources) -> Origin:
    header, why = PROJECT.header, sources.websocket_note
    of_call = values_of(sources.call_headers, header)
    if of_call and not any(of_call):
        return Origin(
            "extra_headers",
            f"`extra_headers` of connect() takes {header} out.",
            f"give {header} a value in the `extra_headers` of connect()",
        )
    to_connect = "extra_headers={'OpenAI-Project': ...} to connect()"
    if why is not None:
        fix = f"pass {to_connect}, or upgrade openai"
    elif sources.settings.get(PROJECT.argument) or values_of(sources.client_headers, header):
        return _origin_of_none(PROJECT, sources)
    else:
        why = "neither the client nor connect() names a project"
        of_client = "" if sources.brings_key else "`project=` to the client, or "
        fix = f"pass {of_client}{to_connect}"
    return Origin("unset", f"Nothing sets the header on this WebSocket: {why}.", fix)
