"""Keeps a registry up to date with its file, without a thread of its own and without waiting."""

from __future__ import annotations

import logging
import math
import os
import time
from hashlib import sha256
from threading import Lock, Thread

from openai_project_guard._errors import RegistryError
from openai_project_guard._log import log
from openai_project_guard._registry.file.parse import parse
from openai_project_guard._registry.file.place import FilePlace, load
from openai_project_guard._registry.registry import Registry
from openai_project_guard._registry.source import Source, State, Status

_INTERVAL = 0.25  # seconds between two looks at the file
_IDLE = 0.5  # seconds after which a change may be so old that the call must wait for it
_RACY = 2.0  # seconds in which a second write may get the same modification time as the first
_LONGEST_WAIT = 1.0  # seconds that a call waits while another thread reads the file

_Status = tuple[int, ...]
_Report = tuple[int, str]


class WatchedFile(Source):
    """A registry file and the registry that follows it.

    `refresh()` goes before every judged call. Mostly it compares two numbers; four times a second
    it asks the system for the file's status. A file that changed is read by a short-lived thread
    while calls go on; after a silence it is read before the call is judged.

    Args:
        path: the file.

    Raises:
        RegistryError: the file cannot be read or is not valid. Later on that is logged, and the
            last good version stays active.
    """

    def __init__(self, path: str | os.PathLike[str]) -> None:
        self.registry = Registry()
        self._place = FilePlace(path)
        self.name = self.writable_at = self._place.name
        self._lock = Lock()  # whoever reads the file holds it
        self._process = os.getpid()
        self._looked = time.monotonic()
        self._touched = self._looked  # when the file was last known to say what is active
        self._due = self._looked + _INTERVAL
        self._again = math.inf  # when the file is read once more although it seems the same
        self._status: _Status | None = None
        self._content: bytes | None = None  # digest of what was read last
        self._problem: str | None = None  # what is wrong with it
        self._read(self._status_now(), self._looked)
        if self._problem:
            raise RegistryError(self._problem)

    def refresh(self, now: float) -> None:
        """Looks whether the file has changed, if a look is due. Errors are logged, not raised.

        Args:
            now: `time.monotonic()`.
        """
        # Or the clock went back, as where a test had frozen it.
        if not self._looked - _INTERVAL <= now < self._due:
            self._look(now)

    @property
    def problem(self) -> str | None:
        """See `Source.problem`."""
        return self._problem

    def status(self) -> Status:
        """How the source stands now, after a look at the file if one is due."""
        now = time.monotonic()
        self.refresh(now)
        state: State = "stale" if self._problem else "current"
        return Status(state, max(0.0, now - self._touched), len(self.registry.snapshot.keys))

    def _look(self, now: float) -> None:
        if self._process != os.getpid():  # a fork may have left the lock's holder behind
            self._lock, self._process = Lock(), os.getpid()
        lock, due, idle = self._lock, self._due, now - self._looked >= _IDLE
        # While calls come often none waits: the next will see what is being read now. The limit is
        # for a call made from within the reading, such as by a finalizer or a signal handler.
        if not lock.acquire(timeout=_LONGEST_WAIT if idle else 0):
            self._looked = now
            return
        thread = report = None
        try:
            if self._due != due:  # another thread looked while this one waited
                return
            status = self._status_now()
            if status == self._status and now < self._again:
                self._looked, self._due = now, now + _INTERVAL
                if not self._problem:
                    self._touched = now
                return
            if not idle:
                self._looked = now
                thread = self._start_reading(lock, status, now)
            if thread is None:
                report = self._read(status, now)
        finally:
            if thread is None:
                lock.release()
        _tell(report)

    def _start_reading(self, lock: Lock, status: _Status | None, now: float) -> Thread | None:
        """Hands the lock over to a thread that reads; `None` where no thread can be had."""

        def read() -> None:
            report = None
            try:
                report = self._read(status, now)
            finally:
                lock.release()
            _tell(report)

        thread = Thread(target=read, name="openai-project-guard reload", daemon=True)
        try:
            thread.start()
        except RuntimeError:  # a limit of the system, or the interpreter is ending
            return None
        return thread

    def _read(self, status: _Status | None, now: float) -> _Report | None:
        """Reads the file and makes what it says active; gives what is to be logged."""
        content = snapshot = problem = None
        try:
            data = load(self._place)
            content = sha256(data).digest()
            if content != self._content:
                snapshot = parse(data, self._place)
        except RegistryError as error:
            problem = str(error)
        # Two writes within the file system's tick have the same time: a file that was written just
        # now is read once more later. So is one that the system would not let us read.
        fresh = status is not None and time.time() - status[0] / 1e9 < _RACY
        again = content is None or (fresh and status != self._status)
        self._again = now + _RACY if again else math.inf
        same = content is not None and content == self._content
        before, self._content, self._status = (self._content, self._problem), content, status
        report = None
        if not same:
            self._problem = problem
            if snapshot is not None:
                self.registry.snapshot = snapshot
            if problem and before != (content, problem):
                report = (logging.ERROR, f"{problem} The last good version stays active.")
            elif not problem and before[1]:
                report = (logging.INFO, f"{self.name}: the file is in order again and active.")
            elif snapshot is not None and before[0] is not None:
                count = len(self.registry.snapshot.keys)
                report = (
                    logging.INFO,
                    f"{self.name}: reloaded, {count} keys are registered there.",
                )
        if not self._problem:
            self._touched = now
        self._looked, self._due = now, now + _INTERVAL  # last: until now others wait for this
        return report

    def _status_now(self) -> _Status | None:
        try:
            status = os.stat(self._place.path)
        except (OSError, ValueError):
            return None
        return (
            status.st_mtime_ns,
            status.st_size,
            status.st_ino,
            status.st_dev,
            status.st_ctime_ns,  # a change of owner or mode may have made the file readable
        )


def _tell(report: _Report | None) -> None:
    # Without the lock: a log handler of the application may make a judged call itself.
    if report is not None:
        log(report[0], "%s", report[1])
