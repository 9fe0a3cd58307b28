"""Calls of clients as the SDK makes them, to a transport in this process: nothing leaves."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from openai_project_guard._check.headers import HeaderTexts, read_headers, read_hint
from openai_project_guard._keys import hint


@dataclass(frozen=True)
class Sent:
    """What a call carries and where it goes."""

    headers: HeaderTexts
    key_hint: str
    host: str


def send_default() -> Sent:
    """Sends the call of a default client and gives what arrived.

    Raises:
        Exception: whatever the SDK or the guard raises.
    """
    arrived: list[Sent] = []
    try:
        call_sync(arrived.append)
    except Exception:
        if not arrived:  # else only the answer was not to the HTTP client's liking
            raise
    return arrived[0]


def call_sync(arrive: Callable[[Sent], object], **options: Any) -> None:
    """Lists the models through `OpenAI(**options)`."""
    from openai import OpenAI

    http = http_library()
    transport = http.MockTransport(_answering(http, arrive))
    http_client = http.Client(transport=transport)
    with OpenAI(http_client=http_client, max_retries=0, **options) as client:
        client.models.list()


async def call_async(arrive: Callable[[Sent], object], **options: Any) -> None:
    """Lists the models through `AsyncOpenAI(**options)`."""
    from openai import AsyncOpenAI

    http = http_library()
    transport = http.MockTransport(_answering(http, arrive))
    http_client = http.AsyncClient(transport=transport)
    async with AsyncOpenAI(http_client=http_client, max_retries=0, **options) as client:
        await client.models.list()


def http_library() -> Any:
    """`httpx2` or `httpx`: the one that the installed SDK uses."""
    from openai import _base_client

    modules = vars(_base_client)
    return modules.get("httpx2") or modules["httpx"]


def _answering(http: Any, arrive: Callable[[Sent], object]) -> Callable[[Any], Any]:
    from openai_project_guard._hooks.httpx import HTTP

    def answer(request: Any) -> Any:
        triples = list(HTTP.headers(request))
        arrive(Sent(HeaderTexts.of(read_headers(triples)), _hint(triples), request.url.host))
        return http.Response(200, json={"object": "list", "data": []})

    return answer


def _hint(triples: list[tuple[bytes, bytes, bytes]]) -> str:
    return read_hint(triples) or hint("")
