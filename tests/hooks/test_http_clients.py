"""Is a call judged whatever HTTP client sends it, and however that sends?"""

from __future__ import annotations

import asyncio
import importlib
import importlib.util
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import openai
import pytest
from openai._base_client import SyncAPIClient
from support import (
    BOTH,
    KEYS,
    VERSION,
    A,
    B,
    Recorder,
    Server,
    Sync,
    chat,
    does_nothing,
    hooked,
    http,
    needs_sdk,
    needs_send_request,
    python,
    refused,
    request_of,
    sync_client,
)

import openai_project_guard as opg
from openai_project_guard.loopback import loopback_api

pytestmark = pytest.mark.usefixtures("enabled")


HAS_BOTH = VERSION >= (3,) and importlib.util.find_spec("httpx")

LIBRARIES = [http.__name__, *(["httpx"] if HAS_BOTH else [])]


# --- HTTP clients ---------------------------------------------------------------------------------


@BOTH
@pytest.mark.parametrize("library", LIBRARIES)
@pytest.mark.parametrize("has_hooks", [False, True])
def test_a_users_own_http_client_is_judged(has_hooks: bool, library: str, way: Any) -> None:
    module = importlib.import_module(library)
    requests: list[Any] = []

    def answer(request: Any) -> Any:
        requests.append(request)
        return module.Response(200, json={"object": "list", "data": []})

    hooks = {"request": [way.function(lambda _: None)]} if has_hooks else {}
    client = way.client(answer, {"event_hooks": hooks}, module, project="proj_a")
    wrong = client.with_options(project="proj_b")
    verdict = refused(way, lambda: wrong.get("/models", cast_to=object), opg.ProjectMismatchError)
    assert (verdict.method, verdict.host, verdict.path) == ("GET", "api.openai.com", "/v1/models")
    assert verdict.transport == "http"
    assert requests == []
    way.run(lambda: client.get("/models", cast_to=object))
    assert len(requests) == 1


def sending(way: Any, change: Callable[[Any], object]) -> Any:
    """An HTTP client class whose `send` changes the request before it goes on."""
    base = getattr(http, way.kind)

    class Changing(base):  # type: ignore[misc, valid-type]
        def send(self, request: Any, **options: Any) -> Any:
            change(request)
            return super().send(request, **options)

    return Changing


@BOTH
def test_an_http_client_that_overrides_send_is_judged_before_and_after(
    way: Any, sent: Recorder
) -> None:
    def client(change: Callable[[Any], object], project: str) -> Any:
        http_client = sending(way, change)(transport=http.MockTransport(sent))
        return way.client(sent, http_client=http_client, project=project)

    spoiled = client(lambda request: request.headers.update({"OpenAI-Project": "proj_b"}), "proj_a")
    refused(way, lambda: chat(spoiled), opg.ProjectMismatchError)
    # Such a `send` may go its own way, so what is wrong when it gets the call is refused already.
    corrected = client(
        lambda request: request.headers.update({"OpenAI-Project": "proj_a"}), "proj_b"
    )
    refused(way, lambda: chat(corrected), opg.ProjectMismatchError)
    assert sent.requests == []
    way.run(lambda: chat(client(lambda _: None, "proj_a")))
    assert len(sent.requests) == 1


@BOTH
@pytest.mark.parametrize("kind", ["stand-in", "subclass", "method put on it"])
@pytest.mark.parametrize("has_hooks", [False, True])
def test_an_http_client_that_sends_its_own_way_is_judged_before_it(
    has_hooks: bool, kind: str, way: Any, sent: Recorder
) -> None:
    hooks = {"request": [way.function(lambda _: None)]} if has_hooks else {}
    client = way.client(sent, {"event_hooks": hooks}, project="proj_a")
    http_client = client._client

    def send(request: Any, **_: Any) -> Any:
        answer = sent(request)
        answer.request = request
        return answer

    if kind == "subclass":

        class Own(type(http_client)):  # type: ignore[misc]
            def send(self, request: Any, **_: Any) -> Any:
                return way.function(send)(request)

        http_client.__class__ = Own
    elif kind == "stand-in":

        class StandIn:
            """Not an HTTP client, but like one; the SDK looks only at what it is given."""

            def send(self, request: Any, **_: Any) -> Any:
                return way.function(send)(request)

            def __getattr__(self, name: str) -> Any:
                return getattr(http_client, name)

        client._client = StandIn()
    else:
        http_client.send = way.function(send)

    wrong = {"Authorization": f"Bearer {B}"}
    refused(way, lambda: chat(client, extra_headers=wrong), opg.ProjectMismatchError)
    assert sent.requests == []
    way.run(lambda: chat(client))
    assert sent.keys == [A]


@needs_sdk(hasattr(openai, "DefaultAioHttpClient"), "DefaultAioHttpClient")
def test_calls_through_aiohttp_are_judged() -> None:
    pytest.importorskip("aiohttp")
    if not VERSION >= (3,):
        pytest.importorskip("httpx_aiohttp")

    async def calls(base_url: str) -> None:
        async with openai.AsyncOpenAI(
            api_key=A,
            project="proj_a",
            base_url=base_url,
            http_client=openai.DefaultAioHttpClient(),
        ) as client:
            with pytest.raises(opg.ProjectMismatchError):
                await chat(client, extra_headers={"OpenAI-Project": "proj_b"})
            assert api.connections == 0
            await chat(client)
            stream = await chat(client, stream=True)
            assert [chunk async for chunk in stream]

    with loopback_api({A: "proj_a"}) as api:
        asyncio.run(calls(api.base_url))
        assert api.billed == {"proj_a": 2}


