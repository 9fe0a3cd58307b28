"""Where does `with guard(...)` hold? Exactly where it was put, and nowhere else.

`probe()` says which calls get through where it is called: `"ab?"` everything, `"ab"` what is in
order, `"a"` only what is of project a.
"""

from __future__ import annotations

import asyncio
import contextvars
import gc
import operator
import weakref
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import ExitStack, asynccontextmanager, contextmanager, nullcontext
from contextvars import ContextVar
from pathlib import Path
from typing import Any

import pytest
from support import (
    A,
    B,
    Probe,
    frames_holding,
    write_registry,
)

import openai_project_guard as opg
from openai_project_guard import guard
from openai_project_guard._activation import isolated
from openai_project_guard._scope import SCOPE, Entry, Scope
from openai_project_guard._types import Policy

pytestmark = pytest.mark.usefixtures("registered")


# --- as a context manager -------------------------------------------------------------------------


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
        with pytest.raises(opg.ProjectScopeError) as registered_for:
            client.with_options(api_key=A).models.list(extra_headers={"OpenAI-Project": "proj_b"})
        with pytest.raises(opg.ProjectScopeError) as of_header:
            client.with_options(api_key=B).models.list()
    assert registered_for.value.verdict.expected == of_header.value.verdict.expected == ("proj_b",)
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


def test_a_policy_is_an_override_only_where_it_says_so() -> None:
    scope = Scope(guard, None, opg.Mode.WARN, None, Entry())
    assert scope.apply_to(Policy(opg.Mode.ENFORCE, "block", None)).mode is opg.Mode.WARN


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


@pytest.mark.parametrize("make", [contextmanager, asynccontextmanager])
def test_a_context_manager_is_decorated_at_its_generator(make: Any, probe: Probe) -> None:
    """Above `@contextmanager` there is nothing to pin: what is called there runs nothing."""

    def steps() -> Iterator[None]:
        assert probe() == "a"
        yield
        assert probe() == "a"

    async def async_steps() -> AsyncIterator[None]:
        assert probe() == "a"
        yield
        assert probe() == "a"

    is_async = make is asynccontextmanager
    body: Any = async_steps if is_async else steps
    with pytest.raises(opg.ConfigurationError, match=r"below @contextmanager, next to the functio"):
        guard(project="proj_a")(make(body))

    async def enter_async() -> None:
        async with make(guard(project="proj_a")(body))():
            assert probe() == "ab"

    opg.enable(registry={"proj_a": A, "proj_b": B})
    if is_async:
        asyncio.run(enter_async())
    else:
        with make(guard(project="proj_a")(body))():
            assert probe() == "ab"


# --- aliases --------------------------------------------------------------------------------------


def test_an_alias_is_that_of_the_active_registry(tmp_path: Path, probe: Probe) -> None:
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


def test_a_raw_key_in_the_inline_registry_is_in_no_frame_of_ours(
    clean: pytest.MonkeyPatch,
) -> None:
    clean.setenv("OPENAI_PROJECT_GUARD_KEYS", f"proj_a={A}")
    with pytest.raises(opg.RegistryError) as refused, guard(project="proj_a"):
        pass
    assert A not in str(refused.value)
    assert frames_holding(refused.value, A) == []


# --- left in another order or another place than it was entered -----------------------------------


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


LOOKED_UP: dict[str, Callable[[Any], Any]] = {
    "by name": lambda scope: scope.__exit__,
    "by getattr()": lambda scope: getattr(scope, "__exit__", None),
    "by a variable": lambda scope, name="__exit__": getattr(scope, name),
    "by an attrgetter": operator.attrgetter("__exit__"),
    "by a function in a with": lambda scope: attribute_in_a_with(scope, "__exit__"),
}


def attribute_in_a_with(scope: Any, name: str) -> Any:
    with nullcontext():
        return getattr(scope, name)


@pytest.mark.parametrize("way", LOOKED_UP)
def test_whoever_looks_both_methods_up_may_drop_one(way: str, probe: Probe) -> None:
    def enter(scope: Any) -> Any:
        leave = LOOKED_UP[way](scope)
        scope.__enter__()
        del leave
        return scope

    scope = enter(guard(project="proj_a"))
    assert probe() == "a"
    scope.__exit__(None, None, None)
    assert probe() == "ab?"


async def test_whoever_looks_both_asynchronous_methods_up_may_drop_one(probe: Probe) -> None:
    scope: Any = guard(project="proj_a")
    leave = scope.__aexit__
    await scope.__aenter__()
    del leave
    assert await probe.wait() == "a"
    await scope.__aexit__(None, None, None)
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


def test_scopes_inside_one_that_is_left_stay_open_in_their_order(probe: Probe) -> None:
    first, second, third = guard(), guard(project="proj_a"), guard(project="proj_b")
    for scope in (first, second, third):
        scope.__enter__()
    first.__exit__(None, None, None)
    assert probe() == "b"
    third.__exit__(None, None, None)
    assert probe() == "a"
    second.__exit__(None, None, None)
    assert probe() == "ab?"


