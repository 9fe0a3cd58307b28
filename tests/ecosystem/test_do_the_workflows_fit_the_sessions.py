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


@pytest.mark.parametrize("name", WORKFLOWS)
def test_a_session_that_a_workflow_runs_is_there(name: str) -> None:
    listed = re.findall(r"nox [^\n]*?-s ([\w. -]+?)(?: --|$)", WORKFLOWS[name], re.MULTILINE)
    listed += re.findall(r"(?m)^ +- -s ([\w ]+)$", WORKFLOWS[name])
    listed += re.findall(r"session: \[(.+)\]", WORKFLOWS[name])
    sessions = {word.split("-")[0] for words in listed for word in re.split(r"[ ,]+", words)}
    assert sessions or "$PYTHON" in WORKFLOWS[name]
    assert sessions <= set(re.findall(r"(?m)^def (\w+)\(session", NOXFILE))
