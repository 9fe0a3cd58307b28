"""The versions and the settings that are in use here."""

from __future__ import annotations

import platform
from importlib.metadata import PackageNotFoundError, version
from typing import NamedTuple

from openai_project_guard import _env, _settings
from openai_project_guard._cli import PROGRAM
from openai_project_guard._cli.diagnosis.collect import Diagnosis
from openai_project_guard._cli.key_input import without_keys
from openai_project_guard._types import Mode, Policy

_PACKAGES = (PROGRAM, "openai", "wrapt", "httpx", "httpx2", "websockets", "tomlkit")


_SHOWN_IF_SET = ("override", "on_error", "audit", "snapshot")


class Setting(NamedTuple):
    """A setting, its value, and the variable that it comes from; `None` for the default."""

    name: str
    value: str
    variable: str | None


def settings_of(diagnosis: Diagnosis) -> list[Setting]:
    """Every setting; where they are in error, what the variable says."""
    settings = diagnosis.settings or _settings.Settings(Policy(Mode.OFF, "block", None), ())
    active = {
        _env.PREFIX: ("mode", str(diagnosis.mode)),
        _env.PREFIX + "_UNREGISTERED": ("unregistered", settings.policy.unregistered),
        _env.PROJECT: ("project", settings.policy.pinned or "not pinned"),
        _env.HOSTS: ("hosts", ", ".join(sorted(settings.hosts))),
        _env.PREFIX + "_SCOPE": ("scope", settings.scope),
        _env.LEARNED: ("learned", "in memory only"),
    }
    found = []
    for variable, (name, value) in active.items():
        text = _env.text(variable)
        is_as_written = diagnosis.settings is None or variable == _env.LEARNED
        shown = without_keys(text) if text and is_as_written else value
        found.append(Setting(name, shown, variable if text else None))
    for name in _SHOWN_IF_SET:
        variable = f"{_env.PREFIX}_{name.upper()}"
        text = _env.text(variable)
        if text is not None:
            found.append(Setting(name, without_keys(text), variable))
    return found


def versions() -> dict[str, str | None]:
    """The versions of Python and of the packages that matter; `None` where one is not installed."""
    found: dict[str, str | None] = {"python": platform.python_version()}
    return {**found, **{package: _version(package) for package in _PACKAGES}}


def _version(package: str) -> str | None:
    try:
        return version(package)
    except PackageNotFoundError:
        return None
