"""`guard`: a scope in which calls are checked, as a decorator and as a context manager."""

from __future__ import annotations

import functools
import inspect
import sys
import types
from collections.abc import AsyncGenerator, Awaitable, Callable, Generator
from typing import Any, TypeVar, cast, overload

from openai_project_guard._block import Block, Reference
from openai_project_guard._errors import ConfigurationError, hide_frames
from openai_project_guard._keys import shown
from openai_project_guard._scope import (
    SCOPE,
    Entry,
    Scope,
    current_scope,
    enter,
    find_open_scope,
    leave,
    scopes_inside,
)
from openai_project_guard._types import Mode, ModeName

F = TypeVar("F", bound="Callable[..., Any] | classmethod[Any, Any, Any] | staticmethod[Any, Any]")


class Guard(Block):
    """A scope that can be entered, any number of times and from several tasks at once."""

    __slots__ = ("_mode", "_project")

    def __init__(self, project: str | None, mode: Mode | None) -> None:
        self._project = project
        self._mode = mode

    def scope(self, outer: Scope | None, block: Reference | None) -> Scope:
        """The scope that entering opens inside another."""
        pinned = _pinned(self._project)
        _install_hooks()
        return Scope(self, outer, self._mode, pinned, Entry(block))

    def open(self, block: Reference | None) -> None:
        """Enters the scope."""
        enter(self.scope(current_scope(), block))

    def close(self, block: Reference | None) -> None:
        """Leaves it."""
        scope = find_open_scope(self, block)
        if scope is not None:
            leave(scope)

    @hide_frames  # somebody writes guard(project=...)(KEY)
    def __call__(self, fn: F) -> F:
        """Decorates a function, a method, a coroutine, a generator or an async generator."""
        if isinstance(fn, (classmethod, staticmethod)):
            return type(fn)(self(fn.__func__))
        if not callable(fn) or isinstance(fn, type):
            raise ConfigurationError(
                f"guard cannot decorate {shown(fn)}. It decorates functions, methods, coroutines, "
                "and generators; as a context manager write `with guard(project=...):`."
            )
        if _makes_context_manager(fn):
            raise ConfigurationError(
                f"guard cannot decorate {shown(fn)}, which contextlib made: a call of it runs "
                "nothing yet. Write @guard(...) below @contextmanager, next to the function."
            )
        return functools.wraps(fn)(_around(self, fn))  # type: ignore[return-value]


@overload
def guard(fn: F, /) -> F: ...
@overload
def guard(*, project: str | None = None, mode: ModeName | Mode | None = None) -> Guard: ...
@hide_frames
def guard(
    fn: object = None, /, *, project: str | None = None, mode: ModeName | Mode | None = None
) -> object:
    """Checks the calls made inside, even where `enable()` was never called.

    As a decorator (`@guard`, `@guard(project=...)`) on functions, methods, class and static
    methods, coroutines, generators and async generators; as a context manager (`with` and
    `async with`). The innermost scope wins. Tasks and `asyncio.to_thread` started inside inherit
    it, and so do threads and what is submitted to a `ThreadPoolExecutor`, also by
    `loop.run_in_executor` and by the SDK itself. In a generator it holds while the generator's body
    runs, not while its consumer does; what a function returns to be awaited or iterated later,
    other than a coroutine, runs outside of it.

    Where the guard is not enabled, the registry and the other settings are those that the
    environment named when the first scope was entered.

    Args:
        fn: the function, where it decorates without parentheses.
        project: only this project's keys and header pass; a project id or an alias of the
            registry. A key that is in no registry passes with its header where `unregistered=`
            lets it. Default: as around the scope.
        mode: `enforce`, `inject`, `warn` or `off`. Default: as around the scope, and `enforce`
            where the guard is not enabled.

    Raises:
        ConfigurationError: an unknown mode at once; an unknown project when the scope is entered.

    Example:
        >>> @guard(project="support-bot")
        ... def answer(question: str) -> str:
        ...     return client.responses.create(model="gpt-5", input=question).output_text
    """
    if mode is not None:
        mode = Mode(mode)
    if project is not None and (not isinstance(project, str) or not project):
        raise ConfigurationError(f"project={shown(project)} is neither a project id nor an alias.")
    scope = Guard(project, mode)
    return scope if fn is None else scope(cast("Callable[..., Any]", fn))


@hide_frames
def _pinned(project: str | None) -> str | None:
    from openai_project_guard._check.faults import log_source_fault
    from openai_project_guard._state import active_settings

    settings = active_settings()  # now: what is wrong with them must not wait for the first call
    mode, _, _, is_override = settings.policy
    if project is None or (is_override and mode is Mode.OFF):
        return None
    settings.refresh(log_source_fault)
    return settings.project_id(project)


