"""What the tests of the audit share: verdicts to record, and what the files then say."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from openai_project_guard import Verdict

MISMATCH: dict[str, Any] = {
    "outcome": "warned",
    "reason": "mismatch",
    "expected": ("proj_a",),
    "actual": "proj_b",
    "call_site": "app/jobs.py:7 in run",
    "client_site": "app/llm.py:3 in make",
    "origin": "project=",
}


def verdict(**fields: Any) -> Verdict:
    """A verdict, `allowed` unless told otherwise."""
    plain: dict[str, Any] = {
        "outcome": "allowed",
        "reason": None,
        "expected": ("proj_a",),
        "actual": "proj_a",
        "key_hint": "sk-proj-…AAAA",
        "method": "POST",
        "host": "api.openai.com",
        "path": "/v1/responses",
        "transport": "http",
    }
    return Verdict(**{**plain, **fields})


def files(folder: Path) -> list[Path]:
    """The audit files of a folder."""
    return sorted(folder.glob("*.jsonl"))


def lines(folder: Path) -> list[dict[str, Any]]:
    """The lines of all files but the first of each; every one must be whole."""
    return [
        json.loads(line)
        for file in files(folder)
        for line in file.read_text(encoding="utf-8").splitlines()[1:]
    ]


def counts(folder: Path) -> dict[tuple[Any, ...], int]:
    """How many calls, by outcome, reason and project."""
    found: dict[tuple[Any, ...], int] = {}
    for line in lines(folder):
        kind = (line["outcome"], line["reason"], line["project"])
        found[kind] = found.get(kind, 0) + line["count"]
    return found
