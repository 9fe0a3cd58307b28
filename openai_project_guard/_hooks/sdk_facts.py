"""What the guard knows of the SDK's insides: where it keeps a client's settings, and its frames.

Everything here is looked up by what is there, never by a version number.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator, Mapping
from dataclasses import replace
from types import FrameType
from typing import Any

from openai_project_guard._check.call import HeaderSources
from openai_project_guard._check.header_settings import SETTINGS, values_of
from openai_project_guard._check.headers import PROJECT_HEADER
from openai_project_guard._check.waiting import module_of, outwards
from openai_project_guard._hooks.client_site import site_of

BASE_MODULE = "openai._base_client"
"""The module that has `SyncAPIClient` and `AsyncAPIClient` in every release from 1.20.0 on."""


def frames() -> Iterator[FrameType]:
    """The frames that are running, from the caller's caller outwards; of a task, its awaits."""
    return outwards(sys._getframe(2))


def is_sent_by_sdk() -> bool:
    """Whether the SDK is sending something just now, in this thread or task."""
    return any(_is_base(frame) for frame in frames())


def service_account(client: Any) -> str | None:
    """The service account in whose name a client sends, by its workload identity."""
    identity = getattr(client, "workload_identity", None)
    if not identity:
        return None
    account = identity["service_account_id"]
    return account if isinstance(account, str) else None


def header_sources_of_http() -> HeaderSources:
    """Where the headers of the request come from that is being sent just now."""
    client = options = None
    for frame in frames():
        if _is_base(frame) and "self" in (found := frame.f_locals):
            client = client or found["self"]
            # Later releases keep what the caller gave, which a `_prepare_options()` may change.
            options = found.get("input_options") or options or found.get("options")
        elif options is not None:
            break
    if client is None:
        return HeaderSources(is_sdk=False)
    return header_sources(client, getattr(options, "headers", None))


def header_sources_of_websocket() -> HeaderSources:
    """Where the headers of the WebSocket come from that the SDK, or somebody else, opens."""
    for frame in frames():
        if module_of(frame).startswith("openai.resources"):
            found = frame.f_locals
            client = _client_of(found.get("self"))
            if client is not None:
                sources = header_sources(client, _headers_of_connect(found))
                return replace(sources, websocket_note=_drops_project(sources))
    return HeaderSources(is_sdk=False)


def header_sources(client: Any, call_headers: Any) -> HeaderSources:
    """Where the headers of a client's call come from, given the `extra_headers` of the call."""
    return HeaderSources(
        call_headers=_mapping(call_headers),
        client_headers=_mapping(getattr(client, "_custom_headers", None)),
        http_headers=_mapping(getattr(getattr(client, "_client", None), "headers", None)),
        settings={each.argument: getattr(client, each.argument, None) for each in SETTINGS},
        client_site=site_of(client),
        is_module=any(cls.__name__ == "_ModuleClient" for cls in type(client).__mro__),
    )


def _is_base(frame: FrameType) -> bool:
    return module_of(frame) == BASE_MODULE


def _mapping(headers: Any) -> Mapping[str, Any]:
    return headers if isinstance(headers, Mapping) else {}


def _client_of(connecting: Any) -> Any:
    """The client for which one of the SDK's resources is opening a WebSocket."""
    for value in getattr(connecting, "__dict__", {}).values():
        if hasattr(value, "_custom_headers"):
            return value
    return None


def _headers_of_connect(found: Mapping[str, Any]) -> Any:
    """The `extra_headers` of `connect()`, which a reconnect may change, and `__enter__` keeps."""
    if "extra_headers" in found:
        return found["extra_headers"]
    kept = vars(found["self"]).items()  # under the class's name
    return next((value for name, value in kept if name.endswith("__extra_headers")), None)


def _drops_project(sources: HeaderSources) -> str | None:
    """What an error says of an SDK that leaves the client's project off a WebSocket."""
    of_client = (*values_of(sources.client_headers, PROJECT_HEADER), sources.settings["project"])
    if not of_client[0]:
        return None
    from openai import __version__

    return (
        "the openai package leaves the client's project off WebSockets before release 3.15 "
        f"(beta.realtime: 3.36), and this is {__version__}"
    )
