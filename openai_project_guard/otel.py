"""Verdicts as OpenTelemetry metrics and span events; needs the extra `otel`.

Example:
    >>> from openai_project_guard import add_observer
    >>> from openai_project_guard.otel import OpenTelemetryObserver
    >>> add_observer(OpenTelemetryObserver())
"""

from __future__ import annotations

from collections.abc import Mapping

from opentelemetry.metrics import MeterProvider, get_meter
from opentelemetry.trace import get_current_span
from opentelemetry.util.types import AttributeValue

from openai_project_guard._recording import project_of
from openai_project_guard._verdict import Verdict, is_noteworthy

__all__ = ["OpenTelemetryObserver"]

COUNTER = "openai.project_guard.calls"
EVENT = "openai.project_guard.call"


class OpenTelemetryObserver:
    """An observer that counts every checked call and tells the current span of wrong ones.

    The counter `openai.project_guard.calls` has the attributes `outcome`, `reason`, `project` (the
    one that the key is registered for) and `transport`. Every call that is not simply allowed, and
    every answer that contradicts the registry, is an event `openai.project_guard.call` on the span
    in which the call was made, with `outcome`, `reason`, `expected`, `actual`, `key_hint`,
    `method`, `host`, `path` and `transport`. What is not known is left out.

    Args:
        meter_provider: makes the counter. Default: the global one.

    Example:
        >>> from openai_project_guard import add_observer
        >>> add_observer(OpenTelemetryObserver())
    """

    def __init__(self, meter_provider: MeterProvider | None = None) -> None:
        meter = get_meter("openai_project_guard", meter_provider=meter_provider)
        self._calls = meter.create_counter(
            COUNTER, unit="{call}", description="OpenAI calls checked, by verdict"
        )

    def __call__(self, verdict: Verdict) -> None:
        """Records one verdict."""
        counted = {
            "outcome": verdict.outcome,
            "reason": verdict.reason,
            "project": project_of(verdict),
            "transport": verdict.transport,
        }
        self._calls.add(1, _known(counted))
        span = get_current_span()
        if is_noteworthy(verdict) and span.is_recording():
            names = type(verdict).__dataclass_fields__
            span.add_event(EVENT, _known({name: getattr(verdict, name) for name in names}))


def _known(attributes: Mapping[str, AttributeValue | None]) -> dict[str, AttributeValue]:
    return {name: value for name, value in attributes.items() if value not in (None, ())}
