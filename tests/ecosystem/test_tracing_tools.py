"""Do the guard and tracing tools, which wrap the SDK too, work together?

They are put on before the guard or after it, and are taken off in any order.

The check still happens, theirs still records, and what a call returns is what it returns with
that tool alone. Ran with:

| tool | version | openai 2.54.0 | openai 3.54.0 |
|---|---|---|---|
| opentelemetry-instrumentation-openai-v2 (util-genai 0.4b0) | 2.4b0 | yes | with httpx |
| opentelemetry-instrumentation-openai (OpenLLMetry) | 0.62.4 | yes | yes |
| openinference-instrumentation-openai | 0.1.66 | yes | yes |
| ddtrace | 4.16.0 | yes | yes |
| sentry-sdk | 2.75.0 | yes | yes |
| logfire | 5.2.0 | yes | yes |

"With httpx": that tool imports it, and openai 3 no longer brings it.

Each runs in a process of its own, for all of them patch whole modules.
"""

from __future__ import annotations

import asyncio
import functools
import importlib
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import openai
import pytest
import wrapt
from support import A, Recorder, async_client, chat, http, python, sync_client

import openai_project_guard as opg

REGISTRY = {"proj_a": A}


# --- the tools: how each is put on, taken off, and how much it has recorded ---------------------


class Tool:
    """A tool that records in memory."""

    module = ""

    def __init__(self) -> None:
        self.records: list[Any] = []

    def put_on(self) -> None: ...

    def take_off(self) -> bool:
        """False where the tool cannot be taken off."""
        return True

    def flush(self) -> None:
        """Has everything recorded that the tool keeps back."""


class OfOpenTelemetry(Tool):
    """A tool with an instrumentor and a tracer provider."""

    def __init__(self) -> None:
        super().__init__()
        from opentelemetry.sdk.trace import TracerProvider
        from opentelemetry.sdk.trace.export import SimpleSpanProcessor, SpanExporter

        records = self.records

        class Exporter(SpanExporter):
            def export(self, spans: Any) -> Any:
                records.extend(spans)

        self.provider = TracerProvider()
        self.provider.add_span_processor(SimpleSpanProcessor(Exporter()))
        self.instrumentor = importlib.import_module(self.module).OpenAIInstrumentor()

    def put_on(self) -> None:
        self.instrumentor.instrument(tracer_provider=self.provider)

    def take_off(self) -> bool:
        self.instrumentor.uninstrument()
        return True


class OpenTelemetry(OfOpenTelemetry):
    module = "opentelemetry.instrumentation.openai_v2"


class OpenLLMetry(OfOpenTelemetry):
    module = "opentelemetry.instrumentation.openai"


class OpenInference(OfOpenTelemetry):
    module = "openinference.instrumentation.openai"


class Datadog(Tool):
    module = "ddtrace"

    def __init__(self) -> None:
        super().__init__()
        from ddtrace.trace import TraceFilter, tracer

        records = self.records

        class Keep(TraceFilter):
            def process_trace(self, trace: Any) -> None:
                records.extend(trace)

        tracer.configure(trace_processors=[Keep()])

    def put_on(self) -> None:
        from ddtrace import patch

        patch(openai=True)

    def take_off(self) -> bool:
        from ddtrace.contrib.internal.openai.patch import unpatch

        unpatch()
        return True


class Sentry(Tool):
    module = "sentry_sdk"

    def put_on(self) -> None:
        import sentry_sdk
        from sentry_sdk.integrations.openai import OpenAIIntegration
        from sentry_sdk.transport import Transport

        class Nowhere(Transport):
            def capture_envelope(self, envelope: Any) -> None: ...

        def keep(event: Any, _: Any) -> None:
            self.records.extend(span for span in event["spans"] if "gen_ai" in span["op"])

        sentry_sdk.init(
            dsn="https://public@sentry.invalid/1",
            transport=Nowhere,
            traces_sample_rate=1.0,
            before_send_transaction=keep,
            default_integrations=False,
            auto_enabling_integrations=False,
            integrations=[OpenAIIntegration()],
        )
        self.begin()

    def begin(self) -> None:
        import sentry_sdk

        self.transaction = sentry_sdk.start_transaction(name="test")
        self.transaction.__enter__()

    def flush(self) -> None:
        self.transaction.__exit__(None, None, None)
        self.begin()

    def take_off(self) -> bool:
        return False


