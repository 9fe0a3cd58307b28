"""Where registry entries come from: one module a source, and the face that they share."""

from __future__ import annotations

import re
from os import PathLike, fspath
from typing import Protocol

from openai_project_guard._errors import RegistryError
from openai_project_guard._registry.registry import Registry

ENTRY_POINTS = "openai_project_guard.sources"
"""The entry-point group by which another package adds a source; the name is the URL's scheme."""

_URL = re.compile(r"([a-z][a-z0-9+.-]+)://", re.IGNORECASE)


class Source(Protocol):
    """A registry that something keeps up to date.

    A source is made by a function of one argument, the URL that names it, which raises
    `RegistryError` if it cannot be read. From then on its faults are logged, and what it gave last
    stays in force. One that has a `name` and a `status()`, as those of this package do, is shown
    by the observers for OpenTelemetry and Prometheus.

    Example:
        >>> class Vault:
        ...     def __init__(self, url: str) -> None:
        ...         self.registry = Registry()
        ...         self.registry.register("sk-proj-0123456789Ab3d", "proj_support")
        ...     def refresh(self, now: float) -> None:
        ...         pass
    """

    @property
    def registry(self) -> Registry:
        """The registry; always the same object. Its snapshot is swapped whole."""
        ...

    def refresh(self, now: float) -> None:
        """Called before every judged call with `time.monotonic()`: it must not wait."""
        ...


def open_source(name: str | PathLike[str]) -> Source:
    """The source that a path or a URL names.

    Raises:
        RegistryError: it cannot be read, or nothing that is installed knows such a URL.
    """
    scheme = _URL.match(fspath(name))
    if scheme is None:
        from openai_project_guard._registry.file.watch import WatchedFile

        return WatchedFile(name)
    return _by_scheme(scheme[1].lower(), fspath(name))


def _by_scheme(scheme: str, url: str) -> Source:
    from importlib.metadata import entry_points

    known = entry_points(group=ENTRY_POINTS)
    for entry_point in known.select(name=scheme):
        try:
            opener = entry_point.load()
        except ImportError as error:
            raise RegistryError(
                f"The source for {scheme}:// URLs cannot be imported: {error}."
            ) from error
        source: Source = opener(url)
        return source
    raise RegistryError(
        f"No source is installed for registries at {scheme}:// URLs. Known: a path"
        + "".join(f", {name}://" for name in sorted(known.names))
        + "."
    )
