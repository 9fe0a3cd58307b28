"""One flow for whatever sends: judge, send, check the answer. Sync and async hooks are made by it.

The transport hooks of httpx do the same in their own lines, for the sake of their speed.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

from openai_project_guard._check.call import Call
from openai_project_guard._check.check import is_active
from openai_project_guard._hooks.patch import Function, Maker
from openai_project_guard._hooks.sdk_facts import frames
from openai_project_guard._state import STATE


class HiddenCall:
    """A function with its arguments, out of sight of a traceback that shows a frame's locals.

    Headers hold the key, and their repr shows it. Once called, it holds nothing any more.
    """

    __slots__ = ("_args", "_fn", "_kwargs")

    def __init__(self, fn: Function, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
        self._fn = fn
        self._args = args
        self._kwargs = kwargs

    def __call__(self) -> Any:
        try:
            return self._fn(*self._args, **self._kwargs)
        finally:
            del self._args, self._kwargs

    def argument(self, name: str, at: int | None = None) -> Any:
        """The argument of this name, or at this position; `None` if it is missing."""
        if at is not None and at < len(self._args):
            return self._args[at]
        return self._kwargs.get(name)

    def replace(self, value: Any, name: str, at: int | None = None) -> None:
        """Gives it another argument. What it was called with is the caller's, and stays."""
        if at is not None and at < len(self._args):
            self._args = (*self._args[:at], value, *self._args[at + 1 :])
        else:
            self._kwargs = {**self._kwargs, name: value}


class Judged(NamedTuple):
    """What became of one call of a hooked function; by default, it was not judged.

    Attributes:
        call: what is known of it.
        error: the refusal to raise instead, if it was refused.
        check: is given the answer.
    """

    call: Call | None = None
    error: BaseException | None = None
    check: Callable[[Any], None] | None = None


Judge = Callable[[HiddenCall], Judged]


def judging(judge: Judge, *, is_async: bool = False) -> Maker:
    """Makes a hook that judges what a function is about to send."""

    def make(original: Function) -> Function:
        def hooked(*args: Any, **kwargs: Any) -> Any:
            send = HiddenCall(original, args, kwargs)
            del args, kwargs
            call, error, check = judge(send)
            try:
                if error is not None:
                    raise error
                answer = send()
            except BaseException:
                del send, call, check  # whoever keeps the error must not keep them
                raise
            if check is not None:
                check(answer)
            return answer

        async def hooked_async(*args: Any, **kwargs: Any) -> Any:
            send = HiddenCall(original, args, kwargs)
            del args, kwargs
            call, error, check = judge(send)
            try:
                if error is not None:
                    raise error
                answer = await send()
            except BaseException:
                del send, call, check  # whoever keeps the error must not keep them
                raise
            if check is not None:
                check(answer)
            return answer

        return hooked_async if is_async else hooked

    return make


def calls_on_stack() -> Iterator[Call]:
    """The calls that are being sent just now, in this thread or task; the innermost first."""
    for frame in frames():
        if frame.f_globals.get("__package__") == __package__:
            call = frame.f_locals.get("call")
            if isinstance(call, Call):
                yield call


def judges_other_calls() -> bool:
    """Whether calls of other libraries are judged, too: `scope="process"`."""
    settings = STATE.active
    return settings is not None and settings.scope == "process" and is_active()


class OtherCall(Call):
    """A request of another library, refused in the shape that its users expect."""

    __slots__ = ("_family",)

    def __init__(self, family: type[Exception]) -> None:
        super().__init__()
        self._family: Any = family

    def as_raised(self, error: Any, message: Any) -> BaseException:
        """The refusal as an error of both families: ours and the library's."""
        ours: Any = type(error)
        both = _of_both(ours, self._family)(str(error), error.verdict)
        both.request = getattr(message, "original", message)
        return both  # type: ignore[no-any-return]


@functools.cache
def _of_both(ours: Any, theirs: Any) -> Any:
    def reduce(error: Any) -> Any:
        return ours, (str(error), error.verdict)  # a class made here cannot be found by name

    return type(
        ours.__name__, (ours, theirs), {"__module__": ours.__module__, "__reduce__": reduce}
    )
