"""Where a `guard` holds: exactly where it was put, and nowhere else.

`probe()` says which calls get through where it is called: `"ab?"` everything, `"ab"` what is in
order, `"a"` only what is of project a.
"""

from __future__ import annotations

import asyncio
import contextvars
import functools
import importlib.util
import inspect
import pickle
import random
import sys
import threading
from collections.abc import AsyncIterator, Callable, Generator, Iterator
from contextlib import aclosing, contextmanager, suppress
from pathlib import Path
from typing import Any

import pytest
import support
from support import A, B, Probe, frames_holding, write_registry

import openai_project_guard as opg
from openai_project_guard import guard

clean = support.clean
probe = support.probe


@pytest.fixture(autouse=True)
def keys(clean: pytest.MonkeyPatch) -> None:
    opg.register(A, "proj_a")
    opg.register(B, "proj_b")


@guard(project="proj_a")
def at_module_level(probe: Probe) -> str:
    """Says which calls get through."""
    return probe()


# --- as a context manager -----------------------------------------------------------------------


def test_without_enable_and_without_a_scope_nothing_is_checked(probe: Probe) -> None:
    assert probe() == "ab?"


def test_inside_a_scope_calls_are_checked_where_enable_was_never_called(
    probe: Probe,
) -> None:
    with guard():
        assert not opg.is_enabled()
        assert probe() == "ab"
    assert probe() == "ab?"


async def test_async_with_is_the_same(probe: Probe) -> None:
    async with guard(project="proj_a"):
        assert probe() == "a"
        assert await probe.wait() == "a"
    assert probe() == await probe.wait() == "ab?"


def test_a_project_pins_by_id(probe: Probe) -> None:
    with guard(project="proj_b"):
        assert probe() == "b"


def test_an_error_in_the_block_leaves_the_scope(probe: Probe) -> None:
    with pytest.raises(ZeroDivisionError), guard(project="proj_a"):
        raise ZeroDivisionError
    assert probe() == "ab?"


def test_a_pinned_scope_refuses_the_other_projects_key_and_the_other_projects_header(
    probe: Probe,
) -> None:
    client = probe._sync["a"]
    with guard(project="proj_b"):
        with pytest.raises(opg.ProjectScopeError) as of_key:
            client.with_options(api_key=A).models.list(extra_headers={"OpenAI-Project": "proj_b"})
        with pytest.raises(opg.ProjectScopeError) as of_header:
            client.with_options(api_key=B).models.list()
    assert of_key.value.verdict.expected == of_header.value.verdict.expected == ("proj_b",)
    assert probe.sent.requests == []


def test_the_innermost_project_wins(probe: Probe) -> None:
    opg.enable(project="proj_b")
    assert probe() == "b"
    with guard(project="proj_a"):
        assert probe() == "a"
        with guard(project="proj_b"):
            assert probe() == "b"
        assert probe() == "a"
    assert probe() == "b"


def test_a_mode_inside_a_project_keeps_the_project(probe: Probe) -> None:
    seen: list[opg.Verdict] = []
    opg.add_observer(seen.append)
    with guard(project="proj_a"), guard(mode="warn"):
        assert probe() == "ab?"
    assert [verdict.reason for verdict in seen] == [None, "scope", "scope"]


def test_a_project_inside_a_mode_keeps_the_mode(probe: Probe) -> None:
    with guard(mode="warn"), guard(project="proj_a"):
        assert probe() == "ab?"
    opg.enable("warn")
    with guard(project="proj_a"):
        assert probe() == "ab?"
        with guard(mode="enforce"):
            assert probe() == "a"


def test_off_inside_a_project_checks_nothing(probe: Probe) -> None:
    opg.enable()
    with guard(project="proj_a"):
        with guard(mode="off"):
            assert probe() == "ab?"
        assert probe() == "a"


def test_inject_inside_a_pinned_scope_puts_in_the_pinned_project(
    probe: Probe,
) -> None:
    opg.register(A, "proj_both")
    client = probe._sync["a"].with_options()
    client.project = None
    with guard(project="proj_both", mode=opg.Mode.INJECT):
        client.models.list()
    assert probe.sent.projects == ["proj_both"]


def test_an_unknown_mode_is_refused_at_once() -> None:
    with pytest.raises(opg.ConfigurationError) as refused:
        guard(mode="enforced")  # type: ignore[call-overload]
    assert str(refused.value) == (
        "mode='enforced' is not a mode. Accepted: enforce, inject, warn, off."
    )


@pytest.mark.parametrize("project", ["", 5])
def test_what_can_be_no_project_is_refused_at_once(project: Any) -> None:
    with pytest.raises(opg.ConfigurationError, match="neither a project id nor an alias"):
        guard(project=project)


