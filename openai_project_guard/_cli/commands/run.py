"""The command `run`."""

from __future__ import annotations

import argparse
import os
from typing import NoReturn

from openai_project_guard import _env
from openai_project_guard._cli.parsers import Parser
from openai_project_guard._cli.run import environment, program
from openai_project_guard._errors import ConfigurationError
from openai_project_guard._types import CALL_SCOPES, Mode


def add_arguments(parser: Parser) -> None:
    parser.usage = "%(prog)s [OPTION]... -- COMMAND [ARGUMENT]..."
    parser.epilog = (
        "COMMAND is what starts the program: python app.py, gunicorn, celery, uvicorn, pytest, a "
        "console script. A .py file, or -m MODULE, or -c CODE, runs under this Python.\n\n"
        "The guard is enabled when the program, or a process that it starts, imports openai. Not "
        "reached is a Python with the options -I, -E or -S, or one that is started without the "
        "variables PYTHONPATH and OPENAI_PROJECT_GUARD as they are set here.\n\n"
        "Exit status: that of COMMAND; 2 if a setting is wrong or there is no such command."
    )
    parser.add_argument(
        "--mode",
        choices=[str(mode) for mode in Mode],
        help="default: the environment's, or enforce",
    )
    parser.add_argument(
        "--project", metavar="P", help="pin the program to one project, by id or alias"
    )
    parser.add_argument(
        "--env-file",
        metavar="FILE",
        action="append",
        default=[],
        help="read variables from a .env file; can be repeated",
    )
    parser.add_argument("--registry", metavar="R", help="a registry: a path or a URL")
    parser.add_argument(
        "--scope", choices=CALL_SCOPES, help="process: other HTTP libraries are checked too"
    )
    parser.add_argument(
        "--audit", metavar="DIR", help="keep a record of what was seen, for `report`"
    )
    parser.add_argument(
        "program",
        metavar="COMMAND",
        nargs=argparse.REMAINDER,
        help="what to run, and its arguments",
    )


def run(args: argparse.Namespace) -> NoReturn:
    """Becomes the program, under the guard."""
    command = args.program[1:] if args.program[:1] == ["--"] else args.program
    if not command:
        raise ConfigurationError("What is to be run? Name a command after --.")
    if args.env_file:
        from openai_project_guard._cli.env_files import read_env_files

        os.environ.update(read_env_files(args.env_file, os.environ))
    options = {
        _env.PREFIX: args.mode,
        _env.PROJECT: args.project,
        _env.REGISTRY: args.registry,
        _env.SCOPE: args.scope,
        _env.AUDIT: args.audit,
    }
    with environment.naming_options(options):
        environment.guard_children(options)
        line = program.command_line(command)
        environment.check_settings()
    program.execute(line)
