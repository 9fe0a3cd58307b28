"""The SDK's doors: a whole call (`request`), and where the SDK lets go of a finished request.

They are chosen by what the installed SDK has, not by its version.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from types import ModuleType
from typing import Any

from openai_project_guard import _settings
from openai_project_guard._check import observers as _observers
from openai_project_guard._check.check import Call, is_watching, judge, row_in_order, under_way
from openai_project_guard._errors import UnsupportedSDKError
from openai_project_guard._hooks.call import (
    CallUnderWay,
    OldCallUnderWay,
    Sealed,
    await_inside,
    run_inside,
)
from openai_project_guard._hooks.httpx import HAND_OVER, is_left_to_last_door
from openai_project_guard._hooks.patch import Wrapper, as_method, hook, is_hooked
from openai_project_guard._hooks.send import HTTP, send, send_async
from openai_project_guard._scope import innermost
from openai_project_guard._settings import changing

CALL = "request"
LET_GO = "_send_request"
"""From some release after 2.30.0. An `OpenAIError` raised inside passes through `request()`."""
PREPARE = "_prepare_request"
"""Before that: the last method of the SDK that runs before its HTTP client."""


def install(openai: ModuleType) -> None:
    """Hooks the installed SDK.

    Raises:
        UnsupportedSDKError: a place that the guard needs is missing; names it.
    """
    from openai import _base_client

    for base, is_async in (
        (_base_client.SyncAPIClient, False),
        (_base_client.AsyncAPIClient, True),
    ):
        lets_go = LET_GO in base.__dict__
        for name in (CALL, LET_GO if lets_go else PREPARE):
            if name not in base.__dict__:
                raise UnsupportedSDKError(
                    f"openai {openai.__version__} has no {base.__name__}.{name}, where the guard "
                    "must look at a call before it is sent. Upgrade openai-project-guard, or use "
                    "a release of openai that it supports; its README lists them."
                )
        # A tracing tool may have wrapped `request` on OpenAI, over the one that it inherits.
        for owner in (base, *_descendants(base)):
            if CALL in owner.__dict__:
                hook(owner, CALL, _call(lets_go, is_async))
        if lets_go:
            hook(base, LET_GO, _let_go(is_async))
        hook(base, "__init__", _new_client(base, _call(lets_go, is_async)))


def unhooked() -> tuple[str, ...]:
    """The SDK's classes, where it was reloaded or imported again after it was hooked."""
    module = sys.modules.get("openai._base_client")
    if module is None:
        return ()
    classes = (module.SyncAPIClient, module.AsyncAPIClient)
    return tuple(f"{c.__name__}.{CALL}" for c in classes if not is_hooked(c, CALL))


def _call(lets_go: bool, is_async: bool) -> Wrapper:
    """The wrapper of a whole call."""
    call_type = CallUnderWay if lets_go else OldCallUnderWay
    run = await_inside if is_async else run_inside

    def around(wrapped: Callable[..., Any], instance: Any, args: Any, kwargs: Any) -> Any:
        if instance is None:
            wrapped, instance, args = as_method(wrapped, args)
        if not is_watching():
            return wrapped(*args, **kwargs)
        options = args[1] if len(args) > 1 else kwargs.get("options")
        outer = under_way.get()
        if outer is not None and outer.client is instance and outer.options is options:
            return wrapped(*args, **kwargs)  # this very call: a subclass hands it on to its base
        if not lets_go:
            owner = _first_with(PREPARE, type(instance))
            hook(owner, PREPARE, _preparation(owner, is_async))
        elif getattr(instance, "workload_identity", None):
            hook(_first_with(LET_GO, type(instance)), LET_GO, _before_token)
        call = call_type(instance, options)
        sealed = Sealed(wrapped, args, kwargs)
        del args, kwargs, options
        return run(call, sealed)

    return around


