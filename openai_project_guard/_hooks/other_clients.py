"""`scope="process"`: the last doors of other HTTP libraries, for calls that go round the SDK.

They are hooked for that scope alone. What a judged call sends by one of these libraries was judged
at its own door and passes here.
"""

from __future__ import annotations

from collections.abc import Callable
from importlib import import_module
from types import ModuleType
from typing import Any
from urllib.parse import urlsplit

from openai_project_guard._check.check import hear, refusal_of, under_way
from openai_project_guard._check.headers import PROJECT_HEADER, Destination, Triples, read_headers
from openai_project_guard._hooks.call import ForeignCall, Sealed, foreign_call, run_inside
from openai_project_guard._hooks.patch import hook


class Request:
    """A request of a library that keeps its headers in a mapping."""

    __slots__ = ("destination", "headers")

    def __init__(self, method: str, url: Any, headers: Any) -> None:
        parts = urlsplit(str(url))
        self.destination = Destination(method, parts.hostname or "", parts.path, "http")
        self.headers = headers


class Mapped:
    """How the check reads and mends such a request."""

    @staticmethod
    def headers(message: Request) -> Triples:
        """Its headers, as they stand."""
        pairs = getattr(message.headers, "iteritems", message.headers.items)  # urllib3 joins items
        return [
            (name, name.lower(), value)
            for name, value in ((_bytes(name), _bytes(value)) for name, value in pairs())
        ]

    @staticmethod
    def host(message: Request) -> str:
        """The host of its URL."""
        return message.destination.host

    @staticmethod
    def destination(message: Request) -> Destination:
        """Where it goes."""
        return message.destination

    @staticmethod
    def put_project(message: Request, project: str) -> None:
        """Sets the header; an empty one that is there is replaced, whatever its case."""
        for name in list(message.headers):
            if _bytes(name).lower() == b"openai-project":
                del message.headers[name]
        message.headers[PROJECT_HEADER] = project

    @staticmethod
    def billed(response: Any) -> bytes | None:
        """The project that the server's answer names, if it names one."""
        project: str | None = response.headers.get("openai-project")
        return None if project is None else project.encode("latin-1", "replace")


MAPPED = Mapped()


def install_requests(adapters: ModuleType) -> None:
    """Hooks `requests.adapters`: the last to see a request whole, each redirect by itself."""
    family = import_module("requests.exceptions").RequestException

    def send(wrapped: Callable[..., Any], _: Any, args: Any, kwargs: Any) -> Any:
        call = foreign_call(family)
        if call is None:
            return wrapped(*args, **kwargs)
        request = args[0]
        message = Request(request.method, request.url, request.headers)
        return _send(call, message, Sealed(wrapped, args, kwargs))

    hook(adapters.HTTPAdapter, "send", send)


def install_urllib3(connectionpool: ModuleType) -> None:
    """Hooks `urllib3.connectionpool`, which a redirect or a retry goes through again."""
    # Not from `urllib3` itself, which may be half imported at this moment.
    family = import_module("urllib3.exceptions").HTTPError
    header_dict = import_module("urllib3._collections").HTTPHeaderDict

    def urlopen(wrapped: Callable[..., Any], pool: Any, args: Any, kwargs: Any) -> Any:
        call = foreign_call(family)
        if call is None:
            return wrapped(*args, **kwargs)
        named = {**dict(zip(("method", "url", "body", "headers"), args, strict=False)), **kwargs}
        given = named.get("headers")
        # A copy, for the caller's mapping is not ours to mend.
        headers = header_dict(pool.headers if given is None else given)
        target = urlsplit(named["url"])  # a whole URL where a proxy passes the request on
        url = f"{pool.scheme}://{target.netloc or pool.host}{target.path}"
        message = Request(named["method"], url, headers)
        if len(args) > 3:
            sealed = Sealed(wrapped, (*args[:3], headers, *args[4:]), kwargs)
        else:
            sealed = Sealed(wrapped, args, {**kwargs, "headers": headers})
        del args, kwargs, named, given, headers, target, url
        return _send(call, message, sealed)

    hook(connectionpool.HTTPConnectionPool, "urlopen", urlopen)


def install_aiohttp(connector: ModuleType) -> None:
    """Hooks `aiohttp.connector`, which is asked for a connection after every middleware."""
    family = import_module("aiohttp.client_exceptions").ClientError

    def connect(wrapped: Callable[..., Any], _: Any, args: Any, kwargs: Any) -> Any:
        call = foreign_call(family)
        if call is not None:
            request = args[0]
            message = Request(request.method, request.url, request.headers)
            error = None if _was_judged(message) else refusal_of(call, message, MAPPED)
            if error is not None:
                raise error
        return wrapped(*args, **kwargs)

    hook(connector.BaseConnector, "connect", connect)


def _was_judged(message: Request) -> bool:
    """Whether this is a call that was judged already, on its way through another library."""
    outer = under_way.get()
    return (
        outer is not None
        and outer.is_unanswered
        and read_headers(MAPPED.headers(message)) == outer.facts
    )


def _send(call: ForeignCall, message: Request, send: Sealed) -> Any:
    if _was_judged(message):
        return send()
    error = refusal_of(call, message, MAPPED)
    if error is not None:
        raise error
    response = run_inside(call, send)
    hear(call, response, message, MAPPED)
    return response


def _bytes(text: Any) -> bytes:
    return text if isinstance(text, bytes) else str(text).encode()
