"""Counts the calls of this process, and writes the counts every ten seconds.

What every call pays is one look-up and one step of a counter. The rest happens on a thread that
starts with the first call, in every process anew, and ends with the audit. The first of the wrong
calls of a kind is written before it goes on: a process may be killed at any moment.
"""

from __future__ import annotations

import atexit
import logging
import os
import sys
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from typing import TYPE_CHECKING, Any, Final
from weakref import WeakSet

from openai_project_guard._audit.files import AuditFile
from openai_project_guard._audit.line import KEY, MOST_EXPECTED, Record, tidy
from openai_project_guard._audit.tally import Tally
from openai_project_guard._check import terminate
from openai_project_guard._check.verdict import project_of
from openai_project_guard._errors import OWN_FAULTS
from openai_project_guard._log import log

if TYPE_CHECKING:
    from openai_project_guard._check.verdict import Verdict

INTERVAL = 10.0
"""Seconds between two writes: what a killed process may lose of its counts."""
MOST = 10_000
"""Distinct records of one process; what comes after is counted by outcome and reason only."""

_Key = tuple[Any, ...]
"""What tells calls apart: the fields that `KEY` names, or the first of them."""


class Audit:
    """The audit of this process, and of every process forked from it, in one folder.

    It raises nothing, whatever the folder is like: what cannot be written is kept, tried again,
    and logged once.

    Args:
        folder: where the files go; `~` is the home. It is made if missing, for its owner only.

    Example:
        >>> audit = Audit("/var/lib/app/audit")
        >>> audit.record_allowed("app.py:3 in make", "sk-…Ab3d", "proj_a", "api.openai.com", "POST")
        >>> audit.close()
    """

    def __init__(self, folder: str) -> None:
        self.folder = os.path.abspath(os.path.expanduser(folder))
        self._pid = os.getpid()
        self._is_closed = False
        self._has_complained = False
        self._start_anew()
        _open.add(self)
        atexit.register(self.close)
        try:
            os.makedirs(self.folder, mode=0o700, exist_ok=True)
            if not os.access(self.folder, os.W_OK | os.X_OK):
                raise PermissionError(13, "it cannot be written to", self.folder)
        except OSError as error:
            self._complain(error)

    def _start_anew(self) -> None:
        """Makes everything that a forked process must not share with its parent."""
        # A signal's handler may make a call while the call that it interrupts is being counted.
        self._lock = threading.RLock()  # held to count, never while a file is written
        self._writing = threading.RLock()
        self._ended = threading.Event()
        self._thread: threading.Thread | None = None
        self._flushes_at_exit = False
        self._undo_at_exit: list[Callable[[], object]] = []
        self._file = AuditFile(self.folder)
        self._allowed: dict[_Key, Callable[[], int]] = {}
        self._tallies: dict[_Key, Tally] = {}
        self._others: dict[_Key, Tally] = {}
        self._taken_at = time.time()

    def record_allowed(
        self, client_site: str | None, key_hint: str, project: str | None, host: str, method: str
    ) -> None:
        """Counts a call that is in order. It is on the path of every call, and takes no lock.

        Args:
            client_site: where the client was built, if that is known.
            key_hint: what may be shown of the key.
            project: the project that the key is registered for.
            host: the host that is called.
            method: the HTTP method.
        """
        try:
            self._allowed[client_site, key_hint, project, host, method]()
        except KeyError:
            key = (None, client_site, key_hint, project, "allowed", None, host, method)
            self._count(key, is_wrong=False)

    def record(self, verdict: Verdict, projects: tuple[str, ...] = ()) -> None:
        """Counts a verdict of whatever outcome.

        Args:
            verdict: what was decided.
            projects: those that the key is registered for, which a pinned scope's verdict has not.
        """
        project = project_of(verdict, projects if verdict.reason == "scope" else verdict.expected)
        if verdict.outcome == "allowed" and verdict.reason is None:
            client_site, key_hint = verdict.client_site, verdict.key_hint
            self.record_allowed(client_site, key_hint, project, verdict.host, verdict.method)
            return
        parts = (project if name == "project" else getattr(verdict, name) for name in KEY[:-1])
        self._count(tuple(map(_tidied, parts)), is_wrong=True)

    def flush(self, only: Tally | None = None) -> None:
        """Writes what was counted since the last time, of one kind of call or of all."""
        try:
            with self._writing:
                self._write(only)
        except Exception as error:
            self._complain(error)

    def close(self) -> None:
        """Writes the rest and ends the thread. What is recorded later is written at once."""
        with suppress(Exception):
            atexit.unregister(self.close)
        with self._lock:
            self._is_closed = True
            self._allowed = {}  # so that a later call does not take the fast path
        self._ended.set()
        while self._undo_at_exit:  # what is registered with others keeps this for ever
            with suppress(Exception):
                self._undo_at_exit.pop()()
        self.flush()
        with self._writing, suppress(Exception):
            self._file.tidy_up()

    def _count(self, key: _Key, *, is_wrong: bool) -> None:
        """Counts a call; the next one that is allowed takes the fast path."""
        try:
            now = time.time()
            with self._lock:
                known = len(self._tallies)
                tally = self._tally(key, now)
                is_first = len(self._tallies) > known
                if is_wrong:
                    tally.see(now)
                else:
                    tally.step()
                    if not (tally.record.is_others or self._is_closed):
                        self._allowed[key[1:4] + key[6:]] = tally.step
            self._keep_writing()
            if is_first and is_wrong:
                self.flush(tally)
        except OWN_FAULTS as error:
            self._complain(error)

    def _tally(self, key: _Key, now: float) -> Tally:
        """The tally of one kind of call; of all the others, if there are too many kinds."""
        tally = self._tallies.get(key)
        if tally is None and len(self._tallies) < MOST:
            fields = dict(zip(KEY, map(_tidied, key), strict=False))
            tally = self._tallies[key] = Tally(Record(**fields), now)
        if tally is None:
            kind = key[4:6]
            if kind not in self._others:
                others = Record(outcome=str(kind[0]), reason=kind[1], is_others=True)
                self._others[kind] = Tally(others, now)
            tally = self._others[kind]
        return tally

    def _write(self, only: Tally | None) -> None:
        now = time.time()
        taken: list[tuple[Tally, Record]] = []
        with self._lock:
            every = (*self._tallies.values(), *self._others.values()) if only is None else (only,)
            for tally in every:
                record = tally.take(self._taken_at, now)
                if record is not None:
                    taken.append((tally, record))
            if only is None:
                self._taken_at = now
        if not taken:
            return
        try:
            self._file.append(record for _, record in taken)
        except BaseException:
            with self._lock:
                for tally, record in taken:
                    tally.give_back(record)
            raise
        self._file.compact()

    def _keep_writing(self) -> None:
        """Sees to it that what was counted is written before long."""
        if self._is_closed:
            self.flush()
        elif self._thread is None:
            with self._lock:
                if self._thread is not None:
                    return
                self._thread = threading.Thread(
                    target=self._run,
                    args=(self._ended,),
                    name="openai-project-guard-audit",
                    daemon=True,
                )
                self._flush_at_exit()
                try:
                    self._thread.start()
                except RuntimeError:  # too many threads: tried again; or the interpreter is ending
                    self._thread = None

    def _run(self, ended: threading.Event) -> None:
        while not ended.wait(INTERVAL):
            self.flush()

    def _flush_at_exit(self) -> None:
        """Has this process flush where `atexit` does not: in the workers of a process pool.

        They end by `os._exit()`. Before Python 3.13 those of multiprocessing run no `atexit` at
        all (gh-83856), and since then only what they registered themselves; those of Celery run
        neither that nor the finalizers of billiard, but send a signal.
        """
        if self._flushes_at_exit:
            return
        self._flushes_at_exit = True
        if os.getpid() != self._pid:
            atexit.unregister(self.close)
            atexit.register(self.close)
        util = sys.modules.get("multiprocessing.util")
        if util is not None:
            finalizer = util.Finalize(None, self.flush, exitpriority=-100)
            self._undo_at_exit.append(finalizer.cancel)
        signals = sys.modules.get("celery.signals")
        if signals is not None:
            signal, flush = signals.worker_process_shutdown, lambda **_: self.flush()
            signal.connect(flush, weak=False)
            self._undo_at_exit.append(lambda: signal.disconnect(flush))

    def _complain(self, error: Exception) -> None:
        if self._has_complained:
            return
        self._has_complained = True
        log(
            logging.ERROR,
            "The audit in %s cannot be written: %s. Calls go on, and it is tried again every "
            "%d seconds; this is said once.",
            self.folder,
            tidy(str(error)),
            INTERVAL,
        )


def _tidied(part: Any) -> Any:
    """One or more texts as they may be written."""
    if isinstance(part, tuple):
        return tuple(map(tidy, part[:MOST_EXPECTED]))
    return part and tidy(part)


_open: Final[WeakSet[Audit]] = WeakSet()


def _after_fork() -> None:
    for audit in list(_open):
        audit._start_anew()


def _flush_all() -> None:
    for audit in list(_open):
        audit.flush()


terminate.write_at_end(_flush_all)

if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_after_fork)