def _install_hooks() -> None:
    from openai_project_guard import _hooks
    from openai_project_guard._state import active_settings

    if not _hooks.is_installed(scopes=True):
        _hooks.install(all_clients=active_settings().scope == "process" or None, scopes=True)


class _Steps(Block):
    """The scope of a generator's body: open during each step, not while its consumer runs."""

    __slots__ = ("_guard", "_inside", "_scope")

    def __init__(self, guard: Guard) -> None:
        self._guard = guard
        self._scope: Scope | None = None
        self._inside: list[Scope] = []

    def open(self, block: Reference | None) -> None:
        """Begins a step, with whatever scopes the body itself had open when it yielded."""
        outer = current_scope()
        if self._scope is None:
            scope = self._guard.scope(outer, block)
        else:
            scope = self._scope.copy_inside(outer, Entry(block))
        self._scope = innermost = scope
        for inner in self._inside:
            innermost = inner.copy_inside(innermost)
        SCOPE.set(innermost)

    def close(self, block: Reference | None) -> None:
        """Ends the step."""
        scope = find_open_scope(self._guard, block)
        if scope is not None:
            self._inside = scopes_inside(scope)
            leave(scope, keep=False)


def _first_step(body: AsyncGenerator[Any, Any], _: object) -> Awaitable[Any]:
    """A first step of which the event loop learns nothing.

    It closes the async generators that are still open when it ends. If it knew the body too, it
    would close it by itself, outside our scope. The hooks are asked for when the step is made,
    not when it is awaited.
    """
    hooks = sys.get_asyncgen_hooks()
    sys.set_asyncgen_hooks(firstiter=None, finalizer=None)
    try:
        return body.asend(None)
    finally:
        sys.set_asyncgen_hooks(*hooks)


def _makes_context_manager(fn: Any) -> bool:
    """Whether this is what `contextlib.contextmanager` or its async twin makes of a generator."""
    made_in = getattr(fn, "__globals__", {}).get("__name__")
    return made_in == "contextlib" and hasattr(fn, "__wrapped__")


def _flags(fn: Any) -> int:
    """The flags of a function's code: by one, `types.coroutine` makes a generator awaitable."""
    while isinstance(fn, functools.partial):
        fn = fn.func
    flags: int = getattr(getattr(fn, "__code__", None), "co_flags", 0)
    return flags


def _around(scope: Guard, fn: Callable[..., Any]) -> Callable[..., Any]:
    """A function of the same kind as `fn` that runs its body inside the scope."""
    if inspect.iscoroutinefunction(fn):

        async def coroutine(*args: Any, **kwargs: Any) -> Any:
            with scope:
                try:
                    body = fn(*args, **kwargs)
                finally:
                    del args, kwargs  # there may be a key among them
                return await body

        return coroutine

    if inspect.isgeneratorfunction(fn):

        def generator(*args: Any, **kwargs: Any) -> Generator[Any, Any, Any]:
            try:
                body, steps = fn(*args, **kwargs), _Steps(scope)
            finally:
                del args, kwargs
            # What goes in or out is in `passing` on its way, and in no local while this waits: a
            # generator keeps its locals until it is resumed, and a chunk may be large.
            step = body.send
            passing: list[Any] = [None]
            while True:
                with steps:
                    try:
                        passing.append(step(passing.pop()))
                    except StopIteration as end:
                        return end.value
                step = body.send
                try:
                    passing.append((yield passing.pop()))
                except GeneratorExit:
                    with steps:
                        return body.close()
                except BaseException as error:
                    step = body.throw
                    passing.append(error)

        is_awaited = _flags(fn) & inspect.CO_ITERABLE_COROUTINE
        return types.coroutine(generator) if is_awaited else generator

    if inspect.isasyncgenfunction(fn):

        async def async_generator(*args: Any, **kwargs: Any) -> AsyncGenerator[Any, Any]:
            try:
                body, steps = fn(*args, **kwargs), _Steps(scope)
            finally:
                del args, kwargs
            step = functools.partial(_first_step, body)
            passing: list[Any] = [None]
            while True:
                with steps:
                    try:
                        passing.append(await step(passing.pop()))
                    except StopAsyncIteration:
                        return
                step = body.asend
                try:
                    passing.append((yield passing.pop()))
                except GeneratorExit:
                    with steps:
                        await body.aclose()
                    raise
                except BaseException as error:
                    step = body.athrow
                    passing.append(error)

        return async_generator

    async def awaited(coroutine: Awaitable[Any]) -> Any:
        with scope:
            return await coroutine

    def function(*args: Any, **kwargs: Any) -> Any:
        with scope:
            try:
                result = fn(*args, **kwargs)
            finally:
                del args, kwargs
        # Another decorator, or an object with an async __call__, may hide a coroutine function.
        return awaited(result) if inspect.iscoroutine(result) else result

    return function
