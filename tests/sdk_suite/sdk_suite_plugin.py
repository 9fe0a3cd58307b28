"""What `compare.py` loads into the SDK's own test run, as a plugin of pytest.

It writes down how each test ended. With the guard, it enables it before the SDK's tests are even
collected, so that whatever they build and send is judged, and counts the calls that were.
"""

from __future__ import annotations

import json
import os
import threading
from pathlib import Path

import pytest

FOLDER = Path(os.environ["SDK_SUITE_FOLDER"])
IS_GUARDED = os.environ["SDK_SUITE_GUARD"] == "warn"

# Those that the SDK's own tests use most. A key with a space in it, of which its tests have some,
# cannot be registered; on these hosts it is judged all the same, as unregistered.
KEYS = {
    "proj_of_the_suite": ["fake", "token", "test-key", "fixture", "fake-key", "test", "synthetic"],
    "proj_of_somebody_else": [
        "fake-test-key",
        "synthetic-only",
        "test-api-key",
        "original-api-key",
    ],
}
HOSTS = [
    "127.0.0.1",
    "localhost",
    "example.com",
    "example.test",
    "fixture.invalid",
    "allowed.example",
    "custom.example",
    "sdk-test.example",
    "test",
]


class Outcomes:
    """How each test ended: the worst of its set-up, itself, and its tear-down."""

    def __init__(self) -> None:
        self.found: dict[str, str] = {}

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        if report.failed or self.found.get(report.nodeid) in (None, "passed"):
            self.found[report.nodeid] = report.outcome

    def pytest_collectreport(self, report: pytest.CollectReport) -> None:
        if report.failed:
            self.found[report.nodeid] = "failed"

    def pytest_sessionfinish(self) -> None:
        text = json.dumps(self.found, indent=0, sort_keys=True)
        FOLDER.joinpath("outcomes.json").write_text(text, encoding="utf-8")


class Judged:
    """Counts the calls that the guard judged in this process."""

    def __init__(self) -> None:
        import openai_project_guard as opg

        self.count = 0
        self._lock = threading.Lock()
        opg.enable("warn", registry=KEYS, hosts=HOSTS)
        opg.add_observer(self.note)

    def note(self, _: object) -> None:
        with self._lock:
            self.count += 1

    def pytest_sessionfinish(self) -> None:
        FOLDER.joinpath(f"{os.getpid()}.judged").write_text(str(self.count), encoding="utf-8")


def pytest_configure(config: pytest.Config) -> None:
    is_worker = hasattr(config, "workerinput")
    if not is_worker:
        config.pluginmanager.register(Outcomes())
    if IS_GUARDED and (is_worker or not config.getoption("numprocesses", None)):
        config.pluginmanager.register(Judged())
