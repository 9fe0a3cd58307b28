"""The transport hook: where a client of httpx or httpx2 hands a request to its transport.

Event hooks, auth flows and redirects of the user's own HTTP client have all run by then, so what
is read here is what leaves.
"""

from __future__ import annotations

import functools
from collections.abc import Awaitable, Callable
from contextlib import suppress
from operator import attrgetter
from types import FunctionType, ModuleType
from typing import Any
from weakref import WeakKeyDictionary, ref

from openai_project_guard._check.call import Call
from openai_project_guard._check.check import refusal
from openai_project_guard._check.headers import PROJECT_HEADER, RawHeaders, name_of
from openai_project_guard._check.response import check_response
from openai_project_guard._hooks import sdk_legacy
from openai_project_guard._hooks.call import OtherCall, judges_other_calls
from openai_project_guard._hooks.message import MessageReader
from openai_project_guard._hooks.patch import (
    Function,
    forgetting_ref,
    hook,
    is_reached,
    owner_of,
    require,
    wrapper_chain,
)
from openai_project_guard._hooks.sdk_facts import header_sources_of_http, is_sent_by_sdk
from openai_project_guard._scope import SCOPE
from openai_project_guard._state import STATE
from openai_project_guard._types import Destination

SEND_SINGLE_REQUEST = "_send_single_request"
_METHODS = ("send", "_send_handling_auth", "_send_handling_redirects", SEND_SINGLE_REQUEST)
"""The way from the SDK to the transport hook, in httpx and httpx2 alike."""

_LIBRARIES = ("httpx", "httpx2")

CALL = "openai_project_guard"
"""Under this name a request's `extensions` hold its `Call`; httpx hands them on at redirects."""


class Http(MessageReader):
    """How the check reads and mends a request of httpx or httpx2.

    No static methods: the interpreter looks them up anew at each call.
    """

    def headers(self, message: Any) -> RawHeaders:
        """Its headers, as they stand."""
        headers = message.headers
        try:
            if type(headers).__module__ in _LIBRARIES:  # a subclass may have a `raw` of its own
                # What `raw`, which is sent, is made from; at a third of the cost.
                return headers._list  # type: ignore[no-any-return]
        except AttributeError:
            pass
        return [(name, name.lower(), value) for name, value in headers.raw]

    def host(self, message: Any) -> str:
        """The host of its URL as DNS has it: `url.host` shows `xn--…` in other letters."""
        host: str = message.url.raw_host.decode("ascii")
        return host

    def destination(self, message: Any) -> Destination:
        """Where it goes; neither query nor user info is kept."""
        return Destination(message.method, self.host(message), message.url.path, "http")

    def put_project(self, message: Any, project: str) -> None:
        """Sets the header; an empty one that is there is replaced."""
        message.headers[PROJECT_HEADER] = project

    def response_project(self, response: Any) -> bytes | None:
        """The project that the server's answer names, if it names one."""
        try:
            headers = response.headers._list
            names = list(map(name_of, headers))
            if b"openai-project" in names:
                return headers[names.index(b"openai-project")][2]  # type: ignore[no-any-return]
        except (AttributeError, TypeError):  # a stand-in's have headers of any kind, or none
            return super().response_project(response)
        return None


HTTP = Http(header_sources_of_http)


_methods_of = attrgetter(*_METHODS)

_HOOKED: WeakKeyDictionary[type, ref[Any]] = WeakKeyDictionary()
"""The hooked client classes, and the hook in each, which has `original_methods`: `_METHODS` as the
library has them, the last one hooked. Strong references here would keep every import alive."""

_BYPASSING_CLIENTS: dict[int, ref[Any]] = {}
"""HTTP clients of the SDK whose own `send()` may bypass the transport hook. Whatever they send is a
call of the SDK, even from a thread or a task of theirs, and even as a request that they made."""


def install(module: ModuleType) -> None:
    """Hooks the clients of `httpx` or `httpx2`.

    Raises:
        UnsupportedSDKError: the installed release lacks a method on the way; names it.
    """
    for client, make in ((module.Client, _sync_hook), (module.AsyncClient, _async_hook)):
        require(client, *_METHODS)
        ours: Any = hook(client, SEND_SINGLE_REQUEST, functools.partial(make, module=module))
        steps = (_of_the_library(client, name, module) for name in _METHODS[:-1])
        ours.original_methods = (*steps, client.__dict__[SEND_SINGLE_REQUEST])
        _HOOKED[client] = ref(ours)


