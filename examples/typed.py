"""What mypy, pyright and ty know of code that uses the guard; each finds nothing wrong here.

Try `mypy --strict examples/typed.py`.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator
from pathlib import Path

from openai import AsyncOpenAI, OpenAI, OpenAIError
from openai.types.responses import Response
from typing_extensions import assert_type

import openai_project_guard
from openai_project_guard import Mode, ProjectGuardError, Registry, Verdict, guard


@guard(project="proj_support")
def answer(client: OpenAI, question: str) -> str:
    """A decorated function keeps its signature: what calls it wrongly is found."""
    response = client.responses.create(model="gpt-4o-mini", input=question)
    assert_type(response, Response)
    return response.output_text


@guard
async def answer_soon(client: AsyncOpenAI, question: str) -> str:
    """So does a coroutine function."""
    return (await client.responses.create(model="gpt-4o-mini", input=question)).output_text


@guard(mode="warn")
def words(client: OpenAI, question: str) -> Iterator[str]:
    """And a generator."""
    yield from answer(client, question).split()


@guard(mode=Mode.INJECT)
async def words_soon(client: AsyncOpenAI, question: str) -> AsyncIterator[str]:
    """And an asynchronous one."""
    for word in (await answer_soon(client, question)).split():
        yield word


class Assistant:
    """Methods are functions too."""

    def __init__(self, client: OpenAI) -> None:
        self._client = client

    @guard(project="proj_support")
    def answer(self, question: str) -> str:
        """What a model says."""
        return answer(self._client, question)

    @classmethod
    @guard
    def make(cls, project: str) -> Assistant:
        """An assistant of a project."""
        return cls(OpenAI(project=project))


def tell(verdict: Verdict) -> None:
    """An observer; the words that outcome and reason can be are known."""
    if verdict.outcome == "blocked" and verdict.reason == "mismatch":
        print(f"{verdict.key_hint} belongs to {' or '.join(verdict.expected)}")


def why(error: OpenAIError) -> str:
    """A refusal is one of the SDK's errors, with a verdict."""
    if isinstance(error, ProjectGuardError):
        return error.verdict.reason or "refused"
    return str(error)


async def use(registry: Path) -> None:
    """Puts it together."""
    openai_project_guard.enable("enforce", registry=Registry.from_file(registry), scope="process")
    openai_project_guard.add_observer(tell)
    assert_type(answer(OpenAI(), "hello"), str)
    assert_type(await answer_soon(AsyncOpenAI(), "hello"), str)
    assert_type(words(OpenAI(), "hello"), Iterator[str])
    assert_type(words_soon(AsyncOpenAI(), "hello"), AsyncIterator[str])
    assert_type(Assistant.make("proj_support").answer("hello"), str)
    async with guard(project="proj_support"):
        print(await answer_soon(AsyncOpenAI(), "hello"))
    openai_project_guard.disable()
