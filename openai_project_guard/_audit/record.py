"""Counts the calls of this process, and writes the counts every ten seconds.

What every call pays is one look-up and one step of a counter. The rest happens on a thread that
starts with the first call, in every process anew, and ends with the audit.
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
from typing import TYPE_CHECKING, Final
from weakref import WeakSet

from openai_project_guard._audit.files import AuditFile
from openai_project_guard._audit.line import Record, tidy
from openai_project_guard._audit.tally import Tally
from openai_project_guard._errors import OWN_FAULTS

if TYPE_CHECKING:
    from openai_project_guard._check.verdict import Verdict

INTERVAL = 10.0
"""Seconds between two writes: the most that a killed process loses."""
MOST = 10_000
"""Distinct records of one process; what comes after is counted by outcome and reason only."""

_logger = logging.getLogger("openai_project_guard")

_AllowedKey = tuple["str | None", str, "str | None", str, str]
_Key = tuple["str | None", ...]


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
        self._file = AuditFile(self.folder)
        self._allowed: dict[_AllowedKey, Callable[[], int]] = {}
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
            self._record_allowed_first(client_site, key_hint, project, host, method)

    def record(self, verdict: Verdict) -> None:
        """Counts a verdict of whatever outcome."""
        project = verdict.actual if verdict.actual in verdict.expected else None
        if project is None and len(verdict.expected) == 1:
            project = verdict.expected[0]
        if verdict.outcome == "allowed" and verdict.reason is None:
            self.record_allowed(
                verdict.client_site, verdict.key_hint, project, verdict.host, verdict.method
            )
            return
        try:
            now = time.time()
            with self._lock:
                tally = self._tally(
                    now,
                    verdict.call_site,
                    verdict.client_site,
                    verdict.key_hint,
                    project,
                    verdict.outcome,
                    verdict.reason,
                    verdict.host,
                    verdict.method,
                )
                tally.verdict = verdict
                if tally.first is None:
                    tally.first = now
                tally.seen += 1
                tally.last = now
            self._keep_writing()
        except OWN_FAULTS as error:
            self._complain(error)

    def flush(self) -> None:
        """Writes what was counted since the last time."""
        try:
            with self._writing:
                self._write()
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
        self.flush()

    def _record_allowed_first(
        self, client_site: str | None, key_hint: str, project: str | None, host: str, method: str
    ) -> None:
        try:
            now = time.time()
            with self._lock:
                tally = self._tally(
                    now, None, client_site, key_hint, project, "allowed", None, host, method
                )
                tally.step()
                if not (tally.record.is_others or self._is_closed):
                    self._allowed[client_site, key_hint, project, host, method] = tally.step
            self._keep_writing()
        except OWN_FAULTS as error:
            self._complain(error)

    def _tally(self, now: float, *key: str | None) -> Tally:
        """The tally of one kind of call; of all the others, if there are too many kinds."""
        tally = self._tallies.get(key)
        if tally is not None:
            return tally
        call_site, client_site, key_hint, project, outcome, reason, host, method = (
            part and tidy(part) for part in key
        )
        assert outcome is not None
        if len(self._tallies) >= MOST:
            kind = (outcome, reason)
            if kind not in self._others:
                others = Record(outcome=outcome, reason=reason, is_others=True)
                self._others[kind] = Tally(others, now)
            return self._others[kind]
        record = Record(call_site, client_site, key_hint, project, outcome, reason, host, method)
        self._tallies[key] = tally = Tally(record, now)
        return tally

    def _write(self) -> None:
        now = time.time()
        taken: list[tuple[Tally, Record]] = []
        with self._lock:
            for tally in (*self._tallies.values(), *self._others.values()):
                record = tally.take(self._taken_at, now)
                if record is not None:
                    taken.append((tally, record))
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
            util.Finalize(None, self.flush, exitpriority=-100)
        signals = sys.modules.get("celery.signals")
        if signals is not None:
            signals.worker_process_shutdown.connect(lambda **_: self.flush(), weak=False)

    def _complain(self, error: Exception) -> None:
        if self._has_complained:
            return
        self._has_complained = True
        with suppress(Exception):
            _logger.error(
                "The audit in %s cannot be written: %s. Calls go on, and it is tried again every "
                "%d seconds; this is said once.",
                self.folder,
                tidy(str(error)),
                INTERVAL,
            )


_open: Final[WeakSet[Audit]] = WeakSet()


def _after_fork() -> None:
    for audit in list(_open):
        audit._start_anew()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_after_fork)
