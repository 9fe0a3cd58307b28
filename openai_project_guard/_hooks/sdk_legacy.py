"""Releases of the SDK before `_send_request` came (up to 2.30.0); this module goes with them.

They send inside `except Exception`, try again whatever was raised there, and end in an
`APIConnectionError`. So a refusal leaves them as what is no `Exception`.
"""

from __future__ import annotations

import functools
import inspect
from collections.abc import Awaitable, Callable
from types import CodeType
from typing import Any

from openai_project_guard._check.call import Call
from openai_project_guard._check.check import refusal
from openai_project_guard._check.faults import refusal_for_fault
from openai_project_guard._hooks.call import HiddenCall
from openai_project_guard._hooks.httpx import CALL, HTTP, reaches_transport_hook
from openai_project_guard._hooks.patch import Function, hook
from openai_project_guard._hooks.sdk_facts import frames
from openai_project_guard._scope import SCOPE
from openai_project_guard._state import STATE, changing

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
        self.is_caught = any(frame.f_code in _CODES for frame in frames())

    def as_raised(self, error: Exception, message: Any) -> BaseException:
        """The refusal in a form that the SDK lets pass."""
        del message
        return Refused(error) if self.is_caught else error


def install(clients: tuple[type, type]) -> None:
    """Hooks `request()` of `SyncAPIClient` and `AsyncAPIClient`."""
    for client, make in zip(clients, (_request_hook, _async_request_hook), strict=True):
        hook(client, REQUEST, make)


_CODES: set[CodeType] = set()
"""The code of the hooks on `request()`."""


def _request_hook(original: Function) -> Function:
    def request(self: Any, *args: Any, **kwargs: Any) -> Any:
        call = HiddenCall(original, (self, *args), kwargs)
        del args, kwargs
        try:
            return call()
        except Refused as refused:
            error = refused.error
        raise error

    _CODES.add(request.__code__)
    return request


def _async_request_hook(original: Callable[..., Awaitable[Any]]) -> Function:
    async def request(self: Any, *args: Any, **kwargs: Any) -> Any:
        call = HiddenCall(original, (self, *args), kwargs)
        del args, kwargs
        try:
            return await call()
        except Refused as refused:
            error = refused.error
        raise error

    _CODES.add(request.__code__)
    return request


def marking_hook(original: Function) -> Function:
    """Marks each request as a call of the SDK's when it is made."""

    def _build_request(self: Any, *args: Any, **kwargs: Any) -> Any:
        try:
            request = original(self, *args, **kwargs)
        finally:
            del args, kwargs
        if STATE.settings is not None or SCOPE.get() is not None:
            error = _mark(self, request)
            if error is not None:
                raise error
        return request

    return _build_request


def _mark(client: Any, request: Any) -> BaseException | None:
    try:
        request.extensions[CALL] = LegacyCall()
        if not reaches_transport_hook(client._client):
            owner = _first_with(PREPARE_REQUEST, type(client))
            with changing:
                hook(owner, PREPARE_REQUEST, functools.partial(_preparing_hook, owner))
    except Exception as fault:
        return refusal_for_fault(fault)
    return None


def _preparing_hook(owner: type, original: Callable[..., Any]) -> Function:
    """Judges the request of a client whose HTTP client never comes by the transport hook.

    A subclass may override `_prepare_request` without `super()`, or go on after it: only what
    stands after the outermost one is judged.
    """

    def check(client: Any, request: Any) -> None:
        call = getattr(request, "extensions", {}).get(CALL)
        if (
            call is not None
            and _first_with(PREPARE_REQUEST, type(client)) is owner
            and not reaches_transport_hook(client._client)
        ):
            # Here the SDK lets a refusal pass as it is.
            is_caught, call.is_caught = call.is_caught, False
            error = refusal(call, request, HTTP)
            call.is_caught = is_caught
            if error is not None:
                raise error

    def _prepare_request(self: Any, request: Any) -> Any:
        original(self, request)
        check(self, request)

    async def _prepare_request_async(self: Any, request: Any) -> Any:
        await original(self, request)
        check(self, request)

    return _prepare_request_async if inspect.iscoroutinefunction(original) else _prepare_request


def _first_with(name: str, client_type: type) -> type:
    return next(owner for owner in client_type.__mro__ if name in owner.__dict__)
