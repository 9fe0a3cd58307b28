"""The calls of the demo, as a program would write them, and what each must come to.

The program works for project `proj_chat`, and key A is its own. Key B belongs to `proj_lab`; key C
belongs to `proj_old`, and is not registered. All made up: no real key is needed.
"""

from __future__ import annotations

import asyncio
import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from openai import AsyncOpenAI, OpenAI

from openai_project_guard._cli.demo import OK
from openai_project_guard._types import ModeName

CHAT, LAB, OLD = "proj_chat", "proj_lab", "proj_old"
A = "sk-proj-demo-chat-not-a-real-key-Ab3d"
B = "sk-proj-demo-lab-not-a-real-key-Ef5g"
C = "sk-proj-demo-old-not-a-real-key-Hj7k"

OWNERS = {A: CHAT, B: LAB, C: OLD}
"""Whom the server bills."""

REGISTRY = {CHAT: A, LAB: B}
"""What the guard knows."""

MISMATCHED = "401 mismatched_project"


@dataclass(frozen=True)
class Scenario:
    """One call, and what must be measured when it is made.

    Attributes:
        call: which call, in the table's words.
        make: makes it through the SDK, given the server's base URL, and returns the answer's text.
        without: the answer without the guard, `200` or status and error code.
        billed: who pays then.
        guarded: the answer with the guard, or the name of the error it raises.
        mode: the guard's.
        pinned: the project that `@guard(project=...)` pins the call to.
    """

    call: str
    make: Callable[[str], str]
    without: str
    billed: str | None
    guarded: str
    mode: ModeName = "enforce"
    pinned: str | None = None

    @property
    def is_refused(self) -> bool:
        """Whether the guard must stop this call."""
        return self.guarded != OK


def scenarios() -> list[Scenario]:
    """Those that the installed SDK can run."""
    found = [
        Scenario("key and project match", _matching, OK, CHAT, OK),
        Scenario("matching, async", _matching_async, OK, CHAT, OK),
        Scenario("matching, streamed", _matching_streamed, OK, CHAT, OK),
        Scenario("with_options(api_key=B)", _swapped, MISMATCHED, None, "ProjectMismatchError"),
        Scenario("with_options, async", _swapped_async, MISMATCHED, None, "ProjectMismatchError"),
        Scenario(
            "with_options, streamed", _swapped_streamed, MISMATCHED, None, "ProjectMismatchError"
        ),
        Scenario("client.api_key = B", _reassigned, MISMATCHED, None, "ProjectMismatchError"),
        Scenario("stale OPENAI_PROJECT_ID", _stale, MISMATCHED, None, "ProjectMismatchError"),
        Scenario("extra_headers=", _extra_header, MISMATCHED, None, "ProjectMismatchError"),
        Scenario("key B, no project=", _absent, OK, LAB, "ProjectMissingError"),
        Scenario("no project=, inject", _to_be_filled, OK, CHAT, OK, mode="inject"),
        Scenario("key C, not registered", _unregistered, OK, OLD, "UnregisteredKeyError"),
        Scenario("@guard(project=...)", _of_lab, OK, LAB, "ProjectScopeError", pinned=CHAT),
    ]
    if _reads_custom_headers():
        found.insert(
            8,
            Scenario(
                "OPENAI_CUSTOM_HEADERS", _custom_header, MISMATCHED, None, "ProjectMismatchError"
            ),
        )
    return found


# The calls


def _matching(base_url: str) -> str:
    with OpenAI(api_key=A, project=CHAT, base_url=base_url) as client:
        return _ask(client)


def _matching_async(base_url: str) -> str:
    async def call() -> str:
        async with AsyncOpenAI(api_key=A, project=CHAT, base_url=base_url) as client:
            return await _ask_async(client)

    return asyncio.run(call())


def _matching_streamed(base_url: str) -> str:
    with OpenAI(api_key=A, project=CHAT, base_url=base_url) as client:
        return _ask_streamed(client)


def _swapped(base_url: str) -> str:
    with OpenAI(api_key=A, project=CHAT, base_url=base_url) as client:
        return _ask(client.with_options(api_key=B))


def _swapped_async(base_url: str) -> str:
    async def call() -> str:
        async with AsyncOpenAI(api_key=A, project=CHAT, base_url=base_url) as client:
            return await _ask_async(client.with_options(api_key=B))

    return asyncio.run(call())


def _swapped_streamed(base_url: str) -> str:
    with OpenAI(api_key=A, project=CHAT, base_url=base_url) as client:
        return _ask_streamed(client.with_options(api_key=B))


def _reassigned(base_url: str) -> str:
    with OpenAI(api_key=A, project=CHAT, base_url=base_url) as client:
        client.api_key = B
        return _ask(client)


def _stale(base_url: str) -> str:
    with (
        _variable("OPENAI_PROJECT_ID", OLD),
        OpenAI(api_key=A, base_url=base_url) as client,
    ):
        return _ask(client)


def _custom_header(base_url: str) -> str:
    with (
        _variable("OPENAI_CUSTOM_HEADERS", f"OpenAI-Project: {LAB}"),
        OpenAI(api_key=A, project=CHAT, base_url=base_url) as client,
    ):
        return _ask(client)


def _extra_header(base_url: str) -> str:
    with OpenAI(api_key=A, project=CHAT, base_url=base_url) as client:
        return _ask(client, extra_headers={"OpenAI-Project": LAB})


def _absent(base_url: str) -> str:
    with OpenAI(api_key=B, base_url=base_url) as client:
        return _ask(client)


def _to_be_filled(base_url: str) -> str:
    with OpenAI(api_key=A, base_url=base_url) as client:
        return _ask(client)


def _unregistered(base_url: str) -> str:
    with OpenAI(api_key=C, base_url=base_url) as client:
        return _ask(client)


def _of_lab(base_url: str) -> str:
    with OpenAI(api_key=B, project=LAB, base_url=base_url) as client:
        return _ask(client)


# What they have in common


def _ask(client: OpenAI, **options: Any) -> str:
    completion = client.chat.completions.create(
        model="gpt-4o-mini", messages=[{"role": "user", "content": "Hello?"}], **options
    )
    return completion.choices[0].message.content or ""


async def _ask_async(client: AsyncOpenAI) -> str:
    completion = await client.chat.completions.create(
        model="gpt-4o-mini", messages=[{"role": "user", "content": "Hello?"}]
    )
    return completion.choices[0].message.content or ""


def _ask_streamed(client: OpenAI) -> str:
    with client.chat.completions.create(
        model="gpt-4o-mini", messages=[{"role": "user", "content": "Hello?"}], stream=True
    ) as chunks:
        return "".join(chunk.choices[0].delta.content or "" for chunk in chunks)


@contextmanager
def _variable(name: str, value: str) -> Iterator[None]:
    os.environ[name] = value
    try:
        yield
    finally:
        del os.environ[name]


def _reads_custom_headers() -> bool:
    """Whether the SDK reads the variable; it does since some release after 2.30.0."""
    with _variable("OPENAI_CUSTOM_HEADERS", "X-Demo: 1"), OpenAI(api_key=A) as client:
        return "X-Demo" in client.default_headers
