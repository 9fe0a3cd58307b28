"""Keeps a registry up to date with Redis, in a thread of its own: no call ever waits for it."""

from __future__ import annotations

import logging
import os
import random
import time
from contextlib import suppress
from threading import Event, Lock, Thread
from typing import TYPE_CHECKING, Literal, NamedTuple
from weakref import WeakSet

from openai_project_guard._errors import RegistryError
from openai_project_guard._registry import Place, Project, Registry, Row, Snapshot
from openai_project_guard._sources.draft import Holding
from openai_project_guard._sources.redis.content import Change, Content, count_of
from openai_project_guard._sources.redis.learned import Learned, settle
from openai_project_guard._sources.redis.store import Fault, Refused, Store

if TYPE_CHECKING:
    from openai_project_guard._outgoing import Destination
    from openai_project_guard._sources.redis.address import Address
    from openai_project_guard._sources.redis.spare import Spare

_TICK = 0.2  # seconds until what was learned, or the end of the process, is noticed
_LOOK = 5.0  # seconds between two looks at the revision
_WHOLE = 60.0  # seconds between two full comparisons
_SHARE = 1000  # a full comparison takes at most one part in so many of the time
_CROWD = 0.3  # seconds within which a fleet reads after a change too large for a message
_SHORTEST, _LONGEST = 0.1, 3.0  # seconds between two attempts to connect
_MOST_LEARNED = 10_000
_MOST_SHOWN = 10  # refused entries named in the log at a time

logger = logging.getLogger("openai_project_guard")

State = Literal["connected", "lost"]


class Status(NamedTuple):
    """How a source stands, for a dashboard.

    Attributes:
        state: `connected`, or `lost` while the last good snapshot stands in for Redis.
        age: seconds since Redis was last known to hold what is in force.
        keys: how many keys the registry has.
        faults: how many entries are refused.
    """

    state: State
    age: float
    keys: int
    faults: int


class Follower:
    """The thread and what it knows.

    Args:
        address: where the registry is.
        spare: the file for the last good snapshot.

    Attributes:
        registry: the registry that it keeps.
    """

    def __init__(self, address: Address, spare: Spare | None) -> None:
        self.registry = Registry()
        self._address = address
        self._place = Place(address.name)
        self._spare = spare
        self._spare_due = 0.0
        self._spare_has: str | None = None  # the revision that the file has
        self._spare_fault = ""
        self._content = Content(None, Snapshot())
        self._touched = time.monotonic()  # when Redis had what we have
        self._is_lost = False
        self._store: Store | None = None
        self._learned: dict[bytes, Learned] = {}
        self._is_read_only = False
        self._swapping = Lock()  # held while a snapshot is put in force
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
        self._swapping, self._stopped = Lock(), Event()
        store, self._store = self._store, None
        if store is not None:
            store.close()
        self.start()

    def status(self) -> Status:
        """How the source stands now."""
        return Status(
            "lost" if self._is_lost else "connected",
            max(0.0, time.monotonic() - self._touched),
            len(self.registry),
            len(self._content.faults),
        )

    def remember(
        self, key_digest: bytes, key_hint: str, project: str, destination: Destination | None
    ) -> bool:
        """Takes in what the server said of a key. It is written soon, and holds until then."""
        if self._is_read_only:
            return False
        with self._swapping:
            if self._content.has(key_digest, project) or key_digest in self._learned:
                return True
            if len(self._learned) >= _MOST_LEARNED:
                return False
            self._learned[key_digest] = Learned(key_hint, project, destination)
            self._put_in_force()
        return True

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
            if self._learned and not self._is_read_only:
                self._settle(store)
            now = time.monotonic()
            if now >= look_due:
                if store.revision() != self._content.revision and not self._has_applied(
                    store.messages(_TICK)  # it may be on its way
                ):
                    self._read(store)
                self._touched = now
                look_due = now + _LOOK
            if now >= whole_due:
                self._read(store)
                took = time.monotonic() - now
                whole_due = now + max(_WHOLE, _SHARE * took) * random.uniform(0.75, 1.25)  # noqa: S311
            self._renew_spare(now)

    def _read(self, store: Store) -> None:
        """Reads the whole registry and puts it in force."""
        asked = time.monotonic()
        raw = store.read()
        old = self._content
        if raw.revision is None:
            if old.revision is None:
                raise Fault(
                    f"there is no registry under the prefix {self._address.prefix}. "
                    "`openai-project-guard register` or `push` makes one"
                )
            raise Fault("the server is there, but has lost the registry")
        # Another history of as many changes: some that this process has seen are not in it.
        if old.revision not in (None, raw.revision) and count_of(raw.revision) <= count_of(
            old.revision
        ):
            if not store.is_primary:
                raise Fault(f"the replica is behind, at revision {raw.revision}")
            logger.error(
                "%s: the registry went back from revision %s to %s: the server has lost changes. "
                "Check the registry, and what was revoked lately.",
                self._address.name,
                old.revision,
                raw.revision,
            )
        if not old.is_of(raw):
            self._take(Content.of(raw, self._place))
        self._touched = asked

    def _has_applied(self, told: list[Change | None]) -> bool:
        """Whether what was told leads from what is in force to the latest revision."""
        revisions = [change.after for change in told if change is not None]
        known = self._content.revision
        if known in revisions:  # told before, or while the whole was read
            told = told[revisions.index(known) + 1 :]
        content: Content | None = self._content
        for change in told:
            content = content.after(change, self._place) if content and change else None
        if content is None or not revisions:
            return False
        if content is not self._content:
            self._take(content)
        return True

    def _take(self, content: Content) -> None:
        old, self._content = self._content, content
        with self._swapping:
            for key_digest, learned in [*self._learned.items()]:
                if content.has(key_digest, learned.project):
                    del self._learned[key_digest]
            self._put_in_force()
        _tell_faults(self._address.name, content.faults, old.faults)
        _tell_disputes(self._address.name, content.disputed, old.disputed)

    def _put_in_force(self) -> None:
        """Swaps the snapshot; what was learned and is not written yet stands in it too."""
        content, snapshot = self._content.snapshot, self._content.snapshot
        if self._learned:
            snapshot = Snapshot()
            snapshot.rows, snapshot.accounts = content.rows.copy(), content.accounts
            snapshot.projects = content.projects.copy()
            for key_digest, learned in self._learned.items():
                if key_digest in content.rows:
                    continue  # another's word; whose it is, is about to be settled
                project = content.projects.get(learned.project) or Project(
                    learned.project, Place("what was learned from the server's answer")
                )
                if project.id not in snapshot.projects:
                    snapshot.add_project(project)
                snapshot.add_key(key_digest, Row(project, learned.hint, "learned"))
        self.registry.snapshot = snapshot

    # What was learned

    def _settle(self, store: Store) -> None:
        for key_digest, learned in list(self._learned.items()):
            try:
                settled, others = settle(store, key_digest, learned)
            except Refused as fault:
                self._is_read_only = True
                logger.error(
                    "%s: what is learned cannot be written (%s). It is kept in memory.",
                    self._address.name,
                    fault,
                )
                return
            if settled == "written":
                continue  # it goes when the message comes
            with self._swapping:
                self._learned.pop(key_digest, None)
            self._read(store)
            with self._swapping:
                self._put_in_force()
            if settled == "disputed":
                _tell_observers(learned, others)

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
            self._spare_has = content.revision
            self._take(content)
            self._is_lost = True
            logger.error(
                "%s The last good snapshot, %s, is in force; it is %s old.",
                problem,
                self._spare.name,
                _spelled(age),
            )
            return
        raise RegistryError(problem)

    def _lose(self, problem: str, stopped: Event) -> None:
        if self._is_lost or stopped.is_set():
            return
        self._is_lost = True
        logger.error(
            "%s: lost (%s). The last good snapshot, %s old, stays in force.",
            self._address.name,
            problem,
            _spelled(time.monotonic() - self._touched),
        )

    def _say_found(self) -> None:
        if self._is_lost:
            self._is_lost = False
            revision = self._content.revision
            logger.info("%s: in touch again, at revision %s.", self._address.name, revision)

    def _renew_spare(self, now: float) -> None:
        content = self._content
        if self._spare is None or self._spare_has == content.revision or now < self._spare_due:
            return
        fault = ""
        try:
            self._spare.renew(content)
            self._spare_has = content.revision
        except (RegistryError, OSError) as error:
            fault = f"The last good snapshot cannot be kept: {error}"
        if fault and fault != self._spare_fault:
            logger.error("%s", fault)
        self._spare_fault = fault
        # A large registry that often changes is not written after each change, but every so often.
        done = time.monotonic()
        self._spare_due = done + max(_LOOK if fault else 0.0, 20 * (done - now))


