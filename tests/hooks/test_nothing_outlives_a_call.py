"""After a call, whatever happened in it: is anything of it still reachable from the guard?"""

from __future__ import annotations

import asyncio
import contextvars
import functools
import gc
import sys
import threading
import time
import weakref
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from types import FrameType, FunctionType, ModuleType
from typing import Any

import openai
import pytest
from openai._base_client import BaseClient
from openai._models import FinalRequestOptions
from support import CHUNKS, STRANGER, A, B, Recorder, async_client, chat, http, sync_client

import openai_project_guard as opg
from openai_project_guard._check import faults
from openai_project_guard._check.call import Call

pytestmark = pytest.mark.usefixtures("clean")

CALLS = 1000
REGISTRY = {"proj_a": A, "proj_b": B}
FEW = 5  # what the SDK, httpx and the test itself may still hold


def answer(request: Any) -> Any:
    if b'"stream":true' in request.content.replace(b" ", b""):
        return http.Response(200, content=CHUNKS, headers={"content-type": "text/event-stream"})
    headers = {"openai-project": "proj_a"}
    return http.Response(200, json={"object": "list", "data": []}, headers=headers)


def with_http_client(**options: Any) -> openai.OpenAI:
    client = sync_client(answer, project="proj_a")
    return client.with_options(
        http_client=http.Client(transport=http.MockTransport(answer), **options)
    )


def plain() -> Iterator[None]:
    client = sync_client(answer, project="proj_a")
    while True:
        client.models.list()
        yield


def refused() -> Iterator[None]:
    client = sync_client(answer, project="proj_b")
    while True:
        with suppress(opg.ProjectMismatchError):
            client.models.list()
        yield


def request_hooks() -> Iterator[None]:
    client = with_http_client(event_hooks={"request": [lambda _: None]})
    while True:
        client.models.list()
        yield


def auth() -> Iterator[None]:
    class Auth(http.Auth):  # type: ignore[misc]
        def auth_flow(self, request: Any) -> Any:
            request.headers["x-signed"] = "yes"
            yield request

    client = with_http_client(auth=Auth())
    while True:
        client.models.list()
        yield


def user_info() -> Iterator[None]:
    client = sync_client(answer, project="proj_a", base_url="https://u:p@api.openai.com/v1")
    while True:
        with suppress(opg.ProjectGuardError):
            client.models.list()
        yield


def observed() -> Iterator[None]:
    opg.add_observer(lambda _: None)
    yield from request_hooks()


def in_scopes() -> Iterator[None]:
    client = with_http_client(event_hooks={"request": [lambda _: None]})
    while True:
        with opg.guard(project="proj_a"):
            client.models.list()
        yield


def injected() -> Iterator[None]:
    opg.enable("inject", registry=REGISTRY)
    client = with_http_client(event_hooks={"request": [lambda _: None]}).with_options(project="")
    while True:
        client.models.list()
        yield


def warned() -> Iterator[None]:
    opg.enable("warn", registry=REGISTRY)
    client = sync_client(answer, project="proj_b")
    while True:
        client.models.list()
        yield


def learned() -> Iterator[None]:
    opg.enable(unregistered="learn", registry={})
    client = sync_client(answer, api_key=STRANGER, project="proj_a")
    while True:
        client.models.list()
        yield


def half_read() -> Iterator[None]:
    client = sync_client(answer, project="proj_a")
    while True:
        for _ in chat(client, stream=True):
            break
        yield


def stand_in() -> Iterator[None]:
    class Own(http.Client):  # type: ignore[misc]
        def send(self, request: Any, **options: Any) -> Any:
            return http.Response(200, json={"object": "list", "data": []}, request=request)

    client = sync_client(answer, project="proj_a").with_options(http_client=Own())
    while True:
        client.models.list()
        yield


KINDS = [plain, refused, request_hooks, auth, user_info, observed, in_scopes, injected, warned]
KINDS += [learned, half_read, stand_in]


def living() -> int:
    """The requests, options and calls that are alive."""
    gc.collect()
    kinds = (http.Request, FinalRequestOptions, Call)
    return sum(issubclass(type(thing), kinds) for thing in gc.get_objects())


