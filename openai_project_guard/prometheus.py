"""Verdicts as a Prometheus counter; needs the package `prometheus-client`.

Example:
    >>> from openai_project_guard import add_observer
    >>> from openai_project_guard.prometheus import PrometheusObserver
    >>> add_observer(PrometheusObserver())
"""

from __future__ import annotations

from prometheus_client import REGISTRY, CollectorRegistry, Counter

from openai_project_guard._recording import project_of
from openai_project_guard._verdict import Verdict

__all__ = ["PrometheusObserver"]


class PrometheusObserver:
    """An observer that counts every checked call in `openai_project_guard_calls_total`.

    Labels: `outcome`, `reason`, `project` (the one that the key is registered for) and
    `transport`; what is not known is empty. Make one for each registry.

    Args:
        registry: the registry of Prometheus that exposes the counter. Default: the global one.

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

    def __call__(self, verdict: Verdict) -> None:
        """Counts one verdict."""
        project = project_of(verdict) or ""
        self._calls.labels(verdict.outcome, verdict.reason or "", project, verdict.transport).inc()
