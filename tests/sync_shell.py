"""Runs `sync` in a directory of its own, against a server on this machine."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from openai_project_guard import Registry
from openai_project_guard._cli import main
from openai_project_guard.loopback import ADMIN_KEY, LoopbackAPI, LoopbackProject, loopback_api

NAME = "openai-projects.toml"
CHAT = "sk-proj-CANARYcanaryCANARYcanaryCANARYcanary-Ab3d"
LAB = "sk-proj-CANARYcanaryCANARYcanaryCANARYcanary-Ef5g"
ROBOT = "sk-svcacct-CANARYcanaryCANARYcanaryCANARY-Hj7k"
LAB_TWIN = "sk-proj-anotherANOTHERanotherANOTHERanother-Ef5g"
"""Shows the same characters as LAB does."""
OWNERS = {CHAT: "proj_chat", LAB: "proj_lab", ROBOT: "proj_lab"}
PROJECTS = (
    LoopbackProject("proj_chat", "Support Chat"),
    LoopbackProject("proj_lab", "Lab"),
    LoopbackProject("proj_old", "Old things", archived=True),
)


class Shell:
    """`sync` in a directory of its own, against a server on this machine."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
        self.monkeypatch = monkeypatch
        self._capsys = capsys
        self.out = self.err = ""

    def use(self, api: LoopbackAPI, **variables: str) -> None:
        self.monkeypatch.setenv("OPENAI_BASE_URL", api.base_url)
        self.monkeypatch.setenv("OPENAI_ADMIN_KEY", ADMIN_KEY)
        for name, value in variables.items():
            self.monkeypatch.setenv(name, value)

    def sync(self, *arguments: str) -> int:
        status = main(["sync", *arguments])
        self.out, self.err = self._capsys.readouterr()
        for text in (self.out, self.err, *(path.read_text() for path in Path().rglob("*.*"))):
            assert "canary" not in text.lower()
            assert "ANOTHER" not in text
            assert ADMIN_KEY not in text
        return status

    def report(self, *arguments: str, status: int = 0) -> Any:
        assert self.sync(*arguments, "--json") == status
        return json.loads(self.out)


@pytest.fixture
def shell(clean: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Shell:
    return Shell(clean, capsys)


@pytest.fixture
def api() -> Iterator[LoopbackAPI]:
    with loopback_api(OWNERS, projects=PROJECTS) as server:
        yield server


def projects() -> dict[str, str | None]:
    """The file's projects and their aliases."""
    known = Registry.from_file(NAME).snapshot.projects
    return {project.id: project.alias for project in known.values()}


def bound(key: str) -> list[str]:
    return [entry.project for entry in Registry.from_file(NAME).lookup(key)]
