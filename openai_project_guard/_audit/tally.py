"""How often one kind of call was seen."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from itertools import count

from openai_project_guard._audit.line import Record


class Tally:
    """How often a call was seen since it was last written.

    Attributes:
        record: what it is.
        seen: how often, where a lock is held.
        step: counts without a lock: a step of `itertools.count` is one C call, so no other thread
            comes between. Reading takes a step too, which `read` makes up for.
        first: when it was first seen since the last write; `None` where no clock was read.
        last: when it was last seen.
    """

    __slots__ = ("first", "last", "read", "record", "seen", "step")

    def __init__(self, record: Record, now: float) -> None:
        self.record = record
        self.seen = 0
        self.step: Callable[[], int] = count().__next__
        self.read = 0
        self.first: float | None = now
        self.last = now

    def see(self, now: float) -> None:
        """Counts a call that is not in order; a lock is held."""
        self.seen += 1
        self.first = now if self.first is None else self.first
        self.last = now

    def take(self, since: float, now: float) -> Record | None:
        """What is to be written, and starts again from nothing."""
        steps = self.step()
        stepped, self.read = steps - self.read, steps + 1
        seen, self.seen = self.seen + stepped, 0
        if not seen:
            return None
        first, self.first = (since if self.first is None else self.first), None
        last = now if stepped else self.last
        return replace(self.record, count=seen, first=min(first, last), last=last)

    def give_back(self, record: Record) -> None:
        """Counts again what could not be written."""
        self.seen += record.count
        self.first = record.first
        self.last = max(self.last, record.last)
