"""WebSockets: where `websockets` opens a connection, and where it sends the handshake.

The first door is passed before any TCP connection is opened. The second, the handshake, catches
whoever held `connect` before the guard was enabled, and hears the server's answer.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from types import ModuleType
from typing import Any
from urllib.parse import urlsplit

from openai_project_guard._check.check import Call, hear, is_watching, judge, refusal_of, under_way
from openai_project_guard._check.headers import PROJECT_HEADER, Destination, Triples, read_headers
from openai_project_guard._errors import UnsupportedSDKError
from openai_project_guard._hooks.call import CallUnderWay, Sealed, await_inside, run_inside
from openai_project_guard._hooks.patch import Wrapper, hook


class Handshake:
    """The opening request of a WebSocket, as far as the check needs it."""

    __slots__ = ("_given", "headers", "uri")

    def __init__(self, uri: str, given: Any) -> None:
        self.uri = uri
        self.headers = list(_pairs(given))
        # What can be read again goes on as it is; of an iterator only our list is left.
        self._given = given if given is None or hasattr(given, "__len__") else self.headers

    def headers_to_send(self) -> Any:
        """What was given, unless it was mended."""
        return self._given

    def replace(self, headers: list[tuple[str, str]]) -> None:
        """Mends the headers."""
        self.headers = self._given = headers


class WebSocket:
    """How the check reads and mends a handshake."""

    @staticmethod
    def headers(message: Handshake) -> Triples:
        """Its headers, as they stand."""
        return [
            (name.encode(), name.lower().encode(), str(value).encode())
            for name, value in message.headers
        ]

    @staticmethod
    def host(message: Handshake) -> str:
        """The host of its URI."""
        return urlsplit(message.uri).hostname or ""

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
    def billed(response: Any) -> bytes | None:
        """The project that the server's answer names, if it names one."""
        project: str | None = response.headers.get("openai-project")
        return None if project is None else project.encode("latin-1", "replace")


WEBSOCKET = WebSocket()


def install(module: ModuleType) -> None:
    """Hooks `websockets.asyncio.client` or `websockets.sync.client`.

    Raises:
        UnsupportedSDKError: the installed release has none of the places that are known.
    """
    is_async = module.__name__ == "websockets.asyncio.client"
    hook(module.ClientConnection, "handshake", _handshake_async if is_async else _handshake)
    opener = getattr(module, "connect" if is_async else "reconnect", None)
    places = vars(opener) if isinstance(opener, type) else {}
    if "connect" in places:  # websockets 17
        hook(opener, "connect", _opening(is_async))
    elif "create_connection" in places:  # 13.1 to 16
        hook(opener, "__await_impl__", _opening(is_async))
    elif is_async and "__await_impl__" in places:  # 13.0, which forgets the URI on the way
        hook(opener, "__init__", _with_arguments("additional_headers"))
    elif not is_async and "connect" in vars(module):  # 13 to 16
        hook(module, "connect", _with_arguments("additional_headers"))
    else:
        raise UnsupportedSDKError(
            f"{module.__name__} has no place known to the guard where a connection is opened. Use "
            "a release of websockets that openai-project-guard supports; its README lists them."
        )


def install_legacy(module: ModuleType) -> None:
    """Hooks `websockets.legacy.client`, which is `websockets.connect` before release 14."""
    hook(module.Connect, "__init__", _with_arguments("extra_headers"))


def _opening(is_async: bool) -> Wrapper:
    """The wrapper of a method that opens the connection which its object describes."""
    run = await_inside if is_async else run_inside

    def opening(wrapped: Callable[..., Any], instance: Any, args: Any, kwargs: Any) -> Any:
        if not is_watching():
            return wrapped(*args, **kwargs)
        call = CallUnderWay(None)
        # websockets 13.1 to 14 keep the headers with the other argument of the handshake.
        before_15 = hasattr(instance, "handshake_args")
        given = instance.handshake_args[0] if before_15 else instance.additional_headers
        message = Handshake(instance.uri, given)
        del given
        error = judge(call, message, WEBSOCKET)
        if error is not None:
            raise error
        if before_15:
            instance.handshake_args = (message.headers_to_send(), *instance.handshake_args[1:])
        else:
            instance.additional_headers = message.headers_to_send()
        return run(call, Sealed(wrapped, args, kwargs))

    return opening


def _with_arguments(name: str) -> Wrapper:
    """The wrapper of a function that is given the URI and, by this name, the headers."""

    def opening(wrapped: Callable[..., Any], _: Any, args: Any, kwargs: Any) -> Any:
        if not is_watching():
            return wrapped(*args, **kwargs)
        call = CallUnderWay(None)
        message = Handshake(args[0] if args else kwargs["uri"], kwargs.get(name))
        error = judge(call, message, WEBSOCKET)
        sealed = Sealed(wrapped, args, {**kwargs, name: message.headers_to_send()})
        del args, kwargs
        if error is not None:
            raise error
        return run_inside(call, sealed)

    return opening


def _handshake(wrapped: Callable[..., Any], instance: Any, args: Any, kwargs: Any) -> Any:
    if not is_watching():
        return wrapped(*args, **kwargs)
    call, message, error, shake_hands = _last_look(wrapped, instance, args, kwargs)
    del args, kwargs
    if error is not None:
        raise error
    result = shake_hands()
    hear(call, instance.response, message, WEBSOCKET)
    return result


async def _handshake_async(
    wrapped: Callable[..., Any], instance: Any, args: Any, kwargs: Any
) -> Any:
    if not is_watching():
        return await wrapped(*args, **kwargs)
    call, message, error, shake_hands = _last_look(wrapped, instance, args, kwargs)
    del args, kwargs
    if error is not None:
        raise error
    result = await shake_hands()
    hear(call, instance.response, message, WEBSOCKET)
    return result


def _last_look(
    wrapped: Callable[..., Any], connection: Any, args: Any, kwargs: Any
) -> tuple[Call, Handshake, BaseException | None, Sealed]:
    protocol = connection.protocol
    uri = protocol.uri if hasattr(protocol, "uri") else protocol.wsuri  # before websockets 15
    given = args[0] if args else kwargs.get("additional_headers")
    host = f"[{uri.host}]" if ":" in uri.host else uri.host
    message = Handshake(f"{'wss' if uri.secure else 'ws'}://{host}{uri.path}", given)
    call = under_way.get()
    if call is None or not isinstance(call.message, Handshake):  # it went past the first door
        call = Call(None)
    error = None
    if call.message is None or read_headers(WEBSOCKET.headers(message)) != call.facts:
        error = refusal_of(call, message, WEBSOCKET)
    if args:
        args = (message.headers_to_send(), *args[1:])
    else:
        kwargs = {**kwargs, "additional_headers": message.headers_to_send()}
    return call, message, error, Sealed(wrapped, args, kwargs)


def _pairs(headers: Any) -> Iterable[tuple[str, str]]:
    if headers is None:
        return ()
    if hasattr(headers, "raw_items"):  # websockets.Headers, which may hold a name twice
        pairs: Iterable[tuple[str, str]] = headers.raw_items()
        return pairs
    return headers.items() if isinstance(headers, Mapping) else headers
