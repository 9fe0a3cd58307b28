"""Releases of the SDK before `_send_request` came (up to 2.30.0); this module goes with them.

They send inside a `try` whose `except Exception` retries and ends in an `APIConnectionError`. So a
refusal passes through them as a `BaseException`.
"""

from __future__ import annotations

import inspect
from collections.abc import Awaitable, Callable, Iterator
from types import CodeType
from typing import Any

from openai_project_guard._check.call import Call
from openai_project_guard._hooks.call import HiddenCall
from openai_project_guard._hooks.patch import Function, Maker, hook, owner_of, wrapper_chain
from openai_project_guard._hooks.sdk_facts import frames

REQUEST = "request"
PREPARE_REQUEST = "_prepare_request"
"""The last method of the SDK that runs before its HTTP client, and outside the `try`."""
NEEDED = (REQUEST, PREPARE_REQUEST)


class Refused(BaseException):
    """Carries a refusal out of the SDK, up to the hook on `request()`, which raises it."""

    def __init__(self, error: BaseException) -> None:
        super().__init__(str(error))
        self.error = error


class LegacyCall(Call):
    """A call of an SDK that would retry its refusal.

    Attributes:
        is_caught: the hook on `request()` runs around it. Not around a call that was begun before
            the hooks went in: its refusal ends as the SDK's `APIConnectionError`.
    """

    __slots__ = ("is_caught",)

    def __init__(self) -> None:
        super().__init__()
        self.is_caught = any(frame.f_code in CODES for frame in frames())

    def as_raised(self, error: Exception, message: Any) -> BaseException:
        """The refusal in a form that the SDK lets pass."""
        del message
        return Refused(error) if self.is_caught else error


def install(clients: tuple[type, type]) -> None:
    """Hooks `request()` of `SyncAPIClient` and `AsyncAPIClient`, and of classes with their own.

    A tracing tool may have put on `OpenAI` a wrapper around the method that it found in the base:
    such a wrapper bypasses the hook in the base, so it is hooked as well.
    """
    for client, make in zip(clients, (_request_hook, _async_request_hook), strict=True):
        hook(client, REQUEST, make)
        for owner in _descendants(client):
            if REQUEST in owner.__dict__ and not _comes_by_hook(owner.__dict__[REQUEST]):
                hook(owner, REQUEST, make)


def _comes_by_hook(method: Any) -> bool:
    return any(getattr(link, "__code__", None) in CODES for link in wrapper_chain(method))


def _descendants(base: type[Any]) -> Iterator[type[Any]]:
    for child in base.__subclasses__():
        yield child
        yield from _descendants(child)


CODES: set[CodeType] = set()
"""The code of the hooks on `request()`: none where the SDK is a newer one."""


def _request_hook(original: Function) -> Function:
    def request(*args: Any, **kwargs: Any) -> Any:
        send = HiddenCall(original, args, kwargs)
        del args, kwargs
        try:
            return send()
        except Refused as refused:
            error = refused.error
        raise error

    CODES.add(request.__code__)
    return request


def _async_request_hook(original: Callable[..., Awaitable[Any]]) -> Function:
    async def request(*args: Any, **kwargs: Any) -> Any:
        send = HiddenCall(original, args, kwargs)
        del args, kwargs
        try:
            return await send()
        except Refused as refused:
            error = refused.error
        raise error

    CODES.add(request.__code__)
    return request


def judging_prepared(
    owner: type, judge_here: Callable[[Any, Any], tuple[Call | None, BaseException | None]]
) -> Maker:
    """Makes a hook that judges a client's requests after the outermost `_prepare_request`.

    A subclass may override it without `super()`, or go on after it: only what stands after the
    outermost one, which is the owner's, is judged.
    """

    def make(original: Callable[..., Any]) -> Function:
        def judge(client: Any, request: Any) -> BaseException | None:
            if owner_of(type(client), PREPARE_REQUEST) is not owner:
                return None
            _, error = judge_here(client, request)
            return error.error if isinstance(error, Refused) else error  # the SDK lets it pass here

        def _prepare_request(self: Any, request: Any) -> Any:
            original(self, request)
            error = judge(self, request)
            del self, request
            if error is not None:
                raise error

        async def _prepare_request_async(self: Any, request: Any) -> Any:
            await original(self, request)
            error = judge(self, request)
            del self, request
            if error is not None:
                raise error

        return _prepare_request_async if inspect.iscoroutinefunction(original) else _prepare_request

    return make
