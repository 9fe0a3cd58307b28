"""Does a day in warn mode name every wrong line, and do the changes that it names fix them?"""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pytest

import openai_project_guard

EXAMPLE = Path(__file__).parents[2] / "examples" / "audited_service"
ROUNDS = 5

pytestmark = [
    pytest.mark.sdk,  # the processes of the service make calls
    pytest.mark.skipif(
        find_spec("openai_project_guard._check.call_site") is None,
        reason="no verdict names its call site yet",
    ),
    pytest.mark.skipif(not EXAMPLE.is_dir(), reason="there are no examples here"),
    pytest.mark.skipif(os.name == "nt", reason="gunicorn does not run on Windows"),
    pytest.mark.skipif(find_spec("gunicorn") is None, reason="gunicorn is not installed"),
    pytest.mark.skipif(find_spec("celery") is None, reason="celery is not installed"),
    pytest.mark.skipif(
        find_spec("openai.resources.responses") is None, reason="this SDK has no responses"
    ),
]

WRONG = {
    "ranking": ("rank", "explain_rank", "rank_again"),
    "mail": ("draft_mail", "share_by_mail", "newsletter"),
    "notes": ("take_note", "annotate", "tidy_notes"),
}
"""The wrong clients, and the functions that call through them."""


def python(*arguments: object, cwd: Path, status: int = 0) -> str:
    """What a Python program prints."""
    inherited = {
        name: value
        for name, value in os.environ.items()
        if not name.startswith(("OPENAI_", "PYTEST_", "COV_"))
    }
    home = Path(openai_project_guard.__file__).parents[1]
    places = [str(home), *filter(None, [os.environ.get("PYTHONPATH")])]
    done = subprocess.run(
        [sys.executable, *map(str, arguments)],
        cwd=cwd,
        env={**inherited, "PYTHONPATH": os.pathsep.join(places), "XDG_CONFIG_HOME": str(cwd)},
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )
    assert done.returncode == status, done.stdout + done.stderr
    return done.stdout


def report(*arguments: object, cwd: Path, status: int = 0) -> str:
    """What `openai-project-guard report` prints."""
    return python("-m", "openai_project_guard", "report", *arguments, cwd=cwd, status=status)


def line_of_call(service: Path, function: str) -> str:
    """`file:line in function` of the call in a function of the service."""
    for name in ("answers.py", "documents.py", "jobs.py"):
        lines = (service / name).read_text(encoding="utf-8").splitlines()
        for number, line in enumerate(lines, 1):
            if line.startswith(f"def {function}("):
                offset = next(n for n, text in enumerate(lines[number:], 1) if ".create(" in text)
                return f"{name}:{number + offset} in {function}"
    raise AssertionError(f"there is no {function}")


def line_of_client(service: Path, client: str) -> int:
    """The number of the line on which a client is built."""
    lines = (service / "clients.py").read_text(encoding="utf-8").splitlines()
    return next(n for n, line in enumerate(lines, 1) if line.startswith(f"{client} ="))


def without_folder(site: str) -> str:
    """The place, whatever folder its path is said from."""
    return re.sub(r"\S*/", "", site)


def apply(change: str, service: Path) -> None:
    """Makes the change that the report names, on the line that it names."""
    found = re.match(
        r'At (\S+):(\d+) in \S+, pass project="(\w+)" to (?:the client|\w+\(\))', change
    )
    assert found, change
    path, line, project = service / found[1], int(found[2]) - 1, found[3]
    lines = path.read_text(encoding="utf-8").splitlines(keepends=True)
    without = re.sub(r', project="\w+"', "", lines[line])
    lines[line] = without.replace("])", f'], project="{project}")')
    path.write_text("".join(lines), encoding="utf-8")


def test_a_day_in_warn_mode_leads_to_one_without_a_warning(tmp_path: Path) -> None:
    service = shutil.copytree(
        EXAMPLE, tmp_path / "service", ignore=shutil.ignore_patterns("__pycache__")
    )
    before, after = tmp_path / "before", tmp_path / "after"

    said = python("day.py", before, cwd=service)
    assert said == "140 pages and 12 jobs, 22 refused by the API\n"

    seen: dict[str, Any] = json.loads(report(before, "--json", cwd=service))
    wrong = [call for call in seen["calls"] if call["reason"]]
    assert {without_folder(call["call_site"]) for call in wrong} == {
        line_of_call(service, function) for functions in WRONG.values() for function in functions
    }
    assert len(wrong) == 9
    assert sum(call["count"] for call in wrong) == 6 * ROUNDS + 3
    for client, functions in WRONG.items():
        (change,) = [c for c in seen["changes"] if c["project"] == f"proj_{client}"]
        assert {without_folder(site) for site in change["call_sites"]} == {
            line_of_call(service, function) for function in functions
        }
        place = f"clients.py:{line_of_client(service, client)} in <module>"
        assert without_folder(change["client_site"]).endswith(place)
        assert place in without_folder(change["change"])
    assert sum(project["calls"] for project in seen["projects"]) == 28 * ROUNDS + 12
    assert len({call["client_site"] for call in seen["calls"]}) == 12
    assert "9 wrong call sites, 3 changes to make" in report(before, cwd=service)
    report(before, "--fail-on", "warned", cwd=service, status=1)

    for change in seen["changes"]:
        apply(change["change"], service)
    said = python("day.py", after, cwd=service)
    assert said == "140 pages and 12 jobs, 0 refused by the API\n"
    assert "Every call was in order." in report(after, "--fail-on", "warned", cwd=service)
    told = json.loads(report(after, "--json", "--fail-on", "blocked,warned", cwd=service))
    assert sum(call["count"] for call in told["calls"]) == 28 * ROUNDS + 12
