"""LangChain, through `langchain-openai`: all goes through the SDK, errors come as raised."""

from __future__ import annotations

from typing import Any

from common import TEXT, Desk
from langchain_core.messages import AIMessage, AIMessageChunk
from langchain_openai import ChatOpenAI, OpenAIEmbeddings

from openai_project_guard import ProjectMismatchError

PACKAGE = "langchain-openai"


def model(**options: Any) -> ChatOpenAI:
    return ChatOpenAI(model="gpt-4o-mini", **options)


def embeddings() -> OpenAIEmbeddings:
    # Its tokenizer would have to be downloaded first.
    return OpenAIEmbeddings(model="text-embedding-3-small", check_embedding_ctx_length=False)


def assert_raised_as_it_is(desk: Desk, error: Exception) -> None:
    assert type(error) is ProjectMismatchError
    assert desk.tries == 1


def test_chat(desk: Desk) -> None:
    answer = desk.passes(lambda: model().invoke("hello"))
    assert isinstance(answer, AIMessage)
    assert answer.content == TEXT
    assert_raised_as_it_is(desk, desk.refused(lambda: model().invoke("hello")))


def test_stream(desk: Desk) -> None:
    chunks = desk.passes(lambda: list(model().stream("hello")))
    assert {type(chunk) for chunk in chunks} == {AIMessageChunk}
    assert "".join(chunk.content for chunk in chunks) == TEXT
    assert_raised_as_it_is(desk, desk.refused(lambda: list(model().stream("hello"))))


def test_async(desk: Desk) -> None:
    async def invoke() -> AIMessage:
        return await model().ainvoke("hello")

    assert isinstance(desk.passes(invoke), AIMessage)
    assert_raised_as_it_is(desk, desk.refused(invoke))


def test_async_stream(desk: Desk) -> None:
    async def stream() -> str:
        return "".join([str(chunk.content) async for chunk in model().astream("hello")])

    assert desk.passes(stream) == TEXT
    assert_raised_as_it_is(desk, desk.refused(stream))


def test_embeddings(desk: Desk) -> None:
    assert desk.passes(lambda: embeddings().embed_query("hello")) == [0.25, -0.5, 1.0]
    assert_raised_as_it_is(desk, desk.refused(lambda: embeddings().embed_query("hello")))


def test_async_embeddings(desk: Desk) -> None:
    async def embed() -> list[list[float]]:
        return await embeddings().aembed_documents(["hello"])

    assert desk.passes(embed) == [[0.25, -0.5, 1.0]]
    assert_raised_as_it_is(desk, desk.refused(embed))


def test_responses_api(desk: Desk) -> None:
    def invoke() -> AIMessage:
        return model(use_responses_api=True).invoke("hello")

    assert desk.passes(invoke).text == TEXT
    assert_raised_as_it_is(desk, desk.refused(invoke))


def test_batches_in_threads_and_tasks(desk: Desk) -> None:
    def batch() -> list[AIMessage]:
        return model().batch(["one", "two"])

    async def abatch() -> list[AIMessage]:
        return await model().abatch(["one", "two"])

    for use in (batch, abatch):
        assert [answer.content for answer in desk.passes(use)] == [TEXT] * 2
        assert type(desk.refused(use)) is ProjectMismatchError


def test_its_retries_try_again_and_its_fallbacks_are_used(desk: Desk) -> None:
    def retry() -> AIMessage:
        retrying = model().with_retry(stop_after_attempt=2, wait_exponential_jitter=False)
        return retrying.invoke("hello")

    def fall_back() -> AIMessage:
        spare = model(default_headers={"OpenAI-Project": "proj_a"})
        return model().with_fallbacks([spare]).invoke("hello")

    assert type(desk.refused(retry)) is ProjectMismatchError
    assert desk.tries == 2
    desk.retries = "with `with_retry()`"
    assert desk.use(fall_back, "proj_b").content == TEXT
    assert [verdict.outcome for verdict in desk.verdicts] == ["blocked", "allowed"]
