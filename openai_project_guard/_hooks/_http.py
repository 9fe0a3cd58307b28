"""The last door: where an HTTP client of httpx or httpx2 hands a request to its transport.

Event hooks, auth flows and redirects of the user's own HTTP client have all run by then, so what
is read here is what leaves.
"""

from __future__ import annotations

from collections.abc import Callable
from types import ModuleType
from typing import Any

from openai_project_guard._check import check_once, under_way
from openai_project_guard._hooks._call import Sealed, await_inside, foreign_call, run_inside
from openai_project_guard._hooks._place import Wrapper, as_method, hook, is_hooked
from openai_project_guard._hooks._send import HTTP, send, send_async

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
        call = under_way.get()
        if call is None:
            foreign = foreign_call(family)
            if foreign is None:
                return wrapped(*args, **kwargs)
            sealed = Sealed(hand_over, (wrapped, instance, args, kwargs), {})
            del args, kwargs
            return run(foreign, sealed)
        error = check_once(call, args[0], HTTP)
        if error is None and not call.hears_at_last_door:
            return wrapped(*args, **kwargs)
        return finish(call, error, wrapped, args, kwargs)

    return hand_over


def sends_as_it_is(client: Any, auth: object) -> bool:
    """Whether nothing between here and the transport may still change key or header.

    A stand-in for an HTTP client, or one that sends in its own way, may never come by the last
    door, so for it this is the last.
    """
    if not hasattr(type(client), HAND_OVER):
        return True
    if auth is None and client.auth is None and not client.event_hooks["request"]:
        return True
    return not all(_is_inherited(client, step) for step in STEPS)


def _is_inherited(client: Any, step: str) -> bool:
    owner = next((owner for owner in type(client).__mro__ if step in vars(owner)), None)
    return owner is not None and is_hooked(owner, HAND_OVER) and step not in vars(client)
