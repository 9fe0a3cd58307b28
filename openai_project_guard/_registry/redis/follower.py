"""The thread that keeps a registry up to date with Redis: no call ever waits for it."""

from __future__ import annotations

import random
import time
from threading import Event, Thread
from typing import TYPE_CHECKING

from openai_project_guard._errors import RegistryError
from openai_project_guard._registry.model import Place
from openai_project_guard._registry.redis import messages as telling
from openai_project_guard._registry.redis.client import Fault, Forbidden, Refused, Store
from openai_project_guard._registry.redis.codec import Content, count_of
from openai_project_guard._registry.redis.learning import Learned, settle
from openai_project_guard._registry.redis.state import InForce
from openai_project_guard._registry.source import Status

if TYPE_CHECKING:
    from openai_project_guard._registry.redis.codec import Change
    from openai_project_guard._registry.redis.fallback import Spare
    from openai_project_guard._registry.redis.url import Address
    from openai_project_guard._types import Destination

_TICK = 0.2  # seconds until what was learned, or the end of the process, is noticed
_LOOK = 5.0  # seconds between two looks at the revision
_WHOLE = 60.0  # seconds between two full comparisons
_SHARE = 1000  # a full comparison takes at most one part in so many of the time
_CROWD = 0.3  # seconds within which a fleet reads after a change too large for a message
_SHORTEST, _LONGEST = 0.1, 3.0  # seconds between two attempts to connect


