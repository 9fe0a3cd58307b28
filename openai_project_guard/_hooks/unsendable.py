"""Calls that the SDK cannot even make a request of: their project is not ASCII.

httpx encodes headers as ASCII and raises a `UnicodeEncodeError` that names neither the header nor
the place that it comes from.
"""

from __future__ import annotations

from typing import Any, NamedTuple

from openai_project_guard._check.call import Call
from openai_project_guard._check.check import refusal
from openai_project_guard._check.headers import PROJECT_HEADER, RawHeaders
from openai_project_guard._hooks.httpx import Http
from openai_project_guard._types import Destination


class Unsendable(NamedTuple):
    """What would have been sent."""

    key: str
    project: str
    method: str
    host: str
    path: str


class _Adapter(Http):
    """How the check reads it."""

    @staticmethod
    def headers(message: Unsendable) -> RawHeaders:
        """The two headers that a verdict rests on."""
        return [
            (b"Authorization", b"authorization", b"Bearer " + message.key.encode()),
            (b"OpenAI-Project", b"openai-project", _encoded(message.project)),
        ]

    @staticmethod
    def host(message: Unsendable) -> str:
        """The host of the client's base URL."""
        return message.host

    @staticmethod
    def destination(message: Unsendable) -> Destination:
        """Where it would have gone."""
        return Destination(message.method, message.host, message.path, "http")


def _encoded(text: str) -> bytes:
    try:
        return text.encode("latin-1")  # as it will be read again, to be shown
    except UnicodeEncodeError:
        return text.encode("utf-8", "surrogatepass")


def refusal_of_unsendable(client: Any, options: Any) -> BaseException | None:
    """The refusal of a call whose project is not ASCII; `None` where that is not the matter."""
    project = _project(client, options)
    if not isinstance(project, str) or project.isascii():
        return None
    url = client.base_url
    message = Unsendable(
        client.api_key or "",
        project,
        str(getattr(options, "method", "")).upper(),
        url.host,
        url.path.rstrip("/") + str(getattr(options, "url", "")),
    )
    return refusal(Call(), message, _Adapter())


def _project(client: Any, options: Any) -> Any:
    for headers in (getattr(options, "headers", None), getattr(client, "_custom_headers", None)):
        for name, value in dict(headers or {}).items():
            if name.lower() == PROJECT_HEADER.lower():
                return value
    return getattr(client, "project", None)