class Logfire(Tool):
    module = "logfire"

    def __init__(self) -> None:
        super().__init__()
        import logfire
        from opentelemetry.sdk.trace.export import SimpleSpanProcessor, SpanExporter

        records = self.records

        class Exporter(SpanExporter):
            def export(self, spans: Any) -> Any:
                records.extend(spans)

        logfire.configure(
            send_to_logfire=False,
            console=False,
            inspect_arguments=False,
            additional_span_processors=[SimpleSpanProcessor(Exporter())],
        )

    def put_on(self) -> None:
        import logfire

        self.on = logfire.instrument_openai()
        self.on.__enter__()

    def take_off(self) -> bool:
        self.on.__exit__(None, None, None)
        return True


TOOLS = (OpenTelemetry, OpenLLMetry, OpenInference, Datadog, Sentry, Logfire)


# --- what runs in the process of one tool -------------------------------------------------------


class Bench:
    """Makes the same calls again and again, and looks at who noticed."""

    def __init__(self, tool: Tool) -> None:
        self.tool = tool
        self.verdicts: list[opg.Verdict] = []
        opg.add_observer(self.verdicts.append)
        self.make_clients()

    def make_clients(self) -> None:
        """New ones; what Datadog once wrapped on a client, it does not take off."""
        self.sent = Recorder()
        self.right = sync_client(self.sent, project="proj_a")
        self.wrong = sync_client(self.sent, project="proj_b")
        self.right_async = async_client(self.sent, project="proj_a")
        self.wrong_async = async_client(self.sent, project="proj_b")

    def results(self) -> list[str]:
        """What each kind of call returns: the types, and what is in them."""

        def name(value: object) -> str:
            return f"{type(value).__module__}.{type(value).__qualname__}"

        client = self.right
        found = [name(chat(client))]
        with chat(client, stream=True) as stream:
            found += [name(stream), *map(name, stream)]
        raw = client.chat.completions.with_raw_response.create(model="m", messages=[])
        found += [name(raw), name(raw.parse()), name(raw.http_response)]
        raw = client.chat.completions.with_raw_response.create(model="m", messages=[], stream=True)
        found += [name(raw), name(raw.parse())]
        with client.chat.completions.with_streaming_response.create(
            model="m", messages=[]
        ) as answer:
            found += [name(answer), str(answer.read())]
        found += [name(page) for page in client.files.list()]
        return found + asyncio.run(self.results_async(name))

    async def results_async(self, name: Callable[[object], str]) -> list[str]:
        client = self.right_async
        found = [name(await chat(client))]
        stream = await chat(client, stream=True)
        found += [name(stream), *[name(chunk) async for chunk in stream]]
        raw = await client.chat.completions.with_raw_response.create(model="m", messages=[])
        found += [name(raw), name(raw.parse())]
        async with client.chat.completions.with_streaming_response.create(
            model="m", messages=[]
        ) as answer:
            found += [name(answer), str(await answer.read())]
        return found

    def tool_records(self) -> list[str]:
        """The results, which the tool must have noticed."""
        self.tool.records.clear()
        found = self.results()
        self.tool.flush()
        assert self.tool.records, "the tool recorded nothing"
        return found

    def guard_checks(self) -> None:
        """A wrong call is refused as such, and a right one is told of just once."""
        arrived = len(self.sent.requests)
        for call in (
            lambda: chat(self.wrong),
            lambda: chat(self.wrong, stream=True),
            lambda: self.wrong.chat.completions.with_raw_response.create(model="m", messages=[]),
            lambda: asyncio.run(chat(self.wrong_async)),
            lambda: asyncio.run(chat(self.wrong_async, stream=True)),
        ):
            with pytest.raises(opg.ProjectMismatchError):
                call()
        assert len(self.sent.requests) == arrived
        self.verdicts.clear()
        chat(self.right)
        asyncio.run(chat(self.right_async))
        assert [verdict.outcome for verdict in self.verdicts] == ["allowed", "allowed"]
        self.tool.flush()

    def guard_is_off(self) -> None:
        arrived = len(self.sent.requests)
        chat(self.wrong)
        asyncio.run(chat(self.wrong_async))
        assert len(self.sent.requests) == arrived + 2
        assert not opg.is_enabled()


