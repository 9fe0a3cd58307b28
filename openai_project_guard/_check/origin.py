"""Where a wrong value came from, and what to change there.

Looked up only for a wrong call: for its verdict, the log, and its error.
"""

from __future__ import annotations

import os
from dataclasses import dataclass
from functools import partial

from openai_project_guard._check.call import HeaderSources
from openai_project_guard._check.call_site import Step
from openai_project_guard._check.header_settings import (
    ORGANIZATION,
    PROJECT,
    Setting,
    as_it_was,
    custom_headers,
    is_among,
    values_of,
)
from openai_project_guard._check.headers import HeaderTexts
from openai_project_guard._check.verdict import is_well_formed
from openai_project_guard._keys import digest
from openai_project_guard._types import Reason, Transport


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


def origin_of_call(
    reason: Reason,
    headers: HeaderTexts,
    sources: HeaderSources,
    transport: Transport,
    account: str | None,
) -> Origin:
    """Where what is wrong with a call came from.

    Args:
        reason: what is wrong.
        headers: the headers that the call carried, as they may be shown.
        sources: where its headers come from.
        transport: how it is sent.
        account: the service account in whose name it is sent, if it is.
    """
    if reason == "organization":
        return origin_of(ORGANIZATION, headers.organization, sources, transport, headers.key_digest)
    if reason == "unregistered" and account:
        return Origin(
            "workload_identity",
            f"The call is sent for the service account {account}, by the client's workload "
            "identity.",
            f"list {account} under service_accounts of its project, in the registry",
        )
    is_of_key = reason == "malformed" and is_well_formed(headers.project or "")
    if reason == "unregistered" or is_of_key:
        return origin_of_key(headers.key_digest, sources)
    if reason == "missing" and transport == "websocket":
        return _missing_on_websocket(sources)
    return origin_of(PROJECT, headers.project, sources, transport, headers.key_digest)


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
        name, fix = "default_headers", "correct its `default_headers`"
        place = f"`default_headers` of the client, or from {as_it_was('OPENAI_CUSTOM_HEADERS')}"
    elif is_set_by((os.environ.get(variable),)) and (not sources.is_sdk or is_set_by(of_argument)):
        name, place = variable, f"{variable} in the environment"
        fix = f"correct or unset {variable}, and any `{argument}=` that repeats it"
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
    quoted = "" if name == "unknown" else _unquote(name, value, "")
    if name not in ("unknown", "extra_headers") and sources.brings_key and not quoted:
        name, fix = "extra_headers", _fix_of_call(header)  # the client is right for its own key
    return Origin(name, f"That {header} comes from {place}.", quoted or fix)


def _unquote(name: str, value: str, otherwise: str) -> str:
    """What to change about a value that has quotes around it; else what is said otherwise."""
    if len(value) > 2 and value[0] == value[-1] and value[0] in "\"'":
        return f"take the quotes off the value in {name}, which docker --env-file keeps"
    return otherwise


