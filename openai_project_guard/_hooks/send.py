"""The one flow of a send, sync and async: refuse it, or send it and hear the server's word."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any

from openai_project_guard._check.check import Call, hear
from openai_project_guard._check.headers import PROJECT_HEADER, Destination, Triples
from openai_project_guard._registry.model import KeyRecord


class Http:
    """How the check reads and mends a request of httpx or httpx2."""

    destination = staticmethod(Destination.of_request)

    @staticmethod
    def headers(message: Any) -> Triples:
        """Its headers, as they stand."""
        try:  # what `.raw` is made from in httpx and httpx2, at a third of the cost
            return message.headers._list  # type: ignore[no-any-return]
        except AttributeError:
            return [(name, name.lower(), value) for name, value in message.headers.raw]

    @staticmethod
    def host(message: Any) -> str:
        """The host of its URL."""
        host: str = message.url.host
        return host

    @staticmethod
    def put_project(message: Any, project: str) -> None:
        """Sets the header; an empty one that is there is replaced."""
        message.headers[PROJECT_HEADER] = project

    @staticmethod
    def billed(response: Any) -> bytes | None:
        """The project that the server's answer names, if it names one."""
        try:
            triples = response.headers._list
        except AttributeError:
            if not hasattr(response, "headers"):  # a stand-in's response may have none
                return None
            triples = Http.headers(response)
        for _, name, value in triples:
            if name == b"openai-project":
                return value  # type: ignore[no-any-return]
        return None


HTTP = Http()


def send(
    call: Call | None,
    request: Any,
    error: BaseException | None,
    row: KeyRecord | None,
    wrapped: Callable[..., Any],
    args: Any,
    kwargs: Any,
) -> Any:
    """Sends a request that was judged, or raises its refusal.

    By the short road there is a row, and the answer is looked into only if it is no echo of it.
    """
    if error is not None:
        raise error
    response = wrapped(*args, **kwargs)
    if row is None or (
        (call is None or call.is_unanswered) and HTTP.billed(response) != row.project.header
    ):
        hear(call or Call.passed_by(row, request, HTTP), response, request, HTTP)
    return response


async def send_async(
    call: Call | None,
    request: Any,
    error: BaseException | None,
    row: KeyRecord | None,
    wrapped: Callable[..., Awaitable[Any]],
    args: Any,
    kwargs: Any,
) -> Any:
    """The same, awaiting."""
    if error is not None:
        raise error
    response = await wrapped(*args, **kwargs)
    if row is None or (
        (call is None or call.is_unanswered) and HTTP.billed(response) != row.project.header
    ):
        hear(call or Call.passed_by(row, request, HTTP), response, request, HTTP)
    return response
