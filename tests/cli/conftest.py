"""What the tests of the command line share."""

from __future__ import annotations

from pathlib import Path

import cli_shell
import pytest
import support
from cli_shell import Shell
from support import A, B

clean, run = cli_shell.clean, cli_shell.run


@pytest.fixture
def good(run: Shell) -> Shell:
    """An environment in which everything is in order."""
    support.write_registry(Path("openai-projects.toml"), bot=f"proj_a:{A}", lab=f"proj_b:{B}")
    run.patch.setenv("OPENAI_API_KEY", A)
    run.patch.setenv("OPENAI_PROJECT_ID", "proj_a")
    run.patch.setenv("OPENAI_PROJECT_GUARD", "enforce")
    return run
