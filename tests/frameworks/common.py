"""What the frameworks' files share: a framework is used twice, with a right and a wrong project.

Its project comes from `OPENAI_PROJECT_ID`, the one way that all of them leave open, and the one
that most easily goes wrong: a variable left over in the shell.
"""

from __future__ import annotations

import asyncio
import inspect
import json
import os
from collections.abc import Callable, Generator, Iterator
from importlib.metadata import version
from pathlib import Path
from typing import Any, Literal

import pytest

import openai_project_guard as opg
from openai_project_guard.loopback import LoopbackAPI, loopback_api

A = "sk-proj-not-a-real-key-of-project-a-AAAA"
B = "sk-proj-not-a-real-key-of-project-b-BBBB"
TEXT = "Hello from the loopback API."
"""What the loopback server says, in five deltas where it is asked for a stream."""

REPORT = "FRAMEWORKS_REPORT"
"""The variable that names the file to which each test adds a line of JSON, for the table."""

# No framework asks or tells anybody but the loopback server.
os.environ.update(
    ANONYMIZED_TELEMETRY="false",
    CREWAI_DISABLE_TELEMETRY="true",
    CREWAI_TRACING_ENABLED="false",
    DO_NOT_TRACK="1",
    HAYSTACK_TELEMETRY_ENABLED="false",
    LANGSMITH_TRACING="false",
    LITELLM_LOCAL_MODEL_COST_MAP="True",
    OTEL_SDK_DISABLED="true",
)

LOOP = asyncio.new_event_loop()
"""For every asynchronous use: some frameworks keep a client, which lives in one loop."""

Scope = Literal["sdk", "process"]
SCOPES: tuple[Scope, ...] = ("sdk", "process")
Use = Callable[[], Any]
"""Some code that uses a framework, or a coroutine function; it makes its own client."""


class Desk:
    """A guarded process that has key A, and the server that it talks to.

    Attributes:
        api: the server.
        verdicts: of the calls that were checked since the last `use()` began.
        tries: how often the framework tried what was refused.
        retries: for the table: where it tries again.
        around: for the table: what goes round the SDK here.
        where: for the table: where the text of our error is all that is left of it.
    """

    retries = ""
    around = ""
    where = ""

    def __init__(
        self, api: LoopbackAPI, monkeypatch: pytest.MonkeyPatch, package: str, file: str
    ) -> None:
        self.api = api
        self.verdicts: list[opg.Verdict] = []
        self.tries = 0
        self._monkeypatch = monkeypatch
        self._package = package
        self._file = Path(file).resolve()
        self._surfaced = ""

    def use(self, framework: Use, project: str | None, scope: Scope = "sdk") -> Any:
        """Runs it with a project in the environment, and returns what it returns."""
        if project is None:
            self._monkeypatch.delenv("OPENAI_PROJECT_ID", raising=False)
        else:
            self._monkeypatch.setenv("OPENAI_PROJECT_ID", project)
        opg.enable(registry={"proj_a": A, "proj_b": B}, hosts=["127.0.0.1"], scope=scope)
        self.api.clear()
        self.verdicts.clear()
        result = framework()
        return LOOP.run_until_complete(result) if inspect.isawaitable(result) else result

    def passes(self, framework: Use) -> Any:
        """What it returns with the right project, in both scopes; each call was judged once."""
        for scope in SCOPES:
            result = self.use(framework, "proj_a", scope)
            assert self.api.ledger
            assert {(line.status, line.billed_project) for line in self.api.ledger} == {
                (200, "proj_a")
            }
            assert [verdict.outcome for verdict in self.verdicts] == ["allowed"] * len(
                self.api.ledger
            )
        return result

    def refused(
        self, framework: Use, *, keeps_cause: bool = True, is_nearest: bool | None = False
    ) -> Exception:
        """What it raises with another project: our error, or one that came of it. Nothing leaves.

        Each verdict names the line of the test's file that called the framework. How often the
        framework tried is in `tries`.

        Args:
            framework: what to run.
            keeps_cause: whether our error is kept; if not, its text is all that is left of it.
            is_nearest: the framework goes where that line cannot be known: the verdicts say so.
                `None`: the line is right, but may be told as the nearest, since nobody waits for
                the rest of a batch once one of it has failed.
        """
        ours = opg.ProjectMismatchError
        for scope in SCOPES:
            with pytest.raises(Exception) as raised:
                self.use(framework, "proj_b", scope)
            assert (self.api.connections, self.api.bytes_received) == (0, 0)
            assert {verdict.reason for verdict in self.verdicts} == {"mismatch"}
            assert any(isinstance(link, ours) for link in chain(raised.value)) == keeps_cause
            assert "Nothing was sent." in "".join(map(str, chain(raised.value)))
            self.assert_called_from_its_file(is_nearest=is_nearest)
        self.tries = len(self.verdicts)
        self._surfaced = f"`{type(raised.value).__name__}`"
        if not isinstance(raised.value, ours):
            self._surfaced += " from it" if keeps_cause else " with its text alone"
        return raised.value

    def assert_called_from_its_file(self, *, is_nearest: bool | None = False) -> None:
        """Each verdict names a line of the test's file, unless that cannot be known there."""
        assert self.verdicts
        for verdict in self.verdicts:
            site = str(verdict.call_site)
            assert is_nearest in (None, site.endswith(" (nearest known)"))
            assert is_nearest or Path(site.rpartition(":")[0]).resolve() == self._file

    def note(self, way: str) -> None:
        """Adds what was seen to the report, if one is asked for."""
        path = os.environ.get(REPORT)
        if path is None:
            return
        line = {
            "framework": self._package,
            "version": version(self._package),
            "openai": version("openai"),
            "way": way,
            "surfaced": f"{self.where}: {self._surfaced}" if self.where else self._surfaced,
            "retries": self.retries,
            "around": self.around,
        }
        with open(path, "a", encoding="utf-8") as report:
            report.write(json.dumps(line) + "\n")


def chain(error: BaseException) -> Iterator[BaseException]:
    """An error, and those that it came of or that it groups."""
    waiting: list[BaseException | None] = [error]
    seen: list[BaseException] = []  # by identity: an error may be equal to another
    while waiting:
        link = waiting.pop(0)
        if link is None or any(link is known for known in seen):
            continue
        seen.append(link)
        yield link
        waiting += [link.__cause__, link.__context__, *getattr(link, "exceptions", ())]


@pytest.fixture
def desk(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Iterator[Desk]:
    """A desk of the test's own."""
    for name in list(os.environ):
        if name.startswith("OPENAI_"):
            monkeypatch.delenv(name)
    with loopback_api({A: "proj_a", B: "proj_b"}) as api:
        monkeypatch.setenv("OPENAI_API_KEY", A)
        monkeypatch.setenv("OPENAI_BASE_URL", api.base_url)
        monkeypatch.setenv("OPENAI_API_BASE", api.base_url)  # LlamaIndex's name for it
        desk = Desk(api, monkeypatch, request.module.PACKAGE, request.module.__file__)
        opg.add_observer(desk.verdicts.append)
        yield desk
        opg.remove_observer(desk.verdicts.append)
        opg.disable()


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(
    item: pytest.Function,
) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """Notes what a test saw, once it has passed; `test_async_stream` is the way "async stream"."""
    report = yield
    desk = item.funcargs.get("desk")
    if report.when == "call" and report.passed and isinstance(desk, Desk):
        desk.note(item.originalname.removeprefix("test_").replace("_", " "))
    return report