def test_what_cannot_be_decorated_is_refused_at_once() -> None:
    with pytest.raises(opg.ConfigurationError, match="guard cannot decorate 'support-bot'"):
        guard("support-bot")
    with pytest.raises(opg.ConfigurationError, match="guard cannot decorate <class 'object'>"):
        guard(object)


# --- aliases ------------------------------------------------------------------------------------


def test_an_alias_is_that_of_the_registry_in_force(tmp_path: Path, probe: Probe) -> None:
    opg.enable(registry=write_registry(tmp_path / "r.toml", bot=f"proj_a:{A}", web=f"proj_b:{B}"))
    with guard(project="bot"):
        assert probe() == "a"
    with guard(project="web"):
        assert probe() == "b"


def test_an_alias_is_that_of_the_environments_registry_where_enable_was_not_called(
    tmp_path: Path,
    clean: pytest.MonkeyPatch,
    probe: Probe,
) -> None:
    path = write_registry(tmp_path / "r.toml", bot=f"proj_a:{A}")
    clean.setenv("OPENAI_PROJECT_GUARD_REGISTRY", str(path))
    with guard(project="bot"):
        assert probe() == "a"


def test_an_unknown_alias_is_refused_when_the_scope_is_entered(
    tmp_path: Path,
    probe: Probe,
) -> None:
    opg.enable(registry=write_registry(tmp_path / "r.toml", bot=f"proj_a:{A}"))
    scope = guard(project="support-bot")
    ran = []
    with pytest.raises(opg.ConfigurationError) as refused, scope:
        ran.append(1)
    assert str(refused.value) == (
        "project= 'support-bot' is neither a project id (proj_ and letters, digits, _ or -) nor a "
        "known alias. The registry has the alias bot."
    )
    with pytest.raises(opg.ConfigurationError):
        scope(lambda: ran.append(2))()
    assert not ran
    assert probe() == "ab"


def test_an_alias_may_come_to_be_known_after_the_decorator_has_run(
    tmp_path: Path,
    probe: Probe,
) -> None:
    ask = guard(project="bot")(probe)
    opg.enable(registry=write_registry(tmp_path / "r.toml", bot=f"proj_a:{A}"))
    assert ask() == "a"


@pytest.mark.parametrize("project", ["proj_a", None])
def test_a_bad_variable_is_refused_when_the_scope_is_entered(
    project: str | None, clean: pytest.MonkeyPatch
) -> None:
    clean.setenv("OPENAI_PROJECT_GUARD_REGISTRY", "no-such-file.toml")
    with pytest.raises(opg.RegistryError, match=r"no-such-file\.toml: there is no such file"):
        guard(project=project).__enter__()


def test_a_raw_key_in_the_inline_registry_stands_in_no_frame_of_ours(
    clean: pytest.MonkeyPatch,
) -> None:
    clean.setenv("OPENAI_PROJECT_GUARD_KEYS", f"proj_a={A}")
    with pytest.raises(opg.RegistryError) as refused, guard(project="proj_a"):
        pass
    assert A not in str(refused.value)
    assert frames_holding(refused.value, A) == []


# --- as a decorator, on every kind of callable --------------------------------------------------


class Bot:
    """Every kind of method, with the decorator above and below."""

    @guard
    def method(self, probe: Probe) -> str:
        assert isinstance(self, Bot)
        return probe()

    @guard(project="proj_a")
    @classmethod
    def above_class(cls, probe: Probe) -> str:
        assert cls is Bot
        return probe()

    @classmethod
    @guard(project="proj_a")
    def below_class(cls, probe: Probe) -> str:
        assert cls is Bot
        return probe()

    @guard(project="proj_a")
    @staticmethod
    def above_static(probe: Probe) -> str:
        return probe()

    @staticmethod
    @guard(project="proj_a")
    def below_static(probe: Probe) -> str:
        return probe()

    @guard(project="proj_a")
    @classmethod
    async def above_async_class(cls, probe: Probe) -> str:
        assert cls is Bot
        return await probe.wait()

    @guard(project="proj_a")
    @staticmethod
    def above_static_generator(probe: Probe) -> Iterator[str]:
        yield probe()


def test_a_function_without_and_with_parentheses(probe: Probe) -> None:
    @guard
    def bare() -> str:
        return probe()

    @guard()
    def called() -> str:
        return probe()

    assert bare() == called() == "ab"
    assert at_module_level(probe) == "a"
    assert probe() == "ab?"


def test_methods_class_methods_and_static_methods(probe: Probe) -> None:
    assert Bot().method(probe) == "ab"
    for owner in (Bot, Bot()):
        assert owner.above_class(probe) == owner.below_class(probe) == "a"
        assert owner.above_static(probe) == owner.below_static(probe) == "a"
        assert list(owner.above_static_generator(probe)) == ["a"]
    assert probe() == "ab?"