def _of_the_library(client: type, name: str, module: ModuleType) -> Any:
    """The library's own method, below what another package has put over it.

    Where it was replaced by what does not show that it calls it, that is nothing a class has.
    """
    for link in wrapper_chain(client.__dict__[name]):
        if type(link) is FunctionType and link.__code__.co_name == name:
            package = str(link.__globals__.get("__name__")).partition(".")[0]
            if package == module.__name__:
                return link
    return None


def _sync_hook(original: Function, module: ModuleType) -> Function:
    def _send_single_request(self: Any, request: Any) -> Any:
        if STATE.settings is None and SCOPE.get() is None:
            return original(self, request)
        call = _call_of(self, request, module)
        if call is None:
            return original(self, request)
        error = refusal(call, request, HTTP)
        try:
            if error is not None:
                raise error
            call.is_sent = True
            response = original(self, request)
        except BaseException:
            del self, request, call  # whoever keeps the error must not keep them
            raise
        check_response(call, response, request, HTTP)
        return response

    return _send_single_request


def _async_hook(original: Callable[..., Awaitable[Any]], module: ModuleType) -> Function:
    async def _send_single_request(self: Any, request: Any) -> Any:
        if STATE.settings is None and SCOPE.get() is None:
            return await original(self, request)
        call = _call_of(self, request, module)
        if call is None:
            return await original(self, request)
        error = refusal(call, request, HTTP)
        try:
            if error is not None:
                raise error
            call.is_sent = True
            response = await original(self, request)
        except BaseException:
            del self, request, call  # whoever keeps the error must not keep them
            raise
        check_response(call, response, request, HTTP)
        return response

    return _send_single_request


def _call_of(client: Any, request: Any, module: ModuleType) -> Call | None:
    """The call that a request belongs to; `None` where it is none that is judged."""
    extensions = getattr(request, "extensions", None)
    call: Call | None = extensions.get(CALL) if extensions else None
    if call is None:
        # An auth flow or an event hook may have sent a request of its own in place of the SDK's.
        if is_sent_by_sdk() or id(client) in _BYPASSING_CLIENTS:
            call = new_call()
        elif judges_other_calls():
            call = OtherCall(module.RequestError)
    return call


def new_call(service_account: str | None = None) -> Call:
    """A call of the SDK's."""
    return sdk_legacy.LegacyCall() if sdk_legacy.CODES else Call(service_account)


def note_bypassing_client(client: Any) -> None:
    """Remembers an HTTP client of the SDK that may bypass the transport hook."""
    key = id(client)  # it need not be hashable
    with suppress(TypeError):  # no weak reference: what it sends is judged where it is sent
        _BYPASSING_CLIENTS[key] = forgetting_ref(client, _BYPASSING_CLIENTS, key)


def reaches_transport_hook(client: Any) -> bool:
    """Whether what a client sends passes through the transport hook, and is judged there.

    A stand-in for an HTTP client, or one with a `send()` of its own, may bypass it.
    """
    cls: Any = type(client)
    base: Any = None
    try:
        is_as_in_library = _methods_of(cls) == cls._send_single_request.original_methods
    except AttributeError:  # no client of the library, or something stands over the hook
        is_as_in_library = False
    if not is_as_in_library:
        base = next(filter(_HOOKED.__contains__, cls.__mro__), None)
        if base is None:
            return False
    if not client.__dict__.keys().isdisjoint(_METHODS):
        return False
    if cls.__getattribute__ is not object.__getattribute__:
        given: list[Any] = []
        with suppress(Exception):  # of its own, which the SDK is to hear of
            given += (getattr(getattr(client, name), "__func__", None) for name in _METHODS)
        if given != [*_methods_of(cls)]:
            return False
    return is_as_in_library or all(
        owner_of(cls, name) is base and _still_calls(base, name, method)
        for name, method in zip(_METHODS, _original_methods(base), strict=True)
    )


def _original_methods(base: type) -> tuple[Any, ...]:
    hook_in_base = _HOOKED[base]()  # `None` where somebody took it off for good
    return getattr(hook_in_base, "original_methods", (None,) * len(_METHODS))


def _still_calls(base: type, name: str, known: Any) -> bool:
    """Whether a call still gets to a method, below what another package has put over it since."""
    links = wrapper_chain(base.__dict__[name])
    return is_reached(base, name) or any(link is known for link in links)
