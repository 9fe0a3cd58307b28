"""`with` blocks whose end can be told even if leaving them was cut short.

A signal handler may raise at any moment, also on the first instruction of `__exit__`: what
`__exit__` was to undo then stays. But the interpreter holds the bound `__exit__` until the block
has ended, in whatever way. So it gets one of its own for each block, and a weak reference to that
tells whether the block is still open.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterator
from threading import local
from typing import TYPE_CHECKING, Any
from weakref import ref

Reference = Callable[[], object]


class _Pending:
    """The two methods that a `with` statement looks up before it calls either."""

    __slots__ = ("is_entered", "leave", "manager")

    def __init__(self, manager: Block) -> None:
        self.manager = manager
        self.leave: Reference | None = None
        self.is_entered = False


_looked_up = local()


def _take(manager: Block) -> _Pending | None:
    """What the other look-up of the same statement left."""
    pending: _Pending | None = getattr(_looked_up, "pending", None)
    _looked_up.pending = None
    return pending if pending is not None and pending.manager is manager else None


class _Enter:
    """`__enter__` and `__aenter__`. Python looks it up before `__exit__`, from 3.14 on after it."""

    def __init__(self, is_async: bool) -> None:
        self._is_async = is_async

    def __get__(self, manager: Block | None, owner: type[Block] | None = None) -> Any:
        enter = _enter_async if self._is_async else _enter
        if manager is None:
            return enter
        pending = _take(manager)
        if pending is None or pending.leave is None or pending.leave() is None:
            pending = _looked_up.pending = _Pending(manager)
        return functools.partial(enter, manager, pending)


class _Exit:
    """`__exit__` and `__aexit__`."""

    def __init__(self, is_async: bool) -> None:
        self._is_async = is_async

    def __get__(self, manager: Block | None, owner: type[Block] | None = None) -> Any:
        leave = _leave_async if self._is_async else _leave
        if manager is None:
            return leave
        pending = _take(manager)
        if pending is None or pending.leave is not None:
            pending = _looked_up.pending = _Pending(manager)
        bound = functools.partial(leave, manager, pending)
        pending.leave = ref(bound)
        return bound


def _enter(manager: Block, pending: _Pending | None = None) -> None:
    if getattr(_looked_up, "pending", None) is pending:
        _looked_up.pending = None
    if pending is None:
        manager.open(None)
    else:
        pending.is_entered = True
        manager.open(pending.leave)


async def _enter_async(manager: Block, pending: _Pending | None = None) -> None:
    _enter(manager, pending)


def _leave(manager: Block, pending: Any = None, *_: object) -> None:
    is_bound = isinstance(pending, _Pending)
    if is_bound and getattr(_looked_up, "pending", None) is pending:
        _looked_up.pending = None  # by hand
    manager.close(pending.leave if is_bound and pending.is_entered else None)


def _leave_async(manager: Block, pending: Any = None, *_: object) -> Any:
    # At once, and not when it is awaited: until it has returned, the block still counts as open.
    _leave(manager, pending)
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

    if TYPE_CHECKING:

        def __enter__(self) -> None: ...

        def __exit__(self, *error: object) -> None: ...

        async def __aenter__(self) -> None: ...

        async def __aexit__(self, *error: object) -> None: ...

    else:
        __enter__ = _Enter(is_async=False)
        __exit__ = _Exit(is_async=False)
        __aenter__ = _Enter(is_async=True)
        __aexit__ = _Exit(is_async=True)

    def open(self, block: Reference | None) -> None:
        """Enters.

        Args:
            block: gives `None` once the block has ended; `None` itself where the methods are
                called by hand, and nothing tells.
        """

    def close(self, block: Reference | None) -> None:
        """Leaves; `block` is what `open()` was given."""
