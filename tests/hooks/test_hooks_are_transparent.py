"""Does a program see any difference, if it is not refused: in classes, results, streams, pages?"""

from __future__ import annotations

import asyncio
import inspect
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from multiprocessing.process import BaseProcess
from typing import Any

import openai
import pytest
from openai._base_client import BaseClient
from openai._models import FinalRequestOptions
from support import (
    BOTH,
    KEYS,
    VERSION,
    Recorder,
    async_client,
    chat,
    http,
    needs_sdk,
    output,
    sync_client,
)

import openai_project_guard as opg

pytestmark = pytest.mark.usefixtures("enabled")


SNAPSHOT = """
import asyncio, importlib
import openai

def classes_and_modules():
    owners = [*openai.OpenAI.__mro__, *openai.AsyncOpenAI.__mro__]
    owners += [*openai.AzureOpenAI.__mro__, *openai.AsyncAzureOpenAI.__mro__]
    for name in ("httpx", "httpx2"):
        try:
            module = importlib.import_module(name)
        except ImportError:
            continue
        owners += [module, *module.Client.__mro__, *module.AsyncClient.__mro__]
    for name in ("sync.client", "asyncio.client", "legacy.client"):
        try:
            module = importlib.import_module("websockets." + name)
        except ImportError:
            continue
        owners += [module, *(v for v in vars(module).values() if isinstance(v, type))]
    return {id(owner): owner for owner in owners if owner is not object}.values()

def snapshot():
    return [(owner, name, value) for owner in owners for name, value in vars(owner).items()]

def changes():
    now = snapshot()
    assert [pair[:2] for pair in now] == [pair[:2] for pair in before], "a name came or went"
    return [f"{old[0].__name__}.{old[1]}" for old, new in zip(before, now) if old[2] is not new[2]]

import warnings
warnings.simplefilter("ignore", DeprecationWarning)
owners = classes_and_modules()
import openai_project_guard as opg
import support
support.Probe()()  # whatever the SDK imports and caches at its first call
before = snapshot()
"""


# --- enable() and disable() leave no trace --------------------------------------------------------


def test_after_disable_every_class_is_as_it_was() -> None:
    """Also when calls were made in between, and when it was enabled twice."""
    said = output(
        SNAPSHOT
        + """
for mode in "enforce", "inject":
    opg.enable(mode, registry={"proj_a": support.A})
    opg.enable(mode, registry={"proj_a": support.A})
    assert support.Probe()() == asyncio.run(support.Probe().wait()) == "a"
    changed = changes()
    opg.disable()
    assert support.Probe()() == "ab?"
    assert not changes(), changes()
    with opg.guard():
        pass
    opg.disable()
    assert not changes(), changes()
print(*changed)
"""
    ).split()
    assert "BaseClient._build_request" in said
    assert "AsyncClient._send_single_request" in said
    assert [name for name in said if name.endswith(".handshake")]


@pytest.mark.parametrize(
    ("owner", "name"),
    [
        (BaseClient, "_build_request"),
        (BaseClient, "_make_status_error_from_response"),
        (http.Client, "_send_single_request"),
        (http.AsyncClient, "_send_single_request"),
    ],
)
def test_a_hooked_method_looks_like_the_original(owner: Any, name: str) -> None:
    hooked = inspect.getattr_static(owner, name)
    opg.disable()
    original = inspect.getattr_static(owner, name)
    assert hooked is not original
    assert inspect.signature(hooked) == inspect.signature(original)
    assert inspect.iscoroutinefunction(hooked) == inspect.iscoroutinefunction(original)
    assert inspect.iscoroutinefunction(hooked) == (owner is http.AsyncClient)
    assert inspect.isfunction(hooked)
    for attribute in ("__name__", "__qualname__", "__module__", "__doc__", "__annotations__"):
        assert getattr(hooked, attribute) == getattr(original, attribute)
    assert inspect.unwrap(hooked) is original
    assert inspect.getsource(hooked) == inspect.getsource(original)