def guard_before(bench: Bench) -> None:
    """The guard is enabled first, then taken off, then put on again; the tool goes before it."""
    tool = bench.tool
    opg.enable(registry=REGISTRY)
    tool.put_on()
    bench.guard_checks()
    assert opg.is_enabled()
    together = bench.tool_records()
    opg.disable()
    bench.guard_is_off()
    assert bench.tool_records() == together
    opg.enable(registry=REGISTRY)
    bench.guard_checks()
    assert bench.tool_records() == together
    tool_goes(bench)


def tool_before(bench: Bench) -> None:
    """The tool is put on first."""
    bench.tool.put_on()
    alone = bench.tool_records()
    opg.enable(registry=REGISTRY)
    assert opg.is_enabled()
    bench.guard_checks()
    assert bench.tool_records() == alone
    opg.disable()
    bench.guard_is_off()
    assert bench.tool_records() == alone
    opg.enable(registry=REGISTRY)
    tool_goes(bench)


def tool_goes(bench: Bench) -> None:
    """The tool is taken off, where that is possible, and then the guard."""
    if bench.tool.take_off():
        bench.make_clients()
        if not opg.is_enabled():  # some put back what they found: then it must be admitted
            opg.enable(registry=REGISTRY)
        bench.guard_checks()
    opg.disable()
    bench.guard_is_off()
    bench.results()


def guard_goes_last(bench: Bench) -> None:
    """The guard is enabled first and taken off before the tool, which then goes."""
    opg.enable(registry=REGISTRY)
    bench.tool.put_on()
    bench.guard_checks()
    opg.disable()
    if bench.tool.take_off():
        bench.make_clients()
    bench.guard_is_off()
    opg.enable(registry=REGISTRY)
    assert opg.is_enabled()
    bench.guard_checks()
    opg.disable()


def run(name: str, *orders: str) -> None:
    """What the process of one tool does."""
    bench = Bench(make(name))
    for order in orders:
        getattr(sys.modules[__name__], order)(bench)
        bench.make_clients()


def make(name: str) -> Tool:
    tool: Tool = getattr(sys.modules[__name__], name)()
    return tool


QUIET = {
    "DD_TRACE_STARTUP_LOGS": "false",
    "DD_INSTRUMENTATION_TELEMETRY_ENABLED": "false",
    "DD_REMOTE_CONFIGURATION_ENABLED": "false",
    "DD_TRACE_AGENT_URL": "http://127.0.0.1:9",
    "LOGFIRE_IGNORE_NO_CONFIG": "1",
}


ORDERS = (guard_before, tool_before, guard_goes_last)
ALL = ", ".join(repr(order.__name__) for order in ORDERS)
RUNS = [(tool, ALL) for tool in TOOLS if tool is not Sentry]
RUNS += [(Sentry, repr(order.__name__)) for order in ORDERS[:2]]  # cannot be taken off


@pytest.mark.parametrize(
    ("tool", "orders"), RUNS, ids=lambda part: getattr(part, "__name__", "") or part.split("'")[1]
)
def test_the_guard_and_the_tool_do_not_disturb_each_other(tool: type[Tool], orders: str) -> None:
    pytest.importorskip(tool.module, exc_type=ImportError)
    module = f"{Path(__file__).parent.name}.{Path(__file__).stem}"
    end = python(f"import {module} as m; m.run({tool.__name__!r}, {orders})", **QUIET)
    if "nothing can be instrumented" in end.stderr:
        pytest.skip(f"{tool.__name__} does not support this release of openai")
    assert end.returncode == 0, end.stderr


