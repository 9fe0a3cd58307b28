"""Stands in for a registry that could not be read when the guard started, until it can be."""

from __future__ import annotations

import logging
import os
import time
import weakref
from threading import Thread

from openai_project_guard._errors import RegistryError
from openai_project_guard._log import log
from openai_project_guard._registry import stores
from openai_project_guard._registry.registry import Registry
from openai_project_guard._registry.source import Source, Status

_INTERVAL = 0.25  # seconds between two attempts to read a file
_SHORTEST, _LONGEST = 0.1, 3.0  # seconds between two attempts to reach a server


class RetryingSource(Source):
    """A registry that has no key until its source can be opened.

    A thread tries that again, for no call may wait for a server.

    Args:
        address: the path or URL.
        problem: why it could not be opened, without a key or a password.
    """

    def __init__(self, address: stores.Address, problem: str) -> None:
        self.registry = Registry()
        self.is_read = False
        self.name = stores.name_of(address)
        self.writable_at = self.name if stores.is_writable(address) else None
        self._address = address
        self._source: Source | None = None
        self._problem = ""
        self._since = time.monotonic()
        self._complain(problem)
        self._start()

    def refresh(self, now: float) -> None:
        """Brings the registry up to date, once the source is open."""
        if self._source is not None:
            self._source.refresh(now)
            self.registry.snapshot = self._source.registry.snapshot
        elif self._process != os.getpid():  # a fork leaves the thread behind
            self._start()

    @property
    def problem(self) -> str | None:
        """See `Source.problem`."""
        return self._problem if self._source is None else self._source.problem

    def status(self) -> Status:
        """How it is doing now: `stale` until it was read."""
        self.refresh(time.monotonic())
        if self._source is not None:
            return self._source.status()
        return Status("stale", time.monotonic() - self._since, 0)

    def remember(self, key_digest: bytes, key_hint: str, project: str) -> bool:
        """See `Source.remember()`."""
        source = self._source
        return source is not None and source.remember(key_digest, key_hint, project)

    def open(self) -> bool:
        """Tries to open the source. Gives whether it is open."""
        try:
            source = stores.open_source(self._address)
        except RegistryError as error:
            self._complain(str(error))
            return False
        except Exception as error:  # of another package's store; its text may hold a password
            self._complain(f"{self.name}: {type(error).__name__}.")
            return False
        self.registry.snapshot = source.registry.snapshot
        self._source, self.is_read = source, True
        log(logging.INFO, "%s: the registry can be read now and is active.", self.name)
        return True

    def _start(self) -> None:
        self._process = os.getpid()
        longest = _LONGEST if stores.is_url(self._address) else _INTERVAL
        thread = Thread(
            target=_keep_trying,
            args=(weakref.ref(self), longest),
            name="openai-project-guard start",
            daemon=True,
        )
        try:
            thread.start()
        except RuntimeError:  # the system's limit of threads
            self._process = 0  # so that the next call starts one

    def _complain(self, problem: str) -> None:
        if problem != self._problem:
            self._problem = problem
            log(
                logging.ERROR,
                "%s Its keys count as unregistered until it can be read; that is tried again.",
                problem,
            )


def _keep_trying(late: weakref.ref[RetryingSource], longest: float) -> None:
    """Ends when the source is open, or no longer used."""
    pause = _SHORTEST
    while True:
        time.sleep(pause)
        pause = min(2 * pause, longest)
        source = late()
        if source is None or source.open():
            return
        del source
