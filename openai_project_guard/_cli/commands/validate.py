"""The command `validate`."""

from __future__ import annotations

import argparse
import os

from openai_project_guard._cli import GOOD, NOT_IN_ORDER, UNUSABLE
from openai_project_guard._cli.output import Terminal, count
from openai_project_guard._cli.parsers import Parser
from openai_project_guard._errors import ConfigurationError
from openai_project_guard._keys import redact, shown
from openai_project_guard._registry.file.mistakes import Mistake
from openai_project_guard._registry.file.parse import find_mistakes
from openai_project_guard._registry.stores import is_url


def add_arguments(parser: Parser) -> None:
    parser.epilog = (
        "Each mistake is printed as file:line: what. Where GITHUB_ACTIONS is true, it is shown in "
        "the pull request too.\n\n"
        "As a pre-commit hook: id openai-project-registry of this package's repository.\n\n"
        "Exit status: 0 all files are valid, 1 one is not, 2 one cannot be read."
    )
    parser.add_argument("files", metavar="FILE", nargs="+", help="a registry file")
    parser.add_flags(json="print the mistakes as JSON")


def run(args: argparse.Namespace) -> int:
    """Reads the files and shows their mistakes."""
    urls = [shown(path) for path in args.files if is_url(path)]
    if urls:
        raise ConfigurationError(
            f"{urls[0]} is a URL, and `validate` checks files. `list --registry` says whether "
            "a registry in Redis can be read."
        )
    found = [(redact(path), mistake) for path in args.files for mistake in find_mistakes(path)]
    terminal = Terminal()
    if args.json:
        mistakes = [{"file": name, **mistake._asdict()} for name, mistake in found]
        terminal.json({"valid": not found, "mistakes": mistakes})
    else:
        for name, mistake in found:
            line = "" if mistake.line is None else f"{mistake.line}:"
            terminal.line(f"{name}:{line} {mistake.message}", "red")
            if os.environ.get("GITHUB_ACTIONS") == "true":
                terminal.line(_annotation(name, mistake))
        if not found:
            terminal.good(f"{count(len(args.files), 'file')} valid.")
    if any(mistake.line is None for _, mistake in found):
        return UNUSABLE
    return NOT_IN_ORDER if found else GOOD


def _annotation(name: str, mistake: Mistake) -> str:
    """As GitHub shows it at the line; see its workflow commands for what must be escaped."""
    line = "" if mistake.line is None else f",line={mistake.line}"
    name = _escaped(name).replace(":", "%3A").replace(",", "%2C")
    return f"::error file={name}{line}::{_escaped(mistake.message)}"


def _escaped(text: str) -> str:
    return text.replace("%", "%25").replace("\r", "%0D").replace("\n", "%0A")
