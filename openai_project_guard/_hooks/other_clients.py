"""`scope="process"`: the hooks of other HTTP libraries, for calls that go round the SDK.

They are hooked for that scope alone. What a judged call sends by one of these libraries was judged
by its own hook and passes here.
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from types import ModuleType
from typing import Any
from urllib.parse import urlsplit

from openai_project_guard._check.call import Call, Sender
from openai_project_guard._check.check import refusal
from openai_project_guard._check.faults import log_fault
from openai_project_guard._check.headers import PROJECT_HEADER, RawHeaders, read_headers
from openai_project_guard._check.response import check_response, recalled_call
from openai_project_guard._errors import OWN_FAULTS
from openai_project_guard._hooks.call import HiddenCall, OtherCall
from openai_project_guard._hooks.httpx import as_bytes, named_project
from openai_project_guard._hooks.patch import Function, hook
from openai_project_guard._hooks.sdk_facts import frames
from openai_project_guard._state import STATE
from openai_project_guard._types import Destination


class Request:
    """A request of a library that keeps its headers in a mapping.

    Attributes:
        original: the library's own request, if it has one.
    """

    __slots__ = ("destination", "headers", "original")

    def __init__(self, method: str, url: Any, headers: Any, original: Any = None) -> None:
        parts = urlsplit(str(url))
        self.destination = Destination(method, parts.hostname or "", parts.path, "http")
        self.headers = headers
        self.original = original


class MappedHeaders:
    """How the check reads such a request, and puts a project into it."""

    @staticmethod
    def sender() -> Sender:
        """Who sends it: not the SDK."""
        return Sender(is_sdk=False)

    @staticmethod
    def client_site() -> None:
        """No client of the SDK sends it."""

    @staticmethod
    def headers(message: Request) -> RawHeaders:
        """Its headers, as they stand."""
        pairs = getattr(message.headers, "iteritems", message.headers.items)  # urllib3 joins items
        return [
            (name, name.lower(), value)
            for name, value in ((as_bytes(name), as_bytes(value)) for name, value in pairs())
        ]

    @staticmethod
    def host(message: Request) -> str:
        """The host of its URL."""
        return message.destination.host

    @staticmethod
    def method(message: Request) -> str:
        """Its HTTP method."""
        return message.destination.method

    @staticmethod
    def destination(message: Request) -> Destination:
        """Where it goes."""
        return message.destination

    @staticmethod
    def put_project(message: Request, project: str) -> None:
        """Sets the header; an empty one that is there is replaced, whatever its case."""
        for name in list(message.headers):
            if as_bytes(name).lower() == b"openai-project":
                del message.headers[name]
        message.headers[PROJECT_HEADER] = project

    @staticmethod
    def response_project(response: Any) -> bytes | None:
        """The project that the server's answer names, if it names one."""
        return named_project(response.headers)

    @staticmethod
    def status(response: Any) -> int:
        """The status of the answer; urllib3 and aiohttp call it otherwise than requests."""
        status: int = response.status_code if hasattr(response, "status_code") else response.status
        return status


MAPPED_HEADERS = MappedHeaders()


def _is_active() -> bool:
    return STATE.settings is not None and STATE.settings.scope == "process"


def install_requests(adapters: ModuleType) -> None:
    """Hooks `requests.adapters`: the last to see a request whole, each redirect by itself."""
    family = sys.modules["requests.exceptions"].RequestException

    def make(original: Function) -> Function:
        def send(self: Any, request: Any, *args: Any, **kwargs: Any) -> Any:
            if not _is_active():
                return original(self, request, *args, **kwargs)
            message = Request(request.method, request.url, request.headers, request)
            return _send(family, message, HiddenCall(original, (self, request, *args), kwargs))

        return send

    hook(adapters.HTTPAdapter, "send", make)


