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

from openai_project_guard._hooks import patch, sdk
from openai_project_guard._settings import changing

_INSTALLERS = {
    "httpx": ("httpx", "install"),
    "httpx2": ("httpx", "install"),
    "websockets.asyncio.client": ("websockets", "install"),
    "websockets.sync.client": ("websockets", "install"),
    "websockets.legacy.client": ("websockets", "install_legacy"),
    "openai": ("sdk", "install"),
}
"""For each package our module that hooks it, imported only then, and the function in it."""

_PROCESS_WIDE = {
    "requests.adapters": ("other_clients", "install_requests"),
    "urllib3.connectionpool": ("other_clients", "install_urllib3"),
    "aiohttp.connector": ("other_clients", "install_aiohttp"),
}

is_installed = False
_awaited: set[str] = set()


def install(*, process_wide: bool = False) -> None:
    """Puts the hooks in: now, or when the package in question is imported.

    Args:
        process_wide: hook other HTTP libraries too.

    Raises:
        UnsupportedSDKError: the installed SDK lacks a place; nothing is hooked then.
    """
    global is_installed
    names = (*_INSTALLERS, *_PROCESS_WIDE) if process_wide else (*_INSTALLERS,)
    for name in names:
        if name in sys.modules:  # perhaps another thread is just importing it: wait for that
            importlib.import_module(name)
    with changing:
        was_installed, is_installed = is_installed, True
        try:
            patch.mend()
            for name in names:
                _install_in(name)
        except BaseException:
            if not was_installed:  # or a guard that is enabled would be so without its hooks
                remove()
            raise


def remove() -> None:
    """Takes the hooks off. Where somebody wrapped ours, it stays and lets everything pass."""
    global is_installed
    with changing:
        is_installed = False
        patch.unhook_all()


def unreached() -> tuple[str, ...]:
    """The hooks that somebody else took off, by name, and an SDK that was imported anew."""
    return (*patch.unreached(), *sdk.unhooked())


def _installer(name: str) -> Callable[[ModuleType], None]:
    ours, function = {**_INSTALLERS, **_PROCESS_WIDE}[name]
    found: Callable[[ModuleType], None] = getattr(
        importlib.import_module(f"{__name__}.{ours}"), function
    )
    return found


def _install_in(name: str) -> None:
    module = sys.modules.get(name)
    if module is not None:
        _installer(name)(module)
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
            _installer(name)(module)
        except BaseException:
            # This import fails now. Should the application try again, it must not come through.
            sys.modules.pop(name, None)
            _install_in(name)
            raise
