"""Calls of clients as the SDK makes them, to a transport in this process: nothing leaves."""

from __future__ import annotations

import asyncio
import importlib
import os
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any, NamedTuple

from openai_project_guard._check.header_settings import ORGANIZATION, PROJECT
from openai_project_guard._check.headers import HeaderTexts, read_headers, read_hint
from openai_project_guard._check.origin import origin_of
from openai_project_guard._check.origin_of_key import origin_of_key
from openai_project_guard._cli.key_input import without_keys
from openai_project_guard._cli.temporary_guard import enabled, without_variables
from openai_project_guard._errors import UnsupportedSDKError
from openai_project_guard._types import Mode

# Made up, and registered here only.
_KEY, _PROJECT = "sk-proj-test-one-not-a-real-key", "proj_test_one"


@dataclass
class Sent:
    """What a call carries and where it goes; nothing, if it was not sent."""

    key_digest: bytes | None = None
    hint: str = ""
    project: str | None = None
    organization: str | None = None
    host: str = ""
    origins: dict[str, str] = field(default_factory=dict)  # of each header, named as in a verdict


def send_default() -> Sent:
    """Sends the call of a default client and gives what arrived, or raises as the SDK does."""
    arrived: list[Sent] = []
    try:
        _list_models("OpenAI", arrived.append)
    except Exception:
        if not arrived:  # else only the answer was not to the HTTP client's liking
            raise
    return arrived[0]


def _list_models(client: str, arrive: Callable[[Sent], object], **options: Any) -> None:
    """Lists the models through a client with these options, `OpenAI` or `AsyncOpenAI`."""
    import openai
    from openai import _base_client

    modules = vars(_base_client)
    http = modules.get("httpx2") or modules["httpx"]

    def answer(request: Any) -> Any:
        arrive(_read(request))
        return http.Response(200, json={"object": "list", "data": []})

    transport = http.MockTransport(answer)
    options["max_retries"] = 0

    async def wait() -> None:
        http_client = http.AsyncClient(transport=transport)
        async with openai.AsyncOpenAI(http_client=http_client, **options) as asynchronous:
            await asynchronous.models.list()

    if client == "AsyncOpenAI":
        asyncio.run(wait())
        return
    with openai.OpenAI(http_client=http.Client(transport=transport), **options) as synchronous:
        synchronous.models.list()


def _read(request: Any) -> Sent:
    from openai_project_guard._hooks.httpx import HTTP

    raw, sender = list(HTTP.headers(request)), HTTP.header_sources()
    texts = HeaderTexts.of(read_headers(raw))
    sent = Sent(
        texts.key_digest, read_hint(raw), texts.project, texts.organization, request.url.host
    )
    if "OPENAI_BASE_URL" in os.environ:
        sent.origins["base URL"] = "OPENAI_BASE_URL"
    if sent.key_digest:
        sent.origins["Authorization"] = origin_of_key(sent.key_digest, sender).name
    for setting, value in ((PROJECT, sent.project), (ORGANIZATION, sent.organization)):
        if value:
            sent.origins[setting.header] = origin_of(setting, value, sender, "http").name
    return sent


class HookTest(NamedTuple):
    """What became of the calls of one kind of client."""

    client: str  # OpenAI or AsyncOpenAI
    matching: str  # let through, or what happened instead
    wrong: str  # refused, or what happened instead
    is_good: bool


class HooksReport(NamedTuple):
    """The hooks: those in place, those that another tool took off, and whether they work."""

    found: tuple[str, ...] = ()
    lost: tuple[str, ...] = ()
    error: str | None = None  # why they cannot be put in
    proofs: tuple[HookTest, ...] = ()


def examine_hooks() -> HooksReport:
    """Puts the hooks in, makes calls that must pass and calls that must not, and takes them off."""
    from openai_project_guard import _hooks

    lost = _hooks.unreached() if _hooks.is_installed() else ()
    try:
        # What the SDK or the guard reads would be in the way.
        with without_variables("OPENAI_.*"), enabled(Mode.ENFORCE, {_PROJECT: _KEY}):
            for name in ("websockets.sync.client", "websockets.asyncio.client"):
                with suppress(ImportError):  # it is an extra of the SDK
                    importlib.import_module(name)
            proofs = (_test("OpenAI"), _test("AsyncOpenAI"))
            found = tuple(sorted(_hooks.reached()))
            return HooksReport(found, lost or _hooks.unreached(), None, proofs)
    except UnsupportedSDKError as error:
        return HooksReport(lost=lost, error=str(error))


def _test(client: str) -> HookTest:
    matching, wrong = _outcome(client, _PROJECT), _outcome(client, "proj_of_another_key")
    return HookTest(client, matching, wrong, (matching, wrong) == ("let through", "refused"))


def _outcome(client: str, project: str) -> str:
    from openai_project_guard._check.errors import ProjectMismatchError

    arrived: list[Sent] = []
    try:
        _list_models(client, arrived.append, api_key=_KEY, project=project)
    except ProjectMismatchError:
        return "refused after it was sent" if arrived else "refused"
    except Exception as error:  # whatever it is, the hook test failed
        return without_keys(f"failed: {type(error).__name__}: {error}")
    return "let through" if arrived else "lost"