@pytest.mark.parametrize("has_hooks", [False, True])
def test_a_refused_call_opens_no_connection(has_hooks: bool) -> None:
    http_client = http.Client(event_hooks={"request": [lambda _: None] if has_hooks else []})
    with (
        loopback_api({A: "proj_a"}) as api,
        openai.OpenAI(
            api_key=A, project="proj_b", base_url=api.base_url, http_client=http_client
        ) as client,
    ):
        refused(Sync, lambda: chat(client), opg.ProjectMismatchError)
        assert (api.connections, api.bytes_received) == (0, 0)
        chat(client.with_options(project="proj_a"))
        assert api.connections == 1


# --- what a call gives back -----------------------------------------------------------------------


def test_a_legacy_httpx_client_is_judged_as_well(verdicts: list[opg.Verdict]) -> None:
    httpx = pytest.importorskip("httpx", reason="httpx is not installed")
    if VERSION < (3,):
        pytest.skip("httpx is this SDK's own HTTP library")
    arrived: list[Any] = []

    def answer(request: Any) -> Any:
        arrived.append(request)
        return httpx.Response(200, json={"object": "list", "data": []})

    client = openai.OpenAI(
        api_key=A,
        project="proj_a",
        http_client=httpx.Client(transport=httpx.MockTransport(answer)),
    )
    client.models.list()
    with pytest.raises(opg.ProjectMismatchError):
        client.with_options(api_key=B).models.list()
    assert len(arrived) == 1
    assert len(verdicts) == 2


# --- a transport hook that is bypassed, or reached from another thread ----------------------------


def test_a_wrong_call_that_is_sent_from_another_thread_is_refused(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    opg.enable(registry=KEYS)
    send = http.Client.send

    def send_elsewhere(self: Any, *args: Any, **kwargs: Any) -> Any:
        with ThreadPoolExecutor(1) as pool:
            return pool.submit(send, self, *args, **kwargs).result()

    monkeypatch.setattr(http.Client, "send", send_elsewhere)
    server = Server()
    with pytest.raises(opg.ProjectMismatchError):
        hooked(server, hooks={"request": [does_nothing]}, project="proj_b").models.list()
    assert server.requests == []


def test_a_wrong_call_is_refused_where_a_tool_took_off_the_transport_hook() -> None:
    run = python(  # for what the tool did to the class cannot quite be undone
        "from support import *\n"
        "opg.enable(registry=KEYS)\n"
        "name, sent = '_send_single_request', Recorder()\n"
        "setattr(http.Client, name, vars(http.Client)[name].__wrapped__)\n"
        "client = sync_client(sent, project='proj_b')\n"
        "client._client.event_hooks = {'request': [lambda _: None]}\n"
        "try:\n"
        "    client.models.list()\n"
        "except opg.ProjectMismatchError:\n"
        "    print('refused', len(sent.requests))\n"
    )
    assert run.stdout.strip() == "refused 0", run.stderr


@BOTH
def test_what_the_application_sends_by_the_same_library_is_its_own_affair(way: Any) -> None:
    opg.enable(registry=KEYS)
    sent = Recorder()
    client = getattr(http, way.kind)(transport=http.MockTransport(sent))
    answer = way.run(lambda: client.send(request_of(A, "proj_b")))
    assert answer.json() == {"object": "list", "data": []}
    assert sent.projects == ["proj_b"]


# --- however a step is called, whatever a header is -----------------------------------------------


def test_a_request_may_be_handed_on_by_keyword() -> None:
    opg.enable(registry=KEYS)

    class ByKeyword(http.Client):  # type: ignore[misc]
        def _send_single_request(self, request: Any) -> Any:
            return super()._send_single_request(request=request)

    server = Server()
    hooked(server, ByKeyword, project="proj_a").models.list()
    assert len(server.requests) == 1
    with pytest.raises(opg.ProjectMismatchError):
        hooked(server, ByKeyword, project="proj_b").models.list()
    assert len(server.requests) == 1


@needs_send_request
def test_an_sdk_client_may_hand_on_its_request_by_keyword() -> None:
    opg.enable(registry=KEYS)
    server = Server()
    client: Any = sync_client(server, project="proj_a")
    send: Any = SyncAPIClient._send_request  # type: ignore[attr-defined,unused-ignore]
    send(client, request=request_of(A, "proj_a"), stream=False)
    with pytest.raises(opg.ProjectMismatchError):
        send(client, request=request_of(A, "proj_b"), stream=False)
    assert len(server.requests) == 1


@pytest.mark.parametrize("step", ["_send_handling_auth", "_send_single_request", "send"])
def test_an_http_client_with_a_private_step_of_its_own_is_judged(step: str, sent: Recorder) -> None:
    def own(self: Any, request: Any, *_: Any, **__: Any) -> Any:
        response = sent(request)
        response.request = request
        return response

    kind = type("Own", (http.Client,), {step: own})
    client = sync_client(sent, project="proj_b")
    client._client = kind(event_hooks={"request": [lambda _: None]})
    with pytest.raises(opg.ProjectMismatchError):
        client.models.list()
    assert sent.requests == []