@pytest.mark.parametrize("kind", KINDS)
def test_a_thousand_calls_leave_nothing_behind(kind: Callable[[], Iterator[None]]) -> None:
    opg.enable(registry=REGISTRY)
    calls = kind()
    next(calls)
    before = living()
    for _ in range(CALLS):
        next(calls)
    assert living() <= before + FEW


@pytest.mark.parametrize("is_cancelled", [False, True])
def test_a_thousand_async_calls_leave_nothing_behind(is_cancelled: bool) -> None:
    opg.enable(registry=REGISTRY)

    async def slow(request: Any) -> Any:
        if is_cancelled:
            await asyncio.sleep(60)
        return answer(request)

    async def run(calls: int) -> None:
        client = async_client(slow, project="proj_a")

        async def call() -> None:
            await client.models.list()

        for _ in range(calls):
            task = asyncio.create_task(call())
            await asyncio.sleep(0)
            if is_cancelled:
                task.cancel()
            with suppress(asyncio.CancelledError):
                await task

    asyncio.run(run(1))
    before = living()
    asyncio.run(run(CALLS))
    assert living() <= before + FEW


def test_a_context_copied_in_a_call_holds_nothing_of_it() -> None:
    opg.enable(registry=REGISTRY)
    contexts: list[contextvars.Context] = []
    client = with_http_client(
        event_hooks={"request": [lambda _: contexts.append(contextvars.copy_context())]}
    )
    client.models.list()
    before = living()
    for _ in range(100):
        client.models.list()
    assert len(contexts) == 101
    assert living() <= before + FEW


async def test_a_task_begun_in_a_call_over_aiohttp_holds_nothing_of_it() -> None:
    pytest.importorskip("httpx_aiohttp")
    if not hasattr(openai, "DefaultAioHttpClient"):
        pytest.skip("this SDK has no client over aiohttp")
    from openai_project_guard.loopback import loopback_api

    opg.enable(registry=REGISTRY, hosts=["127.0.0.1"])
    done = asyncio.Event()
    tasks: list[asyncio.Task[Any]] = []

    async def hook(_: Any) -> None:
        tasks.append(asyncio.create_task(done.wait()))  # type: ignore[arg-type]

    with loopback_api({A: "proj_a"}) as api:
        http_client = openai.DefaultAioHttpClient(event_hooks={"request": [hook]})
        client = openai.AsyncOpenAI(
            api_key=A, project="proj_a", base_url=api.base_url, http_client=http_client
        )
        await client.models.list()
        before = living()
        for _ in range(30):
            await client.models.list()
        assert living() <= before + FEW
        done.set()
        await asyncio.gather(*tasks)
        await client.close()


def test_a_class_made_anew_at_each_rerun_is_freed() -> None:
    opg.enable(registry=REGISTRY)
    sent = Recorder()

    def rerun() -> None:
        class Mine(openai.OpenAI):
            def request(self, *args: Any, **kwargs: Any) -> Any:
                return super().request(*args, **kwargs)

            def _prepare_request(self, request: Any) -> None:
                super()._prepare_request(request)

            if hasattr(openai.OpenAI, "_send_request"):

                def _send_request(self, *args: Any, **kwargs: Any) -> Any:
                    return super()._send_request(*args, **kwargs)

        class Own(http.Client):  # type: ignore[misc]
            def send(self, request: Any, **options: Any) -> Any:
                return super().send(request, **options)

        transport = http.MockTransport(sent)
        for http_client in (http.Client(transport=transport), Own(transport=transport)):
            Mine(api_key=A, project="proj_a", http_client=http_client).models.list()

    def classes() -> int:
        gc.collect()
        return sum(
            issubclass(type(thing), type) and thing.__name__ in ("Mine", "Own")
            for thing in gc.get_objects()
        )

    rerun()
    before = classes()
    for _ in range(20):
        rerun()
    assert classes() <= before + 2
    assert len(sent.requests) == 42


def of_a_call(thing: Any) -> bool:
    return isinstance(thing, http.Request | FinalRequestOptions | Call | BaseClient) or (
        isinstance(thing, str | bytes) and str(B) in str(thing)
    )


