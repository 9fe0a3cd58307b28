"""Is each attempt of a call judged by itself, and is a refused call never retried?"""

from __future__ import annotations

import asyncio
import functools
import inspect
from collections.abc import Callable
from typing import Any

import openai
import pytest
from support import (
    BOTH,
    A,
    B,
    Recorder,
    async_client,
    chat,
    http,
    needs_sdk,
    refused,
    sync_client,
)

import openai_project_guard as opg
from openai_project_guard.loopback import loopback_api

pytestmark = pytest.mark.usefixtures("enabled")


A2 = "sk-proj-not-a-real-key-of-project-a-A2A2"


# --- keys that change from attempt to attempt -----------------------------------------------------


@needs_sdk(hasattr(openai.OpenAI, "_refresh_api_key"), "api_key= callables")
@BOTH
def test_a_key_rotated_between_attempts_is_judged_anew(way: Any) -> None:
    sent = Recorder(statuses=[500])
    keys = iter([A, B])
    client = way.client(sent, api_key=way.function(lambda: next(keys)), project="proj_a")
    verdict = refused(way, lambda: chat(client), opg.ProjectMismatchError)
    assert verdict.expected == ("proj_b",)
    assert sent.keys == [A]


@needs_sdk(hasattr(openai.OpenAI, "_refresh_api_key"), "api_key= callables")
@BOTH
def test_keys_of_one_project_may_rotate(way: Any) -> None:
    opg.enable(registry={"proj_a": [A, A2]})
    sent = Recorder(statuses=[500, 500])
    keys = iter([A, A2, A])
    client = way.client(sent, api_key=way.function(lambda: next(keys)), project="proj_a")
    way.run(lambda: chat(client))
    assert sent.keys == [A, A2, A]


@BOTH
def test_a_registry_that_changes_between_attempts_is_the_new_one(way: Any) -> None:
    sent = Recorder([500], before=lambda _: opg.enable(registry={"proj_b": A}))
    client = way.client(sent, project="proj_a")
    refused(way, lambda: chat(client), opg.ProjectMismatchError)
    assert len(sent.requests) == 1


def both(run: Callable[..., Any]) -> Any:
    """Runs a test with the sync and with the async client."""

    @pytest.mark.parametrize("make", [sync_client, async_client])
    @functools.wraps(run)
    def test(make: Any, *args: Any, **kwargs: Any) -> None:
        def call(client: Any, **more: Any) -> Any:
            result = chat(client, **more)
            if make is sync_client:
                return result

            async def finish() -> Any:
                return await result

            return asyncio.run(finish())

        run(make, call, *args, **kwargs)

    parameters = list(inspect.signature(run).parameters.values())
    test.__signature__ = inspect.Signature(  # type: ignore[attr-defined]
        [p for p in parameters if p.name != "call"]
    )
    return test


# --- retries --------------------------------------------------------------------------------------


@both
def test_a_500_is_retried_as_always_and_each_attempt_is_judged(
    make: Any, call: Any, verdicts: list[opg.Verdict]
) -> None:
    sent = Recorder([500, 503])
    assert call(make(sent, project="proj_a", max_retries=2)).id == "c"
    assert len(sent.requests) == len(verdicts) == 3
    assert {verdict.outcome for verdict in verdicts} == {"allowed"}


@both
def test_a_500_without_retries_left_is_the_sdks_error(
    make: Any, call: Any, verdicts: list[opg.Verdict]
) -> None:
    sent = Recorder([500, 500])
    with pytest.raises(openai.InternalServerError):
        call(make(sent, project="proj_a", max_retries=1))
    assert len(sent.requests) == len(verdicts) == 2


@both
def test_a_refused_call_is_not_retried(make: Any, call: Any, verdicts: list[opg.Verdict]) -> None:
    sent = Recorder()
    caught: Exception | None = None
    try:
        call(make(sent, project="proj_b", max_retries=5))
    except openai.APIConnectionError:
        pytest.fail("it came wrapped")
    except openai.OpenAIError as error:
        caught = error
    assert type(caught) is opg.ProjectMismatchError
    assert caught.__cause__ is None
    assert sent.requests == []
    assert len(verdicts) == 1


