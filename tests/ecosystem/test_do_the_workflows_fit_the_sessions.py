"""Do pyproject.toml, noxfile.py and the workflows name the same Pythons and sessions?"""

from __future__ import annotations

import ast
import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
NOXFILE = (ROOT / "noxfile.py").read_text(encoding="utf-8")
WORKFLOWS = {path.name: path.read_text("utf-8") for path in ROOT.glob(".github/workflows/*.yml")}


def pythons() -> list[str]:
    (written,) = re.findall(r"(?m)^PYTHONS = (\[.*\])$", NOXFILE)
    found: list[str] = ast.literal_eval(written)
    return found


def test_the_pythons_are_those_that_are_classified() -> None:
    project = (ROOT / "pyproject.toml").read_text(encoding="utf-8")
    assert re.findall(r'"Programming Language :: Python :: (3\.\d+)"', project) == pythons()
    assert f'requires-python = ">={pythons()[0]}"' in project


def test_the_whole_suite_runs_on_each_python() -> None:
    (matrix,) = re.findall(r"(?m)^ +python: (\[.*\])$", WORKFLOWS["test.yml"])
    assert ast.literal_eval(matrix) == pythons()


def sessions_of(workflow: str) -> set[str]:
    """What stands behind `-s`, there or in a matrix, without Pythons and what a session is told."""
    lists = re.findall(r"(?m)(?:nox|^ +-) [^\n]*?-s ([\w. -]+)", workflow)
    lists += [
        entry for row in re.findall(r"session: \[(.+)\]", workflow) for entry in row.split(",")
    ]
    return {name.split("-")[0] for names in lists for name in names.split(" -- ")[0].split()}


@pytest.mark.parametrize("name", WORKFLOWS)
def test_a_session_that_a_workflow_runs_is_there(name: str) -> None:
    sessions = sessions_of(WORKFLOWS[name].replace('"', "").replace("$PYTHON", ""))
    assert sessions
    assert sessions <= set(re.findall(r"(?m)^def (\w+)\(session", NOXFILE))
