"""What the whole suite shares: which tests depend on the SDK, and lines shown at a run's end."""

from __future__ import annotations

import importlib
import logging
from collections.abc import Callable
from pathlib import Path

import pytest

pytest.register_assert_rewrite("support")  # before anything imports it

# The guard logs its last counts when the process ends, which must not be after pytest's last line.
logging.getLogger("openai_project_guard").addHandler(logging.NullHandler())

TESTS = Path(__file__).parent
ROOMS_FOR_ANY_SDK = ("audit", "cli", "registry")
NAMES_OF_CALLERS = ("openai", "sync_client", "async_client", "loopback_api")
"""A test module with one of these makes calls, so it depends on the SDK, wherever it stands."""

LINES = pytest.StashKey[list[str]]()


@pytest.fixture(scope="session")
def report(pytestconfig: pytest.Config) -> Callable[[str], None]:
    """Shows a line at the end of the run, whatever the verbosity."""
    return pytestconfig.stash.setdefault(LINES, []).append


def pytest_collection(session: pytest.Session) -> None:
    """Gives every test the fixtures of `support`.

    Not by an import above: pytest-xdist's processes measure coverage only from here on, and
    `support` imports the package.
    """
    session.config.pluginmanager.register(importlib.import_module("support"), "support")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Marks what need not be run on each release of openai: see the markers in pyproject.toml."""
    for item in items:
        if not item.path.is_relative_to(TESTS):
            continue  # of a project that a test made
        room = item.path.relative_to(TESTS).parts[0]
        needs_sdk = item.get_closest_marker("sdk") or _calls_sdk(item.getparent(pytest.Module))
        if room in ROOMS_FOR_ANY_SDK and not needs_sdk:
            item.add_marker("any_sdk")


def _calls_sdk(module: pytest.Module | None) -> bool:
    return module is not None and any(name in vars(module.obj) for name in NAMES_OF_CALLERS)


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    for line in terminalreporter.config.stash.get(LINES, []):
        terminalreporter.write_line(line)
