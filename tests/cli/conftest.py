"""What the tests of the command line share."""

from __future__ import annotations

from pathlib import Path

import cli_shell
import pytest
import support
import sync_shell
from cli_shell import LEGACY, Shell
from support import A, B

clean, run = cli_shell.clean, cli_shell.run
shell, api = sync_shell.shell, sync_shell.api


@pytest.fixture
def good(run: Shell) -> Shell:
    """An environment in which everything is in order."""
    support.write_registry(Path("openai-projects.toml"), bot=f"proj_a:{A}", lab=f"proj_b:{B}")
    run.patch.setenv("OPENAI_API_KEY", A)
    run.patch.setenv("OPENAI_PROJECT_ID", "proj_a")
    run.patch.setenv("OPENAI_PROJECT_GUARD", "enforce")
    return run


@pytest.fixture
def legacy(run: Shell) -> Shell:
    """A key of two projects."""
    run("register", "proj_a", "--alias", "bot", stdin=LEGACY)
    run("register", "proj_b", "--alias", "lab", "--also", stdin=LEGACY)
    return run
