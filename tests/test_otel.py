"""Can the guard be watched with the tools at hand: OpenTelemetry, Prometheus, structlog?"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from typing import Any

import openai
import pytest
import support
from support import A, B, Recorder, async_client, chat, sync_client

import openai_project_guard as opg
from openai_project_guard._verdict import Verdict
from openai_project_guard.loopback import LoopbackAPI, loopback_api

clean = support.clean
pytestmark = pytest.mark.usefixtures("clean")

COUNTER = "openai.project_guard.calls"
EVENT = "openai.project_guard.call"


class Telemetry:
    """What an OpenTelemetry SDK exported."""

    def __init__(self) -> None:
        pytest.importorskip("opentelemetry.sdk")
        from opentelemetry.sdk.metrics import MeterProvider
        from opentelemetry.sdk.metrics.export import InMemoryMetricReader
        from opentelemetry.sdk.trace import TracerProvider
        from opentelemetry.sdk.trace.export import SimpleSpanProcessor
        from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter

        self._reader = InMemoryMetricReader()
        self._exporter = InMemorySpanExporter()
        self.meter_provider = MeterProvider([self._reader])
        self.tracer_provider = TracerProvider()
        self.tracer_provider.add_span_processor(SimpleSpanProcessor(self._exporter))
        self.tracer = self.tracer_provider.get_tracer("tests")

    @property
    def spans(self) -> list[Any]:
        return list(self._exporter.get_finished_spans())

    @property
    def counted(self) -> dict[tuple[tuple[str, str], ...], int]:
        data: Any = self._reader.get_metrics_data()
        return {
            tuple(sorted(point.attributes.items())): point.value
            for resource in (data.resource_metrics if data else ())
            for scope in resource.scope_metrics
            for metric in scope.metrics
            if metric.name == COUNTER
            for point in metric.data.data_points
        }

    def shut_down(self) -> None:
        self.tracer_provider.shutdown()
        self.meter_provider.shutdown()


@pytest.fixture
def telemetry(clean: pytest.MonkeyPatch) -> Iterator[Telemetry]:
    found = Telemetry()
    from openai_project_guard.otel import OpenTelemetryObserver

    opg.enable(registry={"proj_a": A, "proj_b": B})
    opg.add_observer(OpenTelemetryObserver(found.meter_provider))
    yield found
    found.shut_down()


def key(**attributes: str) -> tuple[tuple[str, str], ...]:
    return tuple(sorted({"transport": "http", **attributes}.items()))


def events(span: Any) -> list[tuple[str, dict[str, Any]]]:
    return [(event.name, dict(event.attributes)) for event in span.events if event.name == EVENT]


# OpenTelemetry


def test_every_call_is_counted_by_its_verdict(telemetry: Telemetry) -> None:
    for _ in range(3):
        chat(sync_client(Recorder(), project="proj_a"))
    with pytest.raises(opg.ProjectMismatchError):
        chat(sync_client(Recorder(), project="proj_b"))
    with pytest.raises(opg.ProjectMissingError):
        chat(sync_client(Recorder(), api_key=B))
    with pytest.raises(opg.UnregisteredKeyError):
        chat(sync_client(Recorder(), api_key="sk-proj-whatever-0000", project="proj_of_anybody"))
    with opg.guard(mode="inject"):
        chat(sync_client(Recorder()))
    assert telemetry.counted == {
        key(outcome="allowed", project="proj_a"): 3,
        key(outcome="blocked", reason="mismatch", project="proj_a"): 1,
        key(outcome="blocked", reason="missing", project="proj_b"): 1,
        key(outcome="blocked", reason="unregistered"): 1,
        key(outcome="injected", reason="missing", project="proj_a"): 1,
    }


def test_a_wrong_call_is_an_event_on_the_current_span(telemetry: Telemetry) -> None:
    with telemetry.tracer.start_as_current_span("work"):
        chat(sync_client(Recorder(), project="proj_a"))
        with pytest.raises(opg.ProjectMismatchError):
            chat(sync_client(Recorder(), project="proj_b"))
        with opg.guard(mode="inject"):
            chat(sync_client(Recorder()))
    (span,) = telemetry.spans
    destination = {
        "method": "POST",
        "host": "api.openai.com",
        "path": "/v1/chat/completions",
        "transport": "http",
        "key_hint": "sk-proj-…AAAA",
        "expected": ("proj_a",),
    }
    assert events(span) == [
        (EVENT, {"outcome": "blocked", "reason": "mismatch", "actual": "proj_b", **destination}),
        (EVENT, {"outcome": "injected", "reason": "missing", **destination}),
    ]


def test_an_answer_that_contradicts_the_registry_is_an_event(telemetry: Telemetry) -> None:
    with (
        loopback_api({A: "proj_a"}) as api,
        api.answer_as("proj_moved"),
        telemetry.tracer.start_as_current_span("work"),
        openai.OpenAI(api_key=A, project="proj_a", base_url=api.base_url) as client,
    ):
        client.models.list()
    (event,) = events(telemetry.spans[0])
    assert (event[1]["reason"], event[1]["actual"]) == ("drift", "proj_moved")


async def test_events_of_tasks_stand_on_their_own_spans(telemetry: Telemetry) -> None:
    import asyncio

    async def work(name: str, **options: Any) -> None:
        with (
            telemetry.tracer.start_as_current_span(name),
            contextlib.suppress(opg.ProjectGuardError),
        ):
            await chat(async_client(Recorder(), **options))

    await asyncio.gather(work("right", project="proj_a"), work("wrong", project="proj_b"))
    found = {span.name: len(events(span)) for span in telemetry.spans}
    assert found == {"right": 0, "wrong": 1}


def test_without_a_span_only_the_counter_knows(telemetry: Telemetry) -> None:
    with pytest.raises(opg.ProjectMismatchError):
        chat(sync_client(Recorder(), project="proj_b"))
    assert telemetry.spans == []
    assert sum(telemetry.counted.values()) == 1


def test_the_api_alone_is_enough(clean: pytest.MonkeyPatch) -> None:
    pytest.importorskip("opentelemetry")
    from openai_project_guard.otel import OpenTelemetryObserver

    OpenTelemetryObserver()(
        Verdict("blocked", "missing", (), None, "sk-…", "GET", "h", "/", "http")
    )


INSTRUMENTATIONS = {
    "opentelemetry.instrumentation.openai_v2": "meter_provider",
    "openinference.instrumentation.openai": None,
}


@pytest.mark.parametrize("order", ["guard first", "instrumentation first"])
@pytest.mark.parametrize("name", INSTRUMENTATIONS)
def test_together_with_an_openai_instrumentation(
    telemetry: Telemetry, name: str, order: str
) -> None:
    instrumentor = pytest.importorskip(name).OpenAIInstrumentor()
    providers: dict[str, Any] = {"tracer_provider": telemetry.tracer_provider}
    if INSTRUMENTATIONS[name]:
        providers["meter_provider"] = telemetry.meter_provider
    if order == "instrumentation first":
        opg.disable()
        instrumentor.instrument(**providers)
        opg.enable(registry={"proj_a": A, "proj_b": B})
    else:
        instrumentor.instrument(**providers)
    if not instrumentor.is_instrumented_by_opentelemetry:
        pytest.skip(f"{name} does not support this release of openai")
    try:
        with loopback_api({A: "proj_a", B: "proj_b"}) as api:
            _call_both_ways(api)
            assert api.billed == {"proj_a": 2}
    finally:
        instrumentor.uninstrument()
        for client in (openai.OpenAI, openai.AsyncOpenAI):  # OpenInference leaves it behind
            if "request" in vars(client):
                del client.request
    assert telemetry.counted == {
        key(outcome="allowed", project="proj_a"): 2,
        key(outcome="blocked", reason="mismatch", project="proj_a"): 2,
    }
    # One span of the instrumentation for each call; each refusal stands on that of its call.
    assert sorted(len(events(span)) for span in telemetry.spans) == [0, 0, 1, 1]
    for span in telemetry.spans:
        assert (span.status.status_code.name == "ERROR") is bool(events(span))


def _call_both_ways(api: LoopbackAPI) -> None:
    for streams in (False, True):
        with openai.OpenAI(api_key=A, project="proj_a", base_url=api.base_url) as client:
            answer = chat(client, stream=streams)
            assert len(list(answer)) > 1 if streams else answer.choices
        wrong = openai.OpenAI(api_key=A, project="proj_b", base_url=api.base_url)
        with wrong, pytest.raises(opg.ProjectMismatchError):
            chat(wrong, stream=streams)


# Prometheus and structlog


def test_prometheus_counts_every_call() -> None:
    prometheus_client = pytest.importorskip("prometheus_client")
    from openai_project_guard.prometheus import PrometheusObserver

    exposed = prometheus_client.CollectorRegistry()
    opg.enable(registry={"proj_a": A})
    opg.add_observer(PrometheusObserver(exposed))
    for _ in range(3):
        chat(sync_client(Recorder(), project="proj_a"))
    with pytest.raises(opg.ProjectMismatchError):
        chat(sync_client(Recorder(), project="proj_b"))
    text = prometheus_client.generate_latest(exposed).decode()
    name = "openai_project_guard_calls_total"
    allowed = 'outcome="allowed",project="proj_a",reason="",transport="http"'
    blocked = 'outcome="blocked",project="proj_a",reason="mismatch",transport="http"'
    assert f"{name}{{{allowed}}} 3.0" in text
    assert f"{name}{{{blocked}}} 1.0" in text


def test_structlog_logs_what_is_worth_an_event() -> None:
    structlog = pytest.importorskip("structlog")
    from openai_project_guard.structured_log import StructlogObserver

    opg.enable(registry={"proj_a": A})
    opg.add_observer(StructlogObserver())
    with structlog.testing.capture_logs() as logged:
        chat(sync_client(Recorder(), project="proj_a"))
        with pytest.raises(opg.ProjectMismatchError):
            chat(sync_client(Recorder(), project="proj_b"))
        with (
            loopback_api({A: "proj_a"}) as api,
            api.answer_as("proj_moved"),
            openai.OpenAI(api_key=A, project="proj_a", base_url=api.base_url) as client,
        ):
            client.models.list()
    blocked, drifted = logged
    assert blocked == {
        "event": "openai_call",
        "log_level": "warning",
        "outcome": "blocked",
        "reason": "mismatch",
        "expected": ("proj_a",),
        "actual": "proj_b",
        "key_hint": "sk-proj-…AAAA",
        "method": "POST",
        "host": "api.openai.com",
        "path": "/v1/chat/completions",
        "transport": "http",
    }
    assert (drifted["log_level"], drifted["reason"]) == ("error", "drift")