# --- wrappers by hand, for the tools to come ----------------------------------------------------


class Wrapper:
    """A way to wrap a method; counts the calls that come by."""

    def __init__(self, how: Callable[..., Any], owner: Any, name: str) -> None:
        self.calls = 0
        self.owner, self.name = owner, name
        self.found = owner.__dict__.get(name)
        how(self)

    def count(self) -> None:
        self.calls += 1

    def take_off(self) -> None:
        if self.found is None:
            delattr(self.owner, self.name)
        else:
            setattr(self.owner, self.name, self.found)


def closure(wrapper: Wrapper) -> None:
    original = getattr(wrapper.owner, wrapper.name)

    def method(*args: Any, **kwargs: Any) -> Any:
        wrapper.count()
        return original(*args, **kwargs)

    setattr(wrapper.owner, wrapper.name, method)


def functools_wraps(wrapper: Wrapper) -> None:
    original = getattr(wrapper.owner, wrapper.name)

    @functools.wraps(original)
    def method(*args: Any, **kwargs: Any) -> Any:
        wrapper.count()
        return original(*args, **kwargs)

    setattr(wrapper.owner, wrapper.name, method)


def partial_method(wrapper: Wrapper) -> None:
    original = getattr(wrapper.owner, wrapper.name)

    def method(call: Callable[..., Any], *args: Any, **kwargs: Any) -> Any:
        wrapper.count()
        return call(*args, **kwargs)

    bound = functools.partial(method, original)
    setattr(wrapper.owner, wrapper.name, lambda *args, **kwargs: bound(*args, **kwargs))


def callable_object(wrapper: Wrapper) -> None:
    class Method:
        def __init__(self, original: Any) -> None:
            self.original = original

        def __get__(self, instance: Any, _: Any = None) -> Any:
            return self if instance is None else functools.partial(self, instance)

        def __call__(self, *args: Any, **kwargs: Any) -> Any:
            wrapper.count()
            return self.original(*args, **kwargs)

    setattr(wrapper.owner, wrapper.name, Method(getattr(wrapper.owner, wrapper.name)))


def wrapt_wrapper(wrapper: Wrapper) -> None:
    def method(wrapped: Any, _: Any, args: Any, kwargs: Any) -> Any:
        wrapper.count()
        return wrapped(*args, **kwargs)

    wrapt.wrap_function_wrapper(wrapper.owner, wrapper.name, method)


def places() -> dict[str, tuple[Any, ...]]:
    """The places, for the sync and the async client or for both, that are wrapped or hooked."""
    from openai import _base_client
    from openai.resources.chat import AsyncCompletions, Completions

    bases = (_base_client.SyncAPIClient, _base_client.AsyncAPIClient)
    last = "_send_request" if hasattr(bases[0], "_send_request") else "_prepare_request"
    return {
        "BaseClient._build_request": (_base_client.BaseClient, "_build_request"),
        "OpenAI.request": (openai.OpenAI, openai.AsyncOpenAI, "request"),
        "SyncAPIClient.request": (*bases, "request"),
        "where the SDK sends": (*bases, last),
        "Client.send": (http.Client, http.AsyncClient, "send"),
        "Client._send_single_request": (http.Client, http.AsyncClient, "_send_single_request"),
        "Completions.create": (Completions, AsyncCompletions, "create"),
    }