def install_urllib3(connectionpool: ModuleType) -> None:
    """Hooks `urllib3.connectionpool`, which a redirect or a retry goes through again."""
    # Not from `urllib3` itself, which may be half imported at this moment.
    family = sys.modules["urllib3.exceptions"].HTTPError
    header_dict = sys.modules["urllib3._collections"].HTTPHeaderDict

    def make(original: Function) -> Function:
        def urlopen(self: Any, *args: Any, **kwargs: Any) -> Any:
            if not _is_active():
                return original(self, *args, **kwargs)
            message, hidden = read(self, args, kwargs)
            del args, kwargs
            return _send(family, message, hidden)

        def read(pool: Any, args: Any, kwargs: Any) -> tuple[Request, HiddenCall]:
            names = ("method", "url", "body", "headers")
            named = {**dict(zip(names, args, strict=False)), **kwargs}
            given = named.get("headers")
            # A copy, for the caller's mapping is not ours to change.
            headers = header_dict(pool.headers if given is None else given)
            url = _url(pool, named["url"])
            message = Request(named["method"], url, headers)
            if len(args) > 3:
                args = (*args[:3], headers, *args[4:])
            else:
                kwargs = {**kwargs, "headers": headers}
            return message, HiddenCall(original, (pool, *args), kwargs)

        return urlopen

    hook(connectionpool.HTTPConnectionPool, "urlopen", make)


def _url(pool: Any, target: str) -> str:
    """The URL that a pool asks for. It is given a path, or a whole URL to pass on by a proxy."""
    if "://" in target.partition("?")[0] and not target.startswith("/"):
        parts = urlsplit(target)
        return f"{pool.scheme}://{parts.netloc}{parts.path}"
    host = f"[{pool.host}]" if ":" in pool.host else pool.host
    return f"{pool.scheme}://{host}/{target.partition('?')[0].lstrip('/')}"


def install_aiohttp(connector: ModuleType) -> None:
    """Hooks `aiohttp`: its connector, which is asked after every middleware, and its answers."""
    family = sys.modules["aiohttp.client_exceptions"].ClientError

    def make_connect(original: Function) -> Function:
        async def connect(self: Any, request: Any, *args: Any, **kwargs: Any) -> Any:
            if _is_active():
                message = Request(request.method, request.url, request.headers, request)
                if not _was_judged(message):
                    error = refusal(OtherCall(family), message, MAPPED_HEADERS)
                    if error is not None:
                        raise error
            return await original(self, request, *args, **kwargs)

        return connect

    def make_start(original: Function) -> Function:
        async def start(self: Any, *args: Any, **kwargs: Any) -> Any:
            result = await original(self, *args, **kwargs)
            if _is_active():
                try:
                    _check_answer(self)
                except OWN_FAULTS as fault:
                    log_fault(fault, "The answer was returned unchecked.")
            return result

        return start

    hook(connector.BaseConnector, "connect", make_connect)
    hook(sys.modules["aiohttp.client_reqrep"].ClientResponse, "start", make_start)


def _check_answer(response: Any) -> None:
    """Checks an answer of aiohttp, whose request was judged when it asked for a connection."""
    info = response.request_info
    message = Request(info.method, info.url, info.headers)
    if not _was_judged(message):
        call = recalled_call(message, MAPPED_HEADERS)
        check_response(call, response, message, MAPPED_HEADERS)


def _was_judged(message: Request) -> bool:
    """Whether this is a call that was judged already, on its way through another library."""
    values = read_headers(MAPPED_HEADERS.headers(message))
    for frame in frames():
        if frame.f_globals.get("__package__") == __package__:
            call = frame.f_locals.get("call")
            if isinstance(call, Call) and call.values is not None and call.values == values:
                return True
    return False


def _send(family: type[Exception], message: Request, hidden: Callable[[], Any]) -> Any:
    if _was_judged(message):
        return hidden()
    call = OtherCall(family)
    error = refusal(call, message, MAPPED_HEADERS)
    if error is not None:
        raise error
    response = hidden()
    check_response(call, response, message, MAPPED_HEADERS)
    return response
