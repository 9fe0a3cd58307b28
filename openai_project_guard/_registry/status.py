"""How a source stands, for whoever watches a fleet."""

from __future__ import annotations

from typing import Literal, NamedTuple, get_args

State = Literal["current", "stale"]
STATES: tuple[State, ...] = get_args(State)


class Status(NamedTuple):
    """How a source stands now.

    Attributes:
        state: `current`, or `stale` while the last good registry stands in for one that is out of
            reach or not in order.
        age: seconds since the source was last known to hold what is in force.
        keys: how many keys the registry has.
        faults: how many of the source's entries are refused; those of a file all stand or fall
            together.
    """

    state: State
    age: float
    keys: int
    faults: int = 0