@both
def test_the_attempt_after_a_500_is_judged_by_the_key_it_carries(
    make: Any, call: Any, verdicts: list[opg.Verdict]
) -> None:
    sent = Recorder([500], before=lambda _: setattr(client, "api_key", B))
    client = make(sent, project="proj_a", max_retries=5)
    with pytest.raises(opg.ProjectMismatchError) as refused:
        call(client)
    assert refused.value.verdict.key_hint == "sk-proj-…BBBB"
    assert sent.keys == [A]
    assert [verdict.outcome for verdict in verdicts] == ["allowed", "blocked"]


@pytest.mark.skipif(
    "Callable" not in str(inspect.signature(openai.OpenAI.__init__).parameters["api_key"]),
    reason="this SDK takes no callable for a key",
)
@both
def test_a_key_callable_that_rotates_between_attempts_is_judged_key_by_key(
    make: Any, call: Any, verdicts: list[opg.Verdict]
) -> None:
    keys = iter([A, A, B])

    async def later() -> str:
        return next(keys)

    sent = Recorder([500, 500])
    provider = later if make is async_client else lambda: next(keys)
    client = make(sent, api_key=provider, project="proj_a", max_retries=5)
    with pytest.raises(opg.ProjectMismatchError) as refused:
        call(client)
    assert refused.value.verdict.key_hint == "sk-proj-…BBBB"
    assert sent.keys == [A, A]
    assert [verdict.outcome for verdict in verdicts] == ["allowed", "allowed", "blocked"]


@both
def test_timeouts_and_broken_connections_are_the_sdks_errors(
    make: Any, call: Any, verdicts: list[opg.Verdict], monkeypatch: pytest.MonkeyPatch
) -> None:
    delay = "_calculate_retry_timeout"
    monkeypatch.setattr(openai._base_client.BaseClient, delay, lambda *_, **__: 0.001)
    for raised, expected in (
        (http.ReadTimeout("late"), openai.APITimeoutError),
        (http.ConnectError("gone"), openai.APIConnectionError),
    ):

        def fail(_: Any, raised: Exception = raised) -> None:
            raise raised

        verdicts.clear()
        sent = Recorder(before=fail)
        with pytest.raises(openai.APIConnectionError) as error:
            call(make(sent, project="proj_a", max_retries=1))
        assert type(error.value) is expected
        assert error.value.__cause__ is raised
        assert len(sent.requests) == len(verdicts) == 2


async def test_an_async_call_is_cancelled_as_always(verdicts: list[opg.Verdict]) -> None:
    arrived = asyncio.Event()

    async def hang(_: Any) -> Any:
        arrived.set()
        await asyncio.sleep(60)

    client = async_client(hang, project="proj_a", max_retries=5)
    task = asyncio.create_task(chat(client))
    await arrived.wait()
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    with pytest.raises(asyncio.TimeoutError):
        await asyncio.wait_for(chat(client), 0.01)
    assert len(verdicts) == 2
    with pytest.raises(opg.ProjectMismatchError):
        await chat(async_client(Recorder(), project="proj_b"))


def test_on_a_real_socket_a_refused_call_opens_no_connection() -> None:
    with loopback_api({A: "proj_a", B: "proj_b"}) as api:
        options = {"base_url": api.base_url, "max_retries": 5}
        wrong = {"api_key": B, "project": "proj_a", **options}
        with openai.OpenAI(**wrong) as client, pytest.raises(opg.ProjectMismatchError):
            chat(client)

        async def main() -> None:
            async with openai.AsyncOpenAI(**wrong) as client:
                with pytest.raises(opg.ProjectMismatchError):
                    await chat(client, stream=True)
            async with openai.AsyncOpenAI(api_key=B, project="proj_b", **options) as client:
                stream = await chat(client, stream=True)
                assert [chunk async for chunk in stream]

        assert (api.connections, api.bytes_received) == (0, 0)
        with openai.OpenAI(api_key=A, project="proj_a", **options) as client:
            api.fail_next(500, times=2, headers={"retry-after-ms": "1"})
            chat(client)
        asyncio.run(main())
        assert api.billed == {"proj_a": 1, "proj_b": 1}
