"""The calls of the demo, and what each must come to.

The program works for project `proj_chat`, and key A is its own. Key B belongs to `proj_lab`; key C
belongs to `proj_old`, and is not registered. All made up: no real key is needed.
"""

from __future__ import annotations

import asyncio
import os
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, Literal

from openai import AsyncOpenAI, OpenAI

from openai_project_guard._cli.demo import OK
from openai_project_guard._cli.env_files import environment
from openai_project_guard._types import ModeName

CHAT, LAB, OLD = "proj_chat", "proj_lab", "proj_old"
A = "sk-proj-demo-chat-not-a-real-key-Ab3d"
B = "sk-proj-demo-lab-not-a-real-key-Ef5g"
C = "sk-proj-demo-old-not-a-real-key-Hj7k"

OWNERS = {A: CHAT, B: LAB, C: OLD}
"""Whom the server bills."""

REGISTRY = {CHAT: A, LAB: B}
"""What the guard knows."""

_MISMATCHED = "401 mismatched_project", None, "ProjectMismatchError"


@dataclass(frozen=True)
class Scenario:
    """One call, and what must be measured when it is made.

    Attributes:
        call: which call, in the table's words.
        without: the answer without the guard, `200` or status and error code.
        billed: who pays then.
        guarded: the answer with the guard, or the name of the error it raises.
        key: of the client.
        project: of the client.
        way: how the call is made.
        changed: the client that makes the call, made of the first one.
        headers: of this call.
        variables: what the environment has.
        mode: the guard's.
        pinned: the project that `@guard(project=...)` pins the call to.
    """

    call: str
    without: str = OK
    billed: str | None = CHAT
    guarded: str = OK
    key: str = A
    project: str | None = CHAT
    way: Literal["sync", "async", "streamed"] = "sync"
    changed: Callable[[Any], Any] = lambda client: client
    headers: dict[str, str] | None = None
    variables: dict[str, str] = field(default_factory=dict)
    mode: ModeName = "enforce"
    pinned: str | None = None

    @property
    def is_refused(self) -> bool:
        """Whether the guard must stop this call."""
        return self.guarded != OK

    def make(self, base_url: str) -> str:
        """Makes the call through the SDK, and gives the answer's text."""
        client: dict[str, Any] = {
            "api_key": self.key,
            "project": self.project,
            "base_url": base_url,
        }
        call: dict[str, Any] = {
            "model": "gpt-4o-mini",
            "messages": [{"role": "user", "content": "Hello?"}],
            "extra_headers": self.headers,
        }
        with environment({**os.environ, **self.variables}):
            if self.way == "async":
                return asyncio.run(self._make_async(client, call))
            with OpenAI(**client) as sync_client:
                create = self.changed(sync_client).chat.completions.create
                if self.way == "sync":
                    return str(create(**call).choices[0].message.content)
                with create(**call, stream=True) as chunks:
                    return "".join(chunk.choices[0].delta.content or "" for chunk in chunks)

    async def _make_async(self, client: dict[str, Any], call: dict[str, Any]) -> str:
        async with AsyncOpenAI(**client) as async_client:
            completion = await self.changed(async_client).chat.completions.create(**call)
            return str(completion.choices[0].message.content)


def scenarios() -> list[Scenario]:
    """Those that the installed SDK can run."""
    custom = {"OPENAI_CUSTOM_HEADERS": f"OpenAI-Project: {LAB}"}
    found = [
        Scenario("key and project match"),
        Scenario("matching, async", way="async"),
        Scenario("matching, streamed", way="streamed"),
        Scenario("with_options(api_key=B)", *_MISMATCHED, changed=_with_b),
        Scenario("with_options, async", *_MISMATCHED, changed=_with_b, way="async"),
        Scenario("with_options, streamed", *_MISMATCHED, changed=_with_b, way="streamed"),
        Scenario("client.api_key = B", *_MISMATCHED, changed=_set_to_b),
        Scenario(
            "stale OPENAI_PROJECT_ID",
            *_MISMATCHED,
            project=None,
            variables={"OPENAI_PROJECT_ID": OLD},
        ),
        Scenario("OPENAI_CUSTOM_HEADERS", *_MISMATCHED, variables=custom),
        Scenario("extra_headers=", *_MISMATCHED, headers={"OpenAI-Project": LAB}),
        Scenario("key B, no project=", OK, LAB, "ProjectMissingError", key=B, project=None),
        Scenario("no project=, inject", project=None, mode="inject"),
        Scenario("key C, not registered", OK, OLD, "UnregisteredKeyError", key=C, project=None),
        Scenario(
            "@guard(project=...)", OK, LAB, "ProjectScopeError", key=B, project=LAB, pinned=CHAT
        ),
    ]
    with environment({**os.environ, **custom}), OpenAI(api_key=A) as client:
        reads_variable = client.default_headers.get("OpenAI-Project") == LAB
    # The SDK reads it since some release after 2.30.0.
    return [scenario for scenario in found if reads_variable or scenario.variables != custom]


def _with_b(client: Any) -> Any:
    return client.with_options(api_key=B)


def _set_to_b(client: Any) -> Any:
    client.api_key = B
    return client
