"""The command `fingerprint`."""

from __future__ import annotations

import argparse
import sys

from openai_project_guard._cli import GOOD, key_input
from openai_project_guard._cli.key_input import KEY_HELP, read_key
from openai_project_guard._cli.output import Terminal
from openai_project_guard._cli.parsers import Parser


def add_arguments(parser: Parser) -> None:
    parser.epilog = (
        f"{KEY_HELP}\n\n"
        "The fingerprint is ready for the registry file, and for "
        "OPENAI_PROJECT_GUARD_KEYS=proj_a=FINGERPRINT."
    )
    key_input.add_argument(parser)
    parser.add_flags(json="print fingerprint and hint as JSON")


def run(args: argparse.Namespace) -> int:
    """Reads the key and prints its fingerprint."""
    key = read_key(args.key_env)
    if key.weakness:
        problem = f"The key could be guessed from this fingerprint: {key.weakness}."
        Terminal(sys.stderr).warning(problem)
    if args.json:
        Terminal().json({"fingerprint": key.fingerprint, "hint": key.hint})
    else:
        Terminal().line(key.fingerprint)
    return GOOD
