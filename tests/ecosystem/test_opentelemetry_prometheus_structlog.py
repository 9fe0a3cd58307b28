"""Can the guard be watched with the tools at hand: OpenTelemetry, Prometheus, structlog?"""

from __future__ import annotations

import contextlib
import re
import time
from collections.abc import Callable, Iterator
from importlib import metadata
from pathlib import Path
from typing import Any

import openai
import pytest
from openai._base_client import BaseClient
from pytest_mock import MockerFixture
from redis_server import RedisServer, needs_redis
from support import A, B, Recorder, async_client, chat, sync_client

import openai_project_guard as opg
from openai_project_guard._check.verdict import Verdict
from openai_project_guard._keys import digest, fingerprint_of
from openai_project_guard._registry import stores as edit
from openai_project_guard.loopback import LoopbackAPI, loopback_api

pytestmark = pytest.mark.usefixtures("clean")

COUNTER = "openai.project_guard.calls"
EVENT = "openai.project_guard.call"
REGISTRY = "openai.project_guard.registry."


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
        return {
            tuple(sorted(point.attributes.items())): point.value
            for metric in self._metrics()
            if metric.name == COUNTER
            for point in metric.data.data_points
        }

    @property
    def gauges(self) -> dict[tuple[str, ...], float]:
        """By the gauge's short name, the registry and, where there is one, the state."""
        return {
            (metric.name.removeprefix(REGISTRY), *point.attributes.values()): point.value
            for metric in self._metrics()
            if metric.name.startswith(REGISTRY)
            for point in metric.data.data_points
            if [*point.attributes] == ["registry", "state"][: len(point.attributes)]
        }

    @property
    def info(self) -> list[tuple[dict[str, str], float]]:
        return [
            (dict(point.attributes), point.value)
            for metric in self._metrics()
            if metric.name == "openai.project_guard.info"
            for point in metric.data.data_points
        ]

    @property
    def names(self) -> dict[str, str]:
        """Every instrument, with the name that Prometheus gives it."""
        unit = {"s": "_seconds"}
        return {
            metric.name: metric.name.replace(".", "_")
            + unit.get(metric.unit, "")
            + ("_total" if getattr(metric.data, "is_monotonic", False) else "")
            for metric in self._metrics()
        }

    def _metrics(self) -> Iterator[Any]:
        data: Any = self._reader.get_metrics_data()
        for resource in data.resource_metrics if data else ():
            for scope in resource.scope_metrics:
                yield from scope.metrics

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


