"""The last door: where an HTTP client of httpx or httpx2 hands a request to its transport.

Event hooks, auth flows and redirects of the user's own HTTP client have all run by then, so what
is read here is what leaves.
"""

from __future__ import annotations

from collections.abc import Callable
from types import ModuleType
from typing import Any
from weakref import WeakKeyDictionary

from openai_project_guard._check.check import Call, refusal_of, under_way
from openai_project_guard._hooks.call import Sealed, await_inside, foreign_call, run_inside
from openai_project_guard._hooks.patch import Wrapper, as_method, hook, is_reached
from openai_project_guard._hooks.send import HTTP, send, send_async

HAND_OVER = "_send_single_request"
STEPS = ("send", "_send_handling_auth", "_send_handling_redirects", HAND_OVER)
"""The way from the SDK's hand-over to the last door, in httpx and httpx2 alike."""


def install(module: ModuleType) -> None:
    """Hooks the clients of `httpx` or `httpx2`."""
    for client, is_async in ((module.Client, False), (module.AsyncClient, True)):
        hook(client, HAND_OVER, _hand_over(is_async, module.RequestError))


def _hand_over(is_async: bool, family: type[Exception]) -> Wrapper:
    finish, run = (send_async, await_inside) if is_async else (send, run_inside)

    def hand_over(wrapped: Callable[..., Any], instance: Any, args: Any, kwargs: Any) -> Any:
        if instance is None:
            wrapped, _, args = as_method(wrapped, args)
        request = args[0] if args else kwargs["request"]
        call = under_way.get()
        if call is None or call.is_over:
            call = _left_to_last_door.get(request) if _left_to_last_door else None
        if call is None:
            foreign = foreign_call(family)
            if foreign is None:
                return wrapped(*args, **kwargs)
            sealed = Sealed(hand_over, (wrapped, instance, args, kwargs), {})
            del args, kwargs
            return run(foreign, sealed)
        if call.message is request and call.headers == HTTP.headers(request):
            error = None  # judged a moment ago, and unchanged
        else:
            if call.message is not request and not _sends_for(call, instance):
                call = call.beside()
            error = refusal_of(call, request, HTTP)
        if error is None and not call.hears_at_last_door:
            return wrapped(*args, **kwargs)
        return finish(call, request, error, None, wrapped, args, kwargs)

    return hand_over


_left_to_last_door: WeakKeyDictionary[Any, Call] = WeakKeyDictionary()


def is_left_to_last_door(call: Call, client: Any, request: Any, auth: object) -> bool:
    """Whether key or header may still change on the way to the transport: it is judged there then.

    A stand-in for an HTTP client, or one that sends in its own way, may never come by the last
    door, so for it this is the last.

    Args:
        call: remembered with the request, for whoever sends it may do so in another thread.
        client: the HTTP client.
        request: what it is about to send.
        auth: its `auth=`, if it was given one with the request.
    """
    if not hasattr(type(client), HAND_OVER):
        return False
    may_change = auth or client.auth or client.event_hooks["request"] or request.url.userinfo
    if not may_change or not all(_is_inherited(client, step) for step in STEPS):
        return False
    _left_to_last_door[request] = call
    return True


def _is_inherited(client: Any, step: str) -> bool:
    owner = next((owner for owner in type(client).__mro__ if step in vars(owner)), None)
    return owner is not None and is_reached(owner, HAND_OVER) and step not in vars(client)


def _sends_for(call: Call, http_client: Any) -> bool:
    if call.client is None:  # a call that is not the SDK's is one request
        return call.message is None
    return getattr(call.client, "_client", None) is http_client
