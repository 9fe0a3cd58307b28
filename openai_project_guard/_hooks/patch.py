"""The places of other packages that the guard wraps, and lets go of again."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import suppress
from functools import partial
from inspect import isroutine
from typing import Any

import wrapt

Wrapper = Callable[[Callable[..., Any], Any, Any, Any], Any]


class Place:
    """An attribute of a class or a module, with our wrapper on it."""

    __slots__ = ("_hook", "_original", "name", "owner", "wrapper")

    def __init__(self, owner: Any, name: str, wrapper: Wrapper) -> None:
        self.owner = owner
        self.name = name
        self.wrapper = wrapper
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
        stands = self.owner.__dict__.get(self.name)
        # A tool that found `Class.method` and puts it back leaves our hook in its bound form.
        if stands is self._hook or getattr(stands, "_self_parent", None) is self._hook:
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


def is_hooked(owner: Any, name: str) -> bool:
    """Whether this very class or module was hooked."""
    return (id(owner), name) in _places


def is_reached(owner: Any, name: str) -> bool:
    """Whether a call of this very class or module still comes by our wrapper."""
    place = _places.get((id(owner), name))
    return place is not None and place.is_reached()


def mend() -> None:
    """Wraps anew what somebody else took our wrapper off."""
    for key, place in list(_places.items()):
        if place.name in place.owner.__dict__:
            hook(place.owner, place.name, place.wrapper)
        elif hasattr(place.owner, place.name):  # a subclass inherits it again
            del _places[key]


def unreached() -> tuple[str, ...]:
    """The places whose wrapper somebody else took off."""
    return tuple(str(place) for place in list(_places.values()) if not place.is_reached())


def as_method(wrapped: Callable[..., Any], args: Any) -> tuple[Callable[..., Any], Any, Any]:
    """Method, instance and arguments, where a hook was taken out of the class and called so."""
    return wrapped.__get__(args[0]), args[0], args[1:]


_INNER = ("__wrapped__", "__func__", "func", "_self_parent")
"""Where wrappers keep what they wrap. The parent: `Class.method` gives a bound form of ours."""


def _links(function: Any) -> Iterator[Any]:
    """A function, and those inside it as far as can be seen from outside."""
    waiting, seen = [function], dict[int, Any]()  # kept, or the next could have the same id
    while waiting and len(seen) < 100:
        link = waiting.pop()
        if link is None or id(link) in seen:
            continue
        seen[id(link)] = link
        yield link
        waiting += (getattr(link, of, None) for of in _INNER)
        # A tool that wraps with a plain closure or an object of its own leaves no __wrapped__, but
        # holds us in a cell, in an attribute or, of functools.partial, in its arguments.
        held = [*getattr(link, "__dict__", {}).values()]
        if isinstance(link, partial):
            held += link.args
        for cell in getattr(link, "__closure__", None) or ():
            with suppress(ValueError):  # the cell is still empty
                held.append(cell.cell_contents)
        waiting += (thing for thing in held if isinstance(thing, partial) or isroutine(thing))
