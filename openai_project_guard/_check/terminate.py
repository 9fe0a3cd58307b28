"""SIGTERM ends a process without its `atexit` functions, and with it the counts that wait.

So while counts wait, the signal is handled here, unless the application handles it: what waits is
logged, and the process ends by the signal as it would have.
"""

from __future__ import annotations

import os
import signal
import threading
from collections.abc import Callable
from types import FrameType

_flush: Callable[[], None] | None = None


def flush_then(flush: Callable[[], None]) -> None:
    """Has SIGTERM call a function first, if that is possible here.

    A handler can be set in the main thread only. One of the application's stays.
    """
    global _flush
    if threading.current_thread() is not threading.main_thread():
        return
    try:
        if signal.getsignal(signal.SIGTERM) is signal.SIG_DFL:
            _flush = flush
            signal.signal(signal.SIGTERM, _handle)
    except ValueError:  # in a subinterpreter
        pass


def forget() -> None:
    """Puts the signal back as it was, if the handler is still ours."""
    if threading.current_thread() is not threading.main_thread():
        return
    try:
        if signal.getsignal(signal.SIGTERM) is _handle:
            signal.signal(signal.SIGTERM, signal.SIG_DFL)
    except (TypeError, ValueError):
        pass


def _handle(number: int, frame: FrameType | None) -> None:
    del frame
    if _flush is not None:
        _flush()
    signal.signal(number, signal.SIG_DFL)
    os.kill(os.getpid(), number)
