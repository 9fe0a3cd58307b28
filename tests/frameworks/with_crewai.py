"""CrewAI: all goes through the SDK, errors come as raised; an agent tries three times."""

from __future__ import annotations

from typing import Any

from common import TEXT, Desk
from crewai import LLM, Agent, Crew, CrewOutput, Task
from crewai.rag.embeddings.factory import build_embedder

from openai_project_guard import ProjectMismatchError

PACKAGE = "crewai"


def model(**options: Any) -> LLM:
    return LLM(model="openai/gpt-4o-mini", **options)


def assert_raised_as_it_is(desk: Desk, error: Exception, tries: int = 1) -> None:
    assert type(error) is ProjectMismatchError
    assert desk.tries == tries


def test_chat(desk: Desk) -> None:
    assert desk.passes(lambda: model().call("hello")) == TEXT
    assert_raised_as_it_is(desk, desk.refused(lambda: model().call("hello")))


def test_stream(desk: Desk) -> None:
    assert desk.passes(lambda: model(stream=True).call("hello")) == TEXT
    assert desk.api.ledger[-1].stream
    assert_raised_as_it_is(desk, desk.refused(lambda: model(stream=True).call("hello")))


def test_async(desk: Desk) -> None:
    async def call() -> Any:
        return await model().acall("hello")

    assert desk.passes(call) == TEXT
    assert_raised_as_it_is(desk, desk.refused(call))


def test_async_stream(desk: Desk) -> None:
    async def stream() -> Any:
        return await model(stream=True).acall("hello")

    assert desk.passes(stream) == TEXT
    assert desk.api.ledger[-1].stream
    assert_raised_as_it_is(desk, desk.refused(stream))


def test_embeddings(desk: Desk) -> None:
    def embed() -> Any:
        config: Any = {"model_name": "text-embedding-3-small"}
        return build_embedder({"provider": "openai", "config": config})(["hello"])

    assert desk.passes(embed)[0].tolist() == [0.25, -0.5, 1.0]
    assert_raised_as_it_is(desk, desk.refused(embed))


def test_responses_api(desk: Desk) -> None:
    assert desk.passes(lambda: model(api="responses").call("hello")) == TEXT
    assert_raised_as_it_is(desk, desk.refused(lambda: model(api="responses").call("hello")))


def test_a_crew_tries_three_times(desk: Desk) -> None:
    def work() -> CrewOutput:
        agent = Agent(role="helper", goal="to help", backstory="none", llm=model())
        task = Task(description="say hello", expected_output="hello", agent=agent)
        return Crew(agents=[agent], tasks=[task]).kickoff()

    assert desk.passes(work).raw == TEXT
    assert_raised_as_it_is(desk, desk.refused(work), tries=3)
    desk.retries = "an agent, twice (`max_retry_limit`)"
