"""Switching the guard on and off for the whole process."""

from __future__ import annotations

import logging
import os
from collections.abc import Sequence
from typing import Any

from openai_project_guard import _env, _hooks, _settings
from openai_project_guard._activation import activate, deactivate
from openai_project_guard._check.log import flush
from openai_project_guard._errors import ConfigurationError, hide_frames
from openai_project_guard._log import log
from openai_project_guard._registry.model import project_id
from openai_project_guard._sources import RegistrySource
from openai_project_guard._start_log import log_override, log_started
from openai_project_guard._startup.decided import mark_decided
from openai_project_guard._state import STATE
from openai_project_guard._types import CallScope, Mode, ModeName, OnError, Unregistered


@hide_frames
def enable(
    mode: ModeName | Mode | None = None,
    *,
    registry: RegistrySource | None = None,
    project: str | None = None,
    unregistered: Unregistered | None = None,
    hosts: Sequence[str] | None = None,
    scope: CallScope | None = None,
    on_error: OnError | None = None,
    audit: str | os.PathLike[str] | None = None,
) -> None:
    """Checks every call of the OpenAI SDK in this process before it is sent.

    Called again, it replaces the settings in one step: no call is judged by a mix of old and new.
    What is left out comes from the environment as it is now, else from the defaults: after
    `load_dotenv()`, call it once more. With `OPENAI_PROJECT_GUARD=off` in the environment and no
    `mode`, it is `disable()`. `OPENAI_PROJECT_GUARD_OVERRIDE` beats even the arguments. If `openai`
    is not imported yet, the hooks go in when it is.

    Args:
        mode: `enforce` refuses a wrong call, `inject` puts a missing header in and refuses every
            other wrong call, `warn` sends and logs it, `off` is `disable()`. Default: `enforce`.
        registry: which project each key belongs to: a path or a URL, a list of these, a `Registry`,
            or a mapping `{project id: key or list of keys}`. Default: the file
            `openai-projects.toml` here, or the one in the user's configuration folder.
        project: pins the process to one project, by id or alias. Default: not pinned.
        unregistered: what happens to a key that no registry knows, on an OpenAI host: `block`,
            `warn`, `allow`, or `learn` its project from the server's answer. Default: `block`.
        hosts: names of further hosts that count as OpenAI, such as a gateway. Default: none.
        scope: `sdk` judges the SDK's calls, `process` those of other HTTP libraries too. Default:
            `sdk`.
        on_error: what a registry does that cannot be read now: `raise` an error, or `log` it and
            try again; until it is read, its keys count as unregistered. Default: `raise`; in
            `warn`, `log`.
        audit: the folder, made if missing, in which this process keeps its audit file, for
            `openai-project-guard report`. Default: none is kept.

    Raises:
        ConfigurationError: an argument or a variable is not understood, or two contradict.
        RegistryError: the registry cannot be read.
        UnsupportedSDKError: the installed SDK lacks a place that must be hooked.

    Example:
        >>> enable(registry={"proj_support": "sk-proj-0123456789Ab3d"})
    """
    given: dict[str, Any] = {
        "registry": registry,
        "project": project,
        "unregistered": unregistered,
        "hosts": hosts,
        "scope": scope,
        "on_error": on_error,
        "audit": audit,
    }
    override = _env.override()
    wanted = (_env.given_mode() or Mode.ENFORCE) if mode is None else Mode(mode)
    useless = ", ".join(f"{name}=" for name, value in given.items() if value is not None)
    if mode is not None and wanted is Mode.OFF and useless:
        raise ConfigurationError(f"mode='off' contradicts {useless}. Leave them out.")
    if (override or wanted) is Mode.OFF:
        disable()
        log_override()
        return
    settings = _settings.build(wanted, STATE.registered, **given)
    del given, registry  # there may be keys in it, and what takes logs may look at frames
    activate(settings)
    log_started(settings)
    mark_decided()


def disable() -> None:
    """Removes the hooks: the SDK is exactly as it was before `enable()`.

    Where another tool has wrapped one of our hooks, that hook stays and lets everything pass. Open
    `guard` scopes check nothing from then on; the next one that is entered puts the hooks back.
    Registered keys are kept. Wrong calls that were counted, not logged each, are logged now.

    Example:
        >>> disable()
    """
    deactivate()
    flush()  # and with it the thread and the signal's handler that wait for the minute to pass
    mark_decided()


def is_enabled() -> bool:
    """Whether calls are checked: enabled, and every hook still in place.

    Returns:
        False also when another tool took one of the hooks off, or imported a package past the
            guard; a warning then names it.

    Example:
        >>> is_enabled()
        False
    """
    if STATE.settings is None:
        return False
    lost = _hooks.unreached()
    if lost:
        log(
            logging.WARNING,
            "The guard's hook on %s is gone: another package took it off, or imported that past "
            "the guard. Call enable() again.",
            " and ".join(lost),
        )
    return not lost


@hide_frames
def register(
    key: str, project: str, *, organization: str | None = None, note: str | None = None
) -> None:
    """Adds a key to the process's registry. Only its fingerprint and its hint are kept.

    Args:
        key: the API key itself.
        project: the id of the project it belongs to, or an alias of an active registry.
        organization: the organization's id, checked on each call when given.
        note: whatever helps to recognise the key later.

    Raises:
        ConfigurationError: the key is empty or unfit, the project is neither id nor alias, or the
            note or the organization has a key in it.

    Example:
        >>> register("sk-proj-0123456789Ab3d", "proj_support", note="CI runner")
    """
    settings = STATE.settings
    registries = settings.registries if settings else (STATE.registered,)
    STATE.registered.register(
        key, project_id(registries, project), organization=organization, note=note
    )