def _new_client(base: type[Any], call: Wrapper) -> Wrapper:
    """The wrapper of a client's `__init__`: its class may be younger than our hooks."""

    def made(wrapped: Callable[..., Any], instance: Any, args: Any, kwargs: Any) -> Any:
        if instance is None:
            wrapped, instance, args = as_method(wrapped, args)
        if is_watching():
            for owner in type(instance).__mro__:
                if CALL in owner.__dict__ and issubclass(owner, base):
                    with changing:
                        hook(owner, CALL, call)
        sealed = Sealed(wrapped, args, kwargs)
        del args, kwargs
        return sealed()

    return made


def _let_go(is_async: bool) -> Wrapper:
    """The wrapper of the place where the SDK hands a request to its HTTP client."""
    finish, run = (send_async, await_inside) if is_async else (send, run_inside)

    def let_go(wrapped: Callable[..., Any], instance: Any, args: Any, kwargs: Any) -> Any:
        if instance is None:
            wrapped, instance, args = as_method(wrapped, args)
        settings, scope = _settings.in_force, innermost.get()
        if settings is None and scope is None:
            return wrapped(*args, **kwargs)
        call = under_way.get()
        if call is not None and (call.client is not instance or call.is_over):
            call = None
        if call is None and hasattr(instance._client, HAND_OVER):
            # Somebody took our hook off `request`, or went round it.
            sealed = Sealed(let_go, (wrapped, instance, args, kwargs), {})
            del args, kwargs
            return run(CallUnderWay(instance), sealed)
        request = args[0] if args else kwargs["request"]
        if settings is not None and scope is None and not _observers.observers:
            row = row_in_order(settings, call, request, HTTP)
            if row is not None:
                return finish(call, request, None, row, wrapped, args, kwargs)
        call = call or Call(instance)
        error = _judge(call, instance, request, kwargs.get("auth"))
        return finish(call, request, error, None, wrapped, args, kwargs)

    return let_go


def _before_token(wrapped: Callable[..., Any], instance: Any, args: Any, kwargs: Any) -> Any:
    """Refuses a call of a workload identity before the SDK asks for a token in its name."""
    if instance is None:
        wrapped, instance, args = as_method(wrapped, args)
    if is_watching() and getattr(instance, "workload_identity", None):
        request = args[0] if args else kwargs["request"]
        error = judge(Call(instance), request, HTTP, is_trial=True)
        if error is not None:
            raise error
    return wrapped(*args, **kwargs)


def _preparation(owner: type, is_async: bool) -> Wrapper:
    """The wrapper of `_prepare_request`, which an old SDK calls just before its HTTP client.

    A subclass may override it without `super()`, or go on after it: only what stands after the
    outermost one is judged.
    """

    def check(client: Any, request: Any) -> None:
        if not is_watching() or _first_with(PREPARE, type(client)) is not owner:
            return
        call = under_way.get()
        if call is None or call.client is not client or call.is_over:
            # Somebody took our hook off `request`: nothing behind this door looks.
            error: Exception | None = judge(Call(client), request, HTTP)
        else:
            error = _judge(call, client, request, getattr(client, "custom_auth", None))
        if error is not None:
            raise error

    def prepare(wrapped: Callable[..., Any], instance: Any, args: Any, kwargs: Any) -> Any:
        if instance is None:
            wrapped, instance, args = as_method(wrapped, args)
        result = wrapped(*args, **kwargs)
        check(instance, args[0] if args else kwargs["request"])
        return result

    async def prepare_async(
        wrapped: Callable[..., Any], instance: Any, args: Any, kwargs: Any
    ) -> Any:
        if instance is None:
            wrapped, instance, args = as_method(wrapped, args)
        result = await wrapped(*args, **kwargs)
        check(instance, args[0] if args else kwargs["request"])
        return result

    return prepare_async if is_async else prepare


def _judge(call: Call, client: Any, request: Any, auth: object) -> Exception | None:
    """Judges the request, unless the HTTP client may still change it: then the last door does."""
    call.message, call.is_unanswered = None, False
    if is_left_to_last_door(call, client._client, request, auth):
        return None
    return judge(call, request, HTTP)


def _first_with(name: str, client_type: type) -> type:
    return next(owner for owner in client_type.__mro__ if name in owner.__dict__)


def _descendants(base: type[Any]) -> Iterator[type[Any]]:
    for child in base.__subclasses__():
        yield child
        yield from _descendants(child)
