"""What is sent by other means than httpx: how the check reads it, and puts a project into it."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any
from urllib.parse import urlsplit

from openai_project_guard._check.call import HeaderSources
from openai_project_guard._check.headers import PROJECT_HEADER, RawHeaders
from openai_project_guard._types import Destination, Transport


class Message:
    """A request or a handshake.

    Attributes:
        headers: as the library keeps them, or as they were given to it.
        original: the library's own request, if it has one.
    """

    __slots__ = ("headers", "method", "original", "transport", "url")

    def __init__(
        self,
        method: str,
        url: Any,
        headers: Any,
        *,
        transport: Transport = "http",
        original: Any = None,
    ) -> None:
        self.method = method
        self.url = url
        # An iterator can be read only once, and the library wants to read it, too.
        self.headers: Any = headers
        if headers is not None and not hasattr(headers, "__len__"):
            self.headers = [*headers]
        self.transport = transport
        self.original = original


class _WithProject(list[Any]):
    """Headers into which a project was put, and what they were before."""

    __slots__ = ("before",)

    def __init__(self, headers: list[Any], before: Any) -> None:
        super().__init__(headers)
        self.before = before


def as_given(headers: Any) -> Any:
    """Headers without the project that was put in: where they are used again, it may be another."""
    return headers.before if isinstance(headers, _WithProject) else headers


class MessageReader:
    """How the check reads a `Message`.

    Args:
        header_sources: where the headers come from of what is being sent just now.
    """

    def __init__(self, header_sources: Callable[[], HeaderSources]) -> None:
        self.header_sources = header_sources

    def headers(self, message: Message) -> RawHeaders:
        """Its headers, as they stand."""
        return [
            (_as_bytes(name), _as_bytes(name).lower(), _as_bytes(value))
            for name, value in _pairs(message.headers)
        ]

    def host(self, message: Message) -> str:
        """The host it goes to."""
        return self.destination(message).host

    def destination(self, message: Message) -> Destination:
        """Where it goes."""
        parts = urlsplit(str(message.url))
        return Destination(message.method, parts.hostname or "", parts.path, message.transport)

    def put_project(self, message: Message, project: str) -> None:
        """Sets the header; an empty one that is there is replaced, whatever its case."""
        if message.transport == "websocket":  # what was given is the caller's
            others = (pair for pair in _pairs(message.headers) if not _is_project(pair[0]))
            message.headers = _WithProject([*others, (PROJECT_HEADER, project)], message.headers)
            return
        for name in [name for name in message.headers if _is_project(name)]:
            del message.headers[name]
        message.headers[PROJECT_HEADER] = project

    def response_project(self, response: Any) -> bytes | None:
        """The project that the server's answer names, if it names one."""
        headers = getattr(response, "headers", None)  # a stand-in's may be anything, or missing
        if isinstance(headers, (str, bytes)):
            return None
        try:
            pairs = [(name, value) for name, value in _pairs(headers)]
        except (TypeError, ValueError):  # a mock, say
            return None
        values = (value for name, value in pairs if _is_project(name))
        return next((_as_bytes(value) for value in values if isinstance(value, (str, bytes))), None)

    def status(self, response: Any) -> int:
        """The status of the answer; urllib3 and aiohttp call it otherwise than the others."""
        status: int = response.status_code if hasattr(response, "status_code") else response.status
        return status


def _pairs(headers: Any) -> Any:
    # A name that is there twice: the plain `items()` of urllib3 joins it, websockets' refuses it.
    for items in ("iteritems", "raw_items", "items"):
        if callable(getattr(headers, items, None)):
            return getattr(headers, items)()
    return headers or ()


def _is_project(name: Any) -> bool:
    return _as_bytes(name).lower() == b"openai-project"


def _as_bytes(text: Any) -> bytes:
    """A header's name or value as it goes over the wire."""
    return text if isinstance(text, bytes) else str(text).encode("utf-8", "surrogateescape")
