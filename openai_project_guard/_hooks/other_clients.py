"""`scope="process"`: the hooks of other HTTP libraries, for calls that go round the SDK.

They are hooked for that scope alone. What a judged call sends by one of these libraries was judged
by its own hook and passes here.
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from types import ModuleType
from typing import Any

from openai_project_guard._check.call import HeaderSources
from openai_project_guard._check.check import refusal
from openai_project_guard._check.faults import log_fault
from openai_project_guard._check.headers import read_headers
from openai_project_guard._check.response import check_response, recalled_call
from openai_project_guard._errors import OWN_FAULTS
from openai_project_guard._hooks.call import (
    HiddenCall,
    Judge,
    Judged,
    OtherCall,
    calls_on_stack,
    judges_other_calls,
    judging,
)
from openai_project_guard._hooks.message import Message, MessageReader
from openai_project_guard._hooks.patch import hook

READER = MessageReader(lambda: HeaderSources(is_sdk=False))

Read = Callable[[HiddenCall], Message | None]
"""Finds what is sent in the arguments of a call; `None` where one is missing: the call says so."""


def install_requests(adapters: ModuleType) -> None:
    """Hooks `requests.adapters`: the last to see a request whole, each redirect by itself."""
    family = sys.modules["requests.exceptions"].RequestException
    hook(adapters.HTTPAdapter, "send", judging(_judge(family, _reader_of("request"))))


def install_urllib3(connectionpool: ModuleType) -> None:
    """Hooks `urllib3.connectionpool`, which a redirect or a retry goes through again."""
    # Not from `urllib3` itself, which may be half imported at this moment.
    family = sys.modules["urllib3.exceptions"].HTTPError
    header_dict = sys.modules["urllib3._collections"].HTTPHeaderDict

    def read(send: HiddenCall) -> Message | None:
        pool = send.argument("self", 0)
        method, url = send.argument("method", 1), send.argument("url", 2)
        if method is None or url is None:
            return None
        if send.argument("headers", 4) is None:
            send.replace(pool.headers, "headers", 4)
        if not hasattr(send.argument("headers", 4), "items"):
            return None  # its own error says that it takes no such headers
        # A copy, for the caller's mapping is not ours to change. No local here holds the headers.
        send.replace(header_dict(send.argument("headers", 4)), "headers", 4)
        return Message(method, _url(pool, url), send.argument("headers", 4))

    hook(connectionpool.HTTPConnectionPool, "urlopen", judging(_judge(family, read)))


def install_aiohttp(connector: ModuleType) -> None:
    """Hooks `aiohttp`: its connector, which is asked after every middleware, and its answers."""

    def judge_start(send: HiddenCall) -> Judged:
        response = send.argument("self", 0)
        return Judged(check=lambda _: _check_answer(response))

    family = sys.modules["aiohttp.client_exceptions"].ClientError
    connecting = _judge(family, _reader_of("req"))  # what is returned here names no project
    hook(connector.BaseConnector, "connect", judging(connecting, is_async=True))
    response = sys.modules["aiohttp.client_reqrep"].ClientResponse
    hook(response, "start", judging(judge_start, is_async=True))


def _reader_of(name: str) -> Read:
    """Reads the request that a method is given under this name, or first."""

    def read(send: HiddenCall) -> Message | None:
        request = send.argument(name, 1)
        if request is None:
            return None
        return Message(request.method, request.url, request.headers, original=request)

    return read


def _judge(family: type[Exception], read: Read) -> Judge:
    """Judges what a library sends, whose errors are of this family.

    Args:
        family: what its users catch.
        read: finds the message in the arguments of the hooked function.
    """

    def judge(send: HiddenCall) -> Judged:
        message = read(send) if judges_other_calls() else None
        if message is None or _was_judged(message):
            return Judged()
        call = OtherCall(family)
        error = refusal(call, message, READER)

        def check(response: Any) -> None:
            check_response(call, response, message, READER)

        return Judged(call, error, check)

    return judge


def _url(pool: Any, target: str) -> str:
    """The URL that a pool asks for. It is given a path, or a whole URL to pass on by a proxy."""
    if "://" in target.partition("?")[0] and not target.startswith("/"):
        return target
    host = f"[{pool.host}]" if ":" in pool.host else pool.host
    return f"{pool.scheme}://{host}/{target.removeprefix('/')}"


def _check_answer(response: Any) -> None:
    """Checks an answer of aiohttp, whose request was judged when it asked for a connection."""
    if not judges_other_calls():
        return
    try:
        info = response.request_info
        message = Message(info.method, info.url, info.headers)
        if not _was_judged(message):
            check_response(recalled_call(message, READER), response, message, READER)
    except OWN_FAULTS as fault:
        log_fault(fault, "The answer was returned unchecked.")


def _was_judged(message: Message) -> bool:
    """Whether this is a call that was judged already, on its way through another library."""
    values = read_headers(READER.headers(message))
    return any(call.values == values for call in calls_on_stack())