def _origin_of_none(setting: Setting, sources: HeaderSources) -> Origin:
    """Why there is no such header, or an empty one."""
    header, argument, variable = setting.header, setting.argument, setting.variable
    if values_of(sources.call_headers, header):
        change = f"give {header} a value in" if sources.brings_key else f"take {header} out of"
        sentence = f"`extra_headers` of this call takes the client's {header} out."
        return Origin("extra_headers", sentence, f"{change} its `extra_headers`")
    of_client = values_of(sources.client_headers, header)
    if sources.brings_key and (of_client or not sources.settings.get(argument)):
        return Origin(
            "extra_headers",
            "Nothing sets the header; the key comes from `extra_headers` of this call.",
            _fix_of_call(header),
        )
    if any(value == "" for value in of_client):
        is_variable = "" in custom_headers(header)
        name = "OPENAI_CUSTOM_HEADERS" if is_variable else "default_headers"
        place = name if is_variable else "`default_headers` of the client"
        return Origin(
            name, f"{place} sets {header} to nothing.", f"take {header} out of {name}, or fill it"
        )
    if of_client:
        return Origin(
            "default_headers",
            f"`default_headers` or OPENAI_CUSTOM_HEADERS spells {header} in another way, and "
            "the SDK drops that.",
            f"spell it {header} there, or pass `{argument}=` to the client",
        )
    if sources.settings.get(argument):
        return Origin(
            "unknown",
            f"The client has a `{argument}=`, but something took the header out.",
            f"look for the code that removes {header}",
        )
    if os.environ.get(variable) == "":
        return Origin(
            variable,
            f"Nothing sets the header: {variable} is set, but it is empty.",
            f"give {variable} a value, or pass `{argument}=` to the client",
        )
    if sources.settings.get(argument) == "":
        return Origin(
            f"{argument}=",
            f"The client's `{argument}=`, or {as_it_was(variable)}, is an empty string.",
            f"give the client's `{argument}=` a value",
        )
    step = sources.step_with("api_key")
    if step is not None:
        return Origin(
            "unset",
            f"Nothing sets the header: neither the client nor {step.method}(), which gave it "
            f"another key, has a `{argument}=`.",
            _fix_of_step(step, argument),
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
        f"pass `{argument}=` to the client or set {variable}",
    )


def _fix_of_setting(
    setting: Setting, sources: HeaderSources, key_digest: bytes | None, otherwise: str
) -> str:
    """What to change about a client's argument, or the variable that stands in for it.

    Other clients may live by the same value: one that got another key by `with_options()` is put
    right there, and one with a key of its own where it is built.
    """
    argument = setting.argument
    step = sources.step_with(argument)
    if step is not None:
        return f"correct the `{argument}=` of that {step.method}(), at {step.site}"
    step = sources.step_with("api_key")
    if step is not None and setting is PROJECT:
        return _fix_of_step(step, argument)
    of_variable = os.environ.get("OPENAI_API_KEY")
    if key_digest is not None and of_variable and digest(of_variable) != key_digest:
        return (
            f"pass `{argument}=` where the client is given this key, which is not the one in "
            f"OPENAI_API_KEY that {setting.variable} may be right for"
        )
    return otherwise


def _fix_of_call(header: str) -> str:
    return f"add {header} to the `extra_headers` of this call, which give it its key"


def _fix_of_step(step: Step, argument: str) -> str:
    return f"pass `{argument}=` to that {step.method}() too, at {step.site}"


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


def origin_of_key(key_digest: bytes | None, sources: HeaderSources) -> Origin:
    """Where the call's key came from."""
    of_variable = custom_headers("Authorization")
    step = sources.step_with("api_key")
    if sources.brings_key:
        name, place = "extra_headers", "`extra_headers` of this call"
        fix = "correct its `extra_headers`"
    elif any(digest(value.partition(" ")[2].strip()) == key_digest for value in of_variable):
        name = "OPENAI_CUSTOM_HEADERS"
        place, fix = f"{name} in the environment", f"correct {name}"
    elif digest(os.environ.get("OPENAI_API_KEY", "").strip()) == key_digest:  # as it is sent
        name, place = "OPENAI_API_KEY", "OPENAI_API_KEY in the environment"
        fix = _unquote(name, os.environ[name].strip(), f"correct {name}")
    elif digest((sources.settings.get("api_key") or "").strip()) == key_digest:
        name, place = "api_key=", "the client's `api_key=`"
        fix = "give the client the right `api_key=`"
        if sources.is_module:
            place, fix = "`openai.api_key`", "correct `openai.api_key`"
        if step is None:
            place += f", or from {as_it_was('OPENAI_API_KEY')}"
        else:
            fix = f"correct the `api_key=` of that {step.method}(), at {step.site}"
        fix = _unquote(name, sources.settings["api_key"].strip(), fix)
    else:
        name = "unknown"
        place = "outside the client's `api_key=` (a header, an event hook or an auth flow)"
        fix = "look for the code that sets Authorization"
    return Origin(name, f"The key comes from {place}.", fix)
