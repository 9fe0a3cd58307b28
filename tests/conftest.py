"""What the whole suite shares: lines that a test wants shown at the end of a run."""

from __future__ import annotations

import logging
from collections.abc import Callable

import pytest

# The guard logs its last counts when the process ends, which must not be after pytest's last line.
logging.getLogger("openai_project_guard").addHandler(logging.NullHandler())

LINES = pytest.StashKey[list[str]]()


@pytest.fixture(scope="session")
def report(pytestconfig: pytest.Config) -> Callable[[str], None]:
    """Shows a line at the end of the run, whatever the verbosity."""
    return pytestconfig.stash.setdefault(LINES, []).append


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    for line in terminalreporter.config.stash.get(LINES, []):
        terminalreporter.write_line(line)
