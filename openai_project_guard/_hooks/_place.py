"""The places of other packages that the guard wraps, and lets go of again."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterator
from typing import Any

import wrapt

Wrapper = Callable[[Callable[..., Any], Any, Any, Any], Any]


class Place:
    """An attribute of a class or a module, with our wrapper on it."""

    __slots__ = ("_hook", "_original", "name", "owner")

    def __init__(self, owner: Any, name: str, wrapper: Wrapper) -> None:
        self.owner = owner
        self.name = name
        self._original = owner.__dict__[name]
        self._hook = wrapt.FunctionWrapper(self._original, wrapper)
        setattr(owner, name, self._hook)

    def __str__(self) -> str:
        return f"{getattr(self.owner, '__qualname__', self.owner.__name__)}.{self.name}"

    def is_reached(self) -> bool:
        """Whether a call still comes by our wrapper, through whatever others put around it."""
        return any(link is self._hook for link in _links(self.owner.__dict__.get(self.name)))

    def remove(self) -> None:
        """Puts the original back, unless somebody wrapped ours: then it stays, passing through."""
        if self.owner.__dict__.get(self.name) is self._hook:
            setattr(self.owner, self.name, self._original)


_places: dict[tuple[int, str], Place] = {}


def hook(owner: Any, name: str, wrapper: Wrapper) -> None:
    """Wraps a place, once: where our wrapper is still reached nothing is done."""
    known = _places.get((id(owner), name))
    if known is None or not known.is_reached():
        _places[id(owner), name] = Place(owner, name, wrapper)


def unhook_all() -> None:
    """Lets go of every place; those that somebody wrapped after us are remembered."""
    for key, place in reversed(list(_places.items())):
        place.remove()
        if not place.is_reached():
            del _places[key]


def unreached() -> tuple[str, ...]:
    """The places whose wrapper somebody else took off."""
    return tuple(str(place) for place in list(_places.values()) if not place.is_reached())


def _links(function: Any) -> Iterator[Any]:
    """A function, and those inside it as far as can be seen from outside."""
    waiting, seen = [function], set[int]()
    while waiting and len(seen) < 100:
        link = waiting.pop()
        if link is None or id(link) in seen:
            continue
        seen.add(id(link))
        yield link
        waiting += (getattr(link, "__wrapped__", None), getattr(link, "__func__", None))
        # A tool that wraps with a plain closure leaves no __wrapped__, but holds us in a cell.
        for cell in getattr(link, "__closure__", None) or ():
            try:
                held = cell.cell_contents
            except ValueError:  # the cell is still empty
                continue
            if inspect.isroutine(held):
                waiting.append(held)
