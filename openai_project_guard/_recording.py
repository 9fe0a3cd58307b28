"""What the observers that record verdicts have in common."""

from __future__ import annotations

from openai_project_guard._verdict import Verdict


def project_of(verdict: Verdict) -> str | None:
    """The project that the key is registered for, where that is one.

    Never the header's value alone: anybody may send anything, and each value would be a time
    series of its own.
    """
    if verdict.actual in verdict.expected:
        return verdict.actual
    return verdict.expected[0] if len(verdict.expected) == 1 else None
