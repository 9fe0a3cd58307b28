"""Tests the hooks: with calls of real clients that must pass, and calls that must not."""

from __future__ import annotations

import asyncio
import importlib
import re
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

from openai_project_guard._cli.diagnosis.mock_call import Sent, call_async, call_sync
from openai_project_guard._cli.key_input import without_keys
from openai_project_guard._cli.temporary_guard import enabled, without_variables
from openai_project_guard._errors import UnsupportedSDKError
from openai_project_guard._types import Mode

# Made up, and registered here only.
_KEY, _OTHER_KEY = "sk-proj-test-one-not-a-real-key", "sk-proj-test-two-not-a-real-key"
_PROJECT, _OTHER_PROJECT = "proj_test_one", "proj_test_two"
_REGISTRY = {_PROJECT: _KEY, _OTHER_PROJECT: _OTHER_KEY}
_IS_OURS = re.compile(r"\AOPENAI_").match
"""Whether a variable is the SDK's or the guard's."""


@dataclass(frozen=True)
class HookTest:
    """One kind of client, and what became of its two calls.

    Attributes:
        client: `OpenAI` or `AsyncOpenAI`.
        matching: `let through`, or what happened instead.
        wrong: `refused`, or what happened instead.
    """

    client: str
    matching: str
    wrong: str

    @property
    def is_good(self) -> bool:
        """Whether the hooks do what they should."""
        return (self.matching, self.wrong) == ("let through", "refused")


@dataclass(frozen=True)
class HooksReport:
    """The hook points.

    Attributes:
        found: their names.
        lost: those that another tool took off.
        tests: whether they work.
        error: why they cannot be put in.
    """

    found: tuple[str, ...] = ()
    lost: tuple[str, ...] = ()
    tests: tuple[HookTest, ...] = ()
    error: str | None = None

    @property
    def are_good(self) -> bool:
        """Whether they are there and work."""
        work = bool(self.tests) and all(test.is_good for test in self.tests)
        return work and not self.lost and not self.error


def run_hook_tests() -> HooksReport:
    """Puts the hooks in, makes the calls, and takes them off again."""
    from openai_project_guard import _hooks

    lost = _hooks.unreached() if _hooks.is_installed() else ()
    try:
        with without_variables(_IS_OURS), enabled(Mode.ENFORCE, _REGISTRY):
            for name in ("websockets.sync.client", "websockets.asyncio.client"):
                with suppress(ImportError):  # it is an extra of the SDK
                    importlib.import_module(name)
            tests = tuple(_tests())
            return HooksReport(tuple(sorted(_hooks.reached())), lost or _hooks.unreached(), tests)
    except UnsupportedSDKError as error:
        return HooksReport((), lost, (), str(error))


def _tests() -> Iterator[HookTest]:
    def wait(arrive: Callable[[Sent], object], **options: Any) -> None:
        asyncio.run(call_async(arrive, **options))

    for client, call in (("OpenAI", call_sync), ("AsyncOpenAI", wait)):
        yield HookTest(client, _outcome(call, _PROJECT), _outcome(call, _OTHER_PROJECT))


def _outcome(call: Callable[..., None], project: str) -> str:
    from openai_project_guard._check.errors import ProjectMismatchError

    arrived: list[Sent] = []
    try:
        call(arrived.append, api_key=_KEY, project=project)
    except ProjectMismatchError:
        return "refused after it was sent" if arrived else "refused"
    except Exception as error:  # whatever it is, the hook test failed
        return without_keys(f"failed: {type(error).__name__}: {error}")
    return "let through" if arrived else "lost"
