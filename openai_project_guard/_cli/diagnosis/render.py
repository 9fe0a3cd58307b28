"""How `check` and `doctor` show what they have in common."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from dataclasses import asdict

from openai_project_guard._cli.diagnosis.collect import Diagnosis
from openai_project_guard._cli.diagnosis.findings.finding import Finding
from openai_project_guard._cli.output import Terminal, count


def as_json(diagnosis: Diagnosis, findings: Sequence[Finding]) -> dict[str, object]:
    """The part of the JSON that both print."""
    refusal, live = diagnosis.refusal, diagnosis.live
    return {
        "mode": str(diagnosis.mode),
        "judged_as": str(diagnosis.judged_as),
        "verdict": asdict(diagnosis.verdict) if diagnosis.verdict else None,
        "refusal": {"type": refusal[0], "message": refusal[1]} if refusal else None,
        "mistakes": [_finding_as_json(finding) for finding in findings],
        "live": {**asdict(live), "agrees": diagnosis.agrees} if live else None,
        "error": diagnosis.settings_error or diagnosis.client_error,
    }


def _finding_as_json(finding: Finding) -> dict[str, object]:
    return {
        "name": finding.name,
        "sentence": finding.message,
        "cure": finding.fix,
        "is_wrong": finding.is_wrong,
    }


def show_verdict(diagnosis: Diagnosis, findings: Sequence[Finding], terminal: Terminal) -> None:
    """Says what becomes of a default client's call, and what the API said."""
    verdict = diagnosis.verdict
    if not diagnosis.is_usable:
        terminal.paragraph("There is nothing to judge.", "red", first="✗ ")
    elif verdict is None:
        host = f" to {diagnosis.sent.host}" if diagnosis.sent and diagnosis.sent.host else ""
        unseen = f"Not checked: the guard does not look at calls of a default OpenAI(){host}."
        terminal.paragraph(unseen, "red", first="✗ ")
    elif diagnosis.refusal:
        kind, text = diagnosis.refusal
        terminal.paragraph(f"A default OpenAI() would be refused: {kind}", "red", first="✗ ")
        terminal.line()
        for line in text.splitlines():
            terminal.paragraph(line, first="  ")
    else:
        call = f"{verdict.method} {verdict.host}{verdict.path}, key {verdict.key_hint}"
        project = f", project {verdict.actual}" if verdict.actual else ""
        reason = f" ({verdict.reason})" if verdict.reason else ""
        put_in = ", with its project put in" if verdict.outcome == "injected" else ""
        mark, style = "✗", "red"
        if verdict.outcome == "warned":
            how = f"A default OpenAI() would be sent with a warning{reason}"
        elif any(finding.is_wrong for finding in findings):
            how = f"The guard would send the call of a default OpenAI(){put_in}{reason}, but the "
            how += "environment is not in order"
        else:
            how = f"A default OpenAI() passes{put_in}{reason}"
            mark, style = "✓", "green"
        terminal.paragraph(f"{how}: {call}{project}.", style, first=f"{mark} ")
    live = diagnosis.live
    if live is not None and live.is_good:
        mark, style = ("✓", "green") if diagnosis.agrees else ("✗", "red")
        project = live.project or "a project that it did not name"
        terminal.paragraph(f"The API took the call, for {project}.", style, first=f"{mark} ")
    elif live is not None:
        terminal.paragraph(f"{live.sentence}.", "red", first="✗ ")


def in_a_line(diagnosis: Diagnosis, findings: Sequence[Finding]) -> str:
    """What came of it, in one line."""
    wrong = [finding.message for finding in findings if finding.is_wrong]
    if wrong:
        more = f" (And {count(len(wrong) - 1, 'more finding')}.)" if len(wrong) > 1 else ""
        return wrong[0] + more
    if not diagnosis.is_usable:
        return diagnosis.settings_error or diagnosis.client_error or ""
    if diagnosis.unknown:
        return "unknown: " + next(f.message for f in findings if f.name == "unknown_values")
    verdict = diagnosis.verdict
    if verdict is None:
        return "not checked: the guard does not look at calls of a default OpenAI()."
    if diagnosis.refusal:
        return f"would be refused: {diagnosis.refusal[0]}."
    how = "would be sent with a warning" if verdict.outcome == "warned" else "passes"
    project = f", project {verdict.actual or ' or '.join(verdict.expected)}"
    return f"{how}: key {verdict.key_hint}{project}."


def show_findings(findings: Sequence[Finding], terminal: Terminal) -> None:
    """Shows each finding and how to fix it."""
    for finding in findings:
        mark, style = ("✗", "red") if finding.is_wrong else ("!", "yellow")
        terminal.line()
        terminal.paragraph(finding.message, style, first=f"{mark} ")
        terminal.paragraph(finding.fix, first="  ")


def show_error(diagnosis: Diagnosis, findings: Sequence[Finding], *, is_json: bool) -> None:
    """Writes to standard error why nothing can be judged, unless a finding has just said so."""
    error = diagnosis.settings_error or diagnosis.client_error or ""
    if is_json or not any(error in finding.message for finding in findings):
        Terminal(sys.stderr).paragraph(error, "red", first="✗ ")
