"""`check`: say whether a default OpenAI() in this environment would pass."""

from __future__ import annotations

import argparse

from openai_project_guard._cli import GOOD, NOT_IN_ORDER, UNUSABLE
from openai_project_guard._cli.diagnosis import render
from openai_project_guard._cli.diagnosis.collect import Diagnosis, collect
from openai_project_guard._cli.diagnosis.findings import find_all
from openai_project_guard._cli.diagnosis.findings.finding import Finding
from openai_project_guard._cli.output import Terminal


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declares the arguments of `check`."""
    parser.epilog = (
        "One call of a default client is made in this process; nothing leaves it. It is judged by "
        "the environment's settings, in inject mode if OPENAI_PROJECT_GUARD says so, else as "
        "enforce would. What the guard does not look at does not pass.\n\n"
        "Exit status: 0 it passes, 1 it does not, 2 the configuration is not in order."
    )
    parser.add_argument("--json", action="store_true", help="print it as JSON")
    parser.add_argument("--live", action="store_true", help="ask the API too, with one call")


def run(args: argparse.Namespace) -> int:
    """Checks, and says what came of it.

    Returns:
        0 if the call passes, 1 if it does not, 2 if there is nothing to judge.
    """
    diagnosis = collect(live=args.live)
    findings = find_all(diagnosis)
    passes = diagnosis.passes and not any(finding.is_wrong for finding in findings)
    if args.json:
        Terminal().json({"passes": passes, **render.as_json(diagnosis, findings)})
    else:
        _show(diagnosis, findings, Terminal())
    if not diagnosis.is_usable:
        render.show_error(diagnosis, findings, is_json=args.json)
        return UNUSABLE
    return GOOD if passes else NOT_IN_ORDER


def _show(diagnosis: Diagnosis, findings: list[Finding], terminal: Terminal) -> None:
    render.show_verdict(diagnosis, findings, terminal)
    wrong = [finding for finding in findings if finding.is_wrong]
    render.show_findings(wrong or ([] if diagnosis.passes else findings), terminal)
