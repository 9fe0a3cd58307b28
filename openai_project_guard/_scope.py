"""The scope in which a call is made: its data and its context variable, nothing else."""

from __future__ import annotations

import gc
from contextvars import Context, ContextVar
from typing import TYPE_CHECKING
from weakref import ref

from openai_project_guard._types import Mode, Policy

if TYPE_CHECKING:
    from collections.abc import Callable


class Entry:
    """What all copies of a scope have in common.

    Attributes:
        block: whether the `with` block is still open, as far as that can be told: a weak reference
            to what the interpreter holds until the block is left.
        entered: a weak reference to the context in which it was entered.
        is_left: it was left in the ordinary way. A task that was started inside still has it.
    """

    __slots__ = ("block", "entered", "is_left")

    def __init__(self, block: Callable[[], object] | None = None) -> None:
        self.block = block
        self.entered: Callable[[], Context | None] | None = None
        self.is_left = False

    def is_abandoned(self) -> bool:
        """Whether its block ended without leaving it here.

        A signal handler may raise at any moment, also on the first instruction of `__exit__`. And
        an event loop closes a generator that is broken off in another context than it ran in.
        """
        return not self.is_left and self.block is not None and self.block() is None


class Scope:
    """One entered `guard`. What it does not say, the scope around it says.

    Attributes:
        guard: the `guard` that was entered; leaving finds its scope by it.
        outer: the scope around it, or `None`.
        mode: the mode inside, or `None` for that of the process.
        pinned: the id of the only project that passes inside, or `None`.
        entry: how it was entered, and whether it was left.
    """

    __slots__ = ("entry", "guard", "mode", "outer", "pinned")

    def __init__(
        self,
        guard: object,
        outer: Scope | None,
        mode: Mode | None,
        pinned: str | None,
        entry: Entry,
    ) -> None:
        self.guard = guard
        self.outer = outer
        self.mode: Mode | None = mode or (outer.mode if outer else None)
        self.pinned: str | None = pinned or (outer.pinned if outer else None)
        self.entry = entry

    def apply_to(self, policy: Policy) -> Policy:
        """The policy inside this scope, given the one of the process."""
        mode, unregistered, pinned, is_override = policy
        if not is_override:
            mode = self.mode or mode
        return Policy(mode, unregistered, self.pinned or pinned, is_override)

    def copy_inside(self, outer: Scope | None, entry: Entry | None = None) -> Scope:
        """The same scope around which another one is; or entered anew, if an entry is given."""
        return Scope(self.guard, outer, self.mode, self.pinned, entry or self.entry)


SCOPE: ContextVar[Scope | None] = ContextVar("openai_project_guard_scope", default=None)
_PROBE: ContextVar[None] = ContextVar("openai_project_guard_probe")


def enter(scope: Scope) -> None:
    """Opens a scope in this context."""
    context = _this_context()
    scope.entry.entered = None if context is None else ref(context)
    SCOPE.set(scope)


def _this_context() -> Context | None:
    """The context that code runs in just now, itself: `copy_context()` gives another.

    A token has it, which may not be kept: it would keep the context, and all that is in it.
    """
    token = _PROBE.set(None)
    try:
        for part in gc.get_referents(token):
            if type(part) is Context:
                return part
    finally:
        _PROBE.reset(token)
    return None


def current_scope() -> Scope | None:
    """The innermost scope that is open here; those that were abandoned are dropped."""
    found = step = SCOPE.get()
    while step is not None and not step.entry.is_abandoned():
        step = step.outer
    if step is None:
        return found
    scope, step, entered = None, found, list[Scope]()
    while step is not None:
        entered.append(step)
        # One that was left holds all that those around it say: see leave().
        step = None if step.entry.is_left else step.outer
    for step in reversed(entered):  # those inside may still be open
        if not step.entry.is_abandoned():
            scope = step.copy_inside(scope)
    SCOPE.set(scope)
    return scope


def scopes_inside(scope: Scope) -> list[Scope]:
    """The open scopes that were entered inside one of them, the innermost last."""
    inside: list[Scope] = []
    step = SCOPE.get()
    while step is not None and step is not scope:
        inside.append(step)
        step = step.outer
    return inside[::-1]


def leave(scope: Scope, *, keep: bool = True) -> None:
    """Leaves one of the open scopes.

    No Token: a web framework may leave a scope in another context than it entered it in, and two
    scopes may be left in the order in which they were entered.

    Args:
        scope: one of those that are open here.
        keep: whether those that were entered inside it stay open.
    """
    remaining = scope.outer
    if keep:
        for inner in scopes_inside(scope):
            remaining = inner.copy_inside(remaining)
    SCOPE.set(remaining)
    entry = scope.entry
    if entry.entered is not None and entry.entered() is not _this_context():
        entry.block = _ended  # where it was entered, it is still in place
        return
    entry.is_left = True
    # A task started inside may keep this scope for ever, and start another that does. It holds all
    # that the scopes around it say, so those need not be kept as well.
    scope.outer = None


def _ended() -> None:
    """What a reference to a block gives once that has ended."""


def find_open_scope(guard: object, block: object) -> Scope | None:
    """The nearest open scope that this guard entered with this block, or by hand if it has none."""
    step = SCOPE.get()
    while step is not None and not (step.guard is guard and step.entry.block is block):
        step = step.outer
    return step
