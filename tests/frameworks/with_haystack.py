"""Haystack: all goes through the SDK, errors come as raised."""

from __future__ import annotations

from typing import Any

from common import TEXT, Desk
from haystack import Document, Pipeline
from haystack.components.embedders import OpenAIDocumentEmbedder, OpenAITextEmbedder
from haystack.components.generators.chat import OpenAIChatGenerator, OpenAIResponsesChatGenerator
from haystack.core.errors import PipelineRuntimeError
from haystack.dataclasses import ChatMessage, StreamingChunk

from openai_project_guard import ProjectMismatchError

PACKAGE = "haystack-ai"
HELLO = [ChatMessage.from_user("hello")]


def assert_raised_as_it_is(desk: Desk, error: Exception) -> None:
    assert type(error) is ProjectMismatchError
    assert desk.tries == 1


def test_chat(desk: Desk) -> None:
    def chat() -> ChatMessage:
        return OpenAIChatGenerator(model="gpt-4o-mini").run(HELLO)["replies"][0]

    answer = desk.passes(chat)
    assert isinstance(answer, ChatMessage)
    assert answer.text == TEXT
    assert_raised_as_it_is(desk, desk.refused(chat))


def test_stream(desk: Desk) -> None:
    chunks: list[StreamingChunk] = []

    def stream() -> str:
        chunks.clear()
        generator = OpenAIChatGenerator(model="gpt-4o-mini", streaming_callback=chunks.append)
        return str(generator.run(HELLO)["replies"][0].text)

    assert desk.passes(stream) == TEXT
    assert "".join(chunk.content for chunk in chunks) == TEXT
    assert_raised_as_it_is(desk, desk.refused(stream))


def test_async(desk: Desk) -> None:
    async def chat() -> ChatMessage:
        return (await OpenAIChatGenerator(model="gpt-4o-mini").run_async(HELLO))["replies"][0]

    assert desk.passes(chat).text == TEXT
    assert_raised_as_it_is(desk, desk.refused(chat))


def test_async_stream(desk: Desk) -> None:
    async def stream() -> str:
        chunks: list[StreamingChunk] = []

        async def take(chunk: StreamingChunk) -> None:
            chunks.append(chunk)

        generator = OpenAIChatGenerator(model="gpt-4o-mini", streaming_callback=take)
        await generator.run_async(HELLO)
        return "".join(chunk.content for chunk in chunks)

    assert desk.passes(stream) == TEXT
    assert_raised_as_it_is(desk, desk.refused(stream))


def test_embeddings(desk: Desk) -> None:
    def embed() -> Any:
        return OpenAITextEmbedder(model="text-embedding-3-small").run("hello")["embedding"]

    assert desk.passes(embed) == [0.25, -0.5, 1.0]
    assert_raised_as_it_is(desk, desk.refused(embed))


def test_async_embeddings(desk: Desk) -> None:
    async def embed() -> Any:
        embedder = OpenAITextEmbedder(model="text-embedding-3-small")
        return (await embedder.run_async("hello"))["embedding"]

    assert desk.passes(embed) == [0.25, -0.5, 1.0]
    assert_raised_as_it_is(desk, desk.refused(embed))


def test_documents(desk: Desk) -> None:
    def embed() -> Any:
        embedder = OpenAIDocumentEmbedder(model="text-embedding-3-small", progress_bar=False)
        return embedder.run([Document(content="hello")])["documents"][0].embedding

    assert desk.passes(embed) == [0.25, -0.5, 1.0]
    assert_raised_as_it_is(desk, desk.refused(embed))


def test_in_a_pipeline(desk: Desk) -> None:
    def run() -> Any:
        pipeline = Pipeline()
        pipeline.add_component("chat", OpenAIChatGenerator(model="gpt-4o-mini"))
        return pipeline.run({"chat": {"messages": HELLO}})["chat"]["replies"][0]

    assert desk.passes(run).text == TEXT
    error = desk.refused(run)
    assert type(error) is PipelineRuntimeError
    assert isinstance(error.__cause__, ProjectMismatchError)
    assert desk.tries == 1


def test_responses_api(desk: Desk) -> None:
    def chat() -> ChatMessage:
        return OpenAIResponsesChatGenerator(model="gpt-4o-mini").run(HELLO)["replies"][0]

    assert desk.passes(chat).text == TEXT
    assert_raised_as_it_is(desk, desk.refused(chat))
