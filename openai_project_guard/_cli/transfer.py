"""What `push` and `pull` have in common: which URL, the preview, the question."""

from __future__ import annotations

import argparse
import json
import sys
from typing import Protocol

from openai_project_guard import _environment
from openai_project_guard._cli import GOOD, NOT_IN_ORDER
from openai_project_guard._cli.terminal import Terminal
from openai_project_guard._errors import ConfigurationError
from openai_project_guard._sources.redis.difference import Step

SCHEMES = ("redis://", "rediss://", "unix://")
_STYLES = {"+": "green", "-": "red", "~": "yellow"}


class Move(Protocol):
    """A registry to be moved."""

    steps: list[Step]
    is_new: bool

    def carry_out(self) -> None:
        """Writes it."""
        ...


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declares what both take."""
    parser.add_argument(
        "--registry",
        metavar="URL",
        help="the registry in Redis (default: the redis://, rediss:// or unix:// URL in "
        f"{_environment.REGISTRY})",
    )
    parser.add_argument("--yes", action="store_true", help="write without asking")
    parser.add_argument("--dry-run", action="store_true", help="only show what would change")
    parser.add_argument("--json", action="store_true", help="print the difference as JSON")


def registry_url(given: str | None) -> str:
    """The URL that was given, or else the only one that the environment names.

    Raises:
        ConfigurationError: it names none, or several.
    """
    if given is not None:
        if given.lower().startswith(SCHEMES):
            return given
        raise ConfigurationError("--registry takes a redis://, rediss:// or unix:// URL here.")
    names = _environment.registry_names()
    urls = [name for name in names if name.lower().startswith(SCHEMES)]
    if len(urls) == 1:
        return urls[0]
    raise ConfigurationError(
        f"{_environment.REGISTRY} names {'several registries' if urls else 'no registry'} in "
        "Redis. Say which one is meant: --registry URL."
    )


def name_of(url: str) -> str:
    """The URL without its password."""
    from openai_project_guard._sources.redis.address import read_address

    return read_address(url).name


def run(move: Move, target: str, args: argparse.Namespace) -> int:
    """Shows the difference, and writes it if that is wanted.

    Returns:
        0 if both say the same now, 1 if not.
    """
    terminal = Terminal()
    if not args.json:
        for step in move.steps:
            terminal.line(f"{step.sign} {step.text}", _STYLES[step.sign])
    is_written = False
    is_due = bool(move.steps) or move.is_new
    if is_due and not args.dry_run and (args.yes or _is_confirmed(len(move.steps), target)):
        move.carry_out()
        is_written = True
    if args.json:
        steps = [{"change": step.sign, "what": step.text} for step in move.steps]
        terminal.line(json.dumps({"written": is_written, "difference": steps}, indent=2))
    elif not is_due:
        terminal.paragraph(f"✓ No difference: {target} is up to date.", "green")
    elif is_written:
        terminal.paragraph(f"✓ {_changes(len(move.steps))} written to {target}.", "green")
    else:
        Terminal(sys.stderr).paragraph(f"Nothing was written to {target}.")
    return GOOD if is_written or not is_due else NOT_IN_ORDER


def _is_confirmed(count: int, target: str) -> bool:
    question = f"Write {_changes(count)} to {target}?"
    if sys.stdin is None or not sys.stdin.isatty():
        raise ConfigurationError(f"{question} There is no terminal to ask at: say --yes.")
    sys.stderr.write(f"{question} [y/N] ")
    sys.stderr.flush()
    return sys.stdin.readline().strip().lower() in ("y", "yes")


def _changes(count: int) -> str:
    return f"{count} change{'' if count == 1 else 's'}"
