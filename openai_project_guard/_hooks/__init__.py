"""The hooks: where the guard takes hold in the SDK, the HTTP clients and websockets.

Only these modules know those packages. A package that is not imported yet is hooked when it is, and
one that is imported again, or reloaded, is hooked again.
"""

from __future__ import annotations

import importlib
import sys
from collections.abc import Callable, Collection
from types import ModuleType
from weakref import WeakSet

from openai_project_guard._hooks import httpx, other_clients, patch, sdk, threads, websockets
from openai_project_guard._hooks.imports import ImportWatch
from openai_project_guard._state import changing

Installer = Callable[[ModuleType], None]

_SDK: dict[str, Installer] = {
    "httpx": httpx.install,
    "httpx2": httpx.install,
    "websockets.asyncio.client": websockets.install,
    "websockets.sync.client": websockets.install,
    "websockets.trio.client": websockets.install,  # from release 17 on
    "websockets.legacy.client": websockets.install_legacy,
    "openai": sdk.install,
}
_ALL_CLIENTS: dict[str, Installer] = {
    "requests.adapters": other_clients.install_requests,
    "urllib3.connectionpool": other_clients.install_urllib3,
    "aiohttp.connector": other_clients.install_aiohttp,
}
_SCOPES: dict[str, Installer] = {
    "threading": threads.install_threading,
    "concurrent.futures.thread": threads.install_executor,
    "multiprocessing.process": threads.install_processes,
}
_INSTALLERS = {**_SDK, **_ALL_CLIENTS, **_SCOPES}

_installed: frozenset[str] = frozenset()
"""The packages that are hooked, or will be at their import: all of a table above, or none."""

_hooked: WeakSet[ModuleType] = WeakSet()
"""The modules in which the hooks were put."""


def is_installed(*, scopes: bool = False) -> bool:
    """Whether every hook is in place; what is not imported yet is hooked when it is."""
    return ("threading" if scopes else "openai") in _installed


def install(
    *, all_clients: bool | None = None, scopes: bool = False, then: Callable[[], None] | None = None
) -> None:
    """Puts the hooks in: now, or when the package in question is imported.

    Nothing is imported while the lock is held: another thread may be importing one of these
    packages, and its import waits for the lock at its end.

    Args:
        all_clients: hook other HTTP libraries too; `False` takes their hooks off, `None` leaves
            them as they are.
        scopes: hook threads, executors and processes too, for the sake of `guard` scopes.
        then: called once every hook is in, before anybody may take them out again.

    Raises:
        UnsupportedSDKError: the installed SDK lacks a method; nothing is hooked then.
    """
    global _installed
    wanted = {*_SDK, *(_ALL_CLIENTS if all_clients else ()), *(_SCOPES if scopes else ())}
    while True:
        WATCH.start(wanted)
        loaded = _loaded(wanted | _installed)
        for name in loaded:  # perhaps another thread is just importing it: wait for that
            importlib.import_module(name)
        if "openai" in loaded:
            _load_what_calls_need()
        with changing:
            if not (_loaded(wanted) <= loaded and wanted <= WATCH.names):
                continue  # one came meanwhile, or another thread has taken the hooks off
            was_installed = _installed
            try:
                for name in sorted(loaded):
                    _hook(name, sys.modules[name])
                _installed = was_installed | wanted
                if then is not None:
                    then()
                if all_clients is False and not _installed.isdisjoint(_ALL_CLIENTS):
                    _installed -= _ALL_CLIENTS.keys()
                    patch.unhook_all({name.partition(".")[0] for name in _ALL_CLIENTS})
            except BaseException:
                if not was_installed:  # else an enabled guard would lose the hooks that it has
                    remove()
                raise
            return


def remove() -> None:
    """Takes the hooks off. Where somebody wrapped ours, it stays and lets everything pass."""
    global _installed
    with changing:
        _installed = frozenset()
        WATCH.names.clear()
        patch.unhook_all()


def reached() -> tuple[str, ...]:
    """The methods that are hooked: package, module and name of each."""
    return patch.reached()


def unreached() -> tuple[str, ...]:
    """What is not hooked, by name.

    The hooks that somebody else took off, an SDK that was reloaded in part, and a module that
    another finder brought in without a word to ours.
    """
    loaded = ((name, sys.modules.get(name)) for name in sorted(_installed))
    unseen = (name for name, module in loaded if _is_whole(module) and module not in _hooked)
    of_sdk = () if _is_being_imported(sys.modules.get("openai")) else sdk.unhooked()
    return tuple(dict.fromkeys((*patch.unreached(), *of_sdk, *unseen)))


def _is_whole(module: ModuleType | None) -> bool:
    """Whether it is a module that is imported, and not just being so, nor a mock of one."""
    is_module = type(module) is ModuleType and module.__spec__ is not None
    return is_module and not _is_being_imported(module)


def _is_being_imported(module: ModuleType | None) -> bool:
    return getattr(getattr(module, "__spec__", None), "_initializing", False) is True


def _loaded(names: Collection[str]) -> set[str]:
    """Those that are imported. Where an import is blocked, `sys.modules` has a `None`."""
    return {name for name in names if sys.modules.get(name) is not None}


def _load_what_calls_need() -> None:
    """Imports what a refused call needs, which in turn needs the SDK.

    Not at that call: a process that is forked from another thread meanwhile would wait for ever for
    the import to end.
    """
    from openai_project_guard._check import explain, learn  # noqa: F401


def _imported(module: ModuleType) -> None:
    """Hooks what was just imported. An error of it fails the import, this time and each time."""
    name = module.__name__
    if name == "openai" and name in _installed:
        _load_what_calls_need()
    with changing:
        if name in _installed:
            _hook(name, module)


def _hook(name: str, module: ModuleType) -> None:
    _INSTALLERS[name](module)
    _hooked.add(module)


WATCH = ImportWatch(_imported)
