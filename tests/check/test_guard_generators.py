"""Where does a `guard` hold in generators? `probe()` is as in test_guard_scopes.py."""

from __future__ import annotations

import asyncio
import sys
import types
import weakref
from collections.abc import AsyncGenerator, AsyncIterator, Generator, Iterator
from contextlib import AsyncExitStack, aclosing, suppress
from typing import Any

import pytest
from support import (
    Probe,
    in_thread,
)

from openai_project_guard import guard

pytestmark = pytest.mark.usefixtures("registered")


def test_a_generators_scope_holds_in_its_body_only(probe: Probe) -> None:
    @guard(project="proj_a")
    def body() -> Iterator[str]:
        yield probe()
        yield probe()

    consumed = body()
    assert probe() == "ab?"
    with guard(project="proj_b"):
        assert next(consumed) == "a"
        assert probe() == "b"
    assert probe() == "ab?"
    assert next(consumed) == "a"
    assert probe() == "ab?"
    assert next(consumed, "end") == "end"
    assert probe() == "ab?"


async def test_an_async_generators_scope_holds_in_its_body_only(probe: Probe) -> None:
    @guard(project="proj_a")
    async def body() -> AsyncIterator[str]:
        yield await probe.wait()
        await asyncio.sleep(0)
        yield await probe.wait()

    consumed = body()
    with guard(project="proj_b"):
        assert await anext(consumed) == "a"
        assert await probe.wait() == "b"
    assert await probe.wait() == "ab?"
    assert await anext(consumed) == "a"
    assert await probe.wait() == "ab?"
    assert await anext(consumed, "end") == "end"
    assert await probe.wait() == "ab?"


def test_send_throw_and_the_return_value_of_a_generator(probe: Probe) -> None:
    @guard(project="proj_a")
    def body() -> Generator[Any, Any, str]:
        got = yield "first"
        while True:
            try:
                got = yield got, probe()
            except KeyError as error:
                got = error, probe()
            if got == "end":
                return "returned " + probe()

    consumed = body()
    assert next(consumed) == "first"
    assert consumed.send(1) == (1, "a")
    error = KeyError("thrown")
    assert consumed.throw(error) == ((error, "a"), "a")
    assert probe() == "ab?"
    with pytest.raises(StopIteration) as end:
        consumed.send("end")
    assert end.value.value == "returned a"
    assert probe() == "ab?"


def test_yield_from_a_decorated_generator_gives_its_return_value() -> None:
    @guard
    def inner() -> Generator[int, int, int]:
        return (yield 1) + (yield 2)

    def outer() -> Generator[int, int, int]:
        return (yield from inner())

    consumed = outer()
    assert [next(consumed), consumed.send(10)] == [1, 2]
    with pytest.raises(StopIteration) as end:
        consumed.send(20)
    assert end.value.value == 30


def test_an_error_thrown_in_comes_out_as_it_went_in(probe: Probe) -> None:
    @guard(project="proj_a")
    def body() -> Iterator[int]:
        yield 1

    for error in (KeyError("x"), KeyboardInterrupt(), StopIteration()):
        consumed = body()
        next(consumed)
        expected = RuntimeError if isinstance(error, StopIteration) else type(error)
        with pytest.raises(expected) as raised:
            consumed.throw(error)
        assert (raised.value if expected is not RuntimeError else raised.value.__cause__) is error
        assert next(consumed, "end") == "end"
        assert probe() == "ab?"


def test_an_error_of_the_body_comes_out_and_ends_it(probe: Probe) -> None:
    @guard(project="proj_a")
    def body() -> Iterator[int]:
        yield 1
        raise LookupError(probe())

    consumed = body()
    next(consumed)
    with pytest.raises(LookupError, match=r"^a$"):
        next(consumed)
    assert next(consumed, "end") == "end"
    assert probe() == "ab?"


@pytest.mark.parametrize("how", ["close", "forget"])
def test_a_generators_cleanup_runs_in_its_scope(how: str, probe: Probe) -> None:
    cleaned: list[str] = []

    @guard(project="proj_a")
    def body() -> Iterator[int]:
        try:
            yield 1
        finally:
            cleaned.append(probe())

    consumed = body()
    next(consumed)
    if how == "close":
        consumed.close()  # type: ignore[attr-defined]
    del consumed
    assert cleaned == ["a"]
    assert probe() == "ab?"


def test_a_generator_that_was_never_started_closes_quietly() -> None:
    ran: list[int] = []

    @guard(project="no-such-alias")
    def body() -> Iterator[int]:
        ran.append(1)
        yield 1

    body().close()  # type: ignore[attr-defined]
    assert not ran


def test_a_generator_that_will_not_close_says_so() -> None:
    @guard
    def body() -> Iterator[int]:
        with suppress(GeneratorExit):
            yield 1
        yield 2

    consumed = body()
    next(consumed)
    with pytest.raises(RuntimeError, match="ignored GeneratorExit"):
        consumed.close()  # type: ignore[attr-defined]


