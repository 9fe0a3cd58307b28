"""The environment variables: read as they are now, each checked, each error naming the variable."""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Iterable, Iterator, Sequence
from functools import partial
from itertools import dropwhile
from typing import TYPE_CHECKING, NamedTuple, TypeVar

from openai_project_guard._errors import ConfigurationError
from openai_project_guard._types import CALL_SCOPES, ON_ERROR_CHOICES, UNREGISTERED, Mode

if TYPE_CHECKING:
    from openai_project_guard._registry.registry import Registry

T = TypeVar("T", bound=str)

PREFIX = "OPENAI_PROJECT_GUARD"
REGISTRY = PREFIX + "_REGISTRY"
KEYS = PREFIX + "_KEYS"
PROJECT = PREFIX + "_PROJECT"
POLICY_UNREGISTERED = PREFIX + "_UNREGISTERED"
HOSTS = PREFIX + "_HOSTS"
LEARNED = PREFIX + "_LEARNED"
SCOPE = PREFIX + "_SCOPE"
SNAPSHOT = PREFIX + "_SNAPSHOT"
OVERRIDE = PREFIX + "_OVERRIDE"
ON_ERROR = PREFIX + "_ON_ERROR"
AUDIT = PREFIX + "_AUDIT"

_NAMES = re.compile(r"\s*[A-Za-z]+://[^/@]*@[^,]*|[^,]+")  # a password may have commas in it

_ON = ("1", "true", "on", "yes")
_OFF = ("0", "false", "no")
_SHORTEST_KEY = 23  # characters, in the place of a host's name: sk- and 20 that are random
_GUESSES_OF_THE_MODE = ("_MODE", "_ENABLE", "_ENABLED", "_ENFORCE", "_DISABLE", "_DISABLED")
_SYNONYMS = f"; {', '.join(_ON)} for enforce; {', '.join(_OFF)} for off"


def mode() -> Mode:
    """`OPENAI_PROJECT_GUARD`; unset is `off`."""
    return given_mode() or Mode.OFF


def given_mode() -> Mode | None:
    """`OPENAI_PROJECT_GUARD`, or `None` where it is not set or empty."""
    value = _word(PREFIX)
    if value in _ON:
        return Mode.ENFORCE
    if value in _OFF:
        return Mode.OFF
    return choice(PREFIX, tuple(Mode))


def override() -> Mode | None:
    """`OPENAI_PROJECT_GUARD_OVERRIDE`, or `None` where it is not set."""
    return choice(OVERRIDE, tuple(Mode))


def choice(variable: str, accepted: tuple[T, ...]) -> T | None:
    """One of the accepted words, or `None` where the variable is not set or empty.

    Raises:
        ConfigurationError: it is another word.
    """
    value = _word(variable)
    for word in accepted:
        if value == word:
            return word
    if not value:
        return None
    from openai_project_guard._keys import shown

    raise ConfigurationError(
        f"The environment variable {variable} is {shown(value)}, which is not understood. "
        f"Accepted: {_accepted(variable)}."
    )


def text(variable: str) -> str | None:
    """A free text, or `None` where it is not set or empty.

    White space and matching quotes around it are no part of it: `docker --env-file` keeps both.
    """
    value = os.environ.get(variable, "").strip()
    inside = value[1:-1]
    if len(value) > 1 and value[0] == value[-1] and value[0] in "\"'" and value[0] not in inside:
        value = inside.strip()
    return value or None


def path(variable: str) -> str | None:
    """The path of a file or a folder, with `~` expanded, or `None` where it is not set.

    Raises:
        ConfigurationError: see `checked_path()`.
    """
    named = text(variable)
    if named is None:
        return None
    return checked_path(f"The environment variable {variable}", named, _accepted(variable))


def checked_path(where: str, named: str, expected: str) -> str:
    """A path that was given, with `~` expanded.

    Args:
        where: what gave it, for the error.
        named: the path.
        expected: what it should be, for the error.

    Raises:
        ConfigurationError: it is a URL, mistyped perhaps, or has a key in it: a file or a folder
            would be named after the password or the key.
    """
    from openai_project_guard._keys import find_key, shown, without_user_info

    is_url = "://" in named or (":" in named and without_user_info(named) != named)
    if is_url or find_key(named):
        what = "a URL" if is_url else "with a key in it"
        raise ConfigurationError(f"{where} is {shown(named)}, {what}. Expected {expected}.")
    return os.path.expanduser(named)


def inline_registry() -> Registry | None:
    """The registry that `OPENAI_PROJECT_GUARD_KEYS` holds, or `None` where it is not set.

    Raises:
        RegistryError: it cannot be read.
    """
    pairs = text(KEYS)
    if pairs is None:
        return None
    from openai_project_guard._registry.literal import from_text

    return from_text(pairs, KEYS)


def host_names(given: Sequence[str] | None = None) -> Iterator[str]:
    """The names of further hosts that count as OpenAI's: those given, or else the variable's.

    Raises:
        ConfigurationError: one of them is not a host name alone.
    """
    if isinstance(given, (str, bytes)) or not (given is None or isinstance(given, Iterable)):
        from openai_project_guard._keys import shown

        what = "one string" if isinstance(given, str) else "no list"
        raise ConfigurationError(f"hosts={shown(given)} is {what}. Expected a list of host names.")
    named = filter(str.strip, (text(HOSTS) or "").split(","))
    where, names = (HOSTS, named) if given is None else ("hosts=", given)
    for name in names:
        from openai_project_guard._hosts import host_of_port, is_host, normal_host
        from openai_project_guard._keys import find_key, shown

        host = normal_host(name.strip()) if isinstance(name, str) else ""
        if is_host(host) and len(find_key(name) or "") < _SHORTEST_KEY:
            yield host
            continue
        before_port = host_of_port(name.strip()) if isinstance(name, str) else None
        raise ConfigurationError(
            f"{where} has {shown(name)}, which is not a host name. Expected a name "
            "alone, such as gateway.example.com, without scheme, port or path."
            if before_port is None
            else f"{where} has {shown(name)}, a host with a port. Leave the port off: "
            f"{shown(before_port)} counts at every port."
        )


