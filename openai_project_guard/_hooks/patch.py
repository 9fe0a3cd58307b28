"""Methods of other packages that the guard wraps, and puts back.

A hook is a plain function: whoever looks at the class finds a function of the same name and
signature, the same object each time, which can be pickled by its name. wrapt's own wrapper makes a
new bound object at each look, and the SDK's tests compare such looks.
"""

from __future__ import annotations

import functools
import sys
from collections.abc import Callable, Collection, Iterator
from contextlib import suppress
from inspect import isroutine
from types import FunctionType
from typing import Any, TypeVar
from weakref import WeakKeyDictionary, ref

from openai_project_guard._errors import UnsupportedSDKError

Key = TypeVar("Key")
Function = Callable[..., Any]
Maker = Callable[[Function], Function]
"""Makes a hook around a method: both take the instance as their first argument."""


def forgetting_ref(thing: Any, table: dict[Key, Any], key: Key) -> ref[Any]:
    """A weak reference. Once the thing is gone, so is what the table has under this key."""
    forget = table.pop  # by itself: as the interpreter exits, the table's name is gone first
    return ref(thing, lambda _: forget(key, None))


class Patch:
    """A hook that stands in a class or a module.

    It refers weakly to the class and to the hook, whose closure refers to the class: a class that
    the program drops is freed.
    """

    __slots__ = ("_attribute", "_hook", "_owner", "name", "path")

    def __init__(self, owner: Any, attribute: str, hook: Function) -> None:
        self._owner = forgetting_ref(owner, _patches, (id(owner), attribute))
        self._hook = ref(hook)
        self._attribute = attribute
        is_class = isinstance(owner, type)
        self.name = f"{owner.__qualname__ if is_class else owner.__name__}.{attribute}"
        self.path = f"{owner.__module__}.{self.name}" if is_class else self.name

    def is_of(self, owner: Any, attribute: str) -> bool:
        """Whether it is the hook of this method."""
        return self._owner() is owner and self._attribute == attribute

    def is_reached(self) -> bool:
        """Whether a call still passes through the hook, whatever other packages put around it."""
        owner, hook = self._owner(), self._hook()
        current = None if owner is None else owner.__dict__.get(self._attribute)
        return any(link is hook for link in wrapper_chain(current))

    def remove(self) -> None:
        """Puts the original back, unless somebody wrapped the hook: then it stays and passes on."""
        owner, hook = self._owner(), self._hook()
        if owner is not None and hook is not None and owner.__dict__.get(self._attribute) is hook:
            setattr(owner, self._attribute, hook.__wrapped__)  # type: ignore[attr-defined]


_patches: dict[tuple[int, str], Patch] = {}
_made: WeakKeyDictionary[Function, Patch] = WeakKeyDictionary()
"""Every hook that somebody still holds: a mock that outlives the guard puts its back."""


def hook(owner: Any, name: str, make: Maker) -> Function:
    """Hooks a method or a function, once: where the hook is still reached nothing is done.

    The caller holds the lock under which settings change.

    Returns:
        The hook that is reached.

    Raises:
        UnsupportedSDKError: there is none of that name.
    """
    key, standing = (id(owner), name), _hook_of(owner, name)
    if standing is not None:
        _patches[key] = _made[standing]
        return standing
    require(owner, name)
    original = owner.__dict__[name]
    # Not isinstance(): a wrapper of wrapt claims to be a function, but has to be bound to the
    # instance like any other descriptor.
    is_plain = type(original) is FunctionType or not isinstance(owner, type)
    ours = make(original if is_plain else functools.partial(_call, original))
    functools.update_wrapper(ours, original)
    setattr(owner, name, ours)
    _patches[key] = _made[ours] = Patch(owner, name, ours)
    return ours


def _hook_of(owner: Any, name: str) -> Function | None:
    """The hook through which a call of this class or module passes, if there is one."""
    for link in wrapper_chain(owner.__dict__.get(name)):
        patch = _made.get(link) if type(link) is FunctionType else None
        if patch is not None and patch.is_of(owner, name):
            return link  # type: ignore[no-any-return]
    return None


