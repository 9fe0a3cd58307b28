"""LlamaIndex: all goes through the SDK, errors come as raised."""

from __future__ import annotations

from common import TEXT, Desk
from llama_index.core.async_utils import asyncio_run
from llama_index.core.llms import ChatMessage, ChatResponse, CompletionResponse
from llama_index.embeddings.openai import OpenAIEmbedding
from llama_index.llms.openai import OpenAI, OpenAIResponses

from openai_project_guard import ProjectMismatchError

PACKAGE = "llama-index-llms-openai"
HELLO = [ChatMessage(role="user", content="hello")]


def model() -> OpenAI:
    return OpenAI(model="gpt-4o-mini")


def embedding() -> OpenAIEmbedding:
    return OpenAIEmbedding(model="text-embedding-3-small")


def assert_raised_as_it_is(desk: Desk, error: Exception) -> None:
    assert type(error) is ProjectMismatchError
    assert desk.tries == 1


def test_chat(desk: Desk) -> None:
    answer = desk.passes(lambda: model().chat(HELLO))
    assert isinstance(answer, ChatResponse)
    assert answer.message.content == TEXT
    assert_raised_as_it_is(desk, desk.refused(lambda: model().chat(HELLO)))


def test_stream(desk: Desk) -> None:
    chunks = desk.passes(lambda: list(model().stream_chat(HELLO)))
    assert {type(chunk) for chunk in chunks} == {ChatResponse}
    assert "".join(chunk.delta or "" for chunk in chunks) == TEXT
    assert_raised_as_it_is(desk, desk.refused(lambda: list(model().stream_chat(HELLO))))


def test_async(desk: Desk) -> None:
    async def complete() -> CompletionResponse:
        return await model().acomplete("hello")

    assert isinstance(desk.passes(complete), CompletionResponse)
    assert_raised_as_it_is(desk, desk.refused(complete))


def test_async_stream(desk: Desk) -> None:
    async def stream() -> str:
        return "".join([part.delta or "" async for part in await model().astream_chat(HELLO)])

    assert desk.passes(stream) == TEXT
    assert_raised_as_it_is(desk, desk.refused(stream))


def test_embeddings(desk: Desk) -> None:
    assert desk.passes(lambda: embedding().get_text_embedding("hello")) == [0.25, -0.5, 1.0]
    assert_raised_as_it_is(desk, desk.refused(lambda: embedding().get_text_embedding("hello")))


def test_async_embeddings(desk: Desk) -> None:
    async def embed() -> list[float]:
        return await embedding().aget_text_embedding("hello")

    assert desk.passes(embed) == [0.25, -0.5, 1.0]
    assert_raised_as_it_is(desk, desk.refused(embed))


def test_batches_in_tasks_and_in_a_loop_of_its_own(desk: Desk) -> None:
    async def embed() -> list[list[float]]:
        batches = OpenAIEmbedding(model="text-embedding-3-small", embed_batch_size=1)
        return await batches.aget_text_embedding_batch(["one", "two"])

    def in_its_own_loop() -> list[list[float]]:
        return asyncio_run(embed())

    for use, is_nearest in ((embed, False), (in_its_own_loop, None)):
        assert desk.passes(use) == [[0.25, -0.5, 1.0]] * 2
        assert type(desk.refused(use, is_nearest=is_nearest)) is ProjectMismatchError


def test_responses_api(desk: Desk) -> None:
    def chat() -> ChatResponse:
        return OpenAIResponses(model="gpt-4o-mini").chat(HELLO)

    assert desk.passes(chat).message.content == TEXT
    assert_raised_as_it_is(desk, desk.refused(chat))
