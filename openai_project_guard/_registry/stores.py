"""Changes a registry, wherever it is: a file, or Redis.

A registry's address is a path or a `redis://`, `rediss://` or `unix://` URL. `draft` decides what a
change makes of the registry, and one module a medium writes that down: `rewrite` a file,
`redis.edit` Redis.
"""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Protocol, TypeVar

from openai_project_guard._registry.model import Place
from openai_project_guard._registry.registry import Registry

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from openai_project_guard._registry.changes import Change, Draft, StoredState

Address = str | os.PathLike[str]
SCHEMES = ("redis://", "rediss://", "unix://")
T = TypeVar("T")


class _Writer(Protocol):
    """What the module of a medium has."""

    def change(self, address: str, step: Callable[[Draft], T], *, create: bool = False) -> T: ...

    def find(self, address: str) -> StoredState: ...


def add(
    address: Address,
    project: str,
    fingerprint: str,
    *,
    alias: str | None = None,
    organization: str | None = None,
    hint: str | None = None,
    note: str | None = None,
    also: bool = False,
) -> Change:
    """Adds a key to a registry; makes the registry and the project where they are missing.

    Args:
        address: where the registry is; of a symlink, the file behind it is replaced.
        project: the project's id, or an alias that the registry knows.
        fingerprint: the key's fingerprint.
        alias: the project's alias, for a project that is not there yet.
        organization: the project's organization; `None` leaves it as it is.
        hint: the key's hint; `None` leaves it as it is.
        note: the key's note; `None` leaves it as it is.
        also: let the key stand under this project beside others (a legacy user key).

    Returns:
        `added`, or, for a key that stands under the project already, `updated` or `unchanged`.

    Raises:
        RegistryError: the registry is not valid or cannot be written, the project or alias does
            not fit, or the key stands under another project. The registry is as it was then.
    """
    return change(
        address,
        lambda draft: draft.add(
            project,
            fingerprint,
            alias=alias,
            organization=organization,
            hint=hint,
            note=note,
            also=also,
        ),
        create=True,
    )


def remove(address: Address, fingerprints: Iterable[str], *, project: str | None = None) -> int:
    """Removes keys from a registry, from one project (id or alias) or from all.

    Returns:
        How many entries were removed.

    Raises:
        RegistryError: the registry is not valid or cannot be written.
    """
    fingerprints = tuple(fingerprints)
    return change(
        address,
        lambda draft: sum(draft.remove_key(key, project=project) for key in fingerprints),
    )


def remove_project(address: Address, project: str) -> None:
    """Removes a project (id or alias) and its keys from a registry.

    Raises:
        RegistryError: the registry is not valid or cannot be written, or has no such project.
    """
    change(address, lambda draft: draft.remove_projects([project]))


def change(address: Address, step: Callable[[Draft], T], *, create: bool = False) -> T:
    """Several changes in one: all are written, or none after an error.

    Args:
        address: where the registry is.
        step: makes the changes. If somebody else changes the registry before they are written, it
            is called again with what is there then: nobody's change is lost.
        create: make the registry, and a file's directory, where they are missing.

    Returns:
        What the step returned.

    Raises:
        RegistryError: the registry is not valid or cannot be written, or the step refused.
    """
    return _writer(address).change(os.fspath(address), step, create=create)


def find(address: Address) -> StoredState:
    """What a change would find; nothing where there is no registry yet.

    Raises:
        RegistryError: a file is not valid, or the registry cannot be read.
    """
    return _writer(address).find(os.fspath(address))


def read(address: Address) -> Registry:
    """The registry as it is now; it is not kept up to date.

    Raises:
        RegistryError: it is not there, is not valid or cannot be read.
    """
    if not is_redis(address):
        return Registry.from_file(address)
    from openai_project_guard._registry.redis.edit import read

    return read(os.fspath(address))


def place_of(address: Address) -> Place:
    """Where the registry is, as it may be shown: without a password, and with a file's lines.

    Raises:
        RegistryError: it is a URL that cannot be read.
    """
    if not is_redis(address):
        from openai_project_guard._registry.file.place import FilePlace

        return FilePlace(address)
    from openai_project_guard._registry.redis.url import parse_url

    return Place(parse_url(os.fspath(address)).name)


def is_redis(address: Address) -> bool:
    """Whether it is the URL of a registry in Redis."""
    return os.fspath(address).lower().startswith(SCHEMES)


def _writer(address: Address) -> _Writer:
    if is_redis(address):
        from openai_project_guard._registry.redis import edit

        return edit
    from openai_project_guard._registry.file import edit as rewrite

    return rewrite
