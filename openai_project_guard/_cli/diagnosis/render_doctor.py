"""How `doctor` shows what was found out."""

from __future__ import annotations

from itertools import groupby

from openai_project_guard._cli.diagnosis import render
from openai_project_guard._cli.diagnosis.collect import Diagnosis
from openai_project_guard._cli.diagnosis.environment import settings_of, versions
from openai_project_guard._cli.diagnosis.findings.finding import Finding
from openai_project_guard._cli.diagnosis.header_sources import (
    CUSTOM,
    HeaderSource,
    header_sources,
)
from openai_project_guard._cli.diagnosis.hooks_test import HooksReport
from openai_project_guard._cli.output import Cell, Terminal, count
from openai_project_guard._cli.registry_status import RegistryStatus


def show(
    diagnosis: Diagnosis, findings: list[Finding], hooks: HooksReport, terminal: Terminal
) -> None:
    """Shows everything that was found out; an override before anything else."""
    overrides = [finding for finding in findings if finding.name == "override"]
    findings = [finding for finding in findings if finding.name != "override"]
    for override in overrides:
        terminal.paragraph(override.message, "yellow", first="! ")
        terminal.paragraph(override.fix, first="  ")
        terminal.line()
    terminal.line("Versions", "bold")
    installed = (f"{name} {number}" for name, number in versions().items() if number)
    terminal.paragraph(", ".join(installed), first=" ")
    _show_hooks(hooks, terminal)
    _show_header_sources(header_sources(diagnosis), terminal)
    _show_sources(diagnosis.registries, terminal)
    terminal.line()
    terminal.line("Settings", "bold")
    terminal.table(
        ("Setting", "Value", "From"),
        [
            (Cell(name), Cell(value), Cell(variable) if variable else Cell("the default", "dim"))
            for name, value, variable in settings_of(diagnosis)
        ],
    )
    terminal.line()
    terminal.line("Verdict", "bold")
    render.show_verdict(diagnosis, findings, terminal)
    if findings:
        terminal.line()
        terminal.line("What to fix", "bold")
        render.show_findings(findings, terminal)


def _show_hooks(hooks: HooksReport, terminal: Terminal) -> None:
    terminal.line()
    terminal.line("Hooks", "bold")
    for package, names in groupby(hooks.found, lambda name: name.partition(".")[0]):
        points = ", ".join(name.partition(".")[2] for name in names)
        terminal.paragraph(points, first=f" {package}: ")
    for name in hooks.lost:
        terminal.paragraph(f"{name}: another tool removed the hook", "red", first="✗ ")
    for test in hooks.tests:
        mark, style = ("✓", "green") if test.is_good else ("✗", "red")
        outcomes = f"{test.client}: matching call {test.matching}, wrong call {test.wrong}"
        terminal.paragraph(outcomes, style, first=f"{mark} ")
    if hooks.error:
        terminal.paragraph(hooks.error, "red", first="✗ ")


def _show_header_sources(found: list[HeaderSource], terminal: Terminal) -> None:
    terminal.line()
    terminal.line("What a default OpenAI() takes its values from", "bold")
    shown = [
        source
        for source in found
        if source.value is not None or (source.kind == "variable" and source.name != CUSTOM)
    ]
    terminal.table(
        ("Value", "Variable", "Says", "Taken"),
        [
            (
                Cell(source.header),
                Cell(source.name),
                Cell("not set", "dim") if source.value is None else Cell(source.value),
                _taken(source),
            )
            for source in shown
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


def _show_sources(registries: tuple[RegistryStatus, ...], terminal: Terminal) -> None:
    terminal.line()
    terminal.line("Registry", "bold")
    good = [registry for registry in registries if not registry.error]
    if good:
        terminal.table(
            ("Source", "Projects", "Keys", "Changed"),
            [
                (
                    Cell(registry.name),
                    Cell(str(len(registry.projects))),
                    Cell(str(len(registry.registry))),
                    Cell("" if registry.age is None else f"{_duration(registry.age)} ago"),
                )
                for registry in good
            ],
        )
    elif not registries:
        terminal.line("✗ none", "red")
    for registry in registries:
        if registry.error:
            terminal.paragraph(registry.error, "red", first="✗ ")


def _duration(seconds: float) -> str:
    for length, unit in ((86_400, "day"), (3_600, "hour"), (60, "minute")):
        number = int(seconds // length)
        if number:
            return count(number, unit)
    return "less than a minute"
