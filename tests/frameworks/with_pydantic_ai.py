"""Pydantic AI: all goes through the SDK, errors come as raised."""

from __future__ import annotations

from typing import Any

from common import TEXT, Desk
from pydantic_ai import Agent, AgentRunResult, Embedder
from pydantic_ai.models.openai import OpenAIChatModel, OpenAIResponsesModel

from openai_project_guard import ProjectMismatchError

PACKAGE = "pydantic-ai-slim"


def agent() -> Agent[None, str]:
    return Agent(OpenAIChatModel("gpt-4o-mini"))


def assert_raised_as_it_is(desk: Desk, error: Exception) -> None:
    assert type(error) is ProjectMismatchError
    assert desk.tries == 1


def test_chat(desk: Desk) -> None:
    answer = desk.passes(lambda: agent().run_sync("hello"))
    assert isinstance(answer, AgentRunResult)
    assert answer.output == TEXT
    assert_raised_as_it_is(desk, desk.refused(lambda: agent().run_sync("hello")))


def test_stream(desk: Desk) -> None:
    def stream() -> str:
        return "".join(agent().run_stream_sync("hello").stream_text(delta=True))

    assert desk.passes(stream) == TEXT
    assert_raised_as_it_is(desk, desk.refused(stream))


def test_async(desk: Desk) -> None:
    async def run() -> AgentRunResult[str]:
        return await agent().run("hello")

    assert desk.passes(run).output == TEXT
    assert_raised_as_it_is(desk, desk.refused(run))


def test_async_stream(desk: Desk) -> None:
    async def stream() -> str:
        async with agent().run_stream("hello") as answer:
            return "".join([part async for part in answer.stream_text(delta=True)])

    assert desk.passes(stream) == TEXT
    assert_raised_as_it_is(desk, desk.refused(stream))


def test_embeddings(desk: Desk) -> None:
    def embed() -> Any:
        return Embedder("openai:text-embedding-3-small").embed_query_sync("hello")

    assert desk.passes(embed).embeddings == [[0.25, -0.5, 1.0]]
    assert_raised_as_it_is(desk, desk.refused(embed))


def test_async_embeddings(desk: Desk) -> None:
    async def embed() -> Any:
        return await Embedder("openai:text-embedding-3-small").embed_query("hello")

    assert desk.passes(embed).embeddings == [[0.25, -0.5, 1.0]]
    assert_raised_as_it_is(desk, desk.refused(embed))


def test_responses_api(desk: Desk) -> None:
    def run() -> Any:
        return Agent(OpenAIResponsesModel("gpt-4o-mini")).run_sync("hello")

    assert desk.passes(run).output == TEXT
    assert_raised_as_it_is(desk, desk.refused(run))
