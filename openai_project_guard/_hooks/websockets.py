"""WebSockets: where `websockets` opens a connection, and where it sends the handshake.

The first hook runs before any TCP connection is opened. The second, on the handshake, catches
whoever held `connect` before the guard was enabled, and checks the server's answer.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from types import CodeType, ModuleType
from typing import Any
from urllib.parse import urlsplit

from openai_project_guard._check.call import Call, Sender
from openai_project_guard._check.check import is_active, refusal
from openai_project_guard._check.headers import PROJECT_HEADER, RawHeaders
from openai_project_guard._check.response import check_response
from openai_project_guard._errors import UnsupportedSDKError
from openai_project_guard._hooks.call import HiddenCall
from openai_project_guard._hooks.httpx import as_bytes, named_project
from openai_project_guard._hooks.patch import Function, hook
from openai_project_guard._hooks.sdk_facts import (
    client_site_of_websocket,
    frames,
    sender_of_websocket,
)
from openai_project_guard._types import Destination


class Handshake:
    """The opening request of a WebSocket, as far as the check needs it."""

    __slots__ = ("_given", "headers", "uri")

    def __init__(self, uri: str, given: Any) -> None:
        self.uri = uri
        self.headers = list(_pairs(given))
        # What can be read again goes on as it is; of an iterator only our list is left.
        self._given = given if given is None or hasattr(given, "__len__") else self.headers

    def headers_to_send(self) -> Any:
        """What was given, unless the project was put in."""
        return self._given

    def replace(self, headers: list[tuple[str, str]]) -> None:
        """Takes other headers in place of those that were given."""
        self.headers = self._given = headers


class WebSocket:
    """How the check reads a handshake, and puts a project into it."""

    sender: Callable[[], Sender] = staticmethod(sender_of_websocket)
    client_site: Callable[[], str | None] = staticmethod(client_site_of_websocket)

    @staticmethod
    def headers(message: Handshake) -> RawHeaders:
        """Its headers, as they stand."""
        return [
            (as_bytes(name), as_bytes(name).lower(), as_bytes(value))
            for name, value in message.headers
        ]

    @staticmethod
    def host(message: Handshake) -> str:
        """The host of its URI."""
        return urlsplit(message.uri).hostname or ""

    @staticmethod
    def method(message: Handshake) -> str:
        """Its HTTP method."""
        del message
        return "GET"

    @staticmethod
    def destination(message: Handshake) -> Destination:
        """Where it goes."""
        parts = urlsplit(message.uri)
        return Destination("GET", parts.hostname or "", parts.path, "websocket")

    @staticmethod
    def put_project(message: Handshake, project: str) -> None:
        """Sets the header; an empty one that is there is replaced."""
        name = PROJECT_HEADER.lower()
        kept = [pair for pair in message.headers if pair[0].lower() != name]
        message.replace([*kept, (PROJECT_HEADER, project)])

    @staticmethod
    def response_project(response: Any) -> bytes | None:
        """The project that the server's answer names, if it names one."""
        return named_project(response.headers.raw_items())

    @staticmethod
    def status(response: Any) -> int:
        """The status of the answer."""
        status: int = response.status_code
        return status


WEBSOCKET = WebSocket()


def install(module: ModuleType) -> None:
    """Hooks `websockets.asyncio.client` or `websockets.sync.client`.

    Raises:
        UnsupportedSDKError: the installed release has none of the places that are known.
    """
    is_async = module.__name__ == "websockets.asyncio.client"
    handshake = _async_handshake_hook if is_async else _handshake_hook
    hook(module.ClientConnection, "handshake", handshake)
    opening = _async_opening_hook if is_async else _opening_hook
    opener = getattr(module, "connect" if is_async else "reconnect", None)
    places = vars(opener) if isinstance(opener, type) else {}
    if "connect" in places:  # websockets 17
        hook(opener, "connect", opening)
    elif "create_connection" in places:  # 13.1 to 16
        hook(opener, "__await_impl__", opening)
    elif is_async and "__await_impl__" in places:  # 13.0, which forgets the URI on the way
        hook(opener, "__init__", _argument_hook("additional_headers", is_method=True))
    elif not is_async and "connect" in vars(module):  # 13 to 16
        hook(module, "connect", _argument_hook("additional_headers"))
    else:
        raise UnsupportedSDKError(
            f"{module.__name__} has no place known to the guard where a connection is opened. Use "
            "a release of websockets that openai-project-guard supports; its README lists them."
        )


def install_legacy(module: ModuleType) -> None:
    """Hooks `websockets.legacy.client`, which is `websockets.connect` before release 14."""
    hook(module.Connect, "__init__", _argument_hook("extra_headers", is_method=True))


