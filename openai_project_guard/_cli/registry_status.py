"""The registries that a command reads, each with what is wrong with it."""

from __future__ import annotations

import os
import time
from contextlib import suppress
from dataclasses import dataclass
from typing import Literal

from openai_project_guard import _env
from openai_project_guard._errors import RegistryError
from openai_project_guard._keys import redact
from openai_project_guard._registry.literal import from_text
from openai_project_guard._registry.model import Project
from openai_project_guard._registry.registry import Registry
from openai_project_guard._registry.stores import describe, is_url, open_source


@dataclass(frozen=True)
class RegistryStatus:
    """One registry, by its name.

    Attributes:
        kind: `file`, `url` or `variable`.
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

    def as_json(self) -> dict[str, object]:
        """As `--json` of `list` and `doctor` has it."""
        return {
            "kind": self.kind,
            "name": self.name,
            "projects": len(self.projects),
            "keys": len(self.registry),
            "age_seconds": None if self.age is None else round(self.age),
            "error": self.error,
        }


def registry_statuses(given: str | None = None) -> list[RegistryStatus]:
    """The registry that was given, or else those that the environment names, in its order."""
    if given is not None:
        return [_read(given)]
    names = _env.registry_names()
    learned = _env.path(_env.LEARNED)
    if learned is not None and os.path.exists(learned):
        names += (learned,)
    found = [_read(name) for name in names]
    pairs = _env.text(_env.KEYS)
    if pairs is not None:
        found.append(_inline(pairs))
    return found


def none_found() -> str:
    """That there is no registry, and where one was looked for."""
    return (
        f"No registry was found. Neither {_env.REGISTRY} nor {_env.KEYS} is set, and there is no "
        f"{' and no '.join(_env.default_registries())}, seen from {os.getcwd()}."
    )


def _read(name: str) -> RegistryStatus:
    if is_url(name):
        shown = _shown(name)
        try:
            return RegistryStatus("url", shown, open_source(name).registry)
        except RegistryError as error:
            return RegistryStatus("url", shown, Registry(), str(error))
    name = name.removeprefix(os.path.join(os.curdir, ""))
    shown = redact(name)
    try:
        age = max(0.0, time.time() - os.stat(name).st_mtime)
    except (OSError, ValueError):
        age = None
    try:
        return RegistryStatus("file", shown, Registry.from_file(name), None, age)
    except RegistryError as error:
        return RegistryStatus("file", shown, Registry(), str(error), age)


def _shown(url: str) -> str:
    """A URL without its password."""
    with suppress(RegistryError):
        return describe(url).name
    return f"{url.partition('://')[0]}://…"


def _inline(pairs: str) -> RegistryStatus:
    try:
        return RegistryStatus("variable", _env.KEYS, from_text(pairs, _env.KEYS))
    except RegistryError as error:
        return RegistryStatus("variable", _env.KEYS, Registry(), str(error))
