"""Reads a registry in Redis, and writes a draft unless somebody else has changed it meanwhile."""

from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING, TypeVar

from openai_project_guard._errors import RegistryError
from openai_project_guard._keys import redact
from openai_project_guard._registry.changes import Draft
from openai_project_guard._registry.model import Place
from openai_project_guard._registry.redis import codec
from openai_project_guard._registry.redis.client import Client
from openai_project_guard._registry.redis.errors import ServerError
from openai_project_guard._registry.redis.state import RedisState
from openai_project_guard._registry.redis.url import parse_url
from openai_project_guard._registry.registry import Registry

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

    from openai_project_guard._registry.redis.client import Stored, Values

T = TypeVar("T")


def change(url: str, step: Callable[[Draft], T], *, create: bool = False) -> T:
    """See `stores.change()`."""
    results: list[T] = []

    def take_step(stored: Stored) -> Values:
        draft = Draft(_state(client, stored))
        results.append(step(draft))
        return _values(draft, stored)

    with _opened(url, writing=True, create=create) as client:
        client.update(client.read, take_step)
    return results[-1]


def find(url: str) -> RedisState:
    """See `stores.find()`."""
    with _opened(url, writing=True, create=True) as client:
        return _state(client, client.read())


def read(url: str) -> Registry:
    """See `stores.read()`."""
    registry = Registry()
    with _opened(url, writing=False) as client:
        registry.snapshot = _state(client, client.read()).snapshot
    return registry


@contextmanager
def _opened(url: str, *, writing: bool, create: bool = False) -> Iterator[Client]:
    where = parse_url(url)
    client: Client | None = None
    problem = ""
    try:
        client = Client(where, writing=writing)
        if not create and client.revision() is None:
            problem = f"there is no registry under the prefix {redact(where.prefix)}."
        else:
            yield client
    except ServerError as error:
        problem = f"{error}.{error.fix}"
    finally:
        if client is not None:
            client.close()
    if problem:
        done = "It cannot be changed" if writing else "It cannot be read"
        raise RegistryError(f"{where.name}: {done}: {problem}")


def _state(client: Client, stored: Stored) -> RedisState:
    return RedisState.of(stored, Place(client.url.name, client.url.name))


def _values(draft: Draft, stored: Stored) -> Values:
    """The new values of the two hashes."""
    projects = {
        name: fields and codec.project_value(fields)
        for name, fields in draft.new_projects().items()
    }
    keys = {
        name: codec.key_value(bindings) if bindings else None
        for name, bindings in draft.new_keys().items()
    }
    problem = _problem(codec.read_project, projects) or _problem(codec.read_key, keys)
    if problem:
        projects, keys = {}, {}  # there may be a key in them
        raise RegistryError(f"{draft.stored.place.name}: {problem}. Nothing was written.")
    for field in stored.keys:
        name = field.decode(errors="replace")
        spelled = name.lower()  # an entry in capital letters goes with its own
        if (spelled != name and spelled in keys) or (
            draft.is_replaced and spelled not in draft.keys
        ):
            keys[name] = None
    if draft.is_replaced:
        names = {field.decode(errors="replace") for field in stored.projects}
        projects |= dict.fromkeys(names - draft.projects.keys())
    return projects, keys


def _problem(read: Callable[[bytes, bytes], object], values: Mapping[str, str | None]) -> str:
    """Why a reader would refuse one of the new values; empty if none would."""
    for name, value in values.items():
        try:
            if value is not None:
                read(name.encode(), value.encode())
        except UnicodeEncodeError:  # noqa: PERF203 (the first one ends the loop)
            return f"{name} cannot be written so: there are characters in it that are not UTF-8"
        except codec.InvalidEntry as error:
            return f"{name} cannot be written so: {error}"
    return ""
