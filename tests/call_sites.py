"""What the tests of call sites share: clients of wrong calls, and the lines they should name."""

from __future__ import annotations

import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import openai
import pytest
from support import A, B, Recorder, async_client, sync_client

import openai_project_guard as opg

PATIENCE = 30.0  # seconds for a call to be judged on a busy machine


@pytest.fixture
def seen(clean: pytest.MonkeyPatch) -> Iterator[list[opg.Verdict]]:
    """The verdicts on what is called in warn mode."""
    found: list[opg.Verdict] = []
    opg.enable("warn", registry={"proj_a": A, "proj_b": B})
    opg.add_observer(found.append)
    yield found
    opg.remove_observer(found.append)


def line_of(mark: str, function: str, path: str) -> str:
    """The place of the line that has a mark in a comment."""
    (number,) = [
        number
        for number, line in enumerate(Path(path).read_text("utf-8").splitlines(), 1)
        if line.rstrip().endswith(f"# {mark}")
    ]
    return f"{path}:{number} in {function}"


def client() -> openai.OpenAI:
    """Its calls are wrong ones."""
    return sync_client(Recorder(), project="proj_b")


def aclient() -> openai.AsyncOpenAI:
    """The same, asynchronous."""
    return async_client(Recorder(), project="proj_b")


def until_seen(seen: list[opg.Verdict], number: int = 1) -> None:
    """Until there are so many verdicts, where nobody waits for the thread that calls."""
    end = time.monotonic() + PATIENCE
    while len(seen) < number:
        assert time.monotonic() < end, "no verdict came"
        time.sleep(0.001)


def module_at(path: Path, name: str, text: str) -> dict[str, Any]:
    """What a module of that name and file defines."""
    module: dict[str, Any] = {"__name__": name, "__file__": str(path)}
    exec(compile(text, str(path), "exec"), module)
    return module


def installed(folder: Path, name: str, text: str) -> dict[str, Any]:
    """What a module of an installed package defines."""
    return module_at(folder / "site-packages" / f"{name.replace('.', '/')}.py", name, text)
