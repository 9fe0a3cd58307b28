"""Who waits for the task or the thread that is running, where its own stack ends.

Python keeps no word of who started a task or a thread. But who awaits a task is among its
callbacks, and a thread that waits for another, or for its work, has that in a frame.

Of what the application keeps there, the type is asked for, and nothing else: even `isinstance()`
runs code of an object that is lazy, such as Django's.
"""

from __future__ import annotations

import sys
from asyncio import AbstractEventLoop, Future, Task, current_task
from collections import deque
from collections.abc import Callable, Iterator
from concurrent.futures import Future as Work
from contextlib import suppress
from functools import cache, partial
from inspect import CO_OPTIMIZED
from itertools import compress, repeat
from operator import eq
from threading import current_thread
from types import (
    BuiltinMethodType,
    CoroutineType,
    FrameType,
    FunctionType,
    GeneratorType,
    MethodType,
)
from typing import Any

_MOST_LINKS = 1000  # that are followed
# Of all threads together: each wrong call in a pool looks, and there may be hundreds of threads.
_MOST_FRAMES = 2000
_MOST_VALUES = 20_000  # that these frames have, and that are in lists there
_WAITING = ("asyncio", "concurrent", "threading")
_RUNNING = ("concurrent.futures.thread", "anyio._backends._asyncio")
_WORK = ("work_item", "future")  # what these call what they run
_OF_LIBRARIES = frozenset({"asyncio", "anyio", "concurrent"})
_LEADING_ON = ("_parent_task", "_host_task", "cancel_scope", "_done", "future")
"""Attributes that lead from a group, a queue or a piece of work to whoever waits for it."""
_PARTS = {CoroutineType: ("cr_frame", "cr_await"), GeneratorType: ("gi_frame", "gi_yieldfrom")}
"""Where what is suspended keeps its frame, and what it awaits."""
_REFERENCES = (7 if sys.version_info < (3, 11) else 5, 5)
"""To a frame that is looked at, if nobody else has it, and to the dict of its variables."""

_Threads = Callable[[], list[tuple[list[FrameType], list[Any]]]]


def frames_that_wait(frame: FrameType) -> Iterator[FrameType]:
    """The frames of whoever waits for what is running, the nearest first.

    Args:
        frame: where the running stack begins.
    """
    runners = [locals_of(each) for each in outwards(frame) if module_of(each) in _RUNNING]
    work = [kept.get(name) for kept in runners for name in _WORK]
    threads = cache(_threads)  # if need be, and once
    yield from _waiting_for([*filter(_is_link, (_running_task(), *work))], threads)
    # Whoever hands work to the pool just now is about to wait for it. The program may have dropped
    # it before its work is done.
    pools = [kept["executor_reference"]() for kept in runners if "executor_reference" in kept]
    yield from _blocked_by({id(pool) for pool in pools if pool is not None}, threads)
    # What anyio runs for a thread of its own: last, for that thread waits nearer than its scope.
    yield from _waiting_for([*filter(_is_link, (kept.get("scope") for kept in runners))], threads)


def _waiting_for(links: list[Any], threads: _Threads) -> Iterator[FrameType]:
    known = {id(current_thread()), *map(id, links)}
    for link in links:  # which grows meanwhile
        if isinstance(link, Task):
            yield from _suspended(link)
        for found in filter(_is_link, _leading_on(link)):
            if id(found) not in known and len(links) < _MOST_LINKS:
                known.add(id(found))
                links.append(found)
    yield from _blocked_by(known, threads)


def _blocked_by(links: set[int], threads: _Threads) -> Iterator[FrameType]:
    """The frames of the threads that wait for one of these."""
    for stack, values in threads():
        if not links.isdisjoint(map(id, values)):
            yield from stack


