"""Tells of each import of a module: the first, a second one, and a reload.

wrapt's own hook on imports tells of the first alone.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Collection, Sequence
from importlib.machinery import ModuleSpec
from threading import get_ident
from types import ModuleType
from typing import Any

import wrapt

Told = Callable[[ModuleType], None]
"""Is given a module when its code has run. What it raises fails the import."""


class ImportWatch:
    """Stands before the other finders, and hands on what they find, with a loader that tells.

    It stays in `sys.meta_path`: were it taken out while another thread goes through that list, that
    thread would pass over the finder after it.

    Attributes:
        names: the modules whose imports it tells of.
    """

    def __init__(self, told: Told) -> None:
        self.names: set[str] = set()
        self._told = told
        self._asking: set[tuple[int, str]] = set()

    def start(self, names: Collection[str]) -> None:
        """Has it tell of these from now on, too."""
        self.names.update(names)
        if self not in sys.meta_path:
            sys.meta_path.insert(0, self)

    def find_spec(
        self, name: str, path: Sequence[str] | None = None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        """The module as the next finder finds it; `None` where it is no matter of ours."""
        if name not in self.names:
            return None
        asking = (get_ident(), name)
        if asking in self._asking:  # a finder that we ask asks us
            return None
        finders = sys.meta_path
        if self in finders:  # else within what another tool has put in our place
            finders = finders[finders.index(self) + 1 :]
        self._asking.add(asking)
        try:
            found = (each.find_spec(name, path, target) for each in finders if _is_of_today(each))
            spec = next((spec for spec in found if spec is not None), None)
        finally:
            self._asking.discard(asking)
        if spec is not None:
            spec.loader = self.telling(name, spec.loader)
        return spec

    def telling(self, name: str, loader: Any) -> Any:
        """A module's loader, so that it tells; as it is where the module is no matter of ours."""
        is_awaited = name in self.names and hasattr(loader, "exec_module")
        return _Loader(loader, self._told) if is_awaited else loader


def _is_of_today(finder: object) -> bool:
    return hasattr(finder, "find_spec")  # Python 3.10 and 3.11 still take one that has it not


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
