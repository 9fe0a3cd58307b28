"""`check`: say whether a default OpenAI() in this environment would pass."""

from __future__ import annotations

import argparse
import os
from dataclasses import asdict, dataclass

from openai_project_guard._cli import GOOD, NOT_IN_ORDER, UNUSABLE
from openai_project_guard._cli.diagnosis import render
from openai_project_guard._cli.diagnosis.collect import Diagnosis, collect
from openai_project_guard._cli.diagnosis.findings import find_all, is_in_order
from openai_project_guard._cli.diagnosis.findings.finding import Finding
from openai_project_guard._cli.env_files import (
    environment,
    environment_with,
    read_env_file,
)
from openai_project_guard._cli.output import Terminal
from openai_project_guard._errors import ConfigurationError
from openai_project_guard._keys import redact


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declares the arguments of `check`."""
    parser.epilog = (
        "One call of a default client is made in this process; nothing leaves it. It is judged by "
        "the environment's settings, in inject mode if OPENAI_PROJECT_GUARD says so, else as "
        "enforce would. What the guard does not look at does not pass.\n\n"
        "With --env-file, each file is judged by itself, as python-dotenv reads it and over the "
        "present environment, in a line of its own. What refers to a variable that is not set "
        "here (OPENAI_API_KEY=${PROD_KEY}) is unknown, which is no fault.\n\n"
        "Exit status: 0 it passes, 1 it does not, 2 the configuration is not in order; of several "
        "env files, the highest."
    )
    parser.add_argument(
        "--env-file",
        metavar="FILE",
        action="append",
        dest="env_files",
        help="judge what this .env file makes of the environment; may be given more than once",
    )
    parser.add_argument("--json", action="store_true", help="print it as JSON")
    parser.add_argument("--live", action="store_true", help="ask the API too, with one call")


def run(args: argparse.Namespace) -> int:
    """Checks, and says what came of it.

    Returns:
        0 if the call passes, 1 if it does not, 2 if there is nothing to judge.
    """
    if args.env_files:
        return _check_files(args)
    diagnosis = collect(live=args.live)
    findings = find_all(diagnosis)
    if args.json:
        Terminal().json(_as_json(diagnosis, findings))
    else:
        _show(diagnosis, findings, Terminal())
    if not diagnosis.is_usable:
        render.show_error(diagnosis, findings, is_json=args.json)
    return _status(diagnosis, findings)


def _status(diagnosis: Diagnosis, findings: list[Finding]) -> int:
    if not diagnosis.is_usable:
        return UNUSABLE
    return GOOD if is_in_order(diagnosis, findings) else NOT_IN_ORDER


def _as_json(diagnosis: Diagnosis, findings: list[Finding]) -> dict[str, object]:
    passes = not diagnosis.unknown and _status(diagnosis, findings) == GOOD
    return {"passes": passes, **render.as_json(diagnosis, findings)}


def _show(diagnosis: Diagnosis, findings: list[Finding], terminal: Terminal) -> None:
    render.show_verdict(diagnosis, findings, terminal)
    if not is_in_order(diagnosis, findings):
        wrong = [f for f in findings if f.is_wrong or f.name == "dotenv_not_loaded"]
        render.show_findings(wrong or findings, terminal)


# Env files


@dataclass(frozen=True)
class _FileResult:
    """What came of one env file; `--json` prints all of it but status and text.

    Attributes:
        passes: `None` where it is unknown.
        check: as `check --json` prints it for an environment.
    """

    file: str
    passes: bool | None
    unknown: list[dict[str, object]]
    skipped_lines: tuple[int, ...]
    error: str | None
    check: dict[str, object] | None
    status: int
    text: str


def _check_files(args: argparse.Namespace) -> int:
    results = [_check_file(path, live=args.live) for path in args.env_files]
    terminal = Terminal()
    if args.json:
        fields = [asdict(result) for result in results]
        terminal.json({"files": [_without(each, "status", "text") for each in fields]})
        return max(result.status for result in results)
    for result in results:
        marks = {None: ("?", "yellow"), True: ("✓", "green"), False: ("✗", "red")}
        mark, style = marks[result.passes]
        skipped = "".join(
            f" Line {line} is not NAME=value, so it was skipped." for line in result.skipped_lines
        )
        terminal.line(f"{mark} {result.text}{skipped}", style)
    return max(result.status for result in results)


def _check_file(path: str, *, live: bool) -> _FileResult:
    name = redact(path)
    try:
        env_file = read_env_file(path, os.environ)
    except ConfigurationError as error:
        return _FileResult(name, False, [], (), str(error), None, UNUSABLE, str(error))
    with environment(environment_with(env_file)):
        diagnosis = collect(live=live, env_file=env_file)
        findings = find_all(diagnosis)
        text = f"{name}: {render.in_a_line(diagnosis, findings)}"
        check = _as_json(diagnosis, findings)
    status = _status(diagnosis, findings)
    return _FileResult(
        file=name,
        passes=None if status == GOOD and diagnosis.unknown else status == GOOD,
        unknown=[
            {"name": name, "refers_to": list(refers)} for name, refers in diagnosis.unknown.items()
        ],
        skipped_lines=env_file.skipped,
        error=None,
        check=check,
        status=status,
        text=text,
    )


def _without(fields: dict[str, object], *names: str) -> dict[str, object]:
    return {name: value for name, value in fields.items() if name not in names}
