"""The registries that a command reads, each with what is wrong with it."""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, replace
from typing import Literal

from openai_project_guard import _env
from openai_project_guard._errors import RegistryError
from openai_project_guard._keys import redact
from openai_project_guard._registry.literal import from_text
from openai_project_guard._registry.model import Project
from openai_project_guard._registry.registry import Registry
from openai_project_guard._registry.stores import is_url, name_of, open_source


@dataclass(frozen=True)
class RegistryStatus:
    """One registry, by its name.

    Attributes:
        name: the path, the URL without its password, or the variable.
        registry: what it holds; empty where it cannot be read.
        error: why it cannot be read.
        age: seconds since a file was changed.
    """

    kind: Literal["file", "url", "variable"]
    name: str
    registry: Registry
    error: str | None = None
    age: float | None = None

    @property
    def projects(self) -> list[Project]:
        """Its projects, each once, those without keys too."""
        known = self.registry.snapshot.projects
        return [project for name, project in known.items() if name == project.id]

    @property
    def keys(self) -> int:
        """How many keys it has; one of several projects counts once."""
        return len(self.registry.snapshot.keys)

    def as_json(self) -> dict[str, object]:
        """As `--json` of `list` and `doctor` has it."""
        return {
            "kind": self.kind,
            "name": self.name,
            "projects": len(self.projects),
            "keys": self.keys,
            "age_seconds": None if self.age is None else round(self.age),
            "error": self.error,
        }


def registry_statuses(given: str | None = None) -> list[RegistryStatus]:
    """The registry that was given, or else those that the environment names, in its order."""
    if given is not None:
        return [_read(given)]
    pairs = _env.text(_env.KEYS)
    inline = [] if pairs is None else [_status("variable", _env.KEYS, from_text, pairs, _env.KEYS)]
    return [*map(_read, _env.source_names()), *inline]


def none_found() -> str:
    """That there is no registry, and where one was looked for."""
    return (
        f"No registry was found. Neither {_env.REGISTRY} nor {_env.KEYS} is set, and there is no "
        f"{' and no '.join(_env.default_registries())}, seen from {os.getcwd()}."
    )


def _read(name: str) -> RegistryStatus:
    if is_url(name):
        return _status("url", name_of(name), lambda: open_source(name).registry)
    name = name.removeprefix(os.path.join(os.curdir, ""))
    age = None
    with suppress(OSError, ValueError):
        age = max(0.0, time.time() - os.stat(name).st_mtime)
    return replace(_status("file", redact(name), Registry.from_file, name), age=age)


def _status(
    kind: Literal["file", "url", "variable"], name: str, read: Callable[..., Registry], *args: str
) -> RegistryStatus:
    try:
        return RegistryStatus(kind, name, read(*args))
    except RegistryError as error:
        return RegistryStatus(kind, name, Registry(), str(error))
