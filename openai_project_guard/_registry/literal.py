"""Registries written where they are used: in an environment variable, and in a mapping."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import cast

from openai_project_guard._errors import ConfigurationError, RegistryError
from openai_project_guard._keys import digest, hint, shown, validate_key
from openai_project_guard._registry import validate
from openai_project_guard._registry.model import KeyRecord, Place, Project
from openai_project_guard._registry.registry import Registry
from openai_project_guard._registry.validate import FieldError, validate_project_id


def from_text(text: str, variable: str) -> Registry:
    """The registry in an environment variable: `proj_a=sha256:…,proj_b=sha256:…`.

    Raises:
        RegistryError: a pair is not `project id=fingerprint`; names variable and position.
    """
    registry = Registry()
    place = Place(f"the environment variable {variable}")
    problem = None
    for number, pair in enumerate(text.split(","), start=1):
        name, _, fingerprint = (part.strip() for part in pair.partition("="))
        side = "before"
        try:
            project = Project(validate.project_id(name), place)
            side = "after"
            key_digest = validate.fingerprint(fingerprint)
        except FieldError as error:
            problem = f"{variable}: pair {number} cannot be read: {side} '=', {error}"
            break
        registry.snapshot.add_project(project)
        registry.snapshot.add_key(key_digest, KeyRecord(project, ""))
    if problem is None:
        return registry
    text = pair = name = fingerprint = ""  # there may be a raw key in the wrong place
    raise RegistryError(f"{problem} Expected proj_a=sha256:…,proj_b=sha256:…")


def from_mapping(mapping: Mapping[str, str | Sequence[str]]) -> Registry:
    """The registry in a mapping, as `enable(registry=...)` takes it. It keeps no key.

    Args:
        mapping: `{project id: key or list of keys}`.

    Raises:
        ConfigurationError: an id is no project id, or a key cannot be registered.
    """
    registry = Registry()
    place = Place("the mapping given to enable(registry=...)")
    for name, keys in mapping.items():
        project = Project(validate_project_id(name), place)
        registry.snapshot.add_project(project)
        if isinstance(keys, Mapping):
            raise ConfigurationError(
                f"registry[{shown(name)}] is a mapping. Expected a key or a list of keys."
            )
        one = isinstance(keys, (str, bytes)) or not isinstance(keys, Iterable)
        for key in cast("Iterable[str]", (keys,) if one else keys):
            try:
                validate_key(key)
            except ConfigurationError as error:
                raise ConfigurationError(f"registry[{name!r}]: {error}") from None
            registry.snapshot.add_key(digest(key), KeyRecord(project, hint(key)))
    return registry
