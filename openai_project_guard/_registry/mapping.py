"""A mapping handed to `enable(registry=...)`: `{project id: key or list of keys}`."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import cast

from openai_project_guard._errors import ConfigurationError
from openai_project_guard._keys import digest, hint, refuse_unfit, shown
from openai_project_guard._registry.model import Place, Project, Row, refuse_unfit_project
from openai_project_guard._registry.registry import Registry


def read(mapping: Mapping[str, str | Sequence[str]]) -> Registry:
    """The registry that the mapping describes. The keys themselves are not kept.

    Raises:
        ConfigurationError: an id is no project id, or a key is unfit.
    """
    registry = Registry()
    place = Place("the mapping given to enable(registry=...)")
    for name, keys in mapping.items():
        project = Project(refuse_unfit_project(name), place)
        registry.snapshot.add_project(project)
        if isinstance(keys, Mapping):
            raise ConfigurationError(
                f"registry[{shown(name)}] is a mapping. Expected a key or a list of keys."
            )
        one = isinstance(keys, (str, bytes)) or not isinstance(keys, Iterable)
        for key in cast("Iterable[str]", (keys,) if one else keys):
            try:
                refuse_unfit(key)
            except ConfigurationError as error:
                raise ConfigurationError(f"registry[{name!r}]: {error}") from None
            registry.snapshot.add_key(digest(key), Row(project, hint(key)))
    return registry