@pytest.mark.skipif(sys.version_info < (3, 13), reason="close() returns a value since 3.13")
def test_the_value_of_close_is_the_bodys() -> None:
    @guard
    def body() -> Generator[int, None, str]:
        try:
            yield 1
        except GeneratorExit:
            return "closed"
        return "end"

    consumed = body()
    next(consumed)
    assert consumed.close() == "closed"  # type: ignore[func-returns-value]


async def test_asend_and_athrow(probe: Probe) -> None:
    @guard(project="proj_a")
    async def body() -> Any:
        got: Any = yield "first"
        while got != "end":
            try:
                got = yield got, await probe.wait()
            except KeyError as error:  # noqa: PERF203
                got = error, await probe.wait()

    consumed = body()
    assert await consumed.asend(None) == "first"
    assert await consumed.asend(1) == (1, "a")
    error = KeyError("thrown")
    assert await consumed.athrow(error) == ((error, "a"), "a")
    assert await probe.wait() == "ab?"
    with pytest.raises(StopAsyncIteration):
        await consumed.asend("end")
    assert await probe.wait() == "ab?"


async def test_an_async_generators_cleanup_runs_in_its_scope(probe: Probe) -> None:
    cleaned: list[str] = []

    @guard(project="proj_a")
    async def body() -> AsyncIterator[int]:
        try:
            yield 1
        finally:
            await asyncio.sleep(0)
            cleaned.append(await probe.wait())

    async with aclosing(body()) as consumed:  # type: ignore[type-var]
        async for _ in consumed:
            break
    assert cleaned == ["a"]
    assert await probe.wait() == "ab?"


@pytest.mark.parametrize("how", ["forget", "keep"])
def test_an_async_generator_left_open_is_closed_in_its_scope(how: str, probe: Probe) -> None:
    cleaned: list[str] = []
    complaints: list[Any] = []
    kept: list[Any] = []

    @guard(project="proj_a")
    async def body() -> AsyncIterator[int]:
        try:
            yield 1
        finally:
            await asyncio.sleep(0)
            cleaned.append(probe())

    async def leave_open() -> None:
        asyncio.get_running_loop().set_exception_handler(lambda _, more: complaints.append(more))
        consumed = body()
        await anext(consumed)
        if how == "keep":
            kept.append(consumed)
        del consumed
        await asyncio.sleep(0.01)

    asyncio.run(leave_open())
    assert cleaned == ["a"]
    assert complaints == []


async def test_cancelling_a_consumer_cancels_the_body_and_leaves_its_scope(
    probe: Probe,
) -> None:
    @guard(project="proj_a")
    async def body() -> AsyncIterator[str]:
        try:
            await asyncio.sleep(60)
        finally:
            seen.append(await probe.wait())
        yield "never"

    seen: list[str] = []

    async def consume() -> None:
        try:
            async for _ in body():
                pass
        finally:
            seen.append(await probe.wait())

    task = asyncio.create_task(consume())
    await asyncio.sleep(0.01)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert seen == ["a", "ab?"]


def test_a_scope_open_across_a_yield_neither_leaks_nor_is_lost(probe: Probe) -> None:
    @guard(project="proj_a")
    def body() -> Iterator[str]:
        with guard(project="proj_b"):
            yield probe()
            yield probe()
        yield probe()

    consumed = body()
    for expected in ("b", "b", "a"):
        assert next(consumed) == expected
        assert probe() == "ab?"


async def test_an_async_scope_open_across_a_yield_neither_leaks_nor_is_lost(
    probe: Probe,
) -> None:
    @guard(project="proj_a")
    async def body() -> AsyncIterator[str]:
        async with guard(project="proj_b"):
            yield await probe.wait()
            yield await probe.wait()
        yield await probe.wait()

    consumed = body()
    for expected in ("b", "b", "a"):
        assert await anext(consumed) == expected
        assert await probe.wait() == "ab?"


async def _consume_one(pieces: AsyncGenerator[int, None], how: str) -> None:
    """Breaks a generator off, and lets the event loop close it."""
    with suppress(KeyError):
        async for _ in pieces:
            if how == "return":
                return
            if how == "raise":
                raise KeyError
            break
    if how == "aclose in a task":
        await asyncio.create_task(pieces.aclose())


@pytest.mark.parametrize("by_hand", [False, True])
@pytest.mark.parametrize("how", ["break", "return", "raise", "aclose in a task"])
async def test_a_scope_in_a_generator_that_is_broken_off_ends_for_its_consumer(
    how: str, by_hand: bool, probe: Probe
) -> None:
    async def pieces() -> AsyncGenerator[int, None]:
        if by_hand:
            async with AsyncExitStack() as stack:
                stack.enter_context(guard(project="proj_a"))
                yield 1
                yield 2
        with guard(project="proj_a"):
            yield 1
            yield 2

    with guard(project="proj_b"):
        consumed = pieces()
        await _consume_one(consumed, how)
        del consumed
        await asyncio.sleep(0.01)  # the event loop closes it, in a context of its own
        in_a_task = asyncio.create_task(probe.wait())  # which nothing here has looked at before
        assert await in_a_task == "b"
        assert await probe.wait() == "b"
    assert await probe.wait() == "ab?"


