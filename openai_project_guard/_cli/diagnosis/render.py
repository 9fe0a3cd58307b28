"""How `check` and `doctor` show what was found out."""

from __future__ import annotations

import sys
from collections.abc import Iterable
from dataclasses import asdict
from itertools import groupby
from typing import TYPE_CHECKING

from openai_project_guard._cli.diagnosis.collect import (
    CUSTOM,
    Diagnosis,
    Finding,
    settings_of,
    versions,
)
from openai_project_guard._cli.diagnosis.header_sources import HeaderSource, header_sources
from openai_project_guard._cli.output import Cell, Terminal, count

if TYPE_CHECKING:
    from openai_project_guard._check.verdict import Verdict


def as_json(at: Diagnosis) -> dict[str, object]:
    """As `--json` has it, but for the one word that `check` and `doctor` put before it."""
    refusal, live, hooks = at.refusal, at.live, at.hooks
    described: dict[str, object] = {
        "mode": str(at.mode),
        "judged_as": str(at.judged_as),
        "verdict": asdict(at.verdict) if at.verdict else None,
        "refusal": {"type": refusal[0], "message": refusal[1]} if refusal else None,
        "mistakes": [
            {"name": name, "sentence": message, "cure": fix, "is_wrong": is_wrong}
            for name, message, fix, is_wrong in at.findings
        ],
        "live": {**asdict(live), "agrees": at.agrees} if live else None,
        "error": at.error,
    }
    if hooks is None:
        return described
    return {
        **described,
        "versions": versions(),
        "hooks": {**hooks._asdict(), "proofs": [test._asdict() for test in hooks.proofs]},
        "values": [source._asdict() for source in header_sources(at)],
        "sources": [registry.as_json() for registry in at.registries],
        "settings": [
            {"name": name, "value": value, "from": variable}
            for name, value, variable in settings_of(at)
        ],
    }


def show_verdict(at: Diagnosis, terminal: Terminal) -> None:
    """Says what becomes of a default client's call, and what the API said."""
    verdict, live = at.verdict, at.live
    if at.error:
        terminal.bad("There is nothing to judge.")
    else:
        outcome = _outcome(at)
        if verdict and not at.refusal:
            outcome += f": {verdict.method} {verdict.host}{verdict.path}, {_key(verdict)}"
        end = "" if at.refusal else "."
        what = "What becomes of a default OpenAI() is" if at.unknown else "A default OpenAI()"
        terminal.result(f"{what} {outcome}{end}", is_good=at.passes)
        if at.refusal:
            terminal.line()
            for line in at.refusal[1].splitlines():
                terminal.paragraph(line, first="  ")
    if live is not None and live.is_good:
        project = live.project or "a project that it did not name"
        terminal.result(f"The API took the call, for {project}.", is_good=at.agrees)
    elif live is not None and not any(live.sentence in each.message for each in at.findings):
        terminal.bad(f"{live.sentence}.")


def in_a_line(at: Diagnosis) -> str:
    """What came of it, in one line."""
    wrong = [finding.message for finding in at.findings if finding.is_wrong]
    if wrong:
        more = f" (And {count(len(wrong) - 1, 'more finding')}.)" if len(wrong) > 1 else ""
        return _joined(wrong[0]) + more
    if at.error:
        return _joined(at.error)
    outcome = _outcome(at)
    return f"{outcome}: {_key(at.verdict)}." if at.verdict and not at.refusal else f"{outcome}."


def _joined(text: str) -> str:
    return " ".join(map(str.strip, text.splitlines()))


def _outcome(at: Diagnosis) -> str:
    """What becomes of a default client's call."""
    verdict = at.verdict
    if at.unknown:
        what = next(each.message for each in at.findings if each.name == "unknown_values")
        return f"unknown: {what[:-1]}"
    if at.refusal:
        return f"would be refused: {at.refusal[0]}"
    if at.sent.unsendable:
        return "cannot send its call, which raises an APIConnectionError"
    if verdict is None:
        host = at.sent.host or "no host"
        return f"is not checked: the guard does not look at its calls to {host}"
    how = ", with its project put in" if verdict.outcome == "injected" else ""
    if verdict.reason:
        how += f" ({verdict.reason})"
    if verdict.outcome == "warned":
        return f"would be sent with a warning{how}"
    if not at.passes:
        return f"would be sent{how}, but the environment is not in order"
    return f"passes{how}"


