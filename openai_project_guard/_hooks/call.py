"""A call that is under way: what is sent meanwhile, in this thread or task, is sent by it."""

from __future__ import annotations

from collections.abc import Callable
from functools import cache
from types import TracebackType
from typing import Any

from openai_project_guard import _settings
from openai_project_guard._check.check import Call, annotate, under_way


class Refused(BaseException):
    """Carries a refusal out of an SDK that would retry it.

    Before `_send_request` came, the SDK sends inside `except Exception`, retries whatever is
    raised there and ends in `APIConnectionError`. What is no `Exception` passes; the hook around
    the whole call raises what is carried here.
    """

    def __init__(self, error: Exception) -> None:
        super().__init__(str(error))
        self.error = error


class CallUnderWay(Call):
    """A whole call, retries included, or the opening of a WebSocket."""

    __slots__ = ("_outer",)

    def __enter__(self) -> None:
        self._outer = under_way.get()
        under_way.set(self)

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        under_way.set(self._outer)
        self.is_over, self.headers = True, []
        if isinstance(error, Refused):
            raise error.error from None
        if error is not None:
            annotate(self, error)


class OldCallUnderWay(CallUnderWay):
    """A call of an SDK that would retry a refusal raised inside its HTTP client."""

    __slots__ = ()

    hears_at_last_door = True  # nowhere else does such an SDK show its answer

    def as_raised(self, error: Exception) -> BaseException:
        """The refusal in a form that the SDK lets pass."""
        return Refused(error)


class ForeignCall(CallUnderWay):
    """A call that is not the SDK's, refused in the shape that its library's users expect."""

    __slots__ = ("_family",)

    hears_at_last_door = True

    def __init__(self, family: type[Exception]) -> None:
        super().__init__(None)
        self._family = family

    def beside(self) -> ForeignCall:
        """For a request that is sent by the way."""
        return ForeignCall(self._family)

    def as_raised(self, error: Exception) -> BaseException:
        """The refusal as an error of both families: ours and the library's."""
        ours: Any = type(error)
        theirs: Any = self._family
        both = _of_both(ours, theirs)
        return both(str(error), error.verdict)  # type: ignore[attr-defined,no-any-return]


@cache
def _of_both(ours: Any, theirs: Any) -> Any:
    def reduce(error: Any) -> Any:
        return ours, (str(error), error.verdict)  # a class made here cannot be found by name

    return type(ours.__name__, (ours, theirs), {"__doc__": ours.__doc__, "__reduce__": reduce})


def foreign_call(family: type[Exception]) -> ForeignCall | None:
    """A call to judge, if calls that are not the SDK's are judged here."""
    settings = _settings.in_force
    if settings is None or settings.scope != "process":
        return None
    return ForeignCall(family)


class Sealed:
    """A function with its arguments, out of sight of a traceback that shows a frame's locals.

    The options of a call and the headers of a handshake hold the key, and their repr shows it.
    """

    __slots__ = ("_args", "_fn", "_kwargs")

    def __init__(self, fn: Callable[..., Any], args: Any, kwargs: Any) -> None:
        self._fn = fn
        self._args = args
        self._kwargs = kwargs

    def __call__(self) -> Any:
        return self._fn(*self._args, **self._kwargs)


def run_inside(call: CallUnderWay, fn: Callable[[], Any]) -> Any:
    """Runs a function with the call under way."""
    with call:
        return fn()


async def await_inside(call: CallUnderWay, fn: Callable[[], Any]) -> Any:
    """The same, awaiting."""
    with call:
        return await fn()
