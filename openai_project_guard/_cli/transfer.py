"""What `push` and `pull` do, each in its direction: the preview, the question, the writing."""

from __future__ import annotations

import argparse
import json
import sys
from dataclasses import dataclass

from openai_project_guard._cli import GOOD, NOT_IN_ORDER, target
from openai_project_guard._cli.asking import is_confirmed
from openai_project_guard._cli.terminal import Terminal
from openai_project_guard._registry import transfer
from openai_project_guard._registry.stores import describe

_STYLES = {"+": "green", "-": "red", "~": "yellow"}


@dataclass(frozen=True)
class Transfer:
    """A command that makes one registry what another is.

    Args:
        into_redis: from the file into Redis, or else from Redis into the file.
        file: what the file is, in the words of `--help`.
        says: what else is to be known, likewise.
    """

    into_redis: bool
    file: str
    says: str

    def add_arguments(self, parser: argparse.ArgumentParser) -> None:
        """Declares the command's arguments."""
        parser.epilog = (
            f"Shows what would change, and asks. {self.says} If somebody else changes it in "
            "between, nothing is written. Exit status: 0 if both say the same in the end, 1 if not."
        )
        parser.add_argument("file", metavar="FILE", help=self.file)
        target.add_url_argument(parser)
        parser.add_argument("--yes", action="store_true", help="write without asking")
        parser.add_argument("--dry-run", action="store_true", help="only show what would change")
        parser.add_argument("--json", action="store_true", help="print the difference as JSON")

    def run(self, args: argparse.Namespace) -> int:
        """Shows the difference, and writes it if that is wanted.

        Returns:
            0 if both say the same now, 1 if not.
        """
        ends = (args.file, target.url(args.registry))
        origin, aim = ends if self.into_redis else reversed(ends)
        move, name = transfer.Transfer(origin, aim), describe(aim).name
        terminal = Terminal()
        if not args.json:
            for step in move.steps:
                terminal.line(f"{step.sign} {step.text}", _STYLES[step.sign])
        changes = f"{len(move.steps)} change{'' if len(move.steps) == 1 else 's'}"
        is_due, is_written = bool(move.steps) or move.is_new, False
        if is_due and not args.dry_run:
            is_written = args.yes or is_confirmed(f"Write {changes} to {name}?")
        if is_written:
            move.carry_out()
        if args.json:
            steps = [{"change": step.sign, "what": step.text} for step in move.steps]
            terminal.line(json.dumps({"written": is_written, "difference": steps}, indent=2))
        elif not is_due:
            terminal.paragraph(f"✓ No difference: {name} is up to date.", "green")
        elif is_written:
            terminal.paragraph(f"✓ {changes} written to {name}.", "green")
        else:
            Terminal(sys.stderr).paragraph(f"Nothing was written to {name}.")
        return GOOD if is_written or not is_due else NOT_IN_ORDER