def _key(verdict: Verdict) -> str:
    project = verdict.actual or " or ".join(verdict.expected)
    return f"key {verdict.key_hint}{project and ', project ' + project}"


def show_findings(findings: Iterable[Finding], terminal: Terminal) -> None:
    """Shows each finding and how to fix it."""
    for finding in findings:
        terminal.line()
        _show_finding(finding, terminal)


def _show_finding(finding: Finding, terminal: Terminal) -> None:
    show = terminal.bad if finding.is_wrong else terminal.warning
    show(finding.message)
    terminal.paragraph(finding.fix, first="  ")


def show_error(at: Diagnosis, *, is_json: bool) -> None:
    """Writes to standard error why nothing can be judged, unless a finding has just said so."""
    if at.error and (is_json or not any(at.error in each.message for each in at.findings)):
        Terminal(sys.stderr).bad(at.error)


def show_doctor(at: Diagnosis, terminal: Terminal) -> None:
    """Shows everything that was found out; an override before anything else."""
    for override in (finding for finding in at.findings if finding.name == "override"):
        _show_finding(override, terminal)
        terminal.line()
    terminal.line("Versions", "bold")
    installed = (f"{name} {number}" for name, number in versions().items() if number)
    terminal.paragraph(", ".join(installed), first=" ")
    _show_hooks(at, terminal)
    _show_header_sources(at, terminal)
    _show_registries(at, terminal)
    _title("Settings", terminal)
    terminal.table(
        ("Setting", "Value", "From"),
        [
            (Cell(name), Cell(value), Cell(variable) if variable else Cell("the default", "dim"))
            for name, value, variable in settings_of(at)
        ],
    )
    _title("Verdict", terminal)
    show_verdict(at, terminal)
    findings = [finding for finding in at.findings if finding.name != "override"]
    if findings:
        _title("What to fix", terminal)
        show_findings(findings, terminal)


def _title(text: str, terminal: Terminal) -> None:
    terminal.line()
    terminal.line(text, "bold")


def _show_hooks(at: Diagnosis, terminal: Terminal) -> None:
    assert at.hooks is not None
    _title("Hooks", terminal)
    for package, names in groupby(at.hooks.found, lambda name: name.partition(".")[0]):
        points = ", ".join(name.partition(".")[2] for name in names)
        terminal.paragraph(points, first=f" {package}: ")
    for name in at.hooks.lost:
        terminal.bad(f"{name}: another tool removed the hook")
    for client, matching, wrong, is_good in at.hooks.proofs:
        terminal.result(f"{client}: matching call {matching}, wrong call {wrong}", is_good=is_good)
    if at.hooks.error:
        terminal.bad(at.hooks.error)


def _show_header_sources(at: Diagnosis, terminal: Terminal) -> None:
    _title("What a default OpenAI() takes its values from", terminal)
    terminal.table(
        ("Value", "Variable", "Says", "Taken"),
        [
            (
                Cell(source.header),
                Cell(source.name),
                Cell("not set", "dim") if source.value is None else Cell(source.value),
                _taken(source),
            )
            for source in header_sources(at)
            if source.value is not None or (source.kind == "variable" and source.name != CUSTOM)
        ],
    )
    terminal.paragraph(
        f"Stronger than these, where they are given: extra_headers= of a call, default_headers= of "
        f"the client, {CUSTOM}; then api_key=, project=, organization= and base_url=.",
        first=" ",
    )


def _taken(source: HeaderSource) -> Cell:
    if source.wins:
        return Cell("✓", "green")
    if source.value is None:
        return Cell("")
    return Cell("the SDK does not read it" if source.kind == "unread" else "no", "yellow")


def _show_registries(at: Diagnosis, terminal: Terminal) -> None:
    _title("Registry", terminal)
    good = [registry for registry in at.registries if not registry.error]
    if good:
        terminal.table(
            ("Source", "Projects", "Keys", "Changed"),
            [
                (
                    Cell(registry.name),
                    Cell(str(len(registry.projects))),
                    Cell(str(registry.keys)),
                    Cell("" if registry.age is None else f"{_duration(registry.age)} ago"),
                )
                for registry in good
            ],
        )
    elif not at.registries:
        terminal.bad("none")
    for registry in at.registries:
        if registry.error:
            terminal.bad(registry.error)


def _duration(seconds: float) -> str:
    for length, unit in ((86_400, "day"), (3_600, "hour"), (60, "minute")):
        number = int(seconds // length)
        if number:
            return count(number, unit)
    return "less than a minute"