def wait_for(done: Callable[[], object]) -> None:
    end = time.monotonic() + 20
    while not done():
        assert time.monotonic() < end, "it did not come about"
        time.sleep(0.02)


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
    with opg.guard(project="proj_b"), pytest.raises(opg.ProjectScopeError):
        chat(sync_client(Recorder(), project="proj_a"))
    assert telemetry.counted == {
        key(outcome="allowed", project="proj_a"): 3,
        key(outcome="blocked", reason="scope", project="proj_b"): 1,  # the one that was expected
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
    found = events(span)
    for _, attributes in found:
        path, line = attributes.pop("code.filepath"), attributes.pop("code.lineno")
        function = attributes.pop("code.function")
        assert attributes.pop("call_site") == f"{path}:{line} in {function}"
        assert (Path(path).name, function) == ("support.py", "chat")
        assert attributes.pop("client_site").endswith(" in sync_client")
    blocked = {"outcome": "blocked", "reason": "mismatch", "actual": "proj_b", "origin": "project="}
    assert found == [
        (EVENT, {**blocked, **destination}),
        (EVENT, {"outcome": "injected", "reason": "missing", "origin": "unset", **destination}),
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
    assert (event[1]["reason"], event[1]["answered"]) == ("drift", "proj_moved")
    assert telemetry.counted == {
        key(outcome="allowed", project="proj_a"): 1,
        key(outcome="allowed", reason="drift", project="proj_a"): 1,
    }


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


def test_gauges_show_the_state_of_a_file(telemetry: Telemetry, tmp_path: Path) -> None:
    assert telemetry.gauges == {}  # a mapping does not change
    path = tmp_path / "some.toml"
    edit.add(path, "proj_a", fingerprint_of(digest(A)))
    opg.enable(registry=path)
    name = str(path)
    found = telemetry.gauges
    assert found.pop(("age", name)) >= 0
    assert found == {
        ("keys", name): 1,
        ("status", name, "current"): 1,
        ("status", name, "stale"): 0,
    }
    path.write_text("version = 2\n")
    wait_for(lambda: telemetry.gauges["status", name, "stale"] == 1)  # though no call is made
    assert telemetry.gauges["keys", name] == 1
    before = telemetry.gauges["age", name]
    wait_for(lambda: telemetry.gauges["age", name] > before + 0.3)
    edit.add(tmp_path / "new.toml", "proj_b", fingerprint_of(digest(B)))
    (tmp_path / "new.toml").replace(path)
    wait_for(lambda: telemetry.gauges["status", name, "current"] == 1)
    assert telemetry.gauges["age", name] < before + 0.3
    opg.disable()
    assert telemetry.gauges == {}


def test_gauges_know_a_scope_without_enable(
    clean: pytest.MonkeyPatch, telemetry: Telemetry, tmp_path: Path
) -> None:
    opg.disable()
    edit.add(tmp_path / "some.toml", "proj_a", fingerprint_of(digest(A)))
    clean.setenv("OPENAI_PROJECT_GUARD_REGISTRY", str(tmp_path / "some.toml"))
    assert telemetry.gauges == {}  # collecting reads no registry of its own accord
    with opg.guard():
        chat(sync_client(Recorder(), project="proj_a"))
    assert telemetry.gauges["keys", str(tmp_path / "some.toml")] == 1


def modes(exposed: Any) -> list[tuple[str, float]]:
    return [
        (sample.labels["mode"], sample.value)
        for family in exposed.collect()
        for sample in family.samples
        if sample.name == "openai_project_guard_info"
    ]


def test_a_gauge_shows_whether_calls_are_checked(
    telemetry: Telemetry, mocker: MockerFixture
) -> None:
    prometheus_client = pytest.importorskip("prometheus_client")
    from openai_project_guard.prometheus import PrometheusObserver

    exposed = prometheus_client.CollectorRegistry()
    opg.add_observer(PrometheusObserver(exposed))
    versions = {"version": metadata.version("openai-project-guard"), "sdk": openai.__version__}
    for mode in ("enforce", "warn"):
        opg.enable(mode, registry={"proj_a": A})  # type: ignore[arg-type]
        assert telemetry.info == [({"mode": mode, **versions}, 1)]
        assert modes(exposed) == [(mode, 1)]
    mocker.patch.object(BaseClient, "_build_request")  # somebody takes a hook off
    assert modes(exposed) == [("off", 1)]
    mocker.stopall()
    assert modes(exposed) == [("warn", 1)]
    opg.disable()
    assert telemetry.info == [({"mode": "off", **versions}, 1)]
    assert modes(exposed) == [("off", 1)]


@needs_redis
def test_gauges_show_the_state_of_redis(
    telemetry: Telemetry, tmp_path: Path, clean: pytest.MonkeyPatch
) -> None:
    pytest.importorskip("redis")
    from openai_project_guard import _sources
    from openai_project_guard._registry import stores as edit_registry
    from openai_project_guard._registry.redis import follower as follow
    from openai_project_guard._registry.redis import open_source

    clean.setattr(follow, "_POLL", 0.2)
    clean.setattr(_sources, "open_source", open_source)  # whether it is installed or not
    server = RedisServer(tmp_path / "redis").start()
    try:
        edit_registry.add(server.url, "proj_a", fingerprint_of(digest(A)))
        opg.enable(registry=server.url)
        name = f"{server.url}/0"
        assert telemetry.gauges["status", name, "current"] == 1
        assert telemetry.gauges["keys", name] == 1
        server.kill()
        wait_for(lambda: telemetry.gauges["status", name, "stale"] == 1)
        before = telemetry.gauges["age", name]
        wait_for(lambda: telemetry.gauges["age", name] > before)
        server.start()
        wait_for(lambda: telemetry.gauges["status", name, "current"] == 1)
        edit_registry.add(server.url, "proj_b", fingerprint_of(digest(B)))
        wait_for(lambda: telemetry.gauges["keys", name] == 2)
    finally:
        opg.disable()
        server.kill()


def test_a_source_of_somebody_elses_need_not_report_its_state(
    telemetry: Telemetry, clean: pytest.MonkeyPatch
) -> None:
    class Vault:
        registry = opg.Registry()

        def refresh(self, now: float) -> None: ...

    from openai_project_guard import _sources

    clean.setattr(_sources, "open_source", lambda name: Vault())
    opg.enable(registry="vault://somewhere")
    assert telemetry.gauges == {}


MONITORING = Path(__file__).parents[2] / "docs" / "monitoring"


def test_alerts_and_dashboard_ask_for_what_is_there(telemetry: Telemetry, tmp_path: Path) -> None:
    prometheus_client = pytest.importorskip("prometheus_client")
    from openai_project_guard.prometheus import PrometheusObserver

    edit.add(tmp_path / "some.toml", "proj_a", fingerprint_of(digest(A)))
    opg.enable(registry=tmp_path / "some.toml")
    exposed = prometheus_client.CollectorRegistry()
    opg.add_observer(PrometheusObserver(exposed))
    chat(sync_client(Recorder(), project="proj_a"))
    queries = (MONITORING / "alerts.yml").read_text() + (MONITORING / "dashboard.json").read_text()
    asked = set(re.findall(r"openai_project_guard_\w+", queries))
    samples = {sample.name for family in exposed.collect() for sample in family.samples}
    assert asked == set(telemetry.names.values())
    assert asked <= samples


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
    # One span of the instrumentation for each call; each refusal is an event of its call's.
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
    assert "openai_project_guard_registry_keys{" not in text
    name = "openai_project_guard_calls_total"
    allowed = 'outcome="allowed",project="proj_a",reason="",transport="http"'
    blocked = 'outcome="blocked",project="proj_a",reason="mismatch",transport="http"'
    assert f"{name}{{{allowed}}} 3.0" in text
    assert f"{name}{{{blocked}}} 1.0" in text


def test_prometheus_gauges_show_the_state_of_a_file(tmp_path: Path) -> None:
    prometheus_client = pytest.importorskip("prometheus_client")
    from openai_project_guard.prometheus import PrometheusObserver

    exposed = prometheus_client.CollectorRegistry()
    path = tmp_path / "some.toml"
    edit.add(path, "proj_a", fingerprint_of(digest(A)))
    opg.enable(registry=path)
    PrometheusObserver(exposed)

    def value(gauge: str, **labels: str) -> Any:
        name = f"openai_project_guard_registry_{gauge}"
        return exposed.get_sample_value(name, {"registry": str(path), **labels})

    assert value("keys") == 1
    assert value("age_seconds") >= 0
    assert (value("status", state="current"), value("status", state="stale")) == (1, 0)
    path.write_text("version = 2\n")
    wait_for(lambda: value("status", state="stale") == 1)


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
    path, line = blocked.pop("code.filepath"), blocked.pop("code.lineno")
    assert blocked.pop("call_site") == f"{path}:{line} in {blocked.pop('code.function')}"
    assert blocked.pop("client_site").endswith(" in sync_client")
    assert drifted["answered"] == "proj_moved"
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
        "origin": "project=",
    }
    assert (drifted["log_level"], drifted["reason"]) == ("error", "drift")
