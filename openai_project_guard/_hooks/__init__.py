"""Where the guard takes hold: the SDK's own doors, and the transport of the HTTP clients.

Only these modules know the SDK, httpx and websockets. A package that is not imported yet is
hooked when it is.
"""

from __future__ import annotations

import importlib
import sys
from collections.abc import Callable
from types import ModuleType

import wrapt

from openai_project_guard._hooks import _http, _place, _sdk, _websocket
from openai_project_guard._settings import changing

_INSTALLERS: dict[str, Callable[[ModuleType], None]] = {
    "httpx": _http.install,
    "httpx2": _http.install,
    "websockets.asyncio.client": _websocket.install,
    "websockets.sync.client": _websocket.install,
    "websockets.legacy.client": _websocket.install_legacy,
    "openai": _sdk.install,
}

is_installed = False
_awaited: set[str] = set()


def install() -> None:
    """Puts the hooks in: now, or when the package in question is imported.

    Raises:
        UnsupportedSDKError: the installed SDK lacks a place; nothing is hooked then.
    """
    global is_installed
    for name in _INSTALLERS:
        if name in sys.modules:  # perhaps another thread is just importing it: wait for that
            importlib.import_module(name)
    with changing:
        is_installed = True
        try:
            for name in _INSTALLERS:
                _install_in(name)
        except BaseException:
            remove()
            raise


def remove() -> None:
    """Takes the hooks off. Where somebody wrapped ours, it stays and lets everything pass."""
    global is_installed
    with changing:
        is_installed = False
        _place.unhook_all()


def unreached() -> tuple[str, ...]:
    """The hooks that somebody else took off, by name."""
    return _place.unreached()


def _install_in(name: str) -> None:
    module = sys.modules.get(name)
    if module is not None:
        _INSTALLERS[name](module)
    elif name not in _awaited:
        _awaited.add(name)
        wrapt.register_post_import_hook(_imported, name)


def _imported(module: ModuleType) -> None:
    name = module.__name__
    _awaited.discard(name)
    with changing:
        if not is_installed:
            return
        try:
            _INSTALLERS[name](module)
        except BaseException:
            # This import fails now. Should the application try again, it must not come through.
            sys.modules.pop(name, None)
            _install_in(name)
            raise
