"""OpenAI Agents SDK: models go through the SDK; traces and realtime sessions go round it."""

from __future__ import annotations

import pytest
from agents import Agent, ModelSettings, OpenAIChatCompletionsModel, Runner, RunResult, trace
from agents.realtime import RealtimeAgent, RealtimeRunner
from agents.tracing import get_trace_provider, set_trace_processors, set_tracing_disabled
from agents.tracing.processors import BackendSpanExporter, BatchTraceProcessor
from common import SCOPES, TEXT, A, Desk, Scope
from openai import AsyncOpenAI

from openai_project_guard import ProjectMismatchError, ProjectMissingError

PACKAGE = "openai-agents"

set_tracing_disabled(True)  # but for the tests that have a trace sent


def agent() -> Agent:
    return Agent(name="helper", model="gpt-4o-mini")


def assert_raised_as_it_is(desk: Desk, error: Exception) -> None:
    assert type(error) is ProjectMismatchError
    assert desk.tries == 1


def test_chat(desk: Desk) -> None:
    def run() -> RunResult:
        return Runner.run_sync(agent(), "hello")

    answer = desk.passes(run)
    assert isinstance(answer, RunResult)
    assert answer.final_output == TEXT
    assert_raised_as_it_is(desk, desk.refused(run))


def test_async(desk: Desk) -> None:
    async def run() -> RunResult:
        return await Runner.run(agent(), "hello")

    assert desk.passes(run).final_output == TEXT
    assert_raised_as_it_is(desk, desk.refused(run))


def test_async_stream(desk: Desk) -> None:
    async def stream() -> str:
        run = Runner.run_streamed(agent(), "hello")
        async for _ in run.stream_events():
            pass
        return str(run.final_output)

    assert desk.passes(stream) == TEXT
    # It runs in a task of its own, and hands the events over in a queue.
    assert_raised_as_it_is(desk, desk.refused(stream, is_nearest=True))


def test_chat_completions(desk: Desk) -> None:
    async def run() -> RunResult:
        model = OpenAIChatCompletionsModel("gpt-4o-mini", AsyncOpenAI())
        return await Runner.run(Agent(name="helper", model=model), "hello")

    assert desk.passes(run).final_output == TEXT
    assert_raised_as_it_is(desk, desk.refused(run))


def test_the_header_may_be_set_for_one_agent(desk: Desk) -> None:
    settings = ModelSettings(extra_headers={"OpenAI-Project": "proj_a"})
    helper = Agent(name="helper", model="gpt-4o-mini", model_settings=settings)
    assert desk.use(lambda: Runner.run(helper, "hello"), "proj_b").final_output == TEXT


# --- what goes round the SDK --------------------------------------------------------------------


def export_trace(desk: Desk, project: str, scope: Scope) -> None:
    """Runs an agent whose calls are in order, and has its trace sent for a project."""
    exporter = BackendSpanExporter(
        project=project, endpoint=f"{desk.api.base_url}/traces/ingest", base_delay=0.01
    )
    set_trace_processors([BatchTraceProcessor(exporter)])
    set_tracing_disabled(False)
    try:
        with trace("conversation"):
            assert desk.use(lambda: Runner.run(agent(), "hello"), "proj_a", scope).final_output
        get_trace_provider().force_flush()
    finally:
        set_tracing_disabled(True)
        set_trace_processors([])


def sent_traces(desk: Desk) -> list[tuple[str | None, int]]:
    return [
        (line.project_header, line.status)
        for line in desk.api.ledger
        if line.path == "/v1/traces/ingest"
    ]


def test_the_trace_exporter_is_left_alone_by_default(
    desk: Desk, caplog: pytest.LogCaptureFixture
) -> None:
    export_trace(desk, "proj_b", "sdk")
    assert sent_traces(desk) == [("proj_b", 401)]
    assert [verdict.path for verdict in desk.verdicts] == ["/v1/responses"]
    desk.around = 'the trace exporter: judged with `scope="process"`'


def test_the_trace_exporter_is_judged_in_the_process_scope(
    desk: Desk, caplog: pytest.LogCaptureFixture
) -> None:
    export_trace(desk, "proj_a", "process")
    assert sent_traces(desk) == [("proj_a", 200)]
    assert [verdict.outcome for verdict in desk.verdicts] == ["allowed", "allowed"]

    export_trace(desk, "proj_b", "process")
    assert sent_traces(desk) == []
    # It takes the refusal for a network's fault: it tries three times, logs, and goes on.
    assert [verdict.reason for verdict in desk.verdicts] == [None, *["mismatch"] * 3]
    assert "[non-fatal] Tracing: max retries reached" in caplog.text
    desk.retries = "the trace exporter, twice"


def test_a_realtime_session_is_judged_in_either_scope(desk: Desk) -> None:
    url = f"{desk.api.websocket_base_url}/realtime?model=gpt-realtime"

    async def talk(headers: dict[str, str] | None = None) -> None:
        config = {"url": url} if headers is None else {"url": url, "headers": headers}
        async with await RealtimeRunner(RealtimeAgent(name="helper")).run(model_config=config):
            pass

    def headers(project: str) -> dict[str, str]:
        return {"Authorization": f"Bearer {A}", "OpenAI-Project": project}

    for scope in SCOPES:
        # It opens a WebSocket of its own, with the key alone: OPENAI_PROJECT_ID does not reach it.
        with pytest.raises(ProjectMissingError):
            desk.use(talk, "proj_a", scope)
        assert desk.api.connections == 0
        with pytest.raises(ProjectMismatchError):
            desk.use(lambda: talk(headers("proj_b")), None, scope)
        assert desk.api.connections == 0
        desk.use(lambda: talk(headers("proj_a")), None, scope)
        assert [verdict.outcome for verdict in desk.verdicts] == ["allowed"]
        assert desk.api.billed == {"proj_a": 1}
    desk.around = "realtime sessions: judged always, and without a header of their own refused"