_followers: WeakSet[Follower] = WeakSet()


def follow(address: Address, spare: Spare | None) -> Follower:
    """A follower that has loaded the registry, and goes on in a child after a fork.

    Raises:
        RegistryError: the registry cannot be loaded, and there is no last good snapshot.
    """
    follower = Follower(address, spare)
    follower.open()
    _followers.add(follower)
    return follower


def _renew_all_after_fork() -> None:
    # At once, rather than at the first call: that call could not wait, and may come hours later.
    for follower in list(_followers):
        with suppress(Exception):
            follower.renew_after_fork()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_renew_all_after_fork)


def _tell_faults(name: str, faults: dict[str, str], known: dict[str, str]) -> None:
    new = {entry: reason for entry, reason in faults.items() if known.get(entry) != reason}
    for entry, reason in list(new.items())[:_MOST_SHOWN]:
        logger.error("%s: the entry %s is refused: %s. The others stand.", name, entry, reason)
    if len(new) > _MOST_SHOWN:
        logger.error("%s: %d more entries are refused.", name, len(new) - _MOST_SHOWN)


def _tell_disputes(
    name: str,
    disputed: dict[bytes, dict[str, Holding]],
    known: dict[bytes, dict[str, Holding]],
) -> None:
    for key_digest in disputed.keys() - known.keys():
        holdings = disputed[key_digest]
        logger.error(
            "%s: the key %s was learned for %s: it belongs to none of them now. Register it where "
            "it belongs.",
            name,
            next(iter(holdings.values())).hint,
            " and for ".join(holdings),
        )


def _tell_observers(learned: Learned, others: tuple[str, ...]) -> None:
    from openai_project_guard import _observers
    from openai_project_guard._verdict import Verdict

    where = learned.destination
    _observers.tell(
        Verdict(
            outcome="allowed",
            reason="drift",
            expected=others,
            actual=learned.project,
            key_hint=learned.hint,
            method=where.method if where else "",
            host=where.host if where else "",
            path=where.path if where else "",
            transport=where.transport if where else "http",
        )
    )


def _spelled(seconds: float) -> str:
    if seconds < 120:
        return f"{seconds:.1f} s"
    return f"{seconds / 60:.0f} min" if seconds < 7200 else f"{seconds / 3600:.0f} h"
