"""Verdicts and registries in Prometheus's metrics; needs the package `prometheus-client`.

Example:
    >>> from openai_project_guard import add_observer
    >>> from openai_project_guard.prometheus import PrometheusObserver
    >>> add_observer(PrometheusObserver())
"""

from __future__ import annotations

from collections.abc import Iterator

from prometheus_client import REGISTRY, CollectorRegistry, Counter
from prometheus_client.core import GaugeMetricFamily
from prometheus_client.registry import Collector

from openai_project_guard._check.verdict import Verdict, project_of
from openai_project_guard._metrics import info, source_statuses
from openai_project_guard._registry.source import STATES

__all__ = ["PrometheusObserver"]


class PrometheusObserver:
    """An observer that counts every checked call in `openai_project_guard_calls_total`.

    Labels: `outcome`, `reason`, `project` (the expected one: the key's, or the one that the scope
    is pinned to) and `transport`; what is not known is empty. An answer that drifts is counted too,
    beside its call. Make one for each registry of Prometheus.

    The gauges `openai_project_guard_info` (1, by `mode`, `version` and `sdk`),
    `openai_project_guard_registry_age_seconds`, `openai_project_guard_registry_keys` and
    `openai_project_guard_registry_status` (1 or 0, by `state`) are those of
    `openai_project_guard.otel`. They show the process that is scraped; in prometheus-client's
    multi-process mode they are absent.

    Args:
        registry: the registry of Prometheus that exposes them. Default: the global one.

    Example:
        >>> from openai_project_guard import add_observer
        >>> add_observer(PrometheusObserver())
    """

    def __init__(self, registry: CollectorRegistry = REGISTRY) -> None:
        self._calls = Counter(
            "openai_project_guard_calls",
            "OpenAI calls checked, by verdict",
            ("outcome", "reason", "project", "transport"),
            registry=registry,
        )
        registry.register(_Gauges())

    def __call__(self, verdict: Verdict) -> None:
        """Counts one verdict."""
        project = project_of(verdict) or ""
        self._calls.labels(verdict.outcome, verdict.reason or "", project, verdict.transport).inc()


class _Gauges(Collector):
    """How the guard and its registries are doing, asked for at each scrape."""

    def collect(self) -> Iterator[GaugeMetricFamily]:
        found = info()
        guard = GaugeMetricFamily(
            "openai_project_guard_info",
            "1; whether calls are checked, and by which versions",
            labels=list(found),
        )
        guard.add_metric(list(found.values()), 1)
        name = "openai_project_guard_registry_"
        age = GaugeMetricFamily(
            name + "age_seconds",
            "Time since a registry was known to be up to date",
            labels=["registry"],
        )
        keys = GaugeMetricFamily(name + "keys", "Active keys, by registry", labels=["registry"])
        state = GaugeMetricFamily(
            name + "status", "Whether a registry is up to date", labels=["registry", "state"]
        )
        for registry, status in source_statuses():
            age.add_metric([registry], status.age)
            keys.add_metric([registry], status.keys)
            for known in STATES:
                state.add_metric([registry, known], status.state == known)
        yield from (guard, age, keys, state)