async def test_a_scope_in_a_generator_that_a_thread_closes_ends_for_its_consumer(
    probe: Probe,
) -> None:
    def pieces() -> Iterator[int]:
        with guard(project="proj_a"):
            yield 1
            yield 2

    consumed = pieces()
    next(consumed)
    assert await probe.wait() == "a"
    await asyncio.to_thread(consumed.close)  # type: ignore[attr-defined]
    assert await asyncio.create_task(probe.wait()) == "ab?"
    assert await probe.wait() == "ab?"


@pytest.mark.parametrize("around", ["enforce", "off"])
async def test_a_scope_inside_one_that_ended_elsewhere_stays_open(
    around: Any, probe: Probe
) -> None:
    async def pieces() -> AsyncGenerator[int, None]:
        with guard(mode=around, project="proj_a"):
            yield 1
            yield 2

    @guard(mode="enforce", project="proj_b")
    async def worker() -> list[str]:
        before = await probe.wait()
        await ended.wait()
        return [before, await probe.wait()]

    ended = asyncio.Event()
    consumed = pieces()
    await anext(consumed)
    task = asyncio.create_task(worker())
    await asyncio.sleep(0)
    with guard(mode="enforce", project="proj_b"):
        await asyncio.create_task(consumed.aclose())
        ended.set()
        assert await probe.wait() == "b"
        assert await task == ["b", "b"]
    assert await probe.wait() == "ab?"


async def test_a_task_keeps_the_scope_of_a_generator_that_came_to_its_end(probe: Probe) -> None:
    async def pieces() -> AsyncIterator[asyncio.Task[str]]:
        with guard(project="proj_a"):
            yield asyncio.create_task(later())

    async def later() -> str:
        await ended.wait()
        return await probe.wait()

    ended = asyncio.Event()
    (task,) = [task async for task in pieces()]
    ended.set()
    assert await probe.wait() == "ab?"
    assert await task == "a"


def test_interleaved_generators_keep_their_own_scopes(probe: Probe) -> None:
    def body() -> Iterator[str]:
        for _ in range(3):
            yield probe()

    one, two = guard(project="proj_a")(body), guard(project="proj_b")(body)
    assert list(zip(one(), two(), strict=True)) == [("a", "b")] * 3
    assert probe() == "ab?"


def test_a_generator_stepped_by_several_threads_keeps_its_scope(probe: Probe) -> None:
    @guard(project="proj_a")
    def body() -> Iterator[str]:
        while True:
            yield probe()

    consumed = body()
    assert [in_thread(lambda: (next(consumed), probe())) for _ in range(3)] == [("a", "ab?")] * 3
    assert probe() == "ab?"


def test_the_event_loop_still_hears_of_generators_that_are_begun_afterwards() -> None:
    begun: list[object] = []

    async def plain() -> AsyncIterator[int]:
        yield 1

    async def main() -> None:
        first, last = sys.get_asyncgen_hooks()
        sys.set_asyncgen_hooks(firstiter=begun.append, finalizer=last)
        try:
            async for _ in guard(plain)():
                pass
            assert sys.get_asyncgen_hooks() == (begun.append, last)
            async for _ in plain():
                pass
        finally:
            sys.set_asyncgen_hooks(first, last)

    asyncio.run(main())
    assert len(begun) == 2  # the one around, not the body inside; and the plain one


async def test_a_generator_that_is_a_coroutine_can_still_be_awaited(probe: Probe) -> None:
    @guard(project="proj_a")
    @types.coroutine
    def body() -> Generator[Any, Any, str]:
        yield from asyncio.sleep(0).__await__()
        return probe()

    assert await body() == "a"
    assert probe() == "ab?"


class _Chunk:
    """What a generator hands on, and can be asked whether anybody still has it."""


def test_what_went_through_a_generator_is_kept_by_nobody() -> None:
    @guard
    def body() -> Generator[_Chunk | None, _Chunk | None, None]:
        yield _Chunk()
        while True:
            with suppress(KeyError):
                yield None

    consumed = body()
    yielded = weakref.ref(next(consumed))
    assert yielded() is None

    sent = _Chunk()
    kept = weakref.ref(sent)
    consumed.send(sent)
    del sent
    assert kept() is None

    error, kept = _caught()
    consumed.throw(error)
    del error
    assert kept() is None
    consumed.close()


async def test_what_went_through_an_async_generator_is_kept_by_nobody() -> None:
    @guard
    async def body() -> AsyncGenerator[_Chunk | None, _Chunk | None]:
        yield _Chunk()
        while True:
            with suppress(KeyError):
                yield None

    consumed = body()
    yielded = weakref.ref(await anext(consumed))
    assert yielded() is None

    sent = _Chunk()
    kept = weakref.ref(sent)
    await consumed.asend(sent)
    del sent
    assert kept() is None

    error, kept = _caught()
    await consumed.athrow(error)
    del error
    assert kept() is None
    await consumed.aclose()


def _caught() -> tuple[KeyError, weakref.ref[_Chunk]]:
    """An error whose traceback holds something, and a reference to that."""
    held = _Chunk()
    try:
        raise KeyError
    except KeyError as error:
        return error, weakref.ref(held)