def test_what_was_started_in_a_scope_that_was_left_keeps_none_of_those_around_it() -> None:
    def generation() -> contextvars.Context:
        with guard(project="proj_a"):
            return contextvars.copy_context()

    def scopes() -> int:
        gc.collect()
        return sum(type(found) is Scope for found in gc.get_objects())

    before = scopes()
    context = contextvars.copy_context()
    for _ in range(20):  # each started by the one before, as a job may start the next
        context = context.run(generation)
    assert scopes() == before + 1


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


def test_a_scope_around_an_isolated_guard_holds_again_after_it(probe: Probe) -> None:
    with guard(project="proj_a"):
        with isolated():
            opg.enable("warn")
            assert probe() == "ab?"
        assert probe() == "a"


def test_a_scope_that_is_left_elsewhere_keeps_nothing_of_the_context_it_was_entered_in() -> None:
    """A web framework may enter and leave it in two threads, for each request."""

    class Request:
        pass

    of_request: ContextVar[Request] = ContextVar("of_request")
    alive: list[weakref.ref[Request]] = []

    def enter(scope: Any) -> None:
        request = Request()
        of_request.set(request)
        alive.append(weakref.ref(request))
        scope.__enter__()

    gc.disable()
    try:
        for is_left in (True, False):
            scope = guard(project="proj_a")
            contextvars.copy_context().run(enter, scope)
            if is_left:
                contextvars.copy_context().run(scope.__exit__, None, None, None)
        assert [ref() for ref in alive] == [None, None]
    finally:
        gc.enable()


def test_a_stack_that_entered_a_guard_elsewhere_ends_no_block_of_it_here(probe: Probe) -> None:
    both = guard(project="proj_a")
    stack = ExitStack()
    contextvars.copy_context().run(stack.enter_context, both)
    with both:
        stack.close()
        assert probe() == "a"
    assert probe() == "ab?"


@pytest.mark.parametrize("way", ["in the order of entering", "decorated", "behind one that ended"])
async def test_a_task_keeps_the_scope_that_it_was_started_in_when_that_is_left(
    way: str, probe: Probe
) -> None:
    async def later() -> list[str]:
        before = await probe.wait()
        await ended.wait()
        return [before, await probe.wait()]

    async def steps() -> AsyncIterator[int]:
        with guard(project="proj_b"):
            tasks.append(asyncio.create_task(later()))
            await asyncio.sleep(0)
            yield 1

    async def broken_off() -> AsyncIterator[int]:
        with guard(project="proj_a"):
            yield 1
            yield 2

    tasks: list[asyncio.Task[list[str]]] = []
    ended = asyncio.Event()
    if way == "decorated":
        async for _ in guard(project="proj_a")(steps)():
            pass
    elif way == "in the order of entering":
        with ExitStack() as stack:
            stack.enter_context(guard(project="proj_a"))
            async for _ in steps():
                stack.close()
    else:
        async for _ in broken_off():
            break
        await asyncio.sleep(0.01)
        async for _ in steps():
            assert await probe.wait() == "b"
    assert await probe.wait() == "ab?"
    ended.set()
    assert await tasks[0] == ["b", "b"]


def test_of_two_scopes_of_one_guard_each_is_left_by_its_own_end(probe: Probe) -> None:
    both = guard(project="proj_a")
    with ExitStack() as stack:
        stack.enter_context(both)
        with guard(project="proj_b"), both:
            stack.close()
            assert probe() == "a"
        assert probe() == "ab?"
    assert probe() == "ab?"


async def test_a_job_that_starts_its_next_run_keeps_no_chain_of_scopes() -> None:
    async def pieces() -> AsyncIterator[int]:
        with guard(project="proj_a"):
            yield 1
            yield 2

    async def run(left: int) -> None:
        depth, step = 0, SCOPE.get()
        while step is not None:
            depth, step = depth + 1, step.outer
        depths.append(depth)
        if not left:
            return done.set()
        async for _ in pieces():
            break
        with guard(project="proj_b"):
            tasks.append(asyncio.create_task(run(left - 1)))
            await asyncio.sleep(0)
            await asyncio.sleep(0)
        return None

    depths: list[int] = []
    tasks: list[asyncio.Task[None]] = []
    done = asyncio.Event()
    tasks.append(asyncio.create_task(run(50)))
    await done.wait()
    await asyncio.gather(*tasks)
    assert len(depths) == 51
    assert max(depths) < 10


def test_a_scope_that_was_left_leaves_nothing_in_its_context() -> None:
    def enter_and_leave() -> dict[str, object]:
        with guard(project="proj_a"):
            pass
        return {variable.name: value for variable, value in contextvars.copy_context().items()}

    assert set(contextvars.Context().run(enter_and_leave).values()) == {None}
    names = contextvars.Context().run(enter_and_leave).keys()
    assert names == {"openai_project_guard_scope"}