async def test_a_coroutine_and_an_async_class_method(probe: Probe) -> None:
    @guard(project="proj_b")
    async def ask() -> str:
        await asyncio.sleep(0)
        return await probe.wait()

    waiting = ask()
    assert await probe.wait() == "ab?"
    assert await waiting == "b"
    assert await Bot.above_async_class(probe) == "a"
    assert await probe.wait() == "ab?"


async def test_partials(probe: Probe) -> None:
    async def ask(which: Probe) -> str:
        return await which.wait()

    def each(which: Probe) -> Iterator[str]:
        yield which()

    scope = guard(project="proj_a")
    assert scope(functools.partial(Probe.__call__, probe))() == "a"
    assert await scope(functools.partial(ask, probe))() == "a"
    assert list(scope(functools.partial(each, probe))()) == ["a"]
    assert functools.partial(scope(each), probe)().__next__() == "a"


def test_arguments_return_value_and_errors_go_through(probe: Probe) -> None:
    @guard
    def sums(first: int, *more: int, times: int = 1, **named: int) -> int:
        if not more:
            raise LookupError(first)
        return (first + sum(more)) * times + sum(named.values())

    assert sums(1, 2, 3, times=2, last=4) == 16
    with pytest.raises(LookupError, match="1"):
        sums(1)
    assert probe() == "ab?"


def test_recursion_leaves_each_level_in_turn(probe: Probe) -> None:
    @guard(project="proj_a")
    def down(levels: int) -> None:
        if levels:
            down(levels - 1)
        assert probe() == "a"

    down(3)
    assert probe() == "ab?"


def _function(a: int, b: str = "x", *, c: bool = True) -> str:
    """Does it."""
    return f"{a}{b}{c}"


async def _coroutine(a: int) -> int:
    """Does it."""
    return a


def _generator(a: int) -> Iterator[int]:
    """Does it."""
    yield a


async def _async_generator(a: int) -> AsyncIterator[int]:
    """Does it."""
    yield a


@pytest.mark.parametrize("fn", [_function, _coroutine, _generator, _async_generator])
@pytest.mark.parametrize("decorate", [guard, guard(), guard(project="proj_a", mode="warn")])
def test_what_can_be_asked_of_a_function_is_kept(fn: Any, decorate: Any) -> None:
    fn.mark = "kept"
    decorated = decorate(fn)
    assert decorated is not fn
    assert inspect.signature(decorated) == inspect.signature(fn)
    for name in ("__name__", "__qualname__", "__module__", "__doc__", "__annotations__", "mark"):
        assert getattr(decorated, name) == getattr(fn, name)
    for asks in (
        inspect.isfunction,
        inspect.iscoroutinefunction,
        inspect.isgeneratorfunction,
        inspect.isasyncgenfunction,
    ):
        assert asks(decorated) == asks(fn)
    assert inspect.unwrap(decorated) is fn


def test_a_decorated_function_pickles(probe: Probe) -> None:
    assert pickle.loads(pickle.dumps(at_module_level)) is at_module_level
    assert pickle.loads(pickle.dumps(Bot.above_class))(probe) == "a"


# --- generators ---------------------------------------------------------------------------------


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
    assert [_in_thread(lambda: (next(consumed), probe())) for _ in range(3)] == [("a", "ab?")] * 3
    assert probe() == "ab?"


# --- tasks and threads --------------------------------------------------------------------------


def _in_thread(fn: Callable[[], Any]) -> Any:
    results: list[Any] = []
    thread = threading.Thread(target=lambda: results.append(fn()))
    thread.start()
    thread.join()
    return results[0]


async def test_tasks_and_to_thread_inherit_the_scope(probe: Probe) -> None:
    async with guard(project="proj_a"):
        task = asyncio.create_task(probe.wait())
        assert await asyncio.to_thread(probe) == "a"
    assert await task == "a"
    assert await asyncio.to_thread(probe) == "ab?"


def test_a_thread_inherits_the_scope_in_which_it_was_started(probe: Probe) -> None:
    with guard(project="proj_a"):
        assert _in_thread(probe) == "a"
    assert _in_thread(probe) == "ab?"
    opg.enable()
    with guard(project="proj_a"):
        assert _in_thread(probe) == "a"
    assert _in_thread(probe) == "ab"


def test_a_thread_run_in_a_copied_context_inherits_it(probe: Probe) -> None:
    with guard(project="proj_a"):
        context = contextvars.copy_context()
    assert _in_thread(lambda: context.run(probe)) == "a"


async def test_a_scope_in_a_task_never_reaches_another(probe: Probe) -> None:
    order = random.Random(2)

    async def work(number: int) -> None:
        letter = "ab"[number % 2]
        for _ in range(2):
            async with guard(project=f"proj_{letter}"):
                await asyncio.sleep(order.random() / 500)
                assert await probe.wait() == letter
            await asyncio.sleep(order.random() / 500)
            assert await probe.wait() == "ab?"

    await asyncio.gather(*map(work, range(40)))
    assert await probe.wait() == "ab?"


