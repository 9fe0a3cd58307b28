"""The rows about start-up: what importing the package costs, switched off and on.

Each import is a process of its own, started in turns; what counts is the processor time that the
system charged it with, user and system: on a busy machine the time on the clock says little. All
code is compiled beforehand, as an installer does it, whatever this shell says of bytecode.
"""

from __future__ import annotations

import os
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path

import stage
from rounds import in_turns
from rows import Row


def start_up(turns: int) -> tuple[Row, Row]:
    """`import openai_project_guard`, off and enforcing, against `import openai`."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "openai-projects.toml")
        path.write_text(stage.registry_text(2, 2), encoding="utf-8")
        cache = {"PYTHONPYCACHEPREFIX": str(Path(folder, "cache"))}
        on = {
            **cache,
            "OPENAI_PROJECT_GUARD": "enforce",
            "OPENAI_PROJECT_GUARD_REGISTRY": str(path),
        }
        both = "import openai_project_guard, openai"
        times = in_turns(
            {
                "bare": _process("pass", cache),
                "guard, off": _process("import openai_project_guard", cache),
                "openai": _process("import openai", cache),
                "both, off": _process(both, cache),
                "both, enforce": _process(both, on),
            },
            turns,
        )
    openai = times.added("openai")
    off = times.added("guard, off") / openai * 100
    enforce = times.added("both, enforce") / openai
    details = [f"ms a process: {name}: {times.shown(name, 1e3)}" for name in times.rounds]
    return (
        Row(
            "import-off",
            "`import openai_project_guard`, guard off, over an empty interpreter, as a part of "
            "`import openai`",
            " %",
            3,
            {"": off},
            [
                *details,
                f"by medians {times.added_median('guard, off') / times.added_median('openai'):.2%}",
            ],
        ),
        Row(
            "import-on",
            "`OPENAI_PROJECT_GUARD=enforce`: `import openai_project_guard, openai` against "
            "`import openai`",
            "x",
            1.05,
            {"": enforce},
            [
                "over an empty interpreter, both; by medians "
                f"{times.added_median('both, enforce') / times.added_median('openai'):.3f}; "
                f"whole processes {times.floor('both, enforce') / times.floor('openai'):.3f}; "
                f"both imported, guard off {times.added('both, off') / openai:.3f}",
            ],
        ),
    )


def _process(code: str, variables: dict[str, str]) -> Callable[[], float]:
    environment = {**os.environ, "PYTHONPATH": str(stage.ROOT), **variables}
    environment.pop("PYTHONDONTWRITEBYTECODE", None)

    def run() -> float:
        arguments = [sys.executable, "-c", code]
        child = os.posix_spawn(sys.executable, arguments, environment)
        _, status, usage = os.wait4(child, 0)
        assert status == 0, code
        return usage.ru_utime + usage.ru_stime

    return run
