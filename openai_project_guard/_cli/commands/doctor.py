"""The command `doctor`."""

from __future__ import annotations

import argparse
import os
from contextlib import nullcontext

from openai_project_guard._cli.diagnosis import render
from openai_project_guard._cli.diagnosis.calls import examine_hooks
from openai_project_guard._cli.diagnosis.findings import examine
from openai_project_guard._cli.env_files import environment_of, read_env_file
from openai_project_guard._cli.output import Terminal
from openai_project_guard._cli.parsers import Parser


def add_arguments(parser: Parser) -> None:
    parser.epilog = (
        "The hooks are tested by calls in this process; nothing leaves it.\n\n"
        "Exit status: 0 all is in order, 1 something is not, 2 the configuration is unusable."
    )
    parser.add_argument(
        "--env-file",
        metavar="FILE",
        help="look at what this .env file makes of the environment, as python-dotenv reads it",
    )
    parser.add_flags(json="print it as JSON", live="ask the API too, with one call")


def run(args: argparse.Namespace) -> int:
    """Looks at everything, and says what it found."""
    env_file = None if args.env_file is None else read_env_file(args.env_file, os.environ)
    with nullcontext() if env_file is None else environment_of(env_file):
        at = examine(live=args.live, hooks=examine_hooks(), env_file=env_file)
        if args.json:
            Terminal().json({"in_order": at.in_order, **render.as_json(at)})
        else:
            render.show_doctor(at, Terminal())
        render.show_error(at, is_json=args.json)
    return at.status
