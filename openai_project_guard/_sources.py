"""The registries that `registry=` names, or else the environment: opened, or waited for."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from os import PathLike

from openai_project_guard import _env
from openai_project_guard._errors import ConfigurationError, RegistryError
from openai_project_guard._registry.registry import Registry
from openai_project_guard._registry.source import Source
from openai_project_guard._registry.stores import open_source

RegistryName = str | PathLike[str]
RegistrySource = (
    RegistryName | Sequence[RegistryName] | Registry | Mapping[str, str | Sequence[str]]
)


def open_named(
    registry: RegistrySource | None, on_error: str
) -> tuple[tuple[Registry, ...], tuple[Source, ...]]:
    """What the argument names, or else the environment: fixed registries, and kept ones."""
    if isinstance(registry, Registry):
        return (registry,), ()
    if isinstance(registry, Mapping):
        from openai_project_guard._registry.literal import from_mapping

        return (from_mapping(registry),), ()
    if registry is not None:
        names = registry if isinstance(registry, (list, tuple)) else (registry,)
        for name in names:
            if not isinstance(name, (str, PathLike)) or name == "":
                what = "is" if name is registry else "has"
                kind = "an empty string" if name == "" else f"a value of type {type(name).__name__}"
                raise ConfigurationError(
                    f"registry= {what} {kind}. Accepted: a path or a URL, a list "
                    "of these, a Registry, or a mapping {project id: key or list of keys}."
                )
        return (), tuple(_open(os.path.expanduser(name), on_error) for name in names)
    inline = _env.inline_registry()
    sources = tuple(_open(name, on_error) for name in _env.source_names())
    return (() if inline is None else (inline,)), sources


def _open(name: str, on_error: str) -> Source:
    try:
        return open_source(name)
    except RegistryError as error:
        if on_error == "raise":
            raise
        problem = str(error)
    from openai_project_guard._registry.retrying import RetryingSource

    return RetryingSource(name, problem)
