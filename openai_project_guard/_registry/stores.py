"""Where registries are kept: opens, reads, describes and changes one, whatever keeps it.

A registry's address is a path or a URL. The URL's scheme says which store keeps it: a module of
this package, or an entry point of another.
"""

from __future__ import annotations

import os
import re
from typing import TYPE_CHECKING, Any, Protocol, TypeVar

from openai_project_guard._errors import RegistryError
from openai_project_guard._keys import redact
from openai_project_guard._registry.model import Place
from openai_project_guard._registry.source import Source

if TYPE_CHECKING:
    from collections.abc import Callable

    from openai_project_guard._registry.changes import Change, Draft, StoredState
    from openai_project_guard._registry.registry import Registry

Address = str | os.PathLike[str]
ENTRY_POINTS = "openai_project_guard.sources"
"""The entry-point group by which another package adds a store; the name is the URL's scheme.

What it names is a function that opens a source, or, where registries can be changed too, an object
with the methods of `Store`.
"""
SCHEMES = ("redis", "rediss", "unix")
"""The schemes of the URLs that this package knows itself."""

_SCHEME = re.compile(r"\A([A-Za-z][A-Za-z0-9+.-]+)://")
T = TypeVar("T")


class Store(Protocol):
    """Keeps the registries of one kind of address. A module may be one.

    The methods do what the functions of the same names say.
    """

    def open_source(self, address: str) -> Source: ...

    def read(self, address: str) -> Registry: ...

    def find(self, address: str) -> StoredState: ...

    def change(self, address: str, step: Callable[[Draft], T], *, create: bool = False) -> T: ...

    def describe(self, address: str) -> Place: ...


def open_source(address: Address) -> Source:
    """A registry that is kept up to date.

    Raises:
        RegistryError: it cannot be read, or nothing that is installed knows such a URL.
    """
    source = _store(address).open_source(os.fspath(address))
    return source if isinstance(source, Source) else _Adapted(source, describe(address))


def read(address: Address) -> Registry:
    """The registry as it is now; it is not kept up to date.

    Raises:
        RegistryError: it is not there, is not valid or cannot be read.
    """
    return _store(address).read(os.fspath(address))


def find(address: Address) -> StoredState:
    """What a change would find; nothing where there is no registry yet.

    Raises:
        RegistryError: a file is not valid, or the registry cannot be read.
    """
    return _store(address).find(os.fspath(address))


def describe(address: Address) -> Place:
    """Where the registry is, as it may be shown: without a password, and with a file's lines.

    Raises:
        RegistryError: it is a URL that cannot be read.
    """
    try:
        store = _store(address)
    except RegistryError:  # of an unknown scheme
        return _place_of_url(os.fspath(address))
    return store.describe(os.fspath(address))


def name_of(address: Address) -> str:
    """What the registry is called, even if it is a URL that cannot be read."""
    try:
        return describe(address).name
    except RegistryError:  # there may be a password in it
        return os.fspath(address).partition("://")[0] + "://…"


def is_url(address: Address) -> bool:
    """Whether it is a URL and not a path."""
    return _SCHEME.match(os.fspath(address)) is not None


def is_writable(address: Address) -> bool:
    """Whether the registry can be changed there."""
    try:
        return not isinstance(_store(address), _ReadOnly)
    except RegistryError:  # of an unknown scheme
        return False


def add(address: Address, project: str, fingerprint: str, **fields: Any) -> Change:
    """Adds a key to a registry; makes the registry and the project where they are missing.

    Args:
        address: where the registry is.
        project: the project's id, or an alias that the registry knows.
        fingerprint: the key's fingerprint.
        fields: see `Draft.add()`.

    Raises:
        RegistryError: the registry is not valid or cannot be written, or see `Draft.add()`. The
            registry is as it was then.
    """
    return change(address, lambda draft: draft.add(project, fingerprint, **fields), create=True)


def remove(address: Address, fingerprint: str, *, project: str | None = None) -> int:
    """Removes a key from a registry, from one project (id or alias) or from all; see `change()`.

    Returns:
        How many entries were removed.
    """
    return change(address, lambda draft: draft.remove_key(fingerprint, project=project))


def remove_project(address: Address, project: str) -> None:
    """Removes a project (id or alias) and its keys from a registry; see `change()`."""
    change(address, lambda draft: draft.remove_projects([project]))


def change(address: Address, step: Callable[[Draft], T], *, create: bool = False) -> T:
    """Several changes in one: all are written, or none after an error.

    Args:
        address: where the registry is; of a symlink, the file behind it is replaced.
        step: makes the changes. If somebody else changes the registry before they are written, it
            is called again with what is there then: no change of another process is lost.
        create: make the registry, and a file's directory, where they are missing.

    Returns:
        What the step returned.

    Raises:
        RegistryError: the registry is not valid or cannot be written, or the step refused.
    """
    return _store(address).change(os.fspath(address), step, create=create)


def _store(address: Address) -> Store:
    scheme = _SCHEME.match(os.fspath(address))
    if scheme is None:
        from openai_project_guard._registry import file

        return file
    if scheme[1].lower() in SCHEMES:
        from openai_project_guard._registry import redis

        return redis
    return _installed(scheme[1].lower())


def _installed(scheme: str) -> Store:
    from importlib.metadata import entry_points

    known = entry_points(group=ENTRY_POINTS)
    for entry_point in known.select(name=scheme):
        try:
            store: Any = entry_point.load()
        except (AttributeError, ImportError) as error:
            raise RegistryError(
                f"The source for {scheme}:// URLs cannot be imported: {error}."
            ) from error
        return _ReadOnly(store) if callable(store) else store
    raise RegistryError(
        f"No source is installed for registries at {scheme}:// URLs. Known: a path"
        + "".join(f", {name}://" for name in sorted({*SCHEMES, *known.names}))
        + "."
    )


def _place_of_url(url: str) -> Place:
    scheme, _, rest = url.partition("://")
    host, *options = re.split("[?#]", rest)
    if any("@" in option for option in options):  # a password may have any of these in it
        return Place(f"{scheme}://…")
    return Place(redact(f"{scheme}://{host.rpartition('@')[2]}"))


class _ReadOnly:
    """The store behind a function that opens a source."""

    def __init__(self, opener: Callable[[str], Any]) -> None:
        self._opener = opener

    def open_source(self, address: str) -> Source:
        source: Source = self._opener(address)
        return source

    def read(self, address: str) -> Registry:
        return self.open_source(address).registry

    def find(self, address: str) -> StoredState:
        raise self._refusal(address)

    def change(self, address: str, step: Callable[[Draft], T], *, create: bool = False) -> T:
        del step, create
        raise self._refusal(address)

    def describe(self, address: str) -> Place:
        return _place_of_url(address)

    def _refusal(self, address: str) -> RegistryError:
        return RegistryError(
            f"{self.describe(address).name}: a registry can be read there, not changed."
        )


class _Adapted(Source):
    """A source that has no more than a registry and `refresh()`."""

    def __init__(self, source: Any, place: Place) -> None:
        self.name = place.name
        self.registry = source.registry
        self._refresh = source.refresh

    def refresh(self, now: float) -> None:
        self._refresh(now)
