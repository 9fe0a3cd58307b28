"""Measuring on a machine that is not quiet: many short rounds, taken in turns, read at their floor.

Other work on the machine only ever adds time, and comes in bursts that are longer than a round. So
each thing is measured in rounds of a fraction of a millisecond, the things take turns in an order
that is shuffled each time, and of every thing's rounds the fastest tenth is averaged: that is its
floor. It is steadier than the single fastest round, which is a matter of luck, and than the median,
which follows the load. Ratios are made of floors; the ratio of the medians of the differences
within each turn is told beside them, and where the two disagree the machine was too busy.
"""

from __future__ import annotations

import gc
import random
import statistics
from collections.abc import Callable, Mapping
from dataclasses import dataclass


@dataclass(frozen=True)
class Times:
    """The rounds of several things that were measured in turns, in seconds."""

    rounds: Mapping[str, list[float]]

    def floor(self, name: str) -> float:
        fastest = sorted(self.rounds[name])
        return statistics.fmean(fastest[: max(1, len(fastest) // 10)])

    def median(self, name: str) -> float:
        return statistics.median(self.rounds[name])

    def added(self, name: str, bare: str = "bare") -> float:
        """What a thing costs more than the bare one, by the floors."""
        return self.floor(name) - self.floor(bare)

    def added_median(self, name: str, bare: str = "bare") -> float:
        """The same by the medians of the differences within each turn."""
        pairs = zip(self.rounds[name], self.rounds[bare], strict=True)
        return statistics.median(one - other for one, other in pairs)

    def shown(self, name: str, scale: float = 1e6) -> str:
        """Fastest round, floor, median and the middle half of the rounds, in microseconds."""
        times = self.rounds[name]
        low, _, high = statistics.quantiles(times, n=4) if len(times) > 1 else (times * 3)
        figures = (min(times), self.floor(name), statistics.median(times), low, high)
        return "min {:.2f}, floor {:.2f}, median {:.2f} ({:.2f} to {:.2f})".format(
            *(figure * scale for figure in figures)
        )


def in_turns(things: Mapping[str, Callable[[], float]], turns: int) -> Times:
    """Has each thing measure one round of itself, so many turns, each in another order.

    Args:
        things: what is measured, by name; each makes one round and returns its seconds.
        turns: how many rounds each gets.
    """
    order = list(things)
    shuffle = random.Random(1).shuffle
    found: dict[str, list[float]] = {name: [] for name in things}
    for thing in things.values():
        thing()  # warm
    gc.collect()
    gc.disable()
    try:
        for _ in range(turns):
            shuffle(order)
            for name in order:
                found[name].append(things[name]())
            gc.collect(0)
    finally:
        gc.enable()
    return Times(found)
