"""Errors of set-up. They are light: raising one imports neither the SDK nor wrapt."""

from __future__ import annotations

import functools
import sys
from collections.abc import Callable
from typing import Any, TypeVar, cast

F = TypeVar("F", bound=Callable[..., Any])


OWN_FAULTS = (
    *(ArithmeticError, AssertionError, AttributeError, LookupError, MemoryError, RuntimeError),
    *(TypeError, ValueError),
)
"""What a fault of ours may raise. Not every `Exception`: the handler of a signal may raise one at
any moment, as task queues do when a task has taken too long, and that is the application's. (Where
a source, an observer or a log handler runs, each is taken: theirs cannot be told from it.)"""


class ConfigurationError(ValueError):
    """A setting cannot be understood: an environment variable or an argument.

    Example:
        >>> try:
        ...     enable(mode="enforced")
        ... except ConfigurationError as error:
        ...     print(error)
        mode='enforced' is not a mode. Accepted: enforce, inject, warn, off.
    """


class RegistryError(ConfigurationError):
    """A registry cannot be read or is not valid; the message names place and field."""


class UnsupportedSDKError(ConfigurationError):
    """The installed SDK lacks a place that the guard must hook; the message names it."""


for _public in (ConfigurationError, RegistryError, UnsupportedSDKError):
    _public.__module__ = "openai_project_guard"  # the name by which users know it


def hide_frames(fn: F) -> F:
    """Makes a function that may be handed a key raise its errors without it.

    Error trackers show the locals of every frame that an error passed. So it is raised again from
    a frame that has none, and the frames in which it came about are dropped.
    """

    @functools.wraps(fn)
    def wrapper(*args: Any, **kwargs: Any) -> Any:
        passing: list[Any] = [kwargs, args]
        del args, kwargs  # so that no local has them while the function runs, and perhaps logs
        try:
            return fn(*passing.pop(), **passing.pop())
        except Exception as error:  # a TypeError for a wrong argument, too
            error.__context__ = None
            if isinstance(error, ConfigurationError):
                error.args = tuple(map(_without_registered_keys, error.args))
            raise error.with_traceback(None) from None

    return cast("F", wrapper)


def _without_registered_keys(text: Any) -> Any:
    """A message without a key that is registered just now, of whatever form."""
    module = sys.modules.get("openai_project_guard._state")  # without it none is
    return module.STATE.without_keys(text) if module and isinstance(text, str) else text
