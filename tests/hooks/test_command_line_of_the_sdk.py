"""Are calls of the SDK's own command line judged?"""

from __future__ import annotations

import importlib
import importlib.util
import os
import subprocess
import sys
from pathlib import Path

import pytest
from support import (
    A,
    fingerprint,
    needs_sdk,
)

import openai_project_guard as opg
from openai_project_guard.loopback import loopback_api

pytestmark = pytest.mark.usefixtures("clean")


@needs_sdk(importlib.util.find_spec("openai.cli"), "command line")
@pytest.mark.parametrize("project", ["proj_a", "proj_b", None])
def test_the_sdks_command_line_is_judged(project: str | None, tmp_path: Path) -> None:
    program = (
        "import openai_project_guard, runpy, sys;"
        "sys.argv = ['openai', 'api', 'models.list'];"
        "runpy.run_module('openai', run_name='__main__')"
    )
    environment = {name: v for name, v in os.environ.items() if not name.startswith("OPENAI_")}
    with loopback_api({A: "proj_a"}) as api:
        environment |= {
            "PYTHONPATH": str(Path(opg.__file__).parents[1]),
            "OPENAI_PROJECT_GUARD": "enforce",
            "OPENAI_PROJECT_GUARD_KEYS": f"proj_a={fingerprint(A)}",
            "OPENAI_API_KEY": A,
            "OPENAI_BASE_URL": api.base_url,
        }
        if project:
            environment["OPENAI_PROJECT_ID"] = project
        run = subprocess.run(
            [sys.executable, "-c", program],
            env=environment,
            cwd=tmp_path,
            capture_output=True,
            text=True,
            timeout=600,
            check=False,
        )
        if project == "proj_a":
            assert run.returncode == 0, run.stderr
            assert api.billed == {"proj_a": 1}
        else:
            assert run.returncode == 1
            assert "Nothing was sent." in run.stderr
            assert A not in run.stdout + run.stderr
            assert (api.connections, api.bytes_received) == (0, 0)