def registry_names() -> tuple[str, ...]:
    """`OPENAI_PROJECT_GUARD_REGISTRY`, or the two default files if they are there.

    Raises:
        ConfigurationError: it is set, but names none, or one of its commas belongs to a URL.
    """
    named = text(REGISTRY)
    if named is not None:
        parts = (part.strip() for part in _NAMES.findall(named))
        names = tuple(os.path.expanduser(part) for part in parts if part)  # no URL begins with ~
        if not names:
            raise ConfigurationError(
                f"{REGISTRY} names no registry: there is nothing between its commas. Name one, or "
                "unset it."
            )
        check_commas(names)
        return names
    return tuple(filter(os.path.lexists, default_registries()))[:1]


def check_commas(names: Sequence[str]) -> None:
    """Refuses what stands after a comma behind a URL, if it may be the rest of its password.

    Raises:
        ConfigurationError: it is no URL, and there is no such file.
    """
    behind_url = dropwhile(lambda name: "://" not in name, names)
    for name in behind_url:
        if "://" not in name and not os.path.lexists(name):
            raise ConfigurationError(
                f"{REGISTRY} has a comma after a URL, and what follows it is no file. If the comma "
                "belongs to the URL, write %2C; otherwise correct the path."
            )


def source_names() -> tuple[str, ...]:
    """The registries that are read: those, and the file of what was learned once there is one."""
    names, learned = registry_names(), path(LEARNED)
    return (*names, learned) if learned is not None and os.path.exists(learned) else names


def default_registries() -> tuple[str, str]:
    """The files that are looked for, in this order, where no variable names a registry."""
    home = os.environ.get("XDG_CONFIG_HOME") or os.path.join(os.path.expanduser("~"), ".config")
    return "openai-projects.toml", os.path.join(home, "openai-project-guard", "registry.toml")


class Variable(NamedTuple):
    """One of the guard's variables.

    Attributes:
        name: its name.
        read: reads it; raises a `ConfigurationError` if the value is not understood.
        accepted: the values that it takes, in words.
    """

    name: str
    read: Callable[[], object]
    accepted: str


def _of_words(name: str, accepted: tuple[str, ...]) -> Variable:
    return Variable(name, partial(choice, name, accepted), ", ".join(accepted))


VARIABLES = (
    Variable(PREFIX, mode, f"{', '.join(Mode)}{_SYNONYMS}"),
    Variable(REGISTRY, partial(text, REGISTRY), "paths and redis:// URLs, with commas between"),
    Variable(KEYS, inline_registry, "proj_a=sha256:…,proj_b=sha256:…"),
    Variable(PROJECT, partial(text, PROJECT), "the id or alias of a project"),
    _of_words(POLICY_UNREGISTERED, UNREGISTERED),
    Variable(HOSTS, lambda: tuple(host_names()), "host names, with commas between"),
    Variable(LEARNED, partial(path, LEARNED), "the path of a file"),
    _of_words(SCOPE, CALL_SCOPES),
    Variable(SNAPSHOT, partial(path, SNAPSHOT), "the path of a file"),
    _of_words(OVERRIDE, tuple(Mode)),
    _of_words(ON_ERROR, ON_ERROR_CHOICES),
    Variable(AUDIT, partial(path, AUDIT), "the path of a folder"),
)
"""Every variable of the guard. What is none of them is a mistake: see `check_names()`."""


def check_choices() -> None:
    """Refuses a name or a value that is not understood, even of a guard that is off.

    Raises:
        ConfigurationError: names the variable, the value and the accepted ones.
    """
    check_names()
    is_off = override() is Mode.OFF  # then no registry is read: it may be the reason for that
    for variable in VARIABLES:
        if not (is_off and variable.name == KEYS):
            variable.read()


def check_names() -> None:
    """Refuses a variable that begins like the guard's and is none of them.

    Raises:
        ConfigurationError: names it, and the nearest one; or all of them, where none is near.
    """
    endings = [variable.name.removeprefix(PREFIX) for variable in VARIABLES]
    for name in os.environ:
        ending = name.removeprefix(PREFIX)
        if ending == name or not ending.startswith("_") or ending in endings:
            continue
        from difflib import get_close_matches

        from openai_project_guard._keys import redact

        near = [""] if ending in _GUESSES_OF_THE_MODE else get_close_matches(ending, endings, n=1)
        known = (
            f"The nearest is {PREFIX}{near[0]} ({_accepted(PREFIX + near[0])})."
            if near
            else f"There are {PREFIX} and, behind it, {', '.join(filter(None, endings))}."
        )
        raise ConfigurationError(
            f"The environment variable {redact(name)} is not one that the guard knows. {known} "
            "Correct the name, or unset it."
        )


def _accepted(variable: str) -> str:
    return next(known.accepted for known in VARIABLES if known.name == variable)


def _word(variable: str) -> str:
    return (text(variable) or "").lower()
