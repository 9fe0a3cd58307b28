"""`doctor`: show hooks, variables, registries and verdict, and how to fix what is wrong."""

from __future__ import annotations

import argparse
import os
from dataclasses import asdict

from openai_project_guard._cli import GOOD, NOT_IN_ORDER, UNUSABLE
from openai_project_guard._cli.diagnosis import render, render_doctor
from openai_project_guard._cli.diagnosis.collect import Diagnosis, collect
from openai_project_guard._cli.diagnosis.environment import settings_of, versions
from openai_project_guard._cli.diagnosis.findings import find_all, is_in_order
from openai_project_guard._cli.diagnosis.findings.finding import Finding
from openai_project_guard._cli.diagnosis.header_sources import header_sources
from openai_project_guard._cli.diagnosis.hooks_test import HooksReport, run_hook_tests
from openai_project_guard._cli.env_files import (
    EnvFile,
    environment,
    environment_with,
    read_env_file,
)
from openai_project_guard._cli.output import Terminal


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declares the arguments of `doctor`."""
    parser.epilog = (
        "The hooks are tested by calls in this process; nothing leaves it.\n\n"
        "Exit status: 0 all is in order, 1 something is not, 2 the configuration is unusable."
    )
    parser.add_argument(
        "--env-file",
        metavar="FILE",
        help="look at what this .env file makes of the environment, as python-dotenv reads it",
    )
    parser.add_argument("--json", action="store_true", help="print it as JSON")
    parser.add_argument("--live", action="store_true", help="ask the API too, with one call")


def run(args: argparse.Namespace) -> int:
    """Looks at everything, and says what it found.

    Returns:
        0 if all is in order, 1 if something is not, 2 if the configuration is unusable.
    """
    if args.env_file is None:
        return _examine(args, None)
    env_file = read_env_file(args.env_file, os.environ)
    with environment(environment_with(env_file)):
        return _examine(args, env_file)


def _examine(args: argparse.Namespace, env_file: EnvFile | None) -> int:
    hooks = run_hook_tests()
    diagnosis = collect(live=args.live, hooks=hooks, env_file=env_file)
    findings = find_all(diagnosis)
    in_order = is_in_order(diagnosis, findings)
    if args.json:
        Terminal().json({"in_order": in_order, **_as_json(diagnosis, findings, hooks)})
    else:
        render_doctor.show(diagnosis, findings, hooks, Terminal())
    if not diagnosis.is_usable:
        render.show_error(diagnosis, findings, is_json=args.json)
        return UNUSABLE
    return GOOD if in_order else NOT_IN_ORDER


def _as_json(
    diagnosis: Diagnosis, findings: list[Finding], hooks: HooksReport
) -> dict[str, object]:
    return {
        **render.as_json(diagnosis, findings),
        "versions": versions(),
        "hooks": {
            "found": list(hooks.found),
            "lost": list(hooks.lost),
            "error": hooks.error,
            "proofs": [{**asdict(test), "is_good": test.is_good} for test in hooks.tests],
        },
        "values": [asdict(source) for source in header_sources(diagnosis)],
        "sources": [registry.as_json() for registry in diagnosis.registries],
        "settings": [
            {"name": setting.name, "value": setting.value, "from": setting.variable}
            for setting in settings_of(diagnosis)
        ],
    }
