"""WebSockets: where `websockets` opens a connection, and where it sends the handshake.

The first hook runs before any TCP connection is opened. The second, on the handshake, catches
whoever held `connect` before the guard was enabled, and checks the server's answer.
"""

from __future__ import annotations

from base64 import b64encode
from types import ModuleType
from typing import Any
from urllib.parse import quote, urlsplit

from openai_project_guard._check.call import Call
from openai_project_guard._check.check import is_active, refusal
from openai_project_guard._check.headers import RawHeaders
from openai_project_guard._check.response import check_response
from openai_project_guard._errors import UnsupportedSDKError
from openai_project_guard._hooks.call import HiddenCall, Judge, Judged, calls_on_stack, judging
from openai_project_guard._hooks.message import Message, MessageReader, as_given
from openai_project_guard._hooks.patch import hook
from openai_project_guard._hooks.sdk_facts import header_sources_of_websocket


class _HandshakeReader(MessageReader):
    def headers(self, message: Message) -> RawHeaders:
        """Its headers, and the one that websockets makes of a user and password in the URI."""
        headers, uri = super().headers(message), str(message.url)
        if "@" not in uri:  # nearly always; and of one that cannot be read websockets tells better
            return headers
        user_info, at, _ = urlsplit(uri).netloc.rpartition("@")
        basic = (b"Authorization", b"authorization", b"Basic " + b64encode(user_info.encode()))
        return [*headers, basic] if at else headers


READER = _HandshakeReader(header_sources_of_websocket)


def install(module: ModuleType) -> None:
    """Hooks `websockets.asyncio.client`, `websockets.sync.client` or `websockets.trio.client`.

    Raises:
        UnsupportedSDKError: the installed release has none of the places that are known.
    """
    is_async = module.__name__ != "websockets.sync.client"
    hook(module.ClientConnection, "handshake", judging(_judge_handshake, is_async=is_async))
    opening = judging(_judge_opening, is_async=is_async)
    opener = getattr(module, "connect" if is_async else "reconnect", None)
    methods = vars(opener) if isinstance(opener, type) else {}
    if "connect" in methods:  # websockets 17
        hook(opener, "connect", opening)
    elif "create_connection" in methods:  # 13.1 to 16
        hook(opener, "__await_impl__", opening)
    elif is_async and "__await_impl__" in methods:  # 13.0, which forgets the URI on the way
        hook(opener, "__init__", judging(_by_arguments("additional_headers", uri_at=1)))
    elif not is_async and "connect" in vars(module):  # 13 to 16
        hook(module, "connect", judging(_by_arguments("additional_headers", uri_at=0)))
    else:
        raise UnsupportedSDKError(
            f"{module.__name__} has no place known to the guard where a connection is opened. Use "
            "a release of websockets that openai-project-guard supports; its README lists them."
        )


def install_legacy(module: ModuleType) -> None:
    """Hooks `websockets.legacy.client`, which is `websockets.connect` before release 14."""
    hook(module.Connect, "__init__", judging(_by_arguments("extra_headers", uri_at=1)))


class _OpeningCall(Call):
    """The call of a connection that is being opened; the hook on its handshake goes on with it."""

    __slots__ = ()


def _judge_opening(send: HiddenCall) -> Judged:
    """Judges a connection before the method that opens it runs."""
    if not is_active():
        return Judged()
    call, opener = _OpeningCall(), send.argument("self", 0)
    # websockets 13.1 to 14 keep the headers with the other argument of the handshake.
    before_15 = hasattr(opener, "handshake_args")
    # No local here holds the headers: whatever an observer or a signal raises passes this frame.
    message = Message(
        "GET",
        opener.uri,
        as_given(opener.handshake_args[0] if before_15 else opener.additional_headers),
        transport="websocket",
    )
    error = refusal(call, message, READER)
    if before_15:
        opener.handshake_args = (message.headers, *opener.handshake_args[1:])
    else:
        opener.additional_headers = message.headers
    return Judged(call, error)


def _by_arguments(name: str, *, uri_at: int) -> Judge:
    """Judges a connection by the arguments of what opens it: its URI, and headers by this name."""

    def judge(send: HiddenCall) -> Judged:
        uri = send.argument("uri", uri_at)
        if uri is None or not is_active():  # its own TypeError says what is missing
            return Judged()
        call = _OpeningCall()
        message = Message("GET", uri, send.argument(name), transport="websocket")
        error = refusal(call, message, READER)
        send.replace(message.headers, name)
        return Judged(call, error)

    return judge


def _judge_handshake(send: HiddenCall) -> Judged:
    if not is_active():
        return Judged()
    connection = send.argument("self", 0)
    protocol = connection.protocol
    uri = protocol.uri if hasattr(protocol, "uri") else protocol.wsuri  # before websockets 15
    host = f"[{uri.host}]" if ":" in uri.host else uri.host
    if uri.user_info:
        host = f"{quote(':'.join(uri.user_info), safe=':%')}@{host}"
    given = send.argument("additional_headers", 1)
    message = Message("GET", f"wss://{host}{uri.path}", given, transport="websocket")
    call = next((call for call in calls_on_stack() if isinstance(call, _OpeningCall)), Call())
    error = refusal(call, message, READER)
    send.replace(message.headers, "additional_headers", 1)

    def check(_: Any) -> None:
        check_response(call, connection.response, message, READER)

    return Judged(call, error, check)
