"""Verdicts and registries in OpenTelemetry's metrics and span events; needs the extra `otel`.

Example:
    >>> from openai_project_guard import add_observer
    >>> from openai_project_guard.otel import OpenTelemetryObserver
    >>> add_observer(OpenTelemetryObserver())
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from opentelemetry.metrics import CallbackOptions, MeterProvider, Observation, get_meter
from opentelemetry.trace import get_current_span
from opentelemetry.util.types import AttributeValue

from openai_project_guard._check.verdict import Verdict, is_noteworthy, project_of
from openai_project_guard._metrics import fields_of, info, source_statuses
from openai_project_guard._registry.source import STATES

__all__ = ["OpenTelemetryObserver"]

COUNTER = "openai.project_guard.calls"
INFO = "openai.project_guard.info"
EVENT = "openai.project_guard.call"
AGE = "openai.project_guard.registry.age"
KEYS = "openai.project_guard.registry.keys"
STATUS = "openai.project_guard.registry.status"


class OpenTelemetryObserver:
    """An observer that counts every checked call and tells the current span of wrong ones.

    The counter `openai.project_guard.calls` has the attributes `outcome`, `reason`, `project` (the
    expected one: the key's, or the one that the scope is pinned to) and `transport`. An answer that
    drifts is counted too, beside its call. Every call that is not simply allowed, and
    every answer that contradicts the registry, is an event `openai.project_guard.call` on the span
    in which the call was made, with `outcome`, `reason`, `expected`, `actual`, `key_hint`,
    `method`, `host`, `path`, `transport`, `client_site`, `origin` and `answered`, and with where in
    the application's code the call was made: `call_site`, and its parts as `code.filepath`,
    `code.lineno` and `code.function`. What is not known is left out.

    The gauge `openai.project_guard.info` is always 1. Its attributes are `mode` (`off` where calls
    are not checked), `version` and `sdk`, the versions of this package and of `openai`: alert on
    a process that is not guarded.

    Three more show whether this process is up to date. Each has the attribute `registry`, a
    file or a URL without its password; they are asked for when metrics are collected.

    - `openai.project_guard.registry.age`: seconds since the file, or Redis, was last known to
      hold what is active.
    - `openai.project_guard.registry.keys`: how many keys are active.
    - `openai.project_guard.registry.status`: 1 for the `state` that the registry is in, 0 for the
      other: `current`, or `stale` while the last good version stands in for one that is out of
      reach or not valid.

    Make one for each meter provider.

    Args:
        meter_provider: makes the instruments. Default: the global one.

    Example:
        >>> from openai_project_guard import add_observer
        >>> add_observer(OpenTelemetryObserver())
    """

    def __init__(self, meter_provider: MeterProvider | None = None) -> None:
        meter = get_meter("openai_project_guard", meter_provider=meter_provider)
        self._calls = meter.create_counter(
            COUNTER, unit="{call}", description="OpenAI calls checked, by verdict"
        )
        meter.create_observable_gauge(
            INFO, [_info], description="1; whether calls are checked, and by which versions"
        )
        meter.create_observable_gauge(
            AGE, [_ages], unit="s", description="Time since a registry was known to be up to date"
        )
        meter.create_observable_gauge(
            KEYS, [_keys], unit="{key}", description="Active keys, by registry"
        )
        meter.create_observable_gauge(
            STATUS, [_states], unit="{registry}", description="Whether a registry is up to date"
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
            span.add_event(EVENT, _known(fields_of(verdict)))


def _info(_: CallbackOptions) -> Iterator[Observation]:
    yield Observation(1, info())


def _ages(_: CallbackOptions) -> Iterator[Observation]:
    for name, status in source_statuses():
        yield Observation(status.age, {"registry": name})


def _keys(_: CallbackOptions) -> Iterator[Observation]:
    for name, status in source_statuses():
        yield Observation(status.keys, {"registry": name})


def _states(_: CallbackOptions) -> Iterator[Observation]:
    for name, status in source_statuses():
        for state in STATES:
            yield Observation(int(status.state == state), {"registry": name, "state": state})


def _known(attributes: Mapping[str, AttributeValue | None]) -> dict[str, AttributeValue]:
    return {name: value for name, value in attributes.items() if value not in (None, ())}
