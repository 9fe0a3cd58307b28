"""Where each client was built, noted when it is built: one walk over the frames.

It is kept beside the client, not on it: nothing of ours is seen on a client, copied with it or
pickled, and a client that the program drops is dropped. Clients need not be hashable for it.
"""

from __future__ import annotations

import inspect
import sys
from collections.abc import Mapping
from types import FrameType
from typing import Any
from weakref import ref

from openai_project_guard._check.call_site import (
    UNKNOWN_CLIENT,
    ClientSite,
    Step,
    call_site,
    is_application,
)
from openai_project_guard._check.header_settings import PROJECT, SETTINGS, Setting
from openai_project_guard._check.waiting import module_of, outwards
from openai_project_guard._errors import OWN_FAULTS
from openai_project_guard._hooks.patch import Function, forgetting_ref, hook
from openai_project_guard._scope import SCOPE
from openai_project_guard._state import STATE

_sites: dict[int, tuple[ref[Any], ClientSite]] = {}
"""By the client's id, with a reference that tells whether it is still that client."""


def install(clients: tuple[type, ...]) -> None:
    """Hooks the constructors of `SyncAPIClient` and `AsyncAPIClient`."""
    for client in clients:
        if "__init__" in client.__dict__:
            hook(client, "__init__", _building_hook)


def site_of(client: Any) -> ClientSite:
    """Where a client was built, as far as that was seen."""
    kept = _sites.get(id(client))
    return kept[1] if kept is not None and kept[0]() is client else UNKNOWN_CLIENT


def _building_hook(original: Function) -> Function:
    def init(self: Any, *args: Any, **kwargs: Any) -> None:
        try:
            original(self, *args, **kwargs)
        finally:
            del args, kwargs  # the headers may hold a key
        if STATE.settings is not None or STATE.scope_settings is not None or SCOPE.get():
            _note(self)

    return init


def _note(client: Any) -> None:
    try:
        key = id(client)
        _sites[key] = forgetting_ref(client, _sites, key), _site(client)
    except OWN_FAULTS:  # a client that cannot be noted is built all the same
        pass


def _site(client: Any) -> ClientSite:
    own: Step | None = None
    outer: FrameType | None = sys._getframe(3)  # of whoever called the constructor's hook
    for frame in outwards(outer):
        is_sdk = module_of(frame).startswith("openai.")
        if is_sdk and frame.f_code.co_name == "copy":  # `with_options()` is the same function
            given = frame.f_locals
            step = Step(call_site(frame.f_back), "copy", _given_to_copy(given))
            return site_of(given.get("self")).then(step)
        if is_sdk or _is_constructor(frame, client):
            if not is_sdk and own is None:
                own = _step_of_constructor(frame, client)
            outer = frame.f_back
        elif is_application(frame):
            break
    site = ClientSite(Step(call_site(outer)))
    return site if own is None else site.then(own)


def _given_to_copy(given: Mapping[str, Any]) -> frozenset[str]:
    names = [each.argument for each in SETTINGS if given.get(each.argument) is not None]
    for headers in ("default_headers", "set_default_headers"):
        names += (str(name).lower() for name in given.get(headers) or ())
    return frozenset(names)


def _step_of_constructor(frame: FrameType, client: Any) -> Step | None:
    """The step in which the application's own constructor lets nobody else name the project."""
    if not is_application(frame) or _hands_on(frame, client, PROJECT):
        return None
    gives = (
        each.argument
        for each in SETTINGS
        if not _hands_on(frame, client, each)
        and (_value(client, each) is None or _value(client, each) != each.of_variable)
    )
    return Step(call_site(frame), "__init__", frozenset(gives))


def _hands_on(frame: FrameType, client: Any, setting: Setting) -> bool:
    """Whether whoever calls the application's own constructor can give it an argument.

    One with `**options` has set by itself what is not among them.
    """
    arguments, _, options, given = inspect.getargvalues(frame)
    name = setting.argument
    return name in arguments or (
        options is not None
        and (
            name in given.get(options, ()) or _value(client, setting) in (None, setting.of_variable)
        )
    )


def _value(client: Any, setting: Setting) -> Any:
    return getattr(client, setting.argument, None)


def _is_constructor(frame: FrameType, client: Any) -> bool:
    """Whether the frame is the `__init__` of the application's own subclass of the client.

    The client was built where that was called.
    """
    code = frame.f_code
    return (
        code.co_name == "__init__"
        and code.co_argcount > 0
        and frame.f_locals.get(code.co_varnames[0]) is client
    )
