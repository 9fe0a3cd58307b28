"""Threads of the guard's own, in which no signal of the program's arrives."""

from __future__ import annotations

import signal
from threading import Thread

# They arrive in the thread whose fault it is, and faulthandler tells of it there.
_OF_FAULTS = ("SIGBUS", "SIGFPE", "SIGILL", "SIGSEGV")


def start(thread: Thread) -> None:
    """Starts a thread in which signals are blocked.

    A program may block one in each of its threads and wait for it, by `sigwait()`: the system would
    hand it to ours, and do there what it does by default.

    Raises:
        RuntimeError: there are too many threads, or the interpreter is ending.
    """
    if not hasattr(signal, "pthread_sigmask"):  # Windows
        thread.start()
        return
    blocked = signal.valid_signals() - {getattr(signal, name) for name in _OF_FAULTS}
    before = signal.pthread_sigmask(signal.SIG_BLOCK, ())  # apart: what follows may raise
    try:
        signal.pthread_sigmask(signal.SIG_BLOCK, blocked)  # a thread begins with its starter's mask
        thread.start()
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)