def reachable(things: list[Any]) -> list[Any]:
    """What a frame's locals lead to; not by way of functions and modules, which lead everywhere."""
    found: dict[int, Any] = {}
    while things:
        thing = things.pop()
        if id(thing) in found or isinstance(thing, ModuleType | type | FrameType):
            continue
        found[id(thing)] = thing
        if not isinstance(thing, FunctionType):
            things += gc.get_referents(thing)
    return list(found.values())


def frames_of_ours(error: BaseException | None) -> Iterator[FrameType]:
    step = None if error is None else error.__traceback__
    while step is not None:
        if step.tb_frame.f_globals["__name__"].startswith("openai_project_guard"):
            yield step.tb_frame
        step = step.tb_next


def unreachable(request: Any) -> Any:
    raise http.ConnectError("nobody there")


ERRORS = {
    "proj_a": opg.ProjectMismatchError,
    "proj_b": openai.APIConnectionError,
    "proj_é": opg.MalformedHeaderError,
}


@pytest.mark.parametrize("project", ERRORS)
@pytest.mark.parametrize("is_stand_in", [False, True])
@pytest.mark.parametrize("is_async", [False, True])
def test_the_frames_of_an_error_hold_nothing_of_the_call(
    project: str, is_stand_in: bool, is_async: bool
) -> None:
    class Own(http.AsyncClient if is_async else http.Client):  # type: ignore[misc]
        def send(self, request: Any, **options: Any) -> Any:
            return super().send(request, **options)

    opg.enable(registry=REGISTRY)
    kind: Any = Own if is_stand_in else Own.__base__
    mine: Any = openai.AsyncOpenAI if is_async else openai.OpenAI
    sender = kind(transport=http.MockTransport(unreachable))
    client = mine(api_key=B, project=project, http_client=sender, max_retries=0)

    def call() -> Any:
        retrieved = client.models.retrieve("x")
        return asyncio.run(retrieved) if is_async else retrieved

    with pytest.raises(ERRORS[project]) as raised:
        call()
    assert_frames_hold_nothing(raised.value)


def assert_frames_hold_nothing(error: BaseException) -> None:
    frames = [*frames_of_ours(error), *frames_of_ours(error.__cause__)]
    assert frames
    for frame in frames:
        held = reachable(list(frame.f_locals.values()))
        assert [thing for thing in held if of_a_call(thing)] == [], frame


def test_the_frames_of_a_fault_of_ours_hold_nothing_of_the_call(
    clean: pytest.MonkeyPatch,
) -> None:
    clean.setattr(faults, "_logged", set())
    opg.enable(registry=REGISTRY)
    client = sync_client(unreachable, api_key=B, project="proj_b")
    client.workload_identity = {"no": "account"}  # type: ignore[assignment,unused-ignore]
    with pytest.raises(opg.ProjectGuardError, match=r"KeyError.* cannot be checked") as raised:
        client.models.retrieve("x")
    assert_frames_hold_nothing(raised.value)


class Large:
    """What a program has, and deletes."""


@pytest.mark.parametrize("mode", ["enforce", "warn"])
def test_what_a_waiting_program_deletes_after_a_wrong_call_in_a_pool_is_freed(mode: Any) -> None:
    if sys.gettrace() is not None:
        pytest.skip("a tracer has the frames")
    opg.enable(mode, registry=REGISTRY)
    judged = threading.Event()
    opg.add_observer(lambda _: judged.set())
    client = sync_client(answer, project="proj_b")
    with ThreadPoolExecutor(1) as pool:
        pool.submit(int).result()
        large = Large()
        kept = weakref.ref(large)
        call = functools.partial(client.models.list)
        work = weakref.ref(call)
        pool.submit(until_main_thread_waits)
        pool.submit(call)
        assert judged.wait(30)
        del large, call
        pool.submit(int).result()  # the thread of the pool has dropped the call
        gc.collect()
        assert kept() is None
        assert work() is None


def until_main_thread_waits() -> None:
    main = threading.main_thread().ident or 0
    while sys._current_frames()[main].f_code is not threading.Condition.wait.__code__:
        time.sleep(0.001)
