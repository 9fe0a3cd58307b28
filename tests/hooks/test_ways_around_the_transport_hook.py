"""Where an HTTP client sends in its own way, by tasks or by threads: does a wrong call get out?"""

from __future__ import annotations

import asyncio
from concurrent.futures import ThreadPoolExecutor
from typing import Any
from unittest import mock

import openai
import pytest
from support import A, B, Recorder, http, sync_client

import openai_project_guard as opg

pytestmark = pytest.mark.usefixtures("clean")


@pytest.fixture(autouse=True)
def enabled(clean: pytest.MonkeyPatch) -> None:
    opg.enable(registry={"proj_a": A, "proj_b": B})


class RequestOfItsOwn(http.Auth):  # type: ignore[misc]
    """Sends a request that nobody has marked, for another project."""

    def auth_flow(self, request: Any) -> Any:
        headers = {"Authorization": f"Bearer {A}", "OpenAI-Project": "proj_b"}
        yield http.Request(request.method, request.url, headers=headers)


def test_a_request_of_its_own_in_a_task_of_its_own_is_judged() -> None:
    class InATask(http.AsyncClient):  # type: ignore[misc]
        async def send(self, request: Any, **options: Any) -> Any:
            return await asyncio.create_task(super().send(request, **options))

    sent = Recorder()

    async def run() -> None:
        http_client = InATask(auth=RequestOfItsOwn(), transport=http.MockTransport(sent))
        client = openai.AsyncOpenAI(
            api_key=A, project="proj_a", max_retries=0, http_client=http_client
        )
        await client.models.list()

    with pytest.raises((opg.ProjectMismatchError, openai.APIConnectionError)):
        asyncio.run(run())
    assert sent.requests == []


class InAThread(http.Client):  # type: ignore[misc]
    """Sends in a thread of its own."""

    def send(self, request: Any, **options: Any) -> Any:
        with ThreadPoolExecutor(1) as pool:
            return pool.submit(super().send, request, **options).result()


class Unhashable(InAThread):
    """The same, and has no hash."""

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Unhashable)


@pytest.mark.parametrize("kind", [InAThread, Unhashable])
def test_a_request_of_its_own_in_a_thread_of_its_own_is_judged(kind: type[InAThread]) -> None:
    sent = Recorder()
    http_client = kind(auth=RequestOfItsOwn(), transport=http.MockTransport(sent))
    client = openai.OpenAI(api_key=A, project="proj_a", max_retries=0, http_client=http_client)
    with pytest.raises((opg.ProjectMismatchError, openai.APIConnectionError)):
        client.models.list()
    assert sent.requests == []


@pytest.mark.parametrize("step", ["send", "_send_handling_auth", "_send_handling_redirects"])
def test_a_step_that_is_replaced_in_the_class_itself_is_judged_before_it(step: str) -> None:
    sent = Recorder()

    def replaced(_: Any, request: Any, **__: Any) -> Any:
        answer = sent(request)
        answer.request = request
        return answer

    with mock.patch.object(http.Client, step, replaced):
        sync_client(sent, project="proj_a").models.list()
        with pytest.raises(opg.ProjectMismatchError):
            sync_client(sent, project="proj_b").models.list()
    assert len(sent.requests) == 1


def test_a_client_that_sends_its_own_way_is_judged_in_a_scope_where_the_guard_is_not_enabled() -> (
    None
):
    class Own(http.Client):  # type: ignore[misc]
        def send(self, request: Any, **_: Any) -> Any:
            answer = sent(request)
            answer.request = request
            return answer

    opg.disable()
    opg.register(A, "proj_a")
    sent = Recorder()
    client = openai.OpenAI(api_key=A, project="proj_b", max_retries=0, http_client=Own())
    with opg.guard(), pytest.raises(opg.ProjectMismatchError):
        client.models.list()
    assert sent.requests == []


