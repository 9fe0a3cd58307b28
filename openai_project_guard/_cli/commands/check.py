"""The command `check`."""

from __future__ import annotations

import argparse
import os

from openai_project_guard import _env
from openai_project_guard._cli import UNUSABLE
from openai_project_guard._cli.diagnosis import render
from openai_project_guard._cli.diagnosis.collect import Diagnosis
from openai_project_guard._cli.diagnosis.findings import examine
from openai_project_guard._cli.env_files import environment_of, read_env_file
from openai_project_guard._cli.output import MARKS, Terminal
from openai_project_guard._cli.parsers import Parser
from openai_project_guard._errors import ConfigurationError
from openai_project_guard._keys import redact
from openai_project_guard._types import Mode

_MAY_EXPLAIN_IT = ("dotenv_not_loaded", "mistyped_variable")
_ON_THE_MODE = ("override", "guard_off", "guard_only_warns")


def add_arguments(parser: Parser) -> None:
    parser.epilog = (
        "One call of a default client is made in this process; nothing leaves it. It is judged by "
        "the environment's settings, in inject mode if OPENAI_PROJECT_GUARD says so, else as "
        "enforce would; with off, it is said that calls are not checked. What the guard does not "
        "look at, a call to another host, does not pass.\n\n"
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
    parser.add_flags(json="print it as JSON", live="ask the API too, with one call")


def run(args: argparse.Namespace) -> int:
    """Checks, and says what came of it."""
    terminal = Terminal()
    if args.env_files:
        results = [_check_file(path, terminal, args) for path in args.env_files]
        if args.json:
            terminal.json({"files": [described for _, described in results]})
        return max(status for status, _ in results)
    at = examine(live=args.live)
    if args.json:
        terminal.json(_as_json(at))
    else:
        render.show_verdict(at, terminal)
        wrong = [f for f in at.findings if f.is_wrong or f.name in _MAY_EXPLAIN_IT]
        shown = [] if at.in_order else wrong or at.findings
        if at.off_by or _is_sent_though_wrong(at):
            on_the_mode = (f for f in at.findings if f.name in _ON_THE_MODE and f not in shown)
            shown = [*shown, *on_the_mode]
        render.show_findings(shown, terminal)
    render.show_error(at, is_json=args.json)
    return at.status


def _is_sent_though_wrong(at: Diagnosis) -> bool:
    return not at.in_order and (at.override or at.mode) is Mode.WARN


def _as_json(at: Diagnosis) -> dict[str, object]:
    return {"passes": at.passes is True, **render.as_json(at)}


def _check_file(
    path: str, terminal: Terminal, args: argparse.Namespace
) -> tuple[int, dict[str, object]]:
    """Checks one env file, and shows what came of it unless that is to be shown as JSON.

    Returns:
        The exit status and the description for `--json`. There, `passes` is `None` where it is
        unknown, and `check` is what `check --json` prints for an environment.
    """
    name, status = redact(path), UNUSABLE
    passes: bool | None = False
    found: dict[str, object] = {"unknown": [], "skipped_lines": [], "error": None, "check": None}
    try:
        env_file = read_env_file(path, os.environ)
    except ConfigurationError as problem:
        text = found["error"] = str(problem)
    else:
        with environment_of(env_file):
            at = examine(live=args.live, env_file=env_file)
            text = f"{name}: {render.in_a_line(at)}"
            found["check"] = _as_json(at)
        status, passes = at.status, at.passes
        found["unknown"] = [{"name": n, "refers_to": refers} for n, refers in at.unknown.items()]
        found["skipped_lines"] = env_file.skipped
        if at.off_by:
            text += f" Calls are not checked: {at.off_by} is off."
        if _is_sent_though_wrong(at):
            variable = _env.OVERRIDE if at.override else _env.PREFIX
            text += f" A wrong call is logged and sent: {variable} is warn."
        for line in env_file.skipped:
            text += f" Line {line} is not NAME=value, so it was skipped."
    if not args.json:
        mark, style = MARKS[passes]
        terminal.line(f"{mark} {text}", style)
    return status, {"file": name, "passes": passes, **found}
