"""Switching the guard on and off for the whole process."""

from __future__ import annotations

from collections.abc import Sequence
from typing import cast

from openai_project_guard import _env, _hooks, _settings, _startup
from openai_project_guard._activation import activate, deactivate
from openai_project_guard._check.log import log
from openai_project_guard._errors import ConfigurationError, forgetful
from openai_project_guard._keys import validate_key
from openai_project_guard._registry.model import project_id
from openai_project_guard._settings import RegistrySource
from openai_project_guard._state import STATE
from openai_project_guard._types import CallScope, Mode, ModeName, Unregistered


class _Default(str):
    """A default that can be told from the same word given: the environment beats it."""

    __slots__ = ()


_ENFORCE = cast("ModeName", _Default("enforce"))
_BLOCK = cast("Unregistered", _Default("block"))
_SDK = cast("CallScope", _Default("sdk"))


@forgetful
def enable(
    mode: ModeName | Mode = _ENFORCE,
    *,
    registry: RegistrySource | None = None,
    project: str | None = None,
    unregistered: Unregistered = _BLOCK,
    hosts: Sequence[str] = (),
    scope: CallScope = _SDK,
) -> None:
    """Checks every call of the OpenAI SDK in this process before it is sent.

    Called again, it replaces the settings in one step: no call is judged by a mix of old and new.
    An argument beats the environment; what is left out is taken from there. If `openai` is not
    imported yet, the hooks go in when it is.

    Args:
        mode: `enforce` refuses a wrong call, `inject` puts a missing header in and refuses every
            other wrong call, `warn` sends and logs it, `off` is `disable()`.
        registry: which project each key belongs to: a path or a URL, a list of these, a `Registry`,
            or a mapping `{project id: key or list of keys}`. Default: what the environment names.
        project: pins the process to one project, by id or alias. Default: not pinned.
        unregistered: what happens to a key that no registry knows, on an OpenAI host: `block`,
            `warn`, `allow`, or `learn` its project from the server's answer.
        hosts: names of further hosts that count as OpenAI's, such as a gateway.
        scope: `sdk` judges the SDK's calls, `process` those of other HTTP libraries too.

    Raises:
        ConfigurationError: an argument or a variable is not understood, or two contradict.
        RegistryError: the registry cannot be read.
        UnsupportedSDKError: the installed SDK lacks a place that must be hooked.

    Example:
        >>> enable(registry={"proj_support": "sk-proj-0123456789Ab3d"})
    """
    given = {
        "registry": registry is not None,
        "project": project is not None,
        "unregistered": not isinstance(unregistered, _Default),
        "hosts": bool(hosts),
        "scope": not isinstance(scope, _Default),
    }
    wanted = _settings.read_mode(mode)
    if isinstance(mode, _Default) and _env.mode() is not Mode.OFF:
        wanted = _env.mode()
    if wanted is Mode.OFF:
        useless = ", ".join(f"{name}=" for name, is_given in given.items() if is_given)
        if useless:
            raise ConfigurationError(f"mode='off' contradicts {useless}. Leave them out.")
        disable()
        return
    settings = _settings.build(
        wanted,
        registry=registry,
        project=project,
        unregistered=unregistered if given["unregistered"] else None,
        hosts=hosts,
        scope=scope if given["scope"] else None,
    )
    activate(settings)
    _startup.settle()


def disable() -> None:
    """Removes the hooks: the SDK is exactly as it was before `enable()`.

    Where another tool has wrapped one of our hooks, that hook stays and lets everything pass. Open
    `guard` scopes check nothing from then on; the next one that is entered puts the hooks back.
    Registered keys are kept.

    Example:
        >>> disable()
    """
    deactivate()
    _startup.settle()


def is_enabled() -> bool:
    """Whether calls are checked: enabled, and every hook still in place.

    Returns:
        False also when another tool took one of the hooks off; a warning then names it.

    Example:
        >>> is_enabled()
        False
    """
    if STATE.settings is None:
        return False
    lost = _hooks.unreached()
    if lost:
        log(
            "warning",
            "Another package took the guard's hook off %s. Call enable() again.",
            " and ".join(lost),
        )
    return not lost


@forgetful
def register(
    key: str, project: str, *, organization: str | None = None, note: str | None = None
) -> None:
    """Adds a key to the process's registry. Only its fingerprint and its hint are kept.

    Args:
        key: the API key itself.
        project: the id of the project it belongs to, or an alias of a registry in force.
        organization: the organization's id, checked on each call when given.
        note: whatever helps to recognise the key later.

    Raises:
        ConfigurationError: the key is empty or unfit, the project is neither id nor alias, or the
            note or the organization has a key in it.

    Example:
        >>> register("sk-proj-0123456789Ab3d", "proj_support", note="CI runner")
    """
    validate_key(key, note, organization)
    settings = STATE.settings
    registries = settings.registries if settings else (STATE.registered,)
    STATE.registered.register(
        key, project_id(registries, project), organization=organization, note=note
    )