def _threads() -> list[tuple[list[FrameType], list[Any]]]:
    """The frames of each thread, and the values that it has where it may wait; the newest first.

    They are looked at from the oldest on, which is the main one: it is what waits most often.
    """
    left = repeat(None, _MOST_FRAMES)
    stacks = [
        [frame for frame, _ in zip(outwards(innermost), left, strict=False)]
        for innermost in reversed(sys._current_frames().values())
    ]
    found = []
    most = _MOST_VALUES
    for stack in stacks:
        values: list[Any] = []
        called = ""
        for frame in stack:
            module = module_of(frame)
            if module.startswith(_WAITING) or called.startswith(_WAITING):
                own = [*locals_of(frame).values()]
                lists = [value for value in own if type(value) in (list, set, tuple, dict)]
                for some in (own, *lists):
                    if len(some) <= most:
                        most -= len(some)
                        values += some
            called = module
        found.append((stack, values))
    return found[::-1]


def locals_of(frame: FrameType) -> dict[str, Any]:
    """The variables of a frame, which keeps no copy of them.

    Before Python 3.13 (PEP 667) a function's frame keeps what was asked for until it is asked
    again, and so whatever the function deletes meanwhile: a large object, or a key.
    """
    kept = frame.f_locals
    found = dict(kept)
    if sys.version_info < (3, 13):
        code = frame.f_code
        # Python takes the variables back from there, where a debugger or a profiler has the frame.
        is_own = frame.f_trace is None and sys.getrefcount(frame) <= _REFERENCES[0]
        if is_own and code.co_flags & CO_OPTIMIZED:  # a module's variables are nowhere else
            names = (*code.co_varnames, *code.co_cellvars, *code.co_freevars)
            # Unless the application has it: `locals()`. All in C, or another thread could get it
            # between the count and the removal.
            counts = map(sys.getrefcount, repeat(kept))
            is_unknown = map(eq, counts, repeat(_REFERENCES[1]))
            deque(map(kept.pop, compress(names, is_unknown), repeat(None)), 0)
    return found


def outwards(frame: FrameType | None) -> Iterator[FrameType]:
    """A frame and those that called it."""
    while frame is not None:
        yield frame
        frame = frame.f_back


def module_of(frame: FrameType) -> str:
    """The name of the module that a frame is of, if it has one: `exec()` takes any globals."""
    name = frame.f_globals.get("__name__")
    return name if type(name) is str else ""


def _running_task() -> Task[Any] | None:
    with suppress(RuntimeError):  # no loop runs in this thread
        return current_task()
    return None


def _suspended(task: Task[Any]) -> Iterator[FrameType]:
    """The frames of a task, from the inside out."""
    frames: list[FrameType | None] = []
    awaited: Any = task.get_coro()
    while (names := _PARTS.get(type(awaited))) is not None:
        frame, awaited = (getattr(awaited, name) for name in names)
        frames.append(frame)
    yield from filter(None, reversed(frames))


def _leading_on(link: Any) -> list[object]:
    found: list[object] = [getattr(link, name, None) for name in _LEADING_ON]
    found += getattr(link, "_getters", None) or ()
    callbacks = getattr(link, "_callbacks", None) or getattr(link, "_done_callbacks", None) or ()
    for callback in tuple(callbacks):
        function = callback[0] if isinstance(callback, tuple) else callback  # with its context
        if type(function) is partial:
            found += function.args
        elif type(function) in (MethodType, BuiltinMethodType):
            found.append(function.__self__)
        elif type(function) is FunctionType:
            for cell in function.__closure__ or ():
                with suppress(ValueError):  # it is empty
                    found.append(cell.cell_contents)
    return found


def _is_link(found: object) -> bool:
    """Whether somebody may wait for it. A loop is none: many wait for what runs in it."""
    kind = type(found)
    is_known = issubclass(kind, (Future, Work))
    return is_known or (
        str(kind.__module__).partition(".")[0] in _OF_LIBRARIES
        and not issubclass(kind, AbstractEventLoop)
    )