def _anyio_backends() -> list[Any]:
    backends = []
    for backend in ("asyncio", "trio"):
        there = importlib.util.find_spec(backend) and importlib.util.find_spec("anyio")
        marks = pytest.mark.skipif(not there, reason=f"{backend} is not installed")
        backends.append(pytest.param(backend, marks=marks, id=backend))
    return backends


@pytest.mark.parametrize("backend", _anyio_backends())
def test_anyio_tasks_and_threads_inherit_the_scope_and_keep_their_own(
    backend: str,
    probe: Probe,
) -> None:
    import anyio
    import anyio.to_thread

    seen: dict[str, str] = {}

    async def work(name: str, project: str | None) -> None:
        if project is None:
            await anyio.sleep(0.001)
            seen[name] = await probe.wait()
            return
        async with guard(project=project):
            await anyio.sleep(0.001)
            seen[name] = await probe.wait()

    async def main() -> None:
        async with guard(project="proj_a"):
            async with anyio.create_task_group() as group:
                group.start_soon(work, "inherits", None)
                group.start_soon(work, "its own", "proj_b")
            seen["thread"] = await anyio.to_thread.run_sync(probe)
            seen["around"] = await probe.wait()
        seen["after"] = await probe.wait()

    anyio.run(main, backend=backend)
    assert seen == {
        "inherits": "a",
        "its own": "b",
        "thread": "a",
        "around": "a",
        "after": "ab?",
    }


async def test_one_guard_may_be_entered_by_many_tasks_at_once_and_again(
    probe: Probe,
) -> None:
    shared = guard(project="proj_a")

    async def work() -> None:
        for _ in range(2):
            async with shared:
                await asyncio.sleep(0)
                with shared:
                    await asyncio.sleep(0)
                    assert await probe.wait() == "a"
                assert await probe.wait() == "a"
            await asyncio.sleep(0)
            assert await probe.wait() == "ab?"

    await asyncio.gather(*(work() for _ in range(15)))


def test_one_guard_may_be_entered_by_many_threads_at_once(probe: Probe) -> None:
    shared = guard(project="proj_a")
    together = threading.Barrier(8)
    wrong: list[Any] = []

    def work() -> None:
        own = Probe()
        together.wait()
        for _ in range(5):
            with shared:
                inside = own()
            if (inside, outside := own()) != ("a", "ab?"):
                wrong.append((inside, outside))

    threads = [threading.Thread(target=work) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not wrong
    assert probe() == "ab?"


# --- left in another order or another place than it was entered ---------------------------------


def test_leaving_a_scope_in_another_context_does_no_harm(probe: Probe) -> None:
    scope = guard(project="proj_a")
    entered = contextvars.copy_context()
    entered.run(scope.__enter__)
    assert entered.run(probe) == "a"
    with guard(project="proj_b"):
        scope.__exit__(None, None, None)
        assert probe() == "b"
    assert probe() == "ab?"


async def test_an_async_fixture_may_leave_its_scope_in_another_task(probe: Probe) -> None:
    async def dependency() -> AsyncIterator[str]:
        async with guard(project="proj_a"):
            yield await probe.wait()

    opened = dependency()
    assert await asyncio.create_task(anext(opened)) == "a"  # type: ignore[arg-type]
    assert await probe.wait() == "ab?"
    await asyncio.create_task(opened.aclose())  # type: ignore[attr-defined]
    assert await probe.wait() == "ab?"


def test_scopes_left_in_the_order_they_were_entered_leave_nothing_behind(
    probe: Probe,
) -> None:
    first, second = guard(project="proj_a"), guard(project="proj_b")
    first.__enter__()
    second.__enter__()
    first.__exit__(None, None, None)
    assert probe() == "b"
    second.__exit__(None, None, None)
    assert probe() == "ab?"


def test_an_undecorated_context_manager_may_hold_a_scope(probe: Probe) -> None:
    @contextmanager
    def as_bot() -> Iterator[None]:
        with guard(project="proj_a"):
            yield

    with as_bot():
        assert probe() == "a"
    assert probe() == "ab?"


def test_disable_inside_a_scope_stops_the_checks_and_the_next_scope_brings_them_back(
    probe: Probe,
) -> None:
    with guard(project="proj_a"):
        assert probe() == "a"
        opg.disable()
        assert probe() == "ab?"
        with guard():
            assert probe() == "a"


def test_enable_inside_a_scope_takes_effect_there_at_once(probe: Probe) -> None:
    with guard(project="proj_a"):
        opg.enable("warn")
        assert probe() == "ab?"
        opg.enable("enforce", unregistered="allow")
        assert probe() == "a"
    assert probe() == "ab?"