def owner_of(cls: type, name: str) -> type:
    """The class that a class has a method from."""
    return next(owner for owner in cls.__mro__ if name in owner.__dict__)


def require(owner: Any, *names: str) -> None:
    """Makes sure that a class or a module has the methods that a call passes through.

    Raises:
        UnsupportedSDKError: it lacks one; names it.
    """
    is_class = isinstance(owner, type)
    package = (owner.__module__ if is_class else owner.__name__).partition(".")[0]
    for name in names:
        if name not in owner.__dict__:
            version = getattr(sys.modules[package], "__version__", "")
            raise UnsupportedSDKError(
                f"{package} {version} has no {owner.__name__}.{name}, where the guard must look at "
                "a call before it is sent. Upgrade openai-project-guard, or use a release of "
                f"{package} that it supports; its README lists them."
            )


def _call(original: Any, instance: Any, /, *args: Any, **kwargs: Any) -> Any:
    """Calls what is no plain function as the interpreter would: a mock, for one, does not bind."""
    bind = getattr(type(original), "__get__", None)
    bound = original if bind is None else bind(original, instance, type(instance))
    try:
        return bound(*args, **kwargs)
    finally:
        del args, kwargs  # they may hold a key, and their repr shows it


def unhook_all(packages: Collection[str] | None = None) -> None:
    """Puts every original back, or those of some packages. A wrapped hook is found again."""

    def is_meant(patch: Patch) -> bool:
        return packages is None or patch.path.partition(".")[0] in packages

    for patch in filter(is_meant, reversed(list(_made.values()))):
        patch.remove()
    for key, patch in list(_patches.items()):
        if is_meant(patch):
            _patches.pop(key, None)


def is_reached(owner: Any, name: str) -> bool:
    """Whether a call of this class or module passes through our hook."""
    return (id(owner), name) in _patches and _hook_of(owner, name) is not None


def reached() -> tuple[str, ...]:
    """The methods whose hook is reached: package, module and name of each."""
    return tuple(patch.path for patch in list(_patches.values()) if patch.is_reached())


def unreached() -> tuple[str, ...]:
    """The methods whose hook somebody else took off."""
    return tuple(patch.name for patch in list(_patches.values()) if not patch.is_reached())


_INNER = ("__wrapped__", "func")
"""Where wrappers keep what they wrap."""


def wrapper_chain(function: Any) -> Iterator[Any]:
    """A function, and those inside it as far as can be seen from outside."""
    waiting, seen = [function], dict[int, Any]()  # kept, or the next could have the same id
    while waiting and len(seen) < 100:
        link = waiting.pop()
        if link is None or id(link) in seen:
            continue
        seen[id(link)] = link
        yield link
        if _is_mock(link):  # it answers to every name
            waiting += (vars(link).get(name) for name in ("_mock_wraps", "_mock_side_effect"))
            continue
        waiting += (getattr(link, of, None) for of in _INNER)
        # A tool that wraps with a plain closure or an object of its own leaves no __wrapped__, but
        # holds us in a cell, in an attribute, in a default or, of functools.partial, in its
        # arguments.
        held = [*getattr(link, "__dict__", {}).values()]
        if isinstance(link, FunctionType):
            held += (*(link.__defaults__ or ()), *(link.__kwdefaults__ or {}).values())
        if isinstance(link, functools.partial):
            held += link.args
        for cell in getattr(link, "__closure__", None) or ():
            with suppress(ValueError):  # the cell is still empty
                held.append(cell.cell_contents)
        waiting += filter(_is_function, held)


def _is_function(thing: Any) -> bool:
    with suppress(Exception):  # of a proxy that stands for nothing just now
        return isinstance(thing, functools.partial | FunctionType) or isroutine(thing)
    return False


def _is_mock(thing: Any) -> bool:
    mock = sys.modules.get("unittest.mock")
    return mock is not None and isinstance(thing, mock.NonCallableMock)
