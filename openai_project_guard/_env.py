"""The environment variables: read as they are now, each checked, each error naming the variable."""

from __future__ import annotations

import os
import re
from typing import TypeVar

from openai_project_guard._errors import ConfigurationError
from openai_project_guard._types import CALL_SCOPES, UNREGISTERED, CallScope, Mode, Unregistered

T = TypeVar("T", bound=str)

PREFIX = "OPENAI_PROJECT_GUARD"
REGISTRY = PREFIX + "_REGISTRY"
KEYS = PREFIX + "_KEYS"
PROJECT = PREFIX + "_PROJECT"
HOSTS = PREFIX + "_HOSTS"
LEARNED = PREFIX + "_LEARNED"

_NAMES = re.compile(r"\s*[A-Za-z]+://[^/@]*@[^,]*|[^,]+")  # a password may have commas in it

_ON = ("1", "true", "on", "yes")
_OFF = ("0", "false", "no", "")


def mode() -> Mode:
    """`OPENAI_PROJECT_GUARD`; unset is `off`."""
    value = os.environ.get(PREFIX, "").strip().lower()
    if value in _ON:
        return Mode.ENFORCE
    if value in _OFF:
        return Mode.OFF
    synonyms = f"; {', '.join(_ON)} for enforce; {', '.join(_OFF[:-1])} for off"
    return _one_of(PREFIX, tuple(Mode), synonyms) or Mode.OFF


def unregistered() -> Unregistered | None:
    """`OPENAI_PROJECT_GUARD_UNREGISTERED`, or `None` where it is not set."""
    return _one_of(PREFIX + "_UNREGISTERED", UNREGISTERED)


def scope() -> CallScope | None:
    """`OPENAI_PROJECT_GUARD_SCOPE`, or `None` where it is not set."""
    return _one_of(PREFIX + "_SCOPE", CALL_SCOPES)


def text(variable: str) -> str | None:
    """A free text, or `None` where it is not set or empty."""
    return os.environ.get(variable, "").strip() or None


def hosts() -> tuple[str, ...]:
    """`OPENAI_PROJECT_GUARD_HOSTS`: extra host names."""
    return tuple(part for part in (text(HOSTS) or "").split(",") if part.strip())


def registry_names() -> tuple[str, ...]:
    """`OPENAI_PROJECT_GUARD_REGISTRY`, or the two default files if they are there."""
    named = text(REGISTRY)
    if named is not None:
        return tuple(part.strip() for part in _NAMES.findall(named) if part.strip())
    home = os.environ.get("XDG_CONFIG_HOME") or os.path.join(os.path.expanduser("~"), ".config")
    for path in (
        "openai-projects.toml",
        os.path.join(home, "openai-project-guard", "registry.toml"),
    ):
        if os.path.lexists(path):
            return (path,)
    return ()


def check_choices() -> None:
    """Refuses a value that is not understood, even of a guard that is off.

    Raises:
        ConfigurationError: names the variable, the value and the accepted ones.
    """
    mode()
    unregistered()
    scope()
    if hosts():
        from openai_project_guard._settings import host_names

        tuple(host_names(()))
    inline = text(KEYS)
    if inline is not None:
        from openai_project_guard._registry.literal import from_text

        from_text(inline, KEYS)


def _one_of(variable: str, accepted: tuple[T, ...], synonyms: str = "") -> T | None:
    value = os.environ.get(variable, "").strip().lower()
    for word in accepted:
        if value == word:
            return word
    if not value:
        return None
    from openai_project_guard._keys import shown

    raise ConfigurationError(
        f"The environment variable {variable} is {shown(value)}, which is not understood. "
        f"Accepted: {', '.join(accepted)}{synonyms}."
    )
