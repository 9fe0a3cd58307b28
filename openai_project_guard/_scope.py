"""`guard`: a scope in which calls are checked, as a decorator and as a context manager."""

from __future__ import annotations

import functools
import inspect
import sys
from collections.abc import AsyncGenerator, Awaitable, Callable, Generator
from contextvars import ContextVar
from types import TracebackType
from typing import TYPE_CHECKING, Any, NamedTuple, TypeVar, cast, overload

from openai_project_guard._errors import ConfigurationError, forgetful
from openai_project_guard._keys import shown
from openai_project_guard._types import Mode, ModeName

if TYPE_CHECKING:
    from openai_project_guard._check.verdict import Policy

F = TypeVar("F", bound="Callable[..., Any] | classmethod[Any, Any, Any] | staticmethod[Any, Any]")


class Scope(NamedTuple):
    """One entered scope. What it does not say, the scope around it says."""

    guard: Guard
    outer: Scope | None
    mode: Mode | None
    pinned: str | None

    def over(self, policy: Policy) -> Policy:
        """The policy inside this scope, given the one of the process."""
        mode, unregistered, pinned = policy
        return type(policy)(self.mode or mode, unregistered, self.pinned or pinned)


def _without(guard: Guard, scope: Scope | None) -> Scope | None:
    """The scopes from this one outwards, without the nearest that the guard entered."""
    if scope is None or scope.guard is guard:
        return scope and scope.outer
    outer = _without(guard, scope.outer)
    return scope if outer is scope.outer else scope._replace(outer=outer)


innermost: ContextVar[Scope | None] = ContextVar("openai_project_guard_scope", default=None)


class Guard:
    """A scope that can be entered, any number of times and from several tasks at once."""

    __slots__ = ("_mode", "_project")

    def __init__(self, project: str | None, mode: Mode | None) -> None:
        self._project = project
        self._mode = mode

    def __enter__(self) -> None:
        pinned = _pinned(self._project)
        _install_hooks()
        outer = innermost.get()
        innermost.set(
            Scope(
                guard=self,
                outer=outer,
                mode=self._mode or (outer.mode if outer else None),
                pinned=pinned or (outer.pinned if outer else None),
            )
        )

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        # No Token: a web framework may leave a scope in another context than it entered it in, and
        # two scopes may be left in the order in which they were entered.
        innermost.set(_without(self, innermost.get()))

    async def __aenter__(self) -> None:
        self.__enter__()

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.__exit__(kind, error, traceback)

    def __call__(self, fn: F) -> F:
        """Decorates a function, a method, a coroutine, a generator or an async generator."""
        if isinstance(fn, (classmethod, staticmethod)):
            return type(fn)(self(fn.__func__))
        if not callable(fn) or isinstance(fn, type):
            raise ConfigurationError(
                f"guard cannot decorate {shown(fn)}. It decorates functions, methods, coroutines, "
                "and generators; as a context manager write `with guard(project=...):`."
            )
        return functools.wraps(fn)(_around(self, fn))  # type: ignore[return-value]


@overload
def guard(fn: F, /) -> F: ...
@overload
def guard(*, project: str | None = None, mode: ModeName | Mode | None = None) -> Guard: ...
@forgetful
def guard(
    fn: object = None, /, *, project: str | None = None, mode: ModeName | Mode | None = None
) -> object:
    """Checks the calls made inside, even where `enable()` was never called.

    As a decorator (`@guard`, `@guard(project=...)`) on functions, methods, class and static
    methods, coroutines, generators and async generators; as a context manager (`with` and
    `async with`). The innermost scope wins. Tasks and `asyncio.to_thread` started inside inherit
    it; a bare `threading.Thread`, a thread pool and `loop.run_in_executor` do not. In a generator
    it holds while the generator's body runs, not while its consumer does; what a function returns
    to be awaited or iterated later, other than a coroutine, runs outside of it.

    Where the guard is not enabled, the registry and the other settings are those that the
    environment named when the first scope was entered.

    Args:
        fn: the function, where it decorates without parentheses.
        project: only this project's keys and header pass; a project id or an alias of the
            registry. Default: as around the scope.
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
        from openai_project_guard._settings import read_mode

        mode = read_mode(mode)
    if project is not None and (not isinstance(project, str) or not project):
        raise ConfigurationError(f"project={shown(project)} is neither a project id nor an alias.")
    scope = Guard(project, mode)
    return scope if fn is None else scope(cast("Callable[..., Any]", fn))


@forgetful
def _pinned(project: str | None) -> str | None:
    from openai_project_guard._registry.model import project_id
    from openai_project_guard._settings import base_of_scopes

    settings = base_of_scopes()  # now: what is wrong with them must not wait for the first call
    return None if project is None else project_id(settings.registries, project)


def _install_hooks() -> None:
    from openai_project_guard import _hooks

    if not _hooks.is_installed:
        _hooks.install()


class _Steps:
    """The scope of a generator's body: on during each step, off while its consumer runs."""

    __slots__ = ("_guard", "_inside", "_outside")

    def __init__(self, guard: Guard) -> None:
        self._guard = guard
        self._inside: Scope | None = None
        self._outside: Scope | None = None

    def __enter__(self) -> None:
        self._outside = innermost.get()
        if self._inside is None:
            self._guard.__enter__()
        else:  # with whatever scope the body itself had open when it yielded
            innermost.set(self._inside)

    def __exit__(self, *error: object) -> None:
        self._inside = innermost.get()
        innermost.set(self._outside)


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


def _around(scope: Guard, fn: Callable[..., Any]) -> Callable[..., Any]:
    """A function of the same kind as `fn` that runs its body inside the scope."""
    if inspect.iscoroutinefunction(fn):

        async def coroutine(*args: Any, **kwargs: Any) -> Any:
            with scope:
                return await fn(*args, **kwargs)

        return coroutine

    if inspect.isgeneratorfunction(fn):

        def generator(*args: Any, **kwargs: Any) -> Generator[Any, Any, Any]:
            body, steps = fn(*args, **kwargs), _Steps(scope)
            step, value = body.send, None
            while True:
                with steps:
                    try:
                        item = step(value)
                    except StopIteration as end:
                        return end.value
                try:
                    step, value = body.send, (yield item)
                except GeneratorExit:
                    with steps:
                        return body.close()
                except BaseException as error:
                    step, value = body.throw, error

        return generator

    if inspect.isasyncgenfunction(fn):

        async def async_generator(*args: Any, **kwargs: Any) -> AsyncGenerator[Any, Any]:
            body, steps = fn(*args, **kwargs), _Steps(scope)
            step, value = functools.partial(_first_step, body), None
            while True:
                with steps:
                    try:
                        item = await step(value)
                    except StopAsyncIteration:
                        return
                try:
                    step, value = body.asend, (yield item)
                except GeneratorExit:
                    with steps:
                        await body.aclose()
                    raise
                except BaseException as error:
                    step, value = body.athrow, error

        return async_generator

    async def awaited(coroutine: Awaitable[Any]) -> Any:
        with scope:
            return await coroutine

    def function(*args: Any, **kwargs: Any) -> Any:
        with scope:
            result = fn(*args, **kwargs)
        # Another decorator, or an object with an async __call__, may hide a coroutine function.
        return awaited(result) if inspect.iscoroutine(result) else result

    return function
