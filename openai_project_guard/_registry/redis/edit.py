"""Writes a draft into a registry in Redis, unless somebody else has changed that meanwhile."""

from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING, TypeVar

from openai_project_guard._errors import RegistryError
from openai_project_guard._keys import fingerprint_of
from openai_project_guard._registry.changes import Draft, StoredState
from openai_project_guard._registry.model import KeyBindings, Place, ProjectFields
from openai_project_guard._registry.redis.client import Conflict, Fault, Store
from openai_project_guard._registry.redis.codec import Content
from openai_project_guard._registry.redis.entries import (
    Unfit,
    read_key,
    read_project,
    written_key,
    written_project,
)
from openai_project_guard._registry.redis.url import read_address
from openai_project_guard._registry.registry import Registry

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

T = TypeVar("T")
_ATTEMPTS = 100  # each lost one is another administrator's won one


def change(url: str, step: Callable[[Draft], T], *, create: bool = False) -> T:
    """See `edit.change()`."""
    with _opened(url, writing=True, create=create) as store:
        for _ in range(_ATTEMPTS):
            draft = Draft(_StoredInRedis(store))
            result = step(draft)
            projects, keys = _values(draft)
            if not projects and not keys:
                return result
            try:
                store.commit(draft.stored.version, projects=projects, keys=keys)
            except Conflict:
                continue
            return result
    raise RegistryError(
        f"{read_address(url).name}: others change the registry all the time. Nothing was written; "
        "try again."
    )


def find(url: str) -> StoredState:
    """See `edit.find()`."""
    with _opened(url, writing=True, create=True) as store:
        content = _content(store)
    disputed = {fingerprint_of(digest): held for digest, held in content.disputed.items()}
    return StoredState(content.revision, content.snapshot, disputed, content.faults)


def read(url: str) -> Registry:
    """See `edit.read()`."""
    registry = Registry()
    with _opened(url, writing=False) as store:
        registry.snapshot = _content(store).snapshot
    return registry


def _content(store: Store) -> Content:
    return Content.of(store.read(), Place(store.address.name))


@contextmanager
def _opened(url: str, *, writing: bool, create: bool = False) -> Iterator[Store]:
    address = read_address(url)
    store: Store | None = None
    problem = ""
    try:
        store = Store(address, writing=writing)
        if not create and store.revision() is None:
            problem = f"there is no registry under the prefix {address.prefix}"
        else:
            yield store
    except Fault as fault:
        problem = str(fault)
    finally:
        if store is not None:
            store.close()
    if problem:
        done = "It cannot be changed" if writing else "It cannot be read"
        raise RegistryError(f"{address.name}: {done}: {problem}.")


class _StoredInRedis:
    """What stands in Redis at one revision; see `StoredRegistry`. It reads what it needs."""

    word = "registry"

    def __init__(self, store: Store) -> None:
        self._store = store
        self.place = Place(store.address.name)
        self.version = store.revision()
        self.projects: dict[str, ProjectFields] = {}
        self.unfit: set[str] = set()
        self._all: dict[str, bytes] | None = None
        for field, value in _named(store.projects()).items():
            try:
                project, notes = read_project(field.encode(), value)
            except Unfit:  # noqa: PERF203 (adding it writes it anew)
                self.unfit.add(field)
            else:
                self.projects[project] = notes

    def key(self, fingerprint: str) -> KeyBindings | None:
        value = self._store.key(fingerprint) if self._all is None else self._all.get(fingerprint)
        return None if value is None else _holdings(fingerprint, value)

    def keys(self) -> Iterable[str]:
        return self._values()

    def keys_of(self, projects: set[str]) -> Iterable[str]:
        for fingerprint, value in self._values().items():
            bindings = _holdings(fingerprint, value)
            # One that is not in order goes with a project that it names.
            names = bindings or [name for name in projects if name.encode() in value]
            if not projects.isdisjoint(names):
                yield fingerprint

    def rename(self, name: str) -> str:
        return (
            f"{name}; to change the alias, pull the registry into a file, change it there, and "
            "push it"
        )

    def _values(self) -> dict[str, bytes]:
        if self._all is None:
            self._all = _named(self._store.keys())
        return self._all


def _named(values: dict[bytes, bytes]) -> dict[str, bytes]:
    """The values by name. One that is not UTF-8 was not written by us, and is for redis-cli."""
    names = {field.decode("utf-8", "surrogateescape"): value for field, value in values.items()}
    return {name: value for name, value in names.items() if name.isprintable()}


def _holdings(fingerprint: str, value: bytes) -> KeyBindings:
    """What stands beside a key; nothing for an entry that is not in order."""
    try:
        return read_key(fingerprint.encode(), value)[1]
    except Unfit:
        return {}


def _values(draft: Draft) -> tuple[dict[str, str | None], dict[str, str | None]]:
    """The new values of the two hashes, each as a reader would take it."""
    projects = {
        name: None if notes is None else _fit(draft, "project", name, written_project(notes))
        for name, notes in draft.new_projects()
    }
    keys = {
        name: None if not held else _fit(draft, "key", name, written_key(held))
        for name, held in draft.new_keys()
    }
    return projects, keys


def _fit(draft: Draft, what: str, name: str, value: str) -> str:
    problem = ""
    read: Callable[[bytes, bytes], object] = read_project if what == "project" else read_key
    try:
        read(name.encode(), value.encode(errors="surrogatepass"))
    except Unfit as fault:
        problem = str(fault)
    if problem:
        value = ""  # it may hold a key
        raise RegistryError(
            f"{draft.stored.place.name}: the {what} {name} cannot be written so: {problem}. "
            "Nothing was written."
        )
    return value
