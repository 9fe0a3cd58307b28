"""A row of the table: what was measured, what it should be, and whether it is."""

from __future__ import annotations

from dataclasses import dataclass, field


@dataclass(frozen=True)
class Row:
    """One target.

    Attributes:
        name: what `--only` calls it.
        what: the words of the table.
        unit: what is compared; `x` for a ratio.
        target: at most this, or at least where `at_least` is set.
        measured: by the name of the case; the worst of them counts. Empty: not measured.
        details: lines for whoever wants to see how it came about.
        skipped: why nothing was measured.
        beside: what was measured with it, by the name of the case; it has no target.
    """

    name: str
    what: str
    unit: str
    target: float
    measured: dict[str, float]
    details: list[str] = field(default_factory=list)
    at_least: bool = False
    skipped: str | None = None
    beside: dict[str, float] = field(default_factory=dict)

    @property
    def worst(self) -> float:
        return (min if self.at_least else max)(self.measured.values())

    @property
    def is_met(self) -> bool | None:
        if not self.measured:
            return None
        return self.worst >= self.target if self.at_least else self.worst <= self.target

    @property
    def verdict(self) -> str:
        return {None: "skipped", True: "met", False: "MISSED"}[self.is_met]

    def target_text(self) -> str:
        return f"{'at least' if self.at_least else 'at most'} {_number(self.target)}{self.unit}"

    def measured_text(self) -> str:
        if not self.measured:
            return self.skipped or ""
        text = self._figures(self.measured)
        return f"{text} ({self._figures(self.beside)})" if self.beside else text

    def _figures(self, values: dict[str, float]) -> str:
        if list(values) == [""]:
            return f"{_number(values[''], self.target)}{self.unit}"
        return ", ".join(
            f"{case} {_number(value, self.target)}{self.unit}" for case, value in values.items()
        )


def _number(value: float, target: float | None = None) -> str:
    """With three digits, or as many more as tell it from a target that it is not."""
    text = f"{value:.0f}" if abs(value) >= 100 or value == int(value) else f"{value:.3g}"
    digits = 3
    while value != target and float(text) == target:
        digits += 1
        text = f"{value:.{digits}g}"
    return text
