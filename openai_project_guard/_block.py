"""`with` blocks whose end can be told even if leaving them was cut short.

A signal handler may raise at any moment, also on the first instruction of `__exit__`: what
`__exit__` was to undo then stays. But the interpreter holds the bound `__exit__` until the block
has ended, in whatever way. So it gets one of its own for each block, and a weak reference to that
tells whether the block is still open.
"""

from __future__ import annotations

import functools
import sys
from collections.abc import Callable, Iterator
from opcode import opmap
from threading import local
from typing import TYPE_CHECKING, Any
from weakref import ref

Reference = Callable[[], object]

_WITH = frozenset(
    opmap[name]
    for name in ("SETUP_WITH", "BEFORE_WITH", "BEFORE_ASYNC_WITH", "LOAD_SPECIAL")
    if name in opmap
)
"""The instructions of a `with` statement that look `__exit__` up."""

_looked_up = local()  # its `exit` refers to the `__exit__` of the block that is being entered


class _Entry:
    """What a block's `__exit__` knows of it; it must not hold that `__exit__` itself."""

    __slots__ = ("block",)

    def __init__(self) -> None:
        self.block: Reference | None = None


class _Exit:
    """`__exit__` or `__aexit__`. A `with` statement looks it up before it calls `__enter__`."""

    def __init__(self, leave: Callable[..., Any]) -> None:
        self._leave = leave

    def __get__(self, manager: Block | None, owner: type[Block] | None = None) -> Any:
        if manager is None:
            return self._leave
        bound = functools.partial(self._leave, manager, _Entry())
        # Whoever else looks it up may drop what it was given before the end.
        caller = sys._getframe(1)
        if caller.f_code.co_code[caller.f_lasti] in _WITH:
            _looked_up.exit = ref(bound)
        return bound


def _enter(manager: Block) -> None:
    reference = vars(_looked_up).pop("exit", _gone)
    entry = _entry(manager, reference())
    if entry is None:
        manager.open(None)
    else:
        entry.block = reference
        manager.open(reference)


def _gone() -> None: ...


def _entry(manager: Block, bound: Any) -> _Entry | None:
    """The entry that a bound `__exit__` of this manager has."""
    return bound.args[1] if bound is not None and bound.args[0] is manager else None


def _leave(manager: Block, entry: object = None, *_: object) -> None:
    manager.close(entry.block if isinstance(entry, _Entry) else None)


def _leave_async(manager: Block, entry: object = None, *_: object) -> Any:
    # At once, and not when it is awaited: until it has returned, the block still counts as open.
    _leave(manager, entry)
    return _NOTHING


class _Nothing:
    """Awaited, it is done. A coroutine would warn if it is dropped before it is awaited."""

    __slots__ = ()

    def __await__(self) -> Iterator[None]:
        return iter(())


_NOTHING = _Nothing()


class Block:
    """A context manager, sync and async. A subclass says what entering and leaving are."""

    __slots__ = ("__weakref__",)

    def __enter__(self) -> None:
        _enter(self)

    async def __aenter__(self) -> None:
        _enter(self)

    if TYPE_CHECKING:

        def __exit__(self, *error: object) -> None: ...

        async def __aexit__(self, *error: object) -> None: ...

    else:
        __exit__ = _Exit(_leave)
        __aexit__ = _Exit(_leave_async)

    def open(self, block: Reference | None) -> None:
        """Enters.

        Args:
            block: gives `None` once the block has ended; `None` itself where the methods are
                called by hand, and nothing tells.
        """

    def close(self, block: Reference | None) -> None:
        """Leaves; `block` is what `open()` was given."""
