"""A thread has the scope of the code that starts it, work in a pool that of its submitter.

Only the scope is carried over, no other context variable. And a process of a pool has none: it is
forked with that of whoever submits first, and serves others, too.

Tasks and `asyncio.to_thread` do so by themselves: their context is a copy. A thread starts in an
empty one, and the threads of a pool serve many.
"""

from __future__ import annotations

import sys
from types import MethodType, ModuleType
from typing import Any

from openai_project_guard._errors import OWN_FAULTS
from openai_project_guard._hooks.patch import Function, hook, owner_of
from openai_project_guard._scope import SCOPE, Scope, current_scope

_POOLS = (
    "concurrent.futures.thread",
    "concurrent.futures.process",
    "multiprocessing.managers",
    "multiprocessing.pool",
)


def install_threading(threading: ModuleType) -> None:
    """Hooks `threading.Thread.start`, in the class that has it: gevent puts a subclass before."""
    hook(owner_of(threading.Thread, "start"), "start", _start_hook)


def install_executor(thread: ModuleType) -> None:
    """Hooks `ThreadPoolExecutor.submit`, which `loop.run_in_executor` calls too."""
    hook(thread.ThreadPoolExecutor, "submit", _submit_hook)


def install_processes(process: ModuleType) -> None:
    """Hooks `multiprocessing.Process.run`."""
    hook(process.BaseProcess, "run", _run_hook)


def _start_hook(original: Function) -> Function:
    def start(self: Any) -> Any:
        scope = current_scope()
        run = None if scope is None or _serves_a_pool(self) else _put_on(self, scope)
        if run is None:
            return original(self)
        try:
            return original(self)
        except RuntimeError:  # no more threads just now, say: it may be started again, elsewhere
            run.take_off(self)
            raise

    return start


def _put_on(thread: Any, scope: Scope) -> _RunInScope | None:
    """Has a thread run in a scope, unless its class does not let its `run` be replaced."""
    try:
        run = _RunInScope(scope, thread)
        # A method: sentry-sdk, if its start() is inside ours, calls the `__func__` of what it finds
        # with the thread.
        thread.run = MethodType(run, thread)
    except OWN_FAULTS:
        return None
    return run


def _run_hook(original: Function) -> Function:
    def run(self: Any) -> Any:
        if _serves_a_pool(self):
            SCOPE.set(None)
        return original(self)

    return run


def _serves_a_pool(worker: Any) -> bool:
    """Whether a thread or a process of a pool runs what others submit, or calls them back."""
    target = getattr(worker, "_target", None)
    if isinstance(target, MethodType) and not isinstance(target.__self__, type):
        target = None  # one that submits to a pool: Thread(target=pool.submit)
    return not {type(worker).__module__, getattr(target, "__module__", None)}.isdisjoint(_POOLS)


def _is_of_interpreters(pool: Any) -> bool:
    """Whether a pool works in other interpreters, to which no scope can be taken."""
    module = sys.modules.get("concurrent.futures.interpreter")  # from Python 3.14 on
    return isinstance(pool, getattr(module, "InterpreterPoolExecutor", ()))


def _submit_hook(original: Function) -> Function:
    def submit(self: Any, fn: Any, /, *args: Any, **kwargs: Any) -> Any:
        scope = None if _is_of_interpreters(self) else current_scope()
        try:
            return original(self, fn if scope is None else _InScope(scope, fn), *args, **kwargs)
        finally:
            del args, kwargs  # there may be a key among them

    return submit


class _InScope:
    """A function that runs in the scope in which it was handed over."""

    __slots__ = ("_fn", "_scope")

    def __init__(self, scope: Scope, fn: Any) -> None:
        self._scope = scope
        self._fn = fn

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        before = SCOPE.get()
        SCOPE.set(self._scope)
        try:
            return self._fn(*args, **kwargs)
        finally:
            del args, kwargs
            SCOPE.set(before)


class _RunInScope(_InScope):
    """The `run` of a thread, which has it until it runs: no cycle, and the thread is as it was."""

    __slots__ = ("_own",)

    def __init__(self, scope: Scope, thread: Any) -> None:
        super().__init__(scope, thread.run)
        self._own = vars(thread).get("run")

    def __call__(self, thread: Any) -> Any:
        self.take_off(thread)
        return super().__call__()

    def take_off(self, thread: Any) -> None:
        """Gives the thread back what it had, which may be a `run` of its own."""
        vars(thread).pop("run", None)
        if self._own is not None:
            thread.run = self._own
