"""Who waits for the task or the thread that is running, where its own stack ends.

Python keeps no word of who started a task or a thread. But who awaits a task is among its
callbacks, and a thread that waits for another, or for its work, has that in a frame.

Of what the application keeps there, the type is asked for, and nothing else: even `isinstance()`
runs code of an object that is lazy, such as Django's.
"""

from __future__ import annotations

import sys
from asyncio import AbstractEventLoop, Future, Task, current_task
from collections.abc import Iterator
from concurrent.futures import Future as Work
from contextlib import suppress
from functools import partial
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
_MOST_ENTRIES = 10_000  # of a list that is looked through: each call would, of a large batch
_WAITING = ("asyncio", "concurrent", "threading")
_RUNNING = ("concurrent.futures.thread", "anyio._backends._asyncio")
_WORK = ("work_item", "future")  # what these call what they run
_OF_LIBRARIES = frozenset({"asyncio", "anyio", "concurrent"})
_LEADING_ON = ("_parent_task", "_host_task", "cancel_scope", "_done", "future")
"""Attributes that lead from a group, a queue or a piece of work to whoever waits for it."""
_PARTS = {CoroutineType: ("cr_frame", "cr_await"), GeneratorType: ("gi_frame", "gi_yieldfrom")}
"""Where what is suspended keeps its frame, and what it awaits."""


def frames_that_wait(frame: FrameType) -> Iterator[FrameType]:
    """The frames of whoever waits for what is running, the nearest first.

    Args:
        frame: where the running stack begins.
    """
    runners = [each.f_locals for each in outwards(frame) if module_of(each) in _RUNNING]
    work = [kept.get(name) for kept in runners for name in _WORK]
    yield from _waiting_for([*filter(_is_link, (_running_task(), *work))])
    # Whoever hands work to the pool just now is about to wait for it. The program may have dropped
    # it before its work is done.
    pools = [kept["executor_reference"]() for kept in runners if "executor_reference" in kept]
    yield from _blocked_by({id(pool) for pool in pools if pool is not None})
    # What anyio runs for a thread of its own: last, for that thread waits nearer than its scope.
    yield from _waiting_for([*filter(_is_link, (kept.get("scope") for kept in runners))])


def _waiting_for(links: list[Any]) -> Iterator[FrameType]:
    known = {id(current_thread()), *map(id, links)}
    for link in links:  # which grows meanwhile
        if isinstance(link, Task):
            yield from _suspended(link)
        for found in filter(_is_link, _leading_on(link)):
            if id(found) not in known and len(links) < _MOST_LINKS:
                known.add(id(found))
                links.append(found)
    yield from _blocked_by(known)


def _blocked_by(links: set[int]) -> Iterator[FrameType]:
    for innermost in sys._current_frames().values():
        if _waits_for(links, innermost):
            yield from outwards(innermost)


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


def _waits_for(links: set[int], innermost: FrameType) -> bool:
    """Whether a thread waits for one of these."""
    called = ""
    for frame in outwards(innermost):
        module = module_of(frame)
        if module.startswith(_WAITING) or called.startswith(_WAITING):
            values = [*frame.f_locals.values()]
            lists = [value for value in values if type(value) in (list, set, tuple, dict)]
            for some in (values, *(each for each in lists if len(each) <= _MOST_ENTRIES)):
                if not links.isdisjoint(map(id, some)):
                    return True
        called = module
    return False


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
