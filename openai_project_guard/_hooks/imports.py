"""Tells of each import of a module: the first, a second one, and a reload.

wrapt's own hook on imports tells of the first alone.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Container, Sequence
from importlib.machinery import ModuleSpec
from types import ModuleType
from typing import Any

import wrapt

Told = Callable[[ModuleType], None]
"""Is given a module when its code has run. What it raises fails the import."""


class ImportWatch:
    """Stands before the other finders, and hands on what they find, with a loader that tells.

    It stays in `sys.meta_path`: were it taken out while another thread goes through that list, that
    thread would pass over the finder after it.
    """

    def __init__(self, names: Container[str], told: Told) -> None:
        self._names = names
        self._told = told

    def start(self) -> None:
        """Has it told of what is imported from now on."""
        if self not in sys.meta_path:
            sys.meta_path.insert(0, self)

    def find_spec(
        self, name: str, path: Sequence[str] | None = None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        """The module as the next finder finds it; `None` where it is no matter of ours."""
        if name not in self._names or self not in sys.meta_path:
            return None
        for finder in sys.meta_path[sys.meta_path.index(self) + 1 :]:
            spec = finder.find_spec(name, path, target) if hasattr(finder, "find_spec") else None
            if spec is not None:
                if hasattr(spec.loader, "exec_module") and not isinstance(spec.loader, _Loader):
                    spec.loader = _Loader(spec.loader, self._told)  # type: ignore[assignment]
                return spec
        return None


class _Loader(wrapt.ObjectProxy):  # type: ignore[type-arg, misc, unused-ignore]
    """A module's own loader until its code runs."""

    def __init__(self, loader: Any, told: Told) -> None:
        super().__init__(loader)
        self._self_told = told

    def exec_module(self, module: ModuleType) -> None:
        """Runs the module's code by its own loader, which is what the module then shows."""
        loader = self.__wrapped__
        for holder, name in ((module, "__loader__"), (module.__spec__, "loader")):
            if getattr(holder, name, None) is self:
                setattr(holder, name, loader)
        loader.exec_module(module)
        self._self_told(module)
