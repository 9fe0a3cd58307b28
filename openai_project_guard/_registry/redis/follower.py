"""The thread that keeps a registry up to date with Redis: no call ever waits for it."""

from __future__ import annotations

import _thread
import logging
import os
import time
from contextlib import suppress
from itertools import islice
from random import SystemRandom
from threading import Event, Thread
from typing import TYPE_CHECKING
from weakref import WeakSet

from openai_project_guard._errors import RegistryError
from openai_project_guard._keys import redact
from openai_project_guard._log import log
from openai_project_guard._registry.model import Place
from openai_project_guard._registry.redis.client import Client, count_of
from openai_project_guard._registry.redis.errors import ForbiddenError, RefusedError, ServerError
from openai_project_guard._registry.redis.learning import ActiveRegistry, write_learned
from openai_project_guard._registry.redis.state import RedisState
from openai_project_guard._registry.source import Status

if TYPE_CHECKING:
    from openai_project_guard._registry.redis.client import Notice
    from openai_project_guard._registry.redis.fallback import FallbackFile
    from openai_project_guard._registry.redis.url import RedisURL

_TICK = 0.2  # seconds until what was learned, or the end of the process, is noticed
_POLL = 5.0  # seconds between two looks at the revision
_SPREAD = 0.3  # seconds over which a fleet reads the whole after a change that calls for it
_SHORTEST, _LONGEST = 0.1, 3.0  # seconds between two attempts to connect
_BATCH = 1000  # learned keys written at a time
_MOST_LOGGED = 10  # refused entries named at a time
_chance = SystemRandom()  # the sequence of `random` is the application's, which may have seeded it


