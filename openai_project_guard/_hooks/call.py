"""Calls whose refusal must take another form to get through to the caller."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any, cast

from openai_project_guard._check.call import Call


class OtherCall(Call):
    """A request of another library, refused in the shape that its users expect."""

    __slots__ = ("_family",)

    def __init__(self, family: type[Exception]) -> None:
        super().__init__()
        self._family = family

    def as_raised(self, error: Exception, message: Any) -> BaseException:
        """The refusal as an error of both families: ours and the library's."""
        ours: Any = type(error)
        both = _of_both(ours, cast("Any", self._family))(str(error), cast("Any", error).verdict)
        both.request = getattr(message, "original", message)
        return both  # type: ignore[no-any-return]


@functools.cache
def _of_both(ours: Any, theirs: Any) -> Any:
    def reduce(error: Any) -> Any:
        return ours, (str(error), error.verdict)  # a class made here cannot be found by name

    return type(ours.__name__, (ours, theirs), {"__doc__": ours.__doc__, "__reduce__": reduce})


class HiddenCall:
    """A function with its arguments, out of sight of a traceback that shows a frame's locals.

    The headers of a handshake hold the key, and their repr shows it.
    """

    __slots__ = ("_args", "_fn", "_kwargs")

    def __init__(self, fn: Callable[..., Any], args: Any, kwargs: Any) -> None:
        self._fn = fn
        self._args = args
        self._kwargs = kwargs

    def __call__(self) -> Any:
        return self._fn(*self._args, **self._kwargs)
