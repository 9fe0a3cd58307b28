"""Do the benchmarks still measure the guard, and not a place where it no longer stands?"""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

BENCHMARKS = Path(__file__).parents[2] / "benchmarks"


def run(code: str) -> str:
    """Runs this in a process of its own, as the benchmarks do."""
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=BENCHMARKS, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.mark.parametrize("is_async", [False, True], ids=["sync", "async"])
def test_a_call_is_judged_and_marked_where_it_is_timed(is_async: bool) -> None:
    code = f"import hot_path, json; t = hot_path.one_call(is_async={is_async}, turns=20)"
    rounds = json.loads(run(f"{code}; print(json.dumps(t.rounds))"))
    fastest = {name: min(times) for name, times in rounds.items()}
    assert fastest["enforce"] > 2 * fastest["idle"]  # a hook that judged nothing would be as fast
    assert fastest["marked"] > 2 * fastest["marking, idle"]


def test_a_figure_that_misses_its_target_is_shown_as_another() -> None:
    code = """
from rows import Row
for measured in ({"": 1.05001}, {"": 1.05}, {"sync": 1.05001, "async": 1.0}):
    row = Row("name", "what", "x", 1.05, measured, beside={"file": 2.0})
    print(row.target_text(), row.measured_text(), row.verdict, sep="; ")
"""
    assert run(code).splitlines() == [
        "at most 1.05x; 1.05001x (file 2x); MISSED",
        "at most 1.05x; 1.05x (file 2x); met",
        "at most 1.05x; sync 1.05001x, async 1x (file 2x); MISSED",
    ]


def test_whole_calls_are_refused_with_the_hooks_and_not_without_them() -> None:
    code = """
import hot_path, stage
import openai_project_guard as opg
from openai_project_guard._state import STATE
with hot_path.enabled():
    made = stage.mocked_client(is_async=False)
    STATE.settings = hot_path.settings_of({"proj_of_somebody_else": stage.KEY})
    for is_guarded in (False, True):
        twin = hot_path.whole_twin(made, is_guarded=is_guarded)
        STATE.settings = STATE.settings if is_guarded else None
        try:
            twin.chat.completions.create(**stage.QUESTION)
            print("sent")
        except opg.ProjectMismatchError:
            print("refused")
        STATE.settings = hot_path.settings_of({"proj_of_somebody_else": stage.KEY})
"""
    assert run(code).split() == ["sent", "refused"]


def test_opcodes_are_added_by_the_hooks() -> None:
    code = "import instructions, json; print(json.dumps(instructions.measure()))"
    found = json.loads(run(code))
    assert len(found) == 8
    assert all(figure > 0 for figure in found.values())
    for kind in ("sync", "async"):  # a whole call is marked besides
        at_transport = found[f"{kind} _send_single_request, opcodes"]
        assert found[f"{kind} chat.completions.create, opcodes"] > at_transport
