"""The process's settings: one immutable object, built whole, replaced in one step."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass, field, replace
from os import PathLike
from time import monotonic
from typing import TYPE_CHECKING, TypeVar

from openai_project_guard import _env
from openai_project_guard._errors import ConfigurationError
from openai_project_guard._hosts import normal_host
from openai_project_guard._keys import shown
from openai_project_guard._registry.model import is_registered, project_id
from openai_project_guard._registry.registry import Registry
from openai_project_guard._registry.source import Source
from openai_project_guard._registry.validate import FieldError, alias
from openai_project_guard._sources import RegistryName, RegistrySource, open_named
from openai_project_guard._types import (
    CALL_SCOPES,
    ON_ERROR_CHOICES,
    UNREGISTERED,
    CallScope,
    Mode,
    Policy,
)

if TYPE_CHECKING:
    from openai_project_guard._audit.record import Audit

OPENAI_HOST = "api.openai.com"


@dataclass(slots=True, eq=False, repr=False)
class Settings:
    """What `enable()` and the environment set. Active ones are not changed, but for a late pin.

    Attributes:
        is_in_code: whether `registry=` gave the registry itself, which no command changes.
        audit: where the calls are counted, from `open_audit()` on; `None` where they are not.
    """

    policy: Policy
    registries: tuple[Registry, ...]
    hosts: frozenset[str] = frozenset({OPENAI_HOST})
    scope: CallScope = "sdk"
    sources: tuple[Source, ...] = ()
    is_in_code: bool = False
    audit_folder: str | None = None
    audit: Audit | None = field(default=None, init=False)

    def pinned_to(self, project: str | None) -> Settings:
        """The same, but for the project that they pin the process to, and without an audit yet."""
        return replace(self, policy=self.policy._replace(pinned=project))

    def open_audit(self, current: Audit | None = None) -> None:
        """Opens the audit, if there is to be one; the current one goes on if it fits."""
        if self.audit_folder is None:
            return
        if current is not None and current.folder == self.audit_folder:
            self.audit = current
            return
        from openai_project_guard._audit.record import Audit

        self.audit = Audit(self.audit_folder)

    def project_id(self, name: str, argument: str = "project=") -> str:
        """The id behind an id or an alias.

        While a registry is not read yet, an unknown alias stands for itself: no project has it as
        its id, so none passes for it.

        Raises:
            ConfigurationError: it is neither a project id nor an alias that a registry knows.
        """
        try:
            return project_id(self.registries, name, argument)
        except ConfigurationError:
            if not all(source.is_read for source in self.sources):
                with suppress(FieldError):
                    return alias(name)
            raise

    def refresh(self, on_fault: Callable[[Exception, str], None]) -> None:
        """Brings the registries up to date; mostly there is nothing to do.

        Args:
            on_fault: told of a source that raised, and its name; its last good registry stays
                active.
        """
        now = monotonic()
        for source in self.sources:
            try:
                source.refresh(now)
            except Exception as fault:  # noqa: PERF203
                on_fault(fault, source.name)
        pinned = self.policy.pinned
        if pinned is not None and not pinned.startswith("proj_"):
            # An alias of a registry that was not read yet. It may be now.
            with suppress(ConfigurationError):
                self.policy = self.policy._replace(pinned=project_id(self.registries, pinned))

    def is_openai(self, host: str) -> bool:
        """Whether a host counts as OpenAI's; another spelling makes no other host of it."""
        host = normal_host(host)
        return host in self.hosts or host.endswith("." + OPENAI_HOST)

    def knows(self, key_digest: bytes) -> bool:
        """Whether a key is registered."""
        return is_registered(self.registries, key_digest)


def build(
    mode: str,
    registered: Registry,
    *,
    registry: RegistrySource | None = None,
    project: str | None = None,
    unregistered: str | None = None,
    hosts: Sequence[str] | None = None,
    scope: str | None = None,
    on_error: str | None = None,
    audit: RegistryName | None = None,
) -> Settings:
    """Settings from arguments, and from the environment where an argument was not given.

    Args:
        mode: a mode's name.
        registered: the keys given to `register()`.
        registry: as `enable()` takes it, and so are the others.
        project: the project that the process is pinned to.
        unregistered: what happens to a key that is not registered.
        hosts: further hosts that count as OpenAI's.
        scope: whose calls are checked.
        on_error: what a registry does that cannot be read.
        audit: the folder of the audit.

    Raises:
        ConfigurationError: an argument or a variable is not understood.
        RegistryError: a registry cannot be read, and that is not to be logged alone.
    """
    _env.check_names()
    override = _env.override()
    wanted = override or Mode(mode)
    if override is Mode.OFF:  # nothing is read: what is wrong may be the reason for the override
        return Settings(Policy(Mode.OFF, "block", None, is_override=True), (registered,))
    _env.path(_env.LEARNED)  # which is used when a key is learned: too late to refuse it
    on_error = _choice("on_error", on_error, _env.ON_ERROR, ON_ERROR_CHOICES)
    on_error = on_error or ("log" if wanted is Mode.WARN else "raise")
    fixed, sources = open_named(registry, on_error)
    settings = Settings(
        policy=Policy(
            mode=wanted,
            unregistered=_choice(
                "unregistered", unregistered, _env.POLICY_UNREGISTERED, UNREGISTERED
            )
            or "block",
            pinned=None,
            is_override=override is not None,
        ),
        registries=(*fixed, *(source.registry for source in sources), registered),
        hosts=frozenset({OPENAI_HOST, *_env.host_names(hosts)}),
        scope=_choice("scope", scope, _env.SCOPE, CALL_SCOPES) or "sdk",
        sources=sources,
        is_in_code=registry is not None and not sources,
        audit_folder=_folder(audit),
    )
    return _pinned(settings, project, registry)


T = TypeVar("T", bound=str)


def _choice(argument: str, value: str | None, variable: str, accepted: tuple[T, ...]) -> T | None:
    """The accepted word that the argument gives, or else the variable, if it is set."""
    if value is None:
        return _env.choice(variable, accepted)
    for word in accepted:
        if value == word:
            return word
    raise ConfigurationError(
        f"{argument}={shown(value)} is not understood. Accepted: {', '.join(accepted)}."
    )


def _pinned(settings: Settings, project: str | None, given: RegistrySource | None) -> Settings:
    """The same settings, pinned as the argument says, or else the environment."""
    argument, name = "project=", project
    if name is None:
        argument, name = f"The variable {_env.PROJECT}", _env.text(_env.PROJECT)
    if name is None:
        return settings
    pinned = settings.project_id(name, argument)
    is_read = all(source.is_read for source in settings.sources)
    is_known = any(pinned in known.snapshot.projects for known in settings.registries)
    if is_read and project is not None and given is not None and not is_known:
        raise ConfigurationError(
            f"project={shown(project)} contradicts registry=: that registry has no such "
            "project, so every call would be refused. Add it there, or leave one of them out."
        )
    return settings.pinned_to(pinned)


def _folder(audit: RegistryName | None) -> str | None:
    """The audit's folder, spelled as the audit spells it."""
    if audit is None:
        named = _env.path(_env.AUDIT)
        return None if named is None else os.path.abspath(named)
    path = os.fspath(audit) if isinstance(audit, (str, PathLike)) else None
    if not isinstance(path, str) or not path or "\0" in path:
        raise ConfigurationError(f"audit={shown(audit)} is not the path of a folder.")
    return os.path.abspath(_env.checked_path("audit=", path, "the path of a folder"))
