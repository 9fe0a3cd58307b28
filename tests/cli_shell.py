"""Runs commands as a user would type them, in this process and in one of their own."""

from __future__ import annotations

import io
import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import support

import openai_project_guard as opg
from openai_project_guard import Registry
from openai_project_guard._cli import main

clean = support.clean
NAME = "openai-projects.toml"
LEGACY = "sk-DemoLegacyUserNotARealKeyLm9n"
ROOT = str(Path(opg.__file__).parents[1])
VERDICT = {
    "outcome": "allowed",
    "reason": None,
    "expected": ["proj_a"],
    "actual": "proj_a",
    "key_hint": "sk-proj-…AAAA",
    "method": "GET",
    "host": "api.openai.com",
    "path": "/v1/models",
    "transport": "http",
    "call_site": None,
    "client_site": None,
    "origin": None,
    "answered": None,
}
"""On a call of a default client that is in order, as `--json` has it."""
posix = pytest.mark.skipif(os.name != "posix", reason="modes and terminals of POSIX")


class Ran:
    """What a command came to."""

    def __init__(self, status: int | str | None, out: str, err: str) -> None:
        self.status, self.out, self.err = status, out, " ".join(err.split())

    @property
    def json(self) -> Any:
        return json.loads(self.out)


class Shell:
    """Runs commands in this process, as a user would type them."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
        self.patch = monkeypatch
        self._capsys = capsys

    def __call__(self, *argv: str, stdin: str = "") -> Ran:
        self.patch.setattr(sys, "stdin", io.StringIO(stdin))
        return self.as_it_is(*argv)

    def as_it_is(self, *argv: str) -> Ran:
        try:
            status: int | str | None = main(argv)
        except SystemExit as exit_:
            status = exit_.code
        return Ran(status, *self._capsys.readouterr())


@pytest.fixture
def run(clean: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Shell:
    return Shell(clean, capsys)


def command(*argv: str, **options: Any) -> subprocess.CompletedProcess[str]:
    environment = {name: v for name, v in os.environ.items() if not name.startswith("OPENAI_")}
    return subprocess.run(
        [sys.executable, "-m", "openai_project_guard", *argv],
        env={**environment, "PYTHONPATH": ROOT, **options.pop("env", {})},
        capture_output=True,
        encoding="utf-8",
        timeout=600,
        check=False,
        **options,
    )


def keys(path: str = NAME) -> list[tuple[str, str | None, str, str | None]]:
    return [(e.project, e.alias, e.hint, e.note) for e in Registry.from_file(path)]