def test_threads_and_pools_are_left_alone_where_no_scope_was_opened() -> None:
    opg.disable()
    methods = ((threading.Thread, "start"), (ThreadPoolExecutor, "submit"), (BaseProcess, "run"))
    before = [vars(owner)[name] for owner, name in methods]
    opg.enable(registry=KEYS)
    assert [vars(owner)[name] for owner, name in methods] == before
    with opg.guard():
        inside = [vars(owner)[name] for owner, name in methods]
        assert all(now is not then for now, then in zip(inside, before, strict=True))
    opg.disable()
    assert [vars(owner)[name] for owner, name in methods] == before


@BOTH
def test_a_retry_says_which_it_is_as_without_the_guard(way: Any) -> None:
    sent = Recorder(statuses=[500, 500])
    way.run(lambda: chat(way.client(sent, project="proj_a")))
    counts = [request.headers.get("x-stainless-retry-count") for request in sent.requests]
    assert counts == (["0", "1", "2"] if VERSION >= (1, 47) else [None] * 3)


@needs_sdk(VERSION >= (1, 47), "retries_taken= of _build_request()")
def test_an_argument_that_the_sdk_does_not_know_is_its_own_type_error(sent: Recorder) -> None:
    client = sync_client(sent, project="proj_a")
    options = FinalRequestOptions(method="get", url="/models")
    with pytest.raises(TypeError, match="'colour'"):
        client._build_request(options, retries_taken=1, colour="red")  # type: ignore[call-arg]


RESULTS: dict[str, Callable[[Any], Any]] = {
    "plain": chat,
    "stream": lambda client: chat(client, stream=True),
    "raw": lambda client: client.chat.completions.with_raw_response.create(model="m", messages=[]),
    "page": lambda client: client.files.list(),
}


def _streamed(client: Any) -> Any:
    return client.chat.completions.with_streaming_response.create(model="m", messages=[])


# --- what a call gives back -----------------------------------------------------------------------


@pytest.mark.parametrize("style", RESULTS)
def test_results_are_of_the_same_type_as_without_the_guard(style: str) -> None:
    def types() -> list[type]:
        result = RESULTS[style](sync_client(Recorder(), project="proj_a"))
        items = result if style in ("stream", "page") else ()
        return [type(result), *map(type, items)]

    async def async_types() -> list[type]:
        result = RESULTS[style](async_client(Recorder(), project="proj_a"))
        found = [type(result)]
        result = await result
        found.append(type(result))
        if style in ("stream", "page"):
            found += [type(item) async for item in result]
        return found

    guarded = types(), asyncio.run(async_types())
    opg.disable()
    assert (types(), asyncio.run(async_types())) == guarded


def test_a_stream_is_the_sdks_stream() -> None:
    stream = chat(sync_client(Recorder(), project="proj_a"), stream=True)
    assert type(stream) is openai.Stream
    assert [chunk.id for chunk in stream] == ["c"]

    async def main() -> None:
        stream = await chat(async_client(Recorder(), project="proj_a"), stream=True)
        assert type(stream) is openai.AsyncStream
        assert [chunk.id async for chunk in stream] == ["c"]

    asyncio.run(main())


def test_raw_and_streamed_responses_are_the_sdks() -> None:
    from openai._legacy_response import LegacyAPIResponse
    from openai._response import APIResponse, AsyncAPIResponse

    raw = RESULTS["raw"](sync_client(Recorder(), project="proj_a"))
    assert type(raw) is LegacyAPIResponse
    assert raw.parse().id == "c"
    with _streamed(sync_client(Recorder(), project="proj_a")) as response:
        assert type(response) is APIResponse
        assert b'"id"' in response.read()

    async def main() -> None:
        async with _streamed(async_client(Recorder(), project="proj_a")) as response:
            assert type(response) is AsyncAPIResponse
            assert b'"id"' in await response.read()

    asyncio.run(main())


def test_every_page_is_judged_and_comes(verdicts: list[opg.Verdict]) -> None:
    sent = Recorder()
    files = [file.id for file in sync_client(sent, project="proj_a").files.list()]

    async def main() -> list[str]:
        client = async_client(sent, project="proj_a")
        return [file.id async for file in client.files.list()]

    assert asyncio.run(main()) == files
    assert files[0] == "file-1"
    assert len(verdicts) == len(sent.requests) == 2 * len(files)
    if VERSION >= (1, 60):
        assert files == ["file-1", "file-2", "file-3"]