HOWS = pytest.mark.parametrize(
    "how",
    [closure, functools_wraps, partial_method, callable_object, wrapt_wrapper],
    ids=lambda how: how.__name__,
)
WHERE = pytest.mark.parametrize("where", places())
HOOKED = pytest.mark.parametrize(
    "where",
    [
        "BaseClient._build_request",
        pytest.param(
            "SyncAPIClient.request",
            marks=pytest.mark.skipif(
                hasattr(openai.OpenAI, "_send_request"), reason="hooked in older releases alone"
            ),
        ),
        "Client._send_single_request",
    ],
)


@pytest.fixture
def wrap(clean: pytest.MonkeyPatch) -> Iterator[Callable[..., list[Wrapper]]]:
    """Puts a wrapper on a place, sync and async; whatever happens, it is as before afterwards."""
    before = [
        (owner, name, owner.__dict__.get(name))
        for *owners, name in places().values()
        for owner in owners
    ]

    def put_on(how: Any, where: str) -> list[Wrapper]:
        *owners, name = places()[where]
        return [Wrapper(how, owner, name) for owner in owners]

    yield put_on
    opg.disable()
    for owner, name, found in before:
        if found is not None:
            setattr(owner, name, found)
        elif name in owner.__dict__:
            delattr(owner, name)


class Nothing(Tool):
    """The tool under test is a wrapper by hand."""


@pytest.fixture
def bench(clean: pytest.MonkeyPatch) -> Bench:
    return Bench(Nothing())


def noticed(wrappers: list[Wrapper], bench: Bench) -> bool:
    for wrapper in wrappers:
        wrapper.calls = 0
    chat(bench.right)
    asyncio.run(chat(bench.right_async))
    return {wrapper.calls for wrapper in wrappers} == {2 // len(wrappers)}


@HOWS
@WHERE
def test_a_wrapper_put_on_before_the_guard(how: Any, where: str, wrap: Any, bench: Bench) -> None:
    wrappers = wrap(how, where)
    opg.enable(registry=REGISTRY)
    bench.guard_checks()
    assert opg.is_enabled()
    assert noticed(wrappers, bench)
    opg.disable()
    bench.guard_is_off()
    assert noticed(wrappers, bench)


@HOWS
@WHERE
def test_a_wrapper_put_on_after_the_guard(how: Any, where: str, wrap: Any, bench: Bench) -> None:
    opg.enable(registry=REGISTRY)
    wrappers = wrap(how, where)
    bench.guard_checks()
    assert opg.is_enabled()
    assert noticed(wrappers, bench)
    opg.disable()
    bench.guard_is_off()
    assert noticed(wrappers, bench)
    opg.enable(registry=REGISTRY)
    bench.guard_checks()
    for wrapper in wrappers:
        wrapper.take_off()
    if not opg.is_enabled():
        opg.enable(registry=REGISTRY)
    bench.guard_checks()


@HOWS
@HOOKED
def test_a_removal_that_drops_the_hook_is_admitted(
    how: Any, where: str, wrap: Any, bench: Bench, caplog: pytest.LogCaptureFixture
) -> None:
    wrappers = wrap(how, where)
    opg.enable(registry=REGISTRY)
    bench.guard_checks()  # an old SDK gets its second hook at the first call
    assert opg.is_enabled()
    for wrapper in wrappers:
        wrapper.take_off()
    assert not opg.is_enabled()
    assert wrappers[0].name in caplog.text
    assert "Call enable() again." in caplog.text
    opg.enable(registry=REGISTRY)
    assert opg.is_enabled()
    bench.guard_checks()


@HOWS
@WHERE
def test_off_and_on_again_a_wrapper_is_not_heaped_up(
    how: Any, where: str, wrap: Any, bench: Bench
) -> None:
    *owners, name = places()[where]
    before = [owner.__dict__.get(name) for owner in owners]
    wrappers = wrap(how, where)
    after = [owner.__dict__.get(name) for owner in owners]
    for _ in range(3):
        opg.enable(registry=REGISTRY)
        opg.disable()
    assert [owner.__dict__.get(name) for owner in owners] == after
    for wrapper in wrappers:
        wrapper.take_off()
    assert [owner.__dict__.get(name) for owner in owners] == before
