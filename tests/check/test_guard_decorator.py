"""Where does `@guard` hold, on every kind of callable? `probe()` is as in test_guard_scopes.py."""

from __future__ import annotations

import asyncio
import functools
import inspect
import pickle
from collections.abc import AsyncIterator, Iterator
from typing import Any

import pytest
from support import (
    A,
    Probe,
    Recorder,
    async_client,
)

import openai_project_guard as opg
from openai_project_guard import guard

pytestmark = pytest.mark.usefixtures("registered")


@guard(project="proj_a")
def at_module_level(probe: Probe) -> str:
    """Says which calls get through."""
    return probe()


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


def hidden_by_a_decorator(fn: Any) -> Any:
    @functools.wraps(fn)
    def wrapper(*args: Any) -> Any:
        return fn(*args)

    return wrapper


class CallableObject:
    def __init__(self, fn: Any) -> None:
        self.fn = fn

    async def __call__(self) -> Any:
        return await self.fn()


@pytest.mark.parametrize("hide", [hidden_by_a_decorator, CallableObject])
def test_guard_holds_in_a_coroutine_that_does_not_look_like_one(hide: Any, sent: Recorder) -> None:
    opg.disable()
    opg.register(A, "proj_a")
    client = async_client(sent, project="proj_b")

    async def call() -> Any:
        return await client.models.list()

    with pytest.raises(opg.ProjectMismatchError):
        asyncio.run(opg.guard(hide(call))())
    assert sent.requests == []
