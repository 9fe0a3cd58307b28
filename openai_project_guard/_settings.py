"""The process's settings: one immutable object, built whole, replaced in one step."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from os import PathLike
from typing import TypeVar

from openai_project_guard import _env
from openai_project_guard._errors import ConfigurationError
from openai_project_guard._keys import shown
from openai_project_guard._registry.model import project_id, records_of
from openai_project_guard._registry.registry import Registry
from openai_project_guard._registry.source import Source
from openai_project_guard._registry.stores import open_source
from openai_project_guard._state import STATE, changing
from openai_project_guard._types import (
    CALL_SCOPES,
    UNREGISTERED,
    CallScope,
    Mode,
    Policy,
)

RegistryName = str | PathLike[str]
RegistrySource = (
    RegistryName | Sequence[RegistryName] | Registry | Mapping[str, str | Sequence[str]]
)

OPENAI_HOST = "api.openai.com"


class Settings:
    """What `enable()` and the environment said. It is never changed."""

    __slots__ = ("hosts", "policy", "registries", "scope", "sources")

    def __init__(
        self,
        policy: Policy,
        registries: tuple[Registry, ...],
        hosts: frozenset[str] = frozenset({OPENAI_HOST}),
        scope: CallScope = "sdk",
        sources: tuple[Source, ...] = (),
    ) -> None:
        self.policy = policy
        self.registries = registries
        self.hosts = hosts
        self.scope = scope
        self.sources = sources

    def pinned_to(self, project: str | None) -> Settings:
        """The same, but for the project that they pin the process to."""
        policy = self.policy._replace(pinned=project)
        return Settings(policy, self.registries, self.hosts, self.scope, self.sources)

    def is_openai(self, host: str) -> bool:
        """Whether a host counts as OpenAI's; a trailing dot makes no other host of it."""
        host = host.lower().rstrip(".")
        return host in self.hosts or host.endswith("." + OPENAI_HOST)

    def knows(self, key_digest: bytes) -> bool:
        """Whether a key is registered."""
        return bool(records_of(self.registries, key_digest))


def build(
    mode: str,
    *,
    registry: RegistrySource | None = None,
    project: str | None = None,
    unregistered: str | None = None,
    hosts: Sequence[str] = (),
    scope: str | None = None,
) -> Settings:
    """Settings from arguments, and from the environment where an argument was not given.

    Raises:
        ConfigurationError: an argument or a variable is not understood.
        RegistryError: a registry cannot be read.
    """
    fixed, sources = _named(registry)
    registries = (*fixed, *(source.registry for source in sources), STATE.registered)
    return Settings(
        policy=Policy(
            mode=read_mode(mode),
            unregistered=choice("unregistered", unregistered, UNREGISTERED)
            or _env.unregistered()
            or "block",
            pinned=_pinned(project, registries, registry),
        ),
        registries=registries,
        hosts=frozenset({OPENAI_HOST, *_env.host_names(hosts)}),
        scope=choice("scope", scope, CALL_SCOPES) or _env.scope() or "sdk",
        sources=sources,
    )


def settings_in_force() -> Settings:
    """What a `guard` scope builds on: the settings in force, or else the environment's."""
    settings = STATE.settings or STATE.scope_settings
    if settings is None:
        read = build("enforce")  # which may read a file, so no lock is held meanwhile
        with changing:
            settings = STATE.scope_settings = STATE.scope_settings or read
    return settings


def read_mode(value: object) -> Mode:
    """The mode that a string or a `Mode` names.

    Raises:
        ConfigurationError: it names none.
    """
    try:
        return Mode(value)
    except ValueError:
        accepted = ", ".join(Mode)
        raise ConfigurationError(
            f"mode={shown(value)} is not a mode. Accepted: {accepted}."
        ) from None


T = TypeVar("T", bound=str)


def choice(argument: str, value: str | None, accepted: tuple[T, ...]) -> T | None:
    """The accepted word that was given, or `None` where none was.

    Raises:
        ConfigurationError: something else was given.
    """
    for word in accepted:
        if value == word:
            return word
    if value is None:
        return None
    raise ConfigurationError(
        f"{argument}={shown(value)} is not understood. Accepted: {', '.join(accepted)}."
    )


def _named(
    registry: RegistrySource | None,
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
            if not isinstance(name, (str, PathLike)):
                what = "is" if name is registry else "has"
                raise ConfigurationError(
                    f"registry= {what} a {type(name).__name__}. Accepted: a path or a URL, a list "
                    "of these, a Registry, or a mapping {project id: key or list of keys}."
                )
        return (), tuple(map(open_source, names))
    fixed: tuple[Registry, ...] = ()
    inline = _env.text(_env.KEYS)
    if inline is not None:
        from openai_project_guard._registry.literal import from_text

        fixed = (from_text(inline, _env.KEYS),)
    names = _env.registry_names()
    learned = _env.text(_env.LEARNED)
    if learned is not None and os.path.exists(learned):
        names += (learned,)
    return fixed, tuple(map(open_source, names))


def _pinned(
    project: str | None, registries: tuple[Registry, ...], given: RegistrySource | None
) -> str | None:
    if project is not None:
        pinned = project_id(registries, project)
        if given is not None and not any(pinned in known.snapshot.projects for known in registries):
            raise ConfigurationError(
                f"project={shown(project)} contradicts registry=: that registry has no such "
                "project, so every call would be refused. Add it there, or leave one of them out."
            )
        return pinned
    variable = _env.PROJECT
    named = _env.text(variable)
    return None if named is None else project_id(registries, named, f"The variable {variable}")
