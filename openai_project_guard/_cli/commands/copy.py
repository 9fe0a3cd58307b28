"""The command `copy`."""

from __future__ import annotations

import argparse
import sys

from openai_project_guard._cli import GOOD, NOT_IN_ORDER, registry_option
from openai_project_guard._cli.output import Terminal, confirm, count
from openai_project_guard._cli.parsers import Parser
from openai_project_guard._registry.stores import describe
from openai_project_guard._registry.transfer import Transfer

_STYLES = {"+": "green", "-": "red", "~": "yellow"}


def add_arguments(parser: Parser) -> None:
    parser.epilog = (
        "Shows what would change in TARGET, and asks. A file keeps its comments and its layout. If "
        "somebody else changes TARGET in between, nothing is written.\n\n"
        "Exit status: 0 if TARGET says what SOURCE says in the end (with --merge: has all that "
        "SOURCE has), 1 if not."
    )
    where = f"a file, or a {registry_option.URLS}"
    parser.add_argument("source", metavar="SOURCE", help=f"the registry to copy: {where}")
    parser.add_argument(
        "target",
        metavar="TARGET",
        nargs="?",
        help=f"the registry to change: {where}; made where it is missing (default: the registry "
        "in use)",
    )
    parser.add_flags(
        merge="only add what TARGET does not have; change and remove nothing",
        yes="write without asking",
        dry_run="only show what would change",
        json="print the difference as JSON",
    )


def run(args: argparse.Namespace) -> int:
    """Shows the difference, and writes it if that is wanted."""
    target = registry_option.address(args.target, "TARGET")
    transfer = Transfer(args.source, target, merge=args.merge)
    name, changes = describe(target).name, count(len(transfer.differences), "change")
    terminal, errors = Terminal(), Terminal(sys.stderr)
    if not args.json:
        for found in transfer.differences:
            terminal.line(f"{found.sign} {found.text}", _STYLES[found.sign])
        for conflict in transfer.conflicts:
            errors.bad(conflict)
    is_due, is_written = bool(transfer.differences) or transfer.is_new, False
    if is_due and not args.dry_run:
        is_written = args.yes or confirm(f"Write {changes} to {name}?")
    if is_written:
        transfer.carry_out()
    if args.json:
        steps = [{"change": found.sign, "what": found.text} for found in transfer.differences]
        conflicts = list(transfer.conflicts)
        terminal.json({"written": is_written, "difference": steps, "conflicts": conflicts})
    elif is_written:
        terminal.good(f"{changes} written to {name}.")
    elif is_due:
        errors.paragraph(f"Nothing was written to {name}.")
    elif not transfer.conflicts:
        terminal.good(f"No difference: {name} is up to date.")
    is_equal = (is_written or not is_due) and not transfer.conflicts
    return GOOD if is_equal else NOT_IN_ORDER
