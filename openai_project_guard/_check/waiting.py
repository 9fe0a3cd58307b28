"""Who waits for the task or the thread that is running, where its own stack ends.

Python keeps no word of who started a task or a thread. But who awaits a task is among its
callbacks, and a thread that waits for another, or for its work, has that in a frame.
"""

from __future__ import annotations

import sys
import threading
from asyncio import Future, Task, current_task
from collections import deque
from collections.abc import Iterator
from concurrent.futures import Future as Work
from contextlib import suppress
from types import FrameType
from typing import Any

_MOST = 1000  # links that are followed
_WAITING = ("asyncio", "concurrent", "threading")
_RUNNING = ("concurrent.futures.thread", "anyio._backends._asyncio")
_OF_LIBRARIES = frozenset({"asyncio", "_asyncio", "anyio", "concurrent"})
_LEADING_ON = ("_parent_task", "_host_task", "cancel_scope", "_done", "_getters", "future")
"""Attributes that lead from a group, a queue or a piece of work to whoever waits for it."""


def frames_that_wait(frame: FrameType) -> Iterator[FrameType]:
    """The frames of whoever waits for what is running, the nearest first.

    Args:
        frame: where the running stack begins.
    """
    links: list[Any] = [*_running(frame)]
    known = set(map(id, links))
    for link in links:  # which grows meanwhile
        if isinstance(link, Task):
            yield from _suspended(link)
        for found in _leading_on(link):
            if id(found) not in known and len(links) < _MOST:
                known.add(id(found))
                links.append(found)
    for meant in (known, set(map(id, _pools(frame)))):
        for innermost in sys._current_frames().values():
            yield from _blocked(innermost, meant)


def outwards(frame: FrameType | None) -> Iterator[FrameType]:
    """A frame and those that called it."""
    while frame is not None:
        yield frame
        frame = frame.f_back


def module_of(frame: FrameType) -> str:
    """The name of the module that a frame is of."""
    return frame.f_globals.get("__name__") or ""


def _running(frame: FrameType) -> Iterator[object]:
    """The task, the work of a pool and the thread that are running."""
    with suppress(RuntimeError):  # no loop runs in this thread
        yield current_task()
    for each in outwards(frame):
        if module_of(each) in _RUNNING:
            yield from filter(_is_link, each.f_locals.values())
    yield threading.current_thread()


def _pools(frame: FrameType) -> Iterator[object]:
    """The pool that runs here: whoever hands work to it just now is about to wait for it."""
    for each in outwards(frame):
        reference = each.f_locals.get("executor_reference") if module_of(each) in _RUNNING else None
        if reference is not None:
            yield reference()


def _suspended(task: Task[Any]) -> Iterator[FrameType]:
    """The frames of a task, from the inside out."""
    frames: list[FrameType] = []
    awaited: Any = task.get_coro()
    while awaited is not None:
        for frame, inner in (("cr_frame", "cr_await"), ("gi_frame", "gi_yieldfrom")):
            if hasattr(awaited, inner):
                frames += filter(None, [getattr(awaited, frame)])
                awaited = getattr(awaited, inner)
                break
        else:
            break
    yield from reversed(frames)


def _blocked(innermost: FrameType, links: set[int]) -> Iterator[FrameType]:
    """The frames of a thread that waits for one of these, from the inside out."""
    calls_library = False
    for frame in outwards(innermost):
        is_library = module_of(frame).startswith(_WAITING)
        if (is_library or calls_library) and any(
            id(value) in links
            or (isinstance(value, (list, set, tuple, dict)) and links & set(map(id, tuple(value))))
            for value in frame.f_locals.values()
        ):
            yield from outwards(innermost)
            return
        calls_library = is_library


def _leading_on(link: Any) -> Iterator[object]:
    found = list(link) if isinstance(link, deque) else []
    found += [getattr(link, name, None) for name in _LEADING_ON]
    callbacks = getattr(link, "_callbacks", None) or getattr(link, "_done_callbacks", None) or ()
    for callback in tuple(callbacks):
        function = callback[0] if isinstance(callback, tuple) else callback  # with its context
        found += [getattr(function, "__self__", None), *getattr(function, "args", ())]
        for cell in getattr(function, "__closure__", None) or ():
            with suppress(ValueError):  # it is empty
                found.append(cell.cell_contents)
    return filter(_is_link, found)


def _is_link(found: object) -> bool:
    is_known = isinstance(found, (Future, Work, deque))
    return is_known or type(found).__module__.partition(".")[0] in _OF_LIBRARIES
