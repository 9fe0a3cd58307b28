"""What a finding is, and the words that several of them use."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass

from openai_project_guard._cli.diagnosis.collect import Diagnosis
from openai_project_guard._registry.model import KeyRecord


@dataclass(frozen=True)
class Finding:
    """Something that is wrong, or worth knowing.

    Attributes:
        message: what is wrong.
        fix: how to fix it.
        is_wrong: whether it puts the environment out of order; else it is only worth knowing.
        name: for programs; given by the table of findings.
    """

    message: str
    fix: str
    is_wrong: bool = True
    name: str = ""


def unset(variable: str) -> str:
    """That a variable has no value: `OPENAI_PROJECT_ID is empty`, or `is not set`."""
    return f"{variable} is {'empty' if variable in os.environ else 'not set'}"


def hint(at: Diagnosis) -> str:
    """The hint of the key that is sent."""
    return at.sent.key_hint if at.sent else ""


def names(records: Sequence[KeyRecord]) -> str:
    """The names of a key's projects."""
    return " and ".join(record.project.label for record in records)


def ids(at: Diagnosis) -> str:
    """The ids of the projects that the key which is sent is registered for."""
    return " or ".join(record.project.id for record in at.records)
