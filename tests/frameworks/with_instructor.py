"""Instructor: all goes through the SDK; a refusal surfaces as the cause of its own error."""

from __future__ import annotations

from typing import Any

import instructor
import openai
from common import TEXT, Desk
from instructor.core import InstructorRetryException
from openai.types.chat import ChatCompletion, ChatCompletionChunk
from pydantic import BaseModel

from openai_project_guard import ProjectMismatchError

PACKAGE = "instructor"


class Said(BaseModel):
    text: str

    @classmethod
    def model_validate_json(cls, json_data: Any, **_: Any) -> Said:
        return cls(text=json_data)  # the loopback server's answer is no JSON


def ask(model: type[BaseModel] | None, **options: Any) -> Any:
    client = instructor.from_openai(openai.OpenAI(), mode=instructor.Mode.JSON)
    return create(client, model, options)


async def ask_async(model: type[BaseModel] | None, **options: Any) -> Any:
    client = instructor.from_openai(openai.AsyncOpenAI(), mode=instructor.Mode.JSON)
    return await create(client, model, options)


def create(client: Any, model: type[BaseModel] | None, options: dict[str, Any]) -> Any:
    hello: Any = [{"role": "user", "content": "hello"}]
    return client.create(model="gpt-4o-mini", messages=hello, response_model=model, **options)


def assert_came_as_the_cause_at_once(desk: Desk, error: Exception) -> None:
    """It retries answers that do not validate, and only those, whatever it says."""
    assert type(error) is InstructorRetryException
    assert isinstance(error.__cause__, ProjectMismatchError)
    assert desk.tries == 1


def test_chat(desk: Desk) -> None:
    answer = desk.passes(lambda: ask(Said))
    assert isinstance(answer, Said)
    assert answer.text == TEXT
    assert_came_as_the_cause_at_once(desk, desk.refused(lambda: ask(Said, max_retries=3)))


def test_stream(desk: Desk) -> None:
    chunks = desk.passes(lambda: list(ask(None, stream=True)))
    assert {type(chunk) for chunk in chunks} == {ChatCompletionChunk}
    partial = instructor.Partial[Said]
    error = desk.refused(lambda: list(ask(partial, stream=True)))
    assert_came_as_the_cause_at_once(desk, error)


def test_async(desk: Desk) -> None:
    assert isinstance(desk.passes(lambda: ask_async(Said)), Said)
    assert_came_as_the_cause_at_once(desk, desk.refused(lambda: ask_async(Said, max_retries=3)))


def test_async_stream(desk: Desk) -> None:
    async def stream(model: type[BaseModel] | None) -> str:
        parts = [part async for part in await ask_async(model, stream=True)]
        return "".join(part.choices[0].delta.content or "" for part in parts)

    assert desk.passes(lambda: stream(None)) == TEXT
    error = desk.refused(lambda: stream(instructor.Partial[Said]))
    assert_came_as_the_cause_at_once(desk, error)


def test_without_a_model_the_error_comes_as_it_is(desk: Desk) -> None:
    assert isinstance(desk.passes(lambda: ask(None)), ChatCompletion)
    assert type(desk.refused(lambda: ask(None))) is ProjectMismatchError
