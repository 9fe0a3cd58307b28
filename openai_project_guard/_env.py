"""The environment variables: read as they are now, each checked, each error naming the variable."""

from __future__ import annotations

import os
import re
from collections.abc import Iterable, Iterator, Sequence
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

HOST_NAME = re.compile(r"[a-z0-9_]([a-z0-9_.-]*[a-z0-9_])?|[0-9a-f:]+")
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


def _hosts() -> tuple[str, ...]:
    return tuple(part for part in (text(HOSTS) or "").split(",") if part.strip())


def host_names(given: Sequence[str] = ()) -> Iterator[str]:
    """The names of further hosts that count as OpenAI's: those given, or else the variable's.

    Raises:
        ConfigurationError: one of them is not a host name alone.
    """
    if isinstance(given, (str, bytes)) or not isinstance(given, Iterable):
        from openai_project_guard._keys import shown

        what = "one string" if isinstance(given, str) else "no list"
        raise ConfigurationError(f"hosts={shown(given)} is {what}. Expected a list of host names.")
    for argument, names in (("hosts=", given), (HOSTS, _hosts())):
        for name in names:
            from openai_project_guard._keys import redact, shown

            host = name.strip().lower().rstrip(".") if isinstance(name, str) else ""
            if not HOST_NAME.fullmatch(host) or redact(host) != host:
                raise ConfigurationError(
                    f"{argument} has {shown(name)}, which is not a host name. Expected a name "
                    "alone, such as gateway.example.com, without scheme, port or path."
                )
            yield host
        if given:
            return  # the argument beats the environment


def registry_names() -> tuple[str, ...]:
    """`OPENAI_PROJECT_GUARD_REGISTRY`, or the two default files if they are there."""
    named = text(REGISTRY)
    if named is not None:
        return tuple(part.strip() for part in _NAMES.findall(named) if part.strip())
    return tuple(filter(os.path.lexists, default_registries()))[:1]


def default_registries() -> tuple[str, str]:
    """The files that are looked for, in this order, where no variable names a registry."""
    home = os.environ.get("XDG_CONFIG_HOME") or os.path.join(os.path.expanduser("~"), ".config")
    return "openai-projects.toml", os.path.join(home, "openai-project-guard", "registry.toml")


def check_choices() -> None:
    """Refuses a value that is not understood, even of a guard that is off.

    Raises:
        ConfigurationError: names the variable, the value and the accepted ones.
    """
    mode()
    unregistered()
    scope()
    tuple(host_names())
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
