"""Semantic Kernel: all goes through the SDK; a refusal surfaces as the cause of its own error."""

from __future__ import annotations

from typing import Any

from common import TEXT, Desk
from semantic_kernel.connectors.ai.open_ai import (
    OpenAIChatCompletion,
    OpenAIChatPromptExecutionSettings,
    OpenAITextEmbedding,
)
from semantic_kernel.contents import ChatHistory, ChatMessageContent, StreamingChatMessageContent
from semantic_kernel.exceptions import ServiceResponseException

from openai_project_guard import ProjectMismatchError

PACKAGE = "semantic-kernel"


async def chat() -> Any:
    service = OpenAIChatCompletion(ai_model_id="gpt-4o-mini")
    history = ChatHistory(system_message="hello")
    return await service.get_chat_message_content(history, OpenAIChatPromptExecutionSettings())


def assert_came_as_the_cause(desk: Desk, error: Exception) -> None:
    assert type(error) is ServiceResponseException
    assert isinstance(error.__cause__, ProjectMismatchError)
    assert desk.tries == 1


def test_async(desk: Desk) -> None:
    answer = desk.passes(chat)
    assert isinstance(answer, ChatMessageContent)
    assert answer.content == TEXT
    assert_came_as_the_cause(desk, desk.refused(chat))


def test_async_stream(desk: Desk) -> None:
    async def stream() -> list[StreamingChatMessageContent]:
        service = OpenAIChatCompletion(ai_model_id="gpt-4o-mini")
        history, settings = ChatHistory(system_message="hello"), OpenAIChatPromptExecutionSettings()
        parts = service.get_streaming_chat_message_content(history, settings)
        return [part async for part in parts if part is not None]

    parts = desk.passes(stream)
    assert {type(part) for part in parts} == {StreamingChatMessageContent}
    assert "".join(part.content for part in parts) == TEXT
    assert_came_as_the_cause(desk, desk.refused(stream))


def test_async_embeddings(desk: Desk) -> None:
    async def embed() -> list[list[float]]:
        service = OpenAITextEmbedding(ai_model_id="text-embedding-3-small")
        return (await service.generate_embeddings(["hello"])).tolist()

    assert desk.passes(embed) == [[0.25, -0.5, 1.0]]
    assert_came_as_the_cause(desk, desk.refused(embed))
