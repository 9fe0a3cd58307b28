"""The SDK's hooks: where it makes a request, and where it makes the error of a refused one.

A request is marked when it is made, and judged by the transport hook, when nothing can change any
more. Only what never gets there, or must not get that far, is judged where the SDK sends it.
"""

from __future__ import annotations

import sys
from types import ModuleType
from typing import Any

from openai_project_guard._check.call import Call
from openai_project_guard._check.check import is_active, refusal
from openai_project_guard._check.faults import log_fault, refusal_for_fault
from openai_project_guard._check.response import add_note, check_response
from openai_project_guard._errors import OWN_FAULTS
from openai_project_guard._hooks import client_site, sdk_legacy
from openai_project_guard._hooks.call import HiddenCall, Judged, judging
from openai_project_guard._hooks.httpx import (
    CALL,
    HTTP,
    new_call,
    note_bypassing_client,
    reaches_transport_hook,
)
from openai_project_guard._hooks.patch import Function, hook, is_reached, owner_of, require
from openai_project_guard._hooks.sdk_facts import BASE_MODULE, service_account
from openai_project_guard._hooks.unsendable import refusal_of_unsendable
from openai_project_guard._scope import SCOPE
from openai_project_guard._state import STATE, changing

BUILD_REQUEST = "_build_request"
MAKE_ERROR = "_make_status_error_from_response"
SEND_REQUEST = "_send_request"
"""From some release after 2.30.0. An `OpenAIError` raised inside passes through `request()`."""


def install(_: ModuleType) -> None:
    """Hooks the installed SDK.

    Raises:
        UnsupportedSDKError: a method that the guard needs is missing; names it.
    """
    module = sys.modules[BASE_MODULE]
    base, clients = module.BaseClient, (module.SyncAPIClient, module.AsyncAPIClient)
    is_legacy = not any(SEND_REQUEST in client.__dict__ for client in clients)
    require(base, BUILD_REQUEST, MAKE_ERROR)
    for client in clients:
        require(client, *(sdk_legacy.NEEDED if is_legacy else (SEND_REQUEST,)))
    if is_legacy:
        sdk_legacy.install(clients)
    client_site.install(clients)
    hook(base, MAKE_ERROR, _note_hook)
    hook(base, BUILD_REQUEST, _marking_hook)


def unhooked() -> tuple[str, ...]:
    """The SDK's classes, where it was reloaded or imported again after it was hooked."""
    module = sys.modules.get(BASE_MODULE)
    if module is None or is_reached(module.BaseClient, BUILD_REQUEST):
        return ()
    return (f"BaseClient.{BUILD_REQUEST}",)


def _marking_hook(original: Function) -> Function:
    """Marks each request as a call of the SDK's when it is made."""

    def _build_request(self: Any, options: Any, **more: Any) -> Any:
        request = error = None
        try:
            request = original(self, options, **more)
        except UnicodeEncodeError:
            error = refusal_of_unsendable(self, options)
            if error is None:
                raise
        else:
            if STATE.settings is not None or SCOPE.get() is not None:
                error = _mark(self, request)
        finally:
            del options, more  # they may hold a key, and their repr shows it
        if error is not None:
            del self, request
            raise error
        return request

    return _build_request


def _mark(client: Any, request: Any) -> BaseException | None:
    try:
        account = service_account(client)
        call = request.extensions[CALL] = new_call(account)
        if STATE.audit is not None:
            call.client_site = str(client_site.site_of(client))
        if not reaches_transport_hook(client._client):
            note_bypassing_client(client._client)
            _hook_sending(type(client))
        elif account is not None:
            _hook_sending(type(client))
    except OWN_FAULTS as fault:
        return None if _is_mock(request) else refusal_for_fault(fault)
    return None


def _is_mock(request: Any) -> bool:
    """Whether a request was built by a mock of an HTTP client: nothing can be sent with it."""
    mock = sys.modules.get("unittest.mock")
    return mock is not None and isinstance(request, mock.NonCallableMock)


def _hook_sending(client_type: type) -> None:
    """Hooks the last methods of a client's classes, before this very call gets there."""
    bases = client_type.__mro__  # of an SDK that may have been imported again since
    if hasattr(client_type, SEND_REQUEST):
        name = SEND_REQUEST
        owners = [owner for owner in bases if name in owner.__dict__]
        is_async = (BASE_MODULE, "AsyncAPIClient") in {(b.__module__, b.__name__) for b in bases}
        make = judging(_judge_sending, is_async=is_async)
    else:
        name = sdk_legacy.PREPARE_REQUEST
        owners = [owner_of(client_type, name)]
        make = sdk_legacy.judging_prepared(owners[0], _judge_here)
    if all(is_reached(owner, name) for owner in owners):
        return  # as at every call but the first: it takes no lock
    with changing:
        if any(is_reached(base, BUILD_REQUEST) for base in bases):  # else taken off meanwhile
            for owner in owners:
                hook(owner, name, make)


def _judge_sending(send: HiddenCall) -> Judged:
    client, request = send.argument("self", 0), send.argument("request", 1)
    call, error = _judge_here(client, request)

    def check(response: Any) -> None:
        if call is not None and not call.is_sent:  # else it was checked further in
            call.is_sent = True
            check_response(call, response, request, HTTP)

    return Judged(call, error, check)


def _judge_here(client: Any, request: Any) -> tuple[Call | None, BaseException | None]:
    """Judges a request that never gets to the transport hook.

    Any other is judged there, but with a workload identity the SDK first asks for a token, which is
    a request, too: so it is found out here whether this one would be refused.
    """
    if not is_active() or _is_mock(request):
        return None, None
    call: Call | None = request.extensions.get(CALL)
    if call is None:  # a private method of the SDK was called with a request made elsewhere
        call = request.extensions[CALL] = new_call(service_account(client))
    dry_run = reaches_transport_hook(client._client)
    if dry_run and call.service_account is None:
        return call, None
    error = refusal(call, request, HTTP, dry_run=dry_run)
    if not dry_run:
        call.is_sent = False  # with another token, it may be sent once more
    return call, error


def _note_hook(original: Function) -> Function:
    """Notes on the error of a server's 401 what the guard had checked."""

    def _make_status_error_from_response(self: Any, response: Any) -> Any:
        error = original(self, response)
        try:
            call = response.request.extensions.get(CALL)
            if call is not None:
                add_note(error, call, HTTP)
        except OWN_FAULTS as fault:
            log_fault(fault, "The server's error was raised without the guard's note.")
        return error

    return _make_status_error_from_response
