"""SIGTERM ends a process without its `atexit` functions, and with it the counts that wait.

So while counts wait, the signal is handled here, unless the application handles it: what waits is
written, and the process ends by the signal as it would have. A forked child begins without that.
"""

from __future__ import annotations

import _thread
import os
import signal
import threading
from collections.abc import Callable
from contextlib import suppress
from types import FrameType
from typing import Any

_LONGEST = 2.0  # seconds

_writers: list[Callable[[], None]] = []


def write_at_end(write: Callable[[], None]) -> None:
    """Has SIGTERM call a function before the process ends, while `begin()` is in force."""
    _writers.append(write)


def begin() -> None:
    """Handles SIGTERM from now on, if that is possible here.

    A handler can be set in the main thread only. One of the application's stays.
    """
    _replace(signal.SIG_DFL, _handle)


def end() -> None:
    """Puts the signal back as it was, if the handler is still ours."""
    _replace(_handle, signal.SIG_DFL)


def _replace(handler: Any, other: Any) -> None:
    if threading.current_thread() is threading.main_thread():
        with suppress(TypeError, ValueError):  # in a subinterpreter; or Python is ending
            if signal.getsignal(signal.SIGTERM) is handler:
                signal.signal(signal.SIGTERM, other)


def _handle(number: int, frame: FrameType | None) -> None:
    """Writes in a thread: the code that is interrupted here may hold a lock that writing takes."""
    del frame
    done = _thread.allocate_lock()
    done.acquire()

    def write() -> None:
        try:
            for each in _writers:
                each()
        finally:
            done.release()

    with suppress(RuntimeError):  # no thread starts any more
        _thread.start_new_thread(write, ())  # that of `threading` takes locks
        done.acquire(timeout=_LONGEST)
    signal.signal(number, signal.SIG_DFL)
    os.kill(os.getpid(), number)


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=end)
