"""What every measurement plays with: a key, a request of the real SDK, and answers made of nothing.

Nothing here leaves the process. The HTTP client is replaced by one that hands back an answer that
was made beforehand, so that what is measured is the SDK's code and whatever stands around it.
"""

from __future__ import annotations

import asyncio
import logging
import os
import random
import string
import sys
import time
from collections.abc import Callable
from importlib import import_module
from pathlib import Path
from types import ModuleType
from typing import Any

ROOT = Path(__file__).resolve().parent.parent
if str(ROOT) not in sys.path:  # run from a checkout, installed or not
    sys.path.insert(0, str(ROOT))

for variable in [name for name in os.environ if name.startswith("OPENAI_")]:
    del os.environ[variable]  # what is measured must not depend on the shell it is started from

logging.getLogger("openai_project_guard").disabled = True  # one call is refused on purpose

_random = random.Random(20)
_LETTERS = string.ascii_letters + string.digits
PROJECT = "proj_5fPqTn0wBcDeFgHiJkLmNoPq"


def new_key() -> str:
    """A key as the platform makes them: 164 characters."""
    return "sk-proj-" + "".join(_random.choices(_LETTERS + "-_", k=155)) + "A"


KEY = new_key()

ANSWER_HEADERS = [
    ("Date", "Mon, 01 Jun 2026 12:00:00 GMT"),
    ("Content-Type", "application/json"),
    ("Connection", "keep-alive"),
    ("Server", "cloudflare"),
    ("access-control-expose-headers", "X-Request-ID"),
    ("openai-organization", "org-0123456789abcdef"),
    ("openai-processing-ms", "312"),
    ("openai-project", PROJECT),
    ("openai-version", "2020-10-01"),
    ("x-request-id", "req_0123456789abcdef0123456789abcdef"),
    ("x-ratelimit-remaining-requests", "9999"),
    ("cf-cache-status", "DYNAMIC"),
]
ANSWER_BODY = (
    b'{"id":"chatcmpl-1","object":"chat.completion","created":1780000000,"model":"gpt-5","choices":'
    b'[{"index":0,"message":{"role":"assistant","content":"Hello."},"finish_reason":"stop"}],'
    b'"usage":{"prompt_tokens":5,"completion_tokens":2,"total_tokens":7}}'
)
QUESTION: Any = {"model": "gpt-5", "messages": [{"role": "user", "content": "Say hello."}]}


def http_package(client: Any) -> ModuleType:
    """The package that this SDK sends with: httpx or httpx2."""
    names = (owner.__module__.partition(".")[0] for owner in type(client._client).__mro__)
    return import_module(next(name for name in names if name.startswith("httpx")))


def client(*, is_async: bool, key: str = KEY, project: str = PROJECT) -> Any:
    """A client of the SDK, with key and project."""
    import openai

    return (openai.AsyncOpenAI if is_async else openai.OpenAI)(
        api_key=key, project=project, max_retries=0
    )


def mocked_client(*, is_async: bool) -> Any:
    """The same over the mock transport of its HTTP package, answering chat completions."""
    import openai

    http = http_package(client(is_async=False))
    transport = http.MockTransport(
        lambda _: http.Response(200, headers=ANSWER_HEADERS, content=ANSWER_BODY)
    )
    if is_async:
        async_http = http.AsyncClient(transport=transport)
        return openai.AsyncOpenAI(
            api_key=KEY, project=PROJECT, max_retries=0, http_client=async_http
        )
    return openai.OpenAI(
        api_key=KEY, project=PROJECT, max_retries=0, http_client=http.Client(transport=transport)
    )


class Stub:
    """Stands in for the HTTP client where the guard hooks it: one answer, at once."""

    def __init__(self, answer: Any) -> None:
        self._answer = answer

    def send(self, request: Any) -> Any:
        """Looks the method up for each request, as httpx does."""
        return self._send_single_request(request)

    def _send_single_request(self, request: Any) -> Any:
        return self._answer


class AsyncStub(Stub):
    async def send(self, request: Any) -> Any:
        return await self._send_single_request(request)

    async def _send_single_request(self, request: Any) -> Any:
        return self._answer


def answer(made: Any) -> Any:
    """A server's answer, as the HTTP package of this client gives it."""
    return http_package(made).Response(200, headers=ANSWER_HEADERS, content=ANSWER_BODY)


def options() -> Any:
    """What the SDK makes the request of a chat completion from."""
    from openai._models import FinalRequestOptions

    given: dict[str, Any] = {"method": "post", "url": "/chat/completions", "json_data": QUESTION}
    if "security" in FinalRequestOptions.__annotations__:
        given["security"] = {"bearer_auth": True}
    return FinalRequestOptions.construct(**given)


def marked_request(made: Any) -> Any:
    """The request of a chat completion, as it gets to the transport hook."""
    from openai_project_guard._hooks.httpx import CALL, new_call

    request = made._build_request(options())
    request.extensions[CALL] = new_call()
    return request


def owner_of(cls: type, method: str) -> type:
    """The class that defines a method at the bottom: where the guard hooks it."""
    return next(owner for owner in reversed(cls.__mro__) if method in vars(owner))


Send = Callable[[Any], Any]


def seconds_per_call(send: Send, requests: list[Any], calls: int) -> float:
    """Hands requests over in a row; one list lasts as many calls as are asked for."""
    rounds = range(calls // len(requests))
    start = time.perf_counter()
    for _ in rounds:
        for request in requests:
            send(request)
    return (time.perf_counter() - start) / (len(rounds) * len(requests))


async def _await_calls(send: Send, requests: list[Any], calls: int) -> float:
    rounds = range(calls // len(requests))
    start = time.perf_counter()
    for _ in rounds:
        for request in requests:
            await send(request)
    return (time.perf_counter() - start) / (len(rounds) * len(requests))


def timer(
    send: Send, requests: list[Any], calls: int, loop: asyncio.AbstractEventLoop | None = None
) -> Callable[[], float]:
    """A function that makes one short round of calls and tells the seconds a call."""
    if loop is None:
        return lambda: seconds_per_call(send, requests, calls)
    return lambda: loop.run_until_complete(_await_calls(send, requests, calls))


def registry_text(projects: int, keys: int) -> str:
    """A registry file of so many projects with so many keys each; ours is the first."""
    from openai_project_guard._keys import digest, fingerprint_of, hint

    lines = ["version = 1"]
    for number in range(projects):
        name = f"team-{number:05d}"
        project = PROJECT if number == 0 else f"proj_{_random.getrandbits(120):030x}"
        lines += ["", f"[projects.{name}]", f'id = "{project}"', "keys = ["]
        for position in range(keys):
            if number == position == 0:
                fingerprint, shown = fingerprint_of(digest(KEY)), hint(KEY)
            else:
                fingerprint = f"sha256:{_random.getrandbits(256):064x}"
                shown = "sk-proj-…" + "".join(_random.choices(_LETTERS, k=4))
            lines.append(f'  {{ fingerprint = "{fingerprint}", hint = "{shown}" }},')
        lines.append("]")
    return "\n".join(lines) + "\n"