_OPENING: set[CodeType] = set()
"""The code of the hooks that open a connection; each has the call in its local `call`."""


def _opening_hook(original: Function) -> Function:
    """Judges a connection before the method that opens it runs."""

    def opening(self: Any, *args: Any, **kwargs: Any) -> Any:
        if not is_active():
            return original(self, *args, **kwargs)
        call = Call()
        error = _judge_opening(call, self)
        if error is not None:
            raise error
        return original(self, *args, **kwargs)

    _OPENING.add(opening.__code__)
    return opening


def _async_opening_hook(original: Function) -> Function:
    async def opening(self: Any, *args: Any, **kwargs: Any) -> Any:
        if not is_active():
            return await original(self, *args, **kwargs)
        call = Call()
        error = _judge_opening(call, self)
        if error is not None:
            raise error
        return await original(self, *args, **kwargs)

    _OPENING.add(opening.__code__)
    return opening


def _judge_opening(call: Call, opener: Any) -> BaseException | None:
    # websockets 13.1 to 14 keep the headers with the other argument of the handshake.
    before_15 = hasattr(opener, "handshake_args")
    message = Handshake(
        opener.uri, opener.handshake_args[0] if before_15 else opener.additional_headers
    )
    error = refusal(call, message, WEBSOCKET)
    if error is None and before_15:
        opener.handshake_args = (message.headers_to_send(), *opener.handshake_args[1:])
    elif error is None:
        opener.additional_headers = message.headers_to_send()
    return error


def _argument_hook(name: str, *, is_method: bool = False) -> Callable[[Function], Function]:
    """Judges a connection by the arguments of what opens it: its URI, and headers by this name."""

    def make(original: Function) -> Function:
        def opening(*args: Any, **kwargs: Any) -> Any:
            rest = args[1:] if is_method else args
            if not is_active() or not (rest or "uri" in kwargs):  # its own TypeError says it
                hidden = HiddenCall(original, args, kwargs)
                del args, kwargs, rest
                return hidden()
            call = Call()
            message = Handshake(rest[0] if rest else kwargs["uri"], kwargs.get(name))
            error = refusal(call, message, WEBSOCKET)
            kwargs[name] = message.headers_to_send()
            hidden = HiddenCall(original, args, kwargs)
            del args, kwargs, rest, message
            if error is not None:
                raise error
            return hidden()

        _OPENING.add(opening.__code__)
        return opening

    return make


def _handshake_hook(original: Function) -> Function:
    def handshake(self: Any, *args: Any, **kwargs: Any) -> Any:
        if not is_active():
            return original(self, *args, **kwargs)
        call, message, error, hidden = _judge_handshake(original, self, args, kwargs)
        del args, kwargs
        if error is not None:
            raise error
        result = hidden()
        check_response(call, self.response, message, WEBSOCKET)
        return result

    return handshake


def _async_handshake_hook(original: Function) -> Function:
    async def handshake(self: Any, *args: Any, **kwargs: Any) -> Any:
        if not is_active():
            return await original(self, *args, **kwargs)
        call, message, error, hidden = _judge_handshake(original, self, args, kwargs)
        del args, kwargs
        if error is not None:
            raise error
        result = await hidden()
        check_response(call, self.response, message, WEBSOCKET)
        return result

    return handshake


def _judge_handshake(
    original: Function, connection: Any, args: Any, kwargs: Any
) -> tuple[Call, Handshake, BaseException | None, HiddenCall]:
    protocol = connection.protocol
    uri = protocol.uri if hasattr(protocol, "uri") else protocol.wsuri  # before websockets 15
    given = args[0] if args else kwargs.get("additional_headers")
    host = f"[{uri.host}]" if ":" in uri.host else uri.host
    message = Handshake(f"{'wss' if uri.secure else 'ws'}://{host}{uri.path}", given)
    call = _opening_call() or Call()
    error = refusal(call, message, WEBSOCKET)
    if args:
        args = (message.headers_to_send(), *args[1:])
    else:
        kwargs = {**kwargs, "additional_headers": message.headers_to_send()}
    return call, message, error, HiddenCall(original, (connection, *args), kwargs)


def _opening_call() -> Call | None:
    """The call of the connection that is being opened, if it came by the first hook."""
    for frame in frames():
        if frame.f_code in _OPENING:
            call: Call | None = frame.f_locals.get("call")
            return call
    return None


def _pairs(headers: Any) -> Iterable[tuple[str, str]]:
    if headers is None:
        return ()
    if hasattr(headers, "raw_items"):  # websockets.Headers, which may hold a name twice
        pairs: Iterable[tuple[str, str]] = headers.raw_items()
        return pairs
    return headers.items() if isinstance(headers, Mapping) else headers
