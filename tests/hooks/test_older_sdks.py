"""Releases of the SDK before `_send_request` came: do refusals get out of them whole?"""

from __future__ import annotations

import asyncio
import threading
from typing import Any

import openai
import pytest
from openai._base_client import AsyncAPIClient, SyncAPIClient
from support import A, B, Recorder, async_client, http, sync_client

import openai_project_guard as opg

pytestmark = [
    pytest.mark.usefixtures("clean"),
    pytest.mark.skipif(
        hasattr(SyncAPIClient, "_send_request"), reason="this SDK lets a refusal pass by itself"
    ),
]

REGISTRY = {"proj_a": A, "proj_b": B}


class StandIn(http.Client):  # type: ignore[misc]
    """Sends in its own way, so its calls are judged before it."""

    def __init__(self, sent: Recorder) -> None:
        super().__init__(transport=http.MockTransport(sent))
        self._sent = sent

    def send(self, request: Any, **_: Any) -> Any:
        answer = self._sent(request)
        answer.request = request
        return answer


def stand_in(sent: Recorder, **options: Any) -> openai.OpenAI:
    return openai.OpenAI(api_key=A, max_retries=0, http_client=StandIn(sent), **options)


def depth(function: Any) -> int:
    """How many functions wrap one another."""
    found = 0
    while hasattr(function, "__wrapped__"):
        function, found = function.__wrapped__, found + 1
    return found


def test_first_calls_that_are_made_together_hook_a_method_once() -> None:
    for _ in range(20):
        opg.disable()
        opg.enable(registry=REGISTRY)
        sent = Recorder()
        client = stand_in(sent, project="proj_a")
        gate = threading.Barrier(4)

        def call(gate: threading.Barrier = gate, client: openai.OpenAI = client) -> None:
            gate.wait()
            client.models.list()

        threads = [threading.Thread(target=call) for _ in range(4)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert len(sent.requests) == 4
        assert depth(vars(SyncAPIClient)["_prepare_request"]) == 1


def test_a_client_that_is_made_while_the_guard_goes_leaves_no_hook() -> None:
    original = vars(SyncAPIClient)["request"]
    for _ in range(50):
        opg.enable(registry=REGISTRY)
        thread = threading.Thread(target=lambda: stand_in(Recorder(), project="proj_a"))
        thread.start()
        opg.disable()
        thread.join()
        assert vars(SyncAPIClient)["request"] is original


@pytest.mark.parametrize("is_stand_in", [False, True])
def test_a_retry_of_a_call_begun_before_the_guard_came_is_judged(is_stand_in: bool) -> None:
    sent = Recorder([500, 500], before=lambda _: opg.enable(registry=REGISTRY))
    client = (
        stand_in(sent, project="proj_b") if is_stand_in else sync_client(sent, project="proj_b")
    )
    with pytest.raises((opg.ProjectMismatchError, openai.APIConnectionError)):
        client.with_options(max_retries=2).models.list()
    assert len(sent.requests) == 1


async def test_a_retry_of_an_async_call_begun_before_the_guard_came_is_judged() -> None:
    sent = Recorder([500, 500], before=lambda _: opg.enable(registry=REGISTRY))
    with pytest.raises((opg.ProjectMismatchError, openai.APIConnectionError)):
        await async_client(sent, project="proj_b", max_retries=2).models.list()
    assert len(sent.requests) == 1


def test_a_refusal_is_not_retried_and_keeps_its_kind() -> None:
    opg.enable(registry=REGISTRY)
    for client in (
        sync_client(Recorder(), project="proj_b"),
        stand_in(Recorder(), project="proj_b"),
    ):
        with pytest.raises(opg.ProjectMismatchError) as caught:
            client.with_options(max_retries=2).models.list()
        assert caught.value.__cause__ is None
        assert caught.value.__context__ is None


# --- a tool's wrapper on the client's own class ---------------------------------------------------


def through(found: Any, calls: list[str]) -> Any:
    """A tool's wrapper around a method that it found in the base."""

    def request(self: Any, *args: Any, **kwargs: Any) -> Any:
        calls.append("tool")
        return found(self, *args, **kwargs)

    return request


@pytest.mark.parametrize("is_first", [True, False])
def test_a_refusal_passes_a_wrapper_that_a_tool_put_on_the_clients_own_class(
    is_first: bool, clean: pytest.MonkeyPatch
) -> None:
    calls: list[str] = []
    if not is_first:
        opg.enable(registry=REGISTRY)
    wrapper = through(vars(SyncAPIClient)["request"], calls)
    clean.setattr(openai.OpenAI, "request", wrapper, raising=False)
    opg.enable(registry=REGISTRY)
    # Around what is hooked already there is nothing to hook.
    assert (vars(openai.OpenAI)["request"] is wrapper) != is_first
    sent = Recorder()
    with pytest.raises(opg.ProjectMismatchError) as caught:
        sync_client(sent, project="proj_b", max_retries=2).models.list()
    assert caught.value.__context__ is None
    sync_client(sent, project="proj_a").models.list()
    assert (calls, len(sent.requests)) == (["tool", "tool"], 1)
    opg.disable()
    assert vars(openai.OpenAI)["request"] is wrapper


async def test_a_refusal_passes_a_wrapper_around_an_async_request(
    clean: pytest.MonkeyPatch,
) -> None:
    calls: list[str] = []
    wrapper = through(vars(AsyncAPIClient)["request"], calls)
    clean.setattr(openai.AsyncOpenAI, "request", wrapper, raising=False)
    opg.enable(registry=REGISTRY)
    sent = Recorder()
    with pytest.raises(opg.ProjectMismatchError):
        await async_client(sent, project="proj_b", max_retries=2).models.list()
    assert (calls, sent.requests) == (["tool"], [])


@pytest.mark.parametrize("is_async", [False, True])
def test_what_a_client_of_the_applications_own_prepares_is_sent(is_async: bool) -> None:
    base: Any = openai.AsyncOpenAI if is_async else openai.OpenAI
    kind: Any = http.AsyncClient if is_async else http.Client

    class Mine(base):  # type: ignore[misc]
        if is_async:

            async def _prepare_request(self, request: Any) -> None:
                request.headers["X-Mine"] = "1"
        else:

            def _prepare_request(self, request: Any) -> None:
                request.headers["X-Mine"] = "1"

    class Own(kind):  # type: ignore[misc]
        def send(self, request: Any, **options: Any) -> Any:
            return super().send(request, **options)

    opg.enable(registry=REGISTRY)
    sent = Recorder()
    client = Mine(api_key=A, project="proj_a", http_client=Own(transport=http.MockTransport(sent)))
    listed = client.models.list()
    if is_async:

        async def wait() -> None:
            await listed

        asyncio.run(wait())
    assert [request.headers.get("x-mine") for request in sent.requests] == ["1"]