def test_a_request_outside_of_every_scope_bears_nothing_of_the_guard() -> None:
    opg.disable()
    sent = Recorder()
    with opg.guard():
        pass  # its hooks stay
    sync_client(sent, project="proj_b").models.list()
    (request,) = sent.requests
    assert not [name for name in request.extensions if "guard" in name]


@pytest.mark.parametrize("step", ["send", "_send_handling_auth"])
def test_a_step_that_a_tool_wraps_still_comes_by_the_transport_hook(step: str) -> None:
    """So what an event hook puts right is not refused too early."""
    found = vars(http.Client)[step]

    def wrapper(self: Any, *args: Any, **kwargs: Any) -> Any:
        return found(self, *args, **kwargs)

    def put_right(request: Any) -> None:
        request.headers["OpenAI-Project"] = "proj_a"

    sent = Recorder()
    http_client = http.Client(
        transport=http.MockTransport(sent), event_hooks={"request": [put_right]}
    )
    client = openai.OpenAI(api_key=A, project="proj_b", max_retries=0, http_client=http_client)
    with mock.patch.object(http.Client, step, wrapper):
        client.models.list()
    assert sent.projects == ["proj_a"]


def test_a_job_that_starts_itself_again_holds_one_scope() -> None:
    from openai_project_guard._scope import SCOPE

    deepest = 0

    async def job(left: int) -> None:
        nonlocal deepest
        with opg.guard(project="proj_a"):
            step, depth = SCOPE.get(), 0
            while step is not None:
                step, depth = step.outer, depth + 1
            deepest = max(deepest, depth)
            if left:
                tasks.append(asyncio.create_task(job(left - 1)))

    tasks: list[asyncio.Task[None]] = []

    async def run() -> None:
        await job(200)
        while tasks:
            await tasks.pop()

    asyncio.run(run())
    assert 0 < deepest <= 3


def test_a_call_that_the_guard_leaves_meanwhile_puts_no_hook_in() -> None:
    """Such a client's last method of the SDK is hooked at its first call."""
    names = ("_send_request", "_prepare_request")
    sent = Recorder()

    class Leaving(dict[str, Any]):
        def __setitem__(self, name: str, value: Any) -> None:
            opg.disable()
            super().__setitem__(name, value)

    class LeavingTheGuard(http.Client):  # type: ignore[misc]
        def build_request(self, *args: Any, **options: Any) -> Any:
            request = super().build_request(*args, **options)
            request.extensions = Leaving(request.extensions)
            return request

        def send(self, request: Any, **options: Any) -> Any:
            return super().send(request, **options)

    http_client = LeavingTheGuard(transport=http.MockTransport(sent))
    client = openai.OpenAI(api_key=A, project="proj_a", max_retries=0, http_client=http_client)
    opg.disable()
    before = [vars(openai._base_client.SyncAPIClient).get(name) for name in names]
    opg.enable(registry={"proj_a": A, "proj_b": B})
    client.models.list()
    assert not opg.is_enabled()
    assert [vars(openai._base_client.SyncAPIClient).get(name) for name in names] == before


def test_a_client_that_cannot_be_hashed_sends_what_is_none_of_the_guards_business() -> None:
    class Comparable(http.Client):  # type: ignore[misc]
        def __eq__(self, other: object) -> bool:
            return isinstance(other, Comparable)

    sent = Recorder()
    with Comparable(transport=http.MockTransport(sent)) as client:
        client.get("https://example.com")
    assert len(sent.requests) == 1


def test_a_stand_in_that_cannot_be_remembered_sends_what_is_right() -> None:
    class StandIn:
        __slots__ = ("build_request",)

        def send(self, request: Any, **_: Any) -> Any:
            answer = sent(request)
            answer.request = request
            return answer

    sent = Recorder()
    stand_in = StandIn()
    for project in ("proj_a", "proj_b"):
        client = sync_client(Recorder(), project=project)
        stand_in.build_request = client._client.build_request
        client._client = stand_in
        if project == "proj_a":
            client.models.list()
        else:
            with pytest.raises(opg.ProjectMismatchError):
                client.models.list()
    assert len(sent.requests) == 1