class Follower:
    """The thread and what it knows."""

    def __init__(self, url: RedisURL, fallback: FallbackFile | None) -> None:
        self._url = url
        self._place = Place(url.name, url.name)
        self._active = ActiveRegistry(self._place)
        self.registry = self._active.registry
        self._fallback = fallback
        self._confirmed = time.monotonic()  # when Redis held what is active
        self._is_lost = False
        self._is_read_only = False
        self._refusal = ""  # why what was learned cannot be written
        self._write_due = 0.0
        self._client: Client | None = None
        # Whose turn it is; `None` where stopped. No event, for a finalizer sets it, without a lock.
        self._turn: object | None = None

    def open(self) -> None:
        """Loads the registry, from Redis or the fallback file, or raises a `RegistryError`."""
        problem = fix = ""
        try:
            self._connect()
        except ServerError as error:
            problem = f"{self._url.name}: the registry cannot be loaded: {error}."
            fix = error.fix
        if problem:
            self._use_fallback(problem, fix)
        turn = self._turn = object()
        try:
            self._start(turn)
        except RuntimeError as error:  # the system's limit of threads
            self._disconnect()
            raise RegistryError(f"{self._url.name}: it cannot be followed: {error}.") from None
        _followers.add(self)

    def stop(self) -> None:
        """Has the thread end; it is not waited for."""
        self._turn = None

    def restart_after_fork(self) -> None:
        """Leaves to the parent what is the parent's, and starts anew."""
        if self._turn is not None:
            self._active.restart_after_fork()
            self._disconnect()
            turn = self._turn = object()
            # Not here: it waits for the thread, and gevent would do the parent's work meanwhile.
            _thread.start_new_thread(self._try_to_start, (turn,))

    def status(self) -> Status:
        """How the source is doing now."""
        return Status(
            "stale" if self._is_lost else "current",
            max(0.0, time.monotonic() - self._confirmed),
            len(self.registry.snapshot.keys),
            len(self._active.state.problems),
        )

    def remember(self, key_digest: bytes, key_hint: str, project: str) -> bool:
        """Takes in what the server said of a key. It is written soon, and counts until then."""
        return not self._is_read_only and self._active.learn(key_digest, key_hint, project)

    def _start(self, turn: object) -> None:
        name = "openai-project-guard redis"
        Thread(target=self._run, args=(turn,), name=name, daemon=True).start()

    def _try_to_start(self, turn: object) -> None:
        with suppress(RuntimeError):  # the system's limit of threads
            self._start(turn)

    def _run(self, turn: object) -> None:
        pause = _SHORTEST
        while self._turn is turn:
            problem, fix = None, ""
            try:
                client = self._client or self._connect()
                if self._is_lost:
                    self._is_lost = False
                    revision = self._active.state.version
                    self._log("in touch again, at revision %s.", revision, level=logging.INFO)
                pause = _SHORTEST
                self._follow(client, turn)
            except ServerError as error:
                problem, fix = str(error), error.fix
            except Exception as error:  # or the registry would grow old without a word in the log
                problem = self._url.without_password(f"{type(error).__name__}: {error}")
            if self._turn not in (turn, None):
                Event().wait()  # a copy, in a child of gevent's, where no thread can end in peace
            if problem is not None:
                self._lose(problem, fix)
            self._disconnect()
            self._wait(pause * _chance.uniform(0.5, 1))  # spreads a fleet's attempts
            pause = min(2 * pause, _LONGEST)

    def _connect(self) -> Client:
        client = Client(self._url)
        try:
            client.subscribe()  # first: a message about a change during the reading waits then
            self._read(client)
        except BaseException:
            client.close()
            raise
        self._client = client
        return client

    def _disconnect(self) -> None:
        client, self._client = self._client, None
        if client is not None:
            client.close()

    def _follow(self, client: Client, turn: object) -> None:
        look_due = time.monotonic() + _POLL
        while self._turn is turn:
            self._apply(client, client.notices(_TICK))
            self._write_learned(client)
            if time.monotonic() >= look_due:
                if client.revision() != self._active.state.version:
                    self._read(client)
                self._confirmed = time.monotonic()
                look_due = self._confirmed + _POLL
            if self._fallback is not None:
                self._fallback.keep(self._active.state)

    def _read(self, client: Client) -> None:
        """Reads the whole registry."""
        asked = time.monotonic()
        stored = client.read()
        old, new = self._active.state.version, stored.revision
        if new is None and old is None:
            raise ServerError(
                f"there is no registry under the prefix {redact(self._url.prefix)}. "
                "`openai-project-guard register` makes one, with `--registry` and this URL"
            )
        if new is None:
            raise ServerError("the server is there, but has lost the registry")
        # Another history of as many changes: some that this process has seen are not in it.
        if old not in (None, new) and count_of(new) <= count_of(old):
            if not client.is_primary:
                raise ServerError(f"the replica is behind, at revision {new}")
            self._log(
                "the registry went back from revision %s to %s: the server has lost changes. Check "
                "the registry, and what was revoked lately.",
                *(old, new),
            )
        if new != old:
            self._activate(RedisState.of(stored, self._place))
        self._confirmed = asked

    def _apply(self, client: Client, notices: list[Notice]) -> None:
        """Reads what is different now: not the whole, which may be 100,000 keys."""
        for notice in notices:
            state, asked = self._active.state, time.monotonic()
            missed = count_of(notice.revision) - count_of(state.version) - 1
            if missed < -1 or notice.revision == state.version:
                continue  # it was sent before, or while the whole was read
            if not missed and notice.keys:
                found = client.read((), notice.keys)
                if count_of(found.revision) >= count_of(notice.revision):
                    self._activate(state.with_keys(notice.revision, found.keys))
                    self._confirmed = asked
                    continue  # else the server has lost changes
            self._wait(_chance.uniform(0, _SPREAD))
            self._read(client)

    def _activate(self, state: RedisState) -> None:
        before, old = self._active.state.version, self._active.state.problems
        self._active.activate(state)
        if before is not None:
            self._log("reloaded, at revision %s.", state.version, level=logging.INFO)
        new = [(name, why) for name, why in state.problems.items() if old.get(name) != why]
        for name, why in new[:_MOST_LOGGED]:
            self._log("the entry %s is refused: %s. The others stay active.", name, why)
        if len(new) > _MOST_LOGGED:
            self._log("%d more entries are refused.", len(new) - _MOST_LOGGED)

    def _write_learned(self, client: Client) -> None:
        if not self._active.learned or self._is_read_only or time.monotonic() < self._write_due:
            return
        learned = dict(islice(self._active.learned.copy().items(), _BATCH))
        try:
            write_learned(client, learned)
        except RefusedError as error:  # no reason to leave the server, which can still be read
            if str(error) != self._refusal:
                message = "what is learned cannot be written (%s). It is kept in memory.%s"
                self._log(message, error, error.fix)
            self._refusal = str(error)
            self._is_read_only = isinstance(error, ForbiddenError)
            self._write_due = time.monotonic() + _POLL
            return
        self._refusal = ""
        self._apply(client, client.notices(_TICK))  # of this change too
        self._active.activate(self._active.state, learned)

    def _use_fallback(self, problem: str, fix: str) -> None:
        if self._fallback is None:
            raise RegistryError(problem + fix)
        try:
            state, age = self._fallback.read()
        except RegistryError as error:
            nor = f"Nor is there a last good version: {error}"
            raise RegistryError(f"{problem} {nor}{fix}") from None
        self._confirmed = time.monotonic() - age
        self._is_lost = True
        self._activate(state)
        what = "%s The last good version, in %s, is active; it is %s old.%s"
        log(logging.ERROR, what, problem, self._fallback.name, _spelled(age), fix)

    def _lose(self, problem: str, fix: str = "") -> None:
        if not self._is_lost and self._turn is not None:
            self._is_lost = True
            age = _spelled(time.monotonic() - self._confirmed)
            message = "lost (%s). The last good version, %s old, stays active.%s"
            self._log(message, problem, age, fix)

    def _log(self, message: str, *values: object, level: int = logging.ERROR) -> None:
        log(level, f"%s: {message}", self._url.name, *values)

    def _wait(self, seconds: float) -> None:
        end = time.monotonic() + seconds
        while self._turn is not None and (left := end - time.monotonic()) > 0:
            time.sleep(min(left, _TICK))


def _spelled(seconds: float) -> str:
    """A time as people say it."""
    if seconds < 120:
        return f"{seconds:.1f} s"
    return f"{seconds / 60:.0f} min" if seconds < 7200 else f"{seconds / 3600:.0f} h"


_followers: WeakSet[Follower] = WeakSet()


def _restart_all() -> None:
    # At once, rather than at the first call: that call could not wait, and may come hours later.
    for follower in list(_followers):
        with suppress(Exception):
            follower.restart_after_fork()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_restart_all)
