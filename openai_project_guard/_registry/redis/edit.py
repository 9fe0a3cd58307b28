"""Writes a draft into a registry in Redis, unless somebody else has changed that meanwhile."""

from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING, TypeVar

from openai_project_guard._errors import RegistryError
from openai_project_guard._keys import redact
from openai_project_guard._registry.changes import Draft, StoredState
from openai_project_guard._registry.model import KeyBindings, Place, ProjectFields
from openai_project_guard._registry.redis import codec
from openai_project_guard._registry.redis.client import Client, Fault
from openai_project_guard._registry.redis.state import State
from openai_project_guard._registry.redis.url import parse_url
from openai_project_guard._registry.registry import Registry

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping

    from openai_project_guard._registry.redis.client import Stored, Values

T = TypeVar("T")


def change(url: str, step: Callable[[Draft], T], *, create: bool = False) -> T:
    """See `stores.change()`."""
    results: list[T] = []

    def take_step(stored: Stored) -> Values:
        draft = Draft(_StoredInRedis(stored, Place(client.url.name)))
        results.append(step(draft))
        return _values(draft)

    with _opened(url, writing=True, create=create) as client:
        client.update(client.read, take_step)
    return results[-1]


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
            problem = f"there is no registry under the prefix {redact(where.prefix)}"
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
                project, fields = codec.read_project(name.encode(), value)
            except codec.InvalidEntry:  # noqa: PERF203 (adding it writes it anew)
                self.unfit.add(name)
            else:
                self.projects[project] = fields

    def key(self, fingerprint: str) -> KeyBindings | None:
        if fingerprint not in self._keys:
            return None
        try:
            return codec.read_key(fingerprint.encode(), self._keys[fingerprint])[1]
        except codec.InvalidEntry:
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
            f"{name}; to change the alias, copy the registry into a file, change it there, and "
            "copy it back"
        )


def _named(values: Mapping[bytes, bytes | None]) -> dict[str, bytes]:
    """The values by name. One that is not UTF-8 was not written by us, and is for redis-cli."""
    names = {
        field.decode("utf-8", "surrogateescape"): value or b"" for field, value in values.items()
    }
    return {name: value for name, value in names.items() if name.isprintable()}


def _values(draft: Draft) -> Values:
    """The new values of the two hashes."""
    projects = {
        name: fields and codec.project_value(fields) for name, fields in draft.new_projects()
    }
    keys = {name: codec.key_value(held) if held else None for name, held in draft.new_keys()}
    problem = _problem(codec.read_project, projects) or _problem(codec.read_key, keys)
    if problem:
        projects, keys = {}, {}  # there may be a key in them
        raise RegistryError(f"{draft.stored.place.name}: {problem}. Nothing was written.")
    return projects, keys


def _problem(read: Callable[[bytes, bytes], object], values: Mapping[str, str | None]) -> str:
    """Why a reader would refuse one of the new values; empty if none would."""
    for name, value in values.items():
        try:
            if value is not None:
                read(name.encode(), value.encode(errors="surrogatepass"))
        except codec.InvalidEntry as fault:  # noqa: PERF203 (the first one ends the loop)
            return f"{name} cannot be written so: {fault}"
    return ""