class Follower:
    """The thread and what it knows.

    Args:
        address: where the registry is.
        spare: the file for the last good snapshot.

    Attributes:
        registry: the registry that it keeps.
    """

    def __init__(self, address: Address, spare: Spare | None) -> None:
        self._address = address
        self._place = Place(address.name)
        self._in_force = InForce(self._place)
        self.registry = self._in_force.registry
        self._spare = spare
        self._touched = time.monotonic()  # when Redis had what we have
        self._is_lost = False
        self._is_read_only = False
        self._settle_due = 0.0
        self._refusal = ""  # why what was learned cannot be written
        self._store: Store | None = None
        self._stopped = Event()

    def open(self) -> None:
        """Loads the registry and starts the thread.

        Raises:
            RegistryError: it cannot be loaded, and there is no last good snapshot.
        """
        problem = ""
        try:
            self._connect()
        except Fault as fault:
            problem = f"{self._address.name}: the registry cannot be loaded: {fault}."
        if problem:
            self._make_do(problem)
        self.start()

    def start(self) -> None:
        """Starts the thread; after a fork, the child's own."""
        Thread(target=self._run, name="openai-project-guard redis", daemon=True).start()

    def stop(self) -> None:
        """Has the thread end; it is not waited for."""
        self._stopped.set()

    def renew_after_fork(self) -> None:
        """Leaves everything to the parent that is the parent's, and starts anew."""
        if self._stopped.is_set():
            return
        self._stopped = Event()
        self._in_force.renew_after_fork()
        store, self._store = self._store, None
        if store is not None:
            store.close()
        self.start()

    def status(self) -> Status:
        """How the source stands now."""
        return Status(
            "stale" if self._is_lost else "current",
            max(0.0, time.monotonic() - self._touched),
            len(self.registry),
            len(self._in_force.content.faults),
        )

    def remember(
        self, key_digest: bytes, key_hint: str, project: str, destination: Destination | None
    ) -> bool:
        """Takes in what the server said of a key. It is written soon, and holds until then."""
        if self._is_read_only:
            return False
        return self._in_force.learn(key_digest, Learned(key_hint, project, destination))

    # The thread

    def _run(self) -> None:
        pause = _SHORTEST
        stopped = self._stopped  # this thread's own, whatever a fork does
        while not stopped.is_set():
            try:
                if self._store is None:
                    self._connect()
                    self._say_found()
                pause = _SHORTEST
                self._follow(stopped)
            except Fault as fault:
                self._lose(str(fault), stopped)
            except Exception as error:  # or the registry would grow old and nobody be told
                self._lose(f"{type(error).__name__}: {error}", stopped)
            store, self._store = self._store, None
            if store is not None:
                store.close()
            stopped.wait(pause * random.uniform(0.5, 1))  # noqa: S311 (spreads a fleet's attempts)
            pause = min(2 * pause, _LONGEST)

    def _connect(self) -> None:
        store = Store(self._address)
        try:
            store.subscribe()  # first: a change during the reading is told then
            self._read(store)
        except BaseException:
            store.close()
            raise
        self._store = store

    def _follow(self, stopped: Event) -> None:
        store = self._store
        assert store is not None
        started = time.monotonic()
        whole_due = started + _WHOLE * random.uniform(0.75, 1.25)  # noqa: S311
        look_due = started + _LOOK
        while not stopped.is_set():
            told = store.messages(_TICK)
            if told:
                self._touched = time.monotonic()
                if not self._has_applied(told):
                    stopped.wait(random.uniform(0, _CROWD))  # noqa: S311
                    self._read(store)
            now = time.monotonic()
            if self._in_force.learned and not self._is_read_only and now >= self._settle_due:
                self._settle(store)
                now = time.monotonic()
            if now >= look_due:
                if store.revision() != self._in_force.content.revision and not self._has_applied(
                    store.messages(_TICK)  # it may be on its way
                ):
                    self._read(store)
                self._touched = now
                look_due = now + _LOOK
            if now >= whole_due:
                self._read(store)
                took = time.monotonic() - now
                whole_due = now + max(_WHOLE, _SHARE * took) * random.uniform(0.75, 1.25)  # noqa: S311
            if self._spare is not None:
                self._spare.keep(self._in_force.content)

    def _read(self, store: Store) -> None:
        """Reads the whole registry and puts it in force."""
        asked = time.monotonic()
        raw = store.read()
        old = self._in_force.content
        if raw.revision is None:
            if old.revision is None:
                raise Fault(
                    f"there is no registry under the prefix {self._address.prefix}. "
                    "`openai-project-guard register` or `copy` makes one"
                )
            raise Fault("the server is there, but has lost the registry")
        # Another history of as many changes: some that this process has seen are not in it.
        if old.revision not in (None, raw.revision) and count_of(raw.revision) <= count_of(
            old.revision
        ):
            if not store.is_primary:
                raise Fault(f"the replica is behind, at revision {raw.revision}")
            telling.went_back(self._address.name, old.revision, raw.revision)
        if not old.is_of(raw):
            self._take(Content.of(raw, self._place))
        self._touched = asked

    def _has_applied(self, told: list[Change | None]) -> bool:
        """Whether what was told leads from what is in force to the latest revision."""
        content = self._in_force.after(told)
        if content is None:
            return False
        if content is not self._in_force.content:
            self._take(content)
        return True

    def _take(self, content: Content) -> None:
        old = self._in_force.content
        self._in_force.take(content)
        telling.changed(self._address.name, old, content)

    # What was learned

    def _settle(self, store: Store) -> None:
        for key_digest, learned in list(self._in_force.learned.items()):
            try:
                settled, others = settle(store, key_digest, learned)
            except Refused as fault:  # no reason to leave the server, which can still be read
                if str(fault) != self._refusal:
                    telling.cannot_share(self._address.name, str(fault))
                self._refusal = str(fault)
                self._is_read_only = isinstance(fault, Forbidden)
                self._settle_due = time.monotonic() + _LOOK
                return
            self._refusal = ""
            if settled == "written":
                continue  # it goes when the message comes
            self._read(store)
            self._in_force.forget(key_digest)
            if settled == "disputed":
                telling.disputed(learned, others)

    # Faults

    def _make_do(self, problem: str) -> None:
        """Puts the last good snapshot in force."""
        if self._spare is None:
            raise RegistryError(problem)
        try:
            content, age = self._spare.read()
        except RegistryError as error:
            problem = f"{problem} Nor is there a last good snapshot: {error}"
        else:
            self._touched = time.monotonic() - age
            self._take(content)
            self._is_lost = True
            telling.loaded_from_spare(problem, self._spare.name, age)
            return
        raise RegistryError(problem)

    def _lose(self, problem: str, stopped: Event) -> None:
        if self._is_lost or stopped.is_set():
            return
        self._is_lost = True
        telling.lost(self._address.name, problem, time.monotonic() - self._touched)

    def _say_found(self) -> None:
        if self._is_lost:
            self._is_lost = False
            telling.found(self._address.name, self._in_force.content.revision)
