"""Writes a draft into a registry in Redis, unless somebody else has changed that meanwhile."""

from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING, TypeVar

from openai_project_guard._errors import RegistryError
from openai_project_guard._registry.changes import Draft, StoredState
from openai_project_guard._registry.model import KeyBindings, Place, ProjectFields
from openai_project_guard._registry.redis.client import Client, Conflict, Fault
from openai_project_guard._registry.redis.codec import (
    InvalidEntry,
    key_value,
    project_value,
    read_key,
    read_project,
)
from openai_project_guard._registry.redis.state import State
from openai_project_guard._registry.redis.url import parse_url
from openai_project_guard._registry.registry import Registry

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping

    from openai_project_guard._registry.redis.client import Stored

T = TypeVar("T")
_ATTEMPTS = 100  # each lost one is another administrator's won one


def change(url: str, step: Callable[[Draft], T], *, create: bool = False) -> T:
    """See `stores.change()`."""
    with _opened(url, writing=True, create=create) as client:
        for _ in range(_ATTEMPTS):
            draft = Draft(_StoredInRedis(client.read(), Place(client.url.name)))
            result = step(draft)
            projects, keys = _values(draft)
            if not projects and not keys:
                return result
            try:
                client.commit(draft.stored.version, projects=projects, keys=keys)
            except Conflict:
                continue
            return result
    raise RegistryError(
        f"{parse_url(url).name}: others change the registry all the time. Nothing was written; "
        "try again."
    )


def find(url: str) -> StoredState:
    """See `stores.find()`."""
    with _opened(url, writing=True, create=True) as client:
        state = State.of(client.read(), Place(client.url.name))
    return StoredState(state.revision, state.snapshot, faults=state.faults)


def read(url: str) -> Registry:
    """See `stores.read()`."""
    registry = Registry()
    with _opened(url, writing=False) as client:
        registry.snapshot = State.of(client.read(), Place(client.url.name)).snapshot
    return registry


@contextmanager
def _opened(url: str, *, writing: bool, create: bool = False) -> Iterator[Client]:
    where = parse_url(url)
    client: Client | None = None
    problem = ""
    try:
        client = Client(where, writing=writing)
        if not create and client.revision() is None:
            problem = f"there is no registry under the prefix {where.prefix}"
        else:
            yield client
    except Fault as fault:
        problem = str(fault)
    finally:
        if client is not None:
            client.close()
    if problem:
        done = "It cannot be changed" if writing else "It cannot be read"
        raise RegistryError(f"{where.name}: {done}: {problem}.")


class _StoredInRedis:
    """What Redis holds at one revision; see `changes.StoredRegistry`."""

    word = "registry"

    def __init__(self, stored: Stored, place: Place) -> None:
        self.place = place
        self.version = stored.revision
        self.projects: dict[str, ProjectFields] = {}
        self.unfit: set[str] = set()
        self._keys = _named(stored.keys)
        for name, value in _named(stored.projects).items():
            try:
                project, fields = read_project(name.encode(), value)
            except InvalidEntry:  # noqa: PERF203 (adding it writes it anew)
                self.unfit.add(name)
            else:
                self.projects[project] = fields

    def key(self, fingerprint: str) -> KeyBindings | None:
        if fingerprint not in self._keys:
            return None
        try:
            return read_key(fingerprint.encode(), self._keys[fingerprint])[1]
        except InvalidEntry:
            return {}

    def keys(self) -> Iterable[str]:
        return self._keys

    def keys_of(self, projects: set[str]) -> Iterator[str]:
        for fingerprint, value in self._keys.items():
            # One that is not valid goes with a project that it names.
            names = self.key(fingerprint) or [name for name in projects if name.encode() in value]
            if not projects.isdisjoint(names):
                yield fingerprint

    def rename(self, name: str) -> str:
        return (
            f"{name}; to change the alias, pull the registry into a file, change it there, and "
            "push it"
        )


def _named(values: Mapping[bytes, bytes | None]) -> dict[str, bytes]:
    """The values by name. One that is not UTF-8 was not written by us, and is for redis-cli."""
    names = {
        field.decode("utf-8", "surrogateescape"): value or b"" for field, value in values.items()
    }
    return {name: value for name, value in names.items() if name.isprintable()}


def _values(draft: Draft) -> tuple[dict[str, str | None], dict[str, str | None]]:
    """The new values of the two hashes, each as a reader would take it."""
    projects = {
        name: None if fields is None else _valid(draft, read_project, name, project_value(fields))
        for name, fields in draft.new_projects()
    }
    keys = {
        name: None if not bindings else _valid(draft, read_key, name, key_value(bindings))
        for name, bindings in draft.new_keys()
    }
    return projects, keys


def _valid(draft: Draft, read: Callable[[bytes, bytes], object], name: str, value: str) -> str:
    problem = ""
    try:
        read(name.encode(), value.encode(errors="surrogatepass"))
    except InvalidEntry as fault:
        problem = str(fault)
    if problem:
        value = ""  # it may hold a key
        raise RegistryError(
            f"{draft.stored.place.name}: {name} cannot be written so: {problem}. "
            "Nothing was written."
        )
    return value
