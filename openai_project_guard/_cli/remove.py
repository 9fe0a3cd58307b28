"""`remove`: takes a key, or a project with its keys, out of the registry."""

from __future__ import annotations

import argparse
import re
import sys

from openai_project_guard._cli import GOOD, NOT_IN_ORDER, target
from openai_project_guard._cli.asking import is_confirmed
from openai_project_guard._cli.saying import say
from openai_project_guard._cli.terminal import Terminal
from openai_project_guard._keys import FINGERPRINT, shown
from openai_project_guard._registry import stores as edit
from openai_project_guard._registry.entry import Entry
from openai_project_guard._registry.model import Project
from openai_project_guard._registry.registry import Registry

_FINGERPRINT = re.compile(r"(?:sha256:)?([0-9a-fA-F]{8,64})")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declares the arguments of `remove`."""
    parser.epilog = (
        "A key is removed from every project that it stands under. A running process that follows "
        "the registry refuses the key's calls within a second."
    )
    parser.add_argument(
        "what",
        metavar="WHAT",
        help="a key, by its hint or its fingerprint (8 hex digits or more), or a project with its "
        "keys, by its alias or its id",
    )
    parser.add_argument("--yes", action="store_true", help="remove a project without asking")
    target.add_argument(parser)


def run(args: argparse.Namespace) -> int:
    """Removes what was meant, if that is one thing.

    Returns:
        0 if it was removed, 1 if nothing or more than one thing was meant, or the answer was no.
    """
    address = target.address(args.registry)
    name = edit.describe(address).name
    registry = edit.read(address)
    project = registry.snapshot.projects.get(args.what)
    if project is not None:
        return _remove_project(address, project, registry, is_sure=args.yes)
    meant = _meant(args.what, registry)
    errors = Terminal(sys.stderr)
    if not meant and FINGERPRINT.fullmatch(args.what) and edit.remove(address, [args.what]):
        said = f"Removed {args.what.lower()}, which counted for no project, from {name}."
        say(Terminal(), said, "green", first="✓ ")
        return GOOD
    if not meant:
        errors.paragraph(
            f"Nothing was removed: {name} has no key with this hint or fingerprint and no such "
            f"project: {shown(args.what)}.",
            "red",
        )
        return NOT_IN_ORDER
    if len({entry.fingerprint for entry in meant}) > 1:
        errors.paragraph(
            f"Nothing was removed: {shown(args.what)} may be any of these. Give more of the "
            "fingerprint.",
            "red",
        )
        for entry in meant:
            errors.line(f"  {_described(entry, digits=16)}")
        return NOT_IN_ORDER
    if not edit.remove(address, [meant[0].fingerprint]):
        errors.paragraph("Nothing was removed: somebody else has just removed it.", "red")
        return NOT_IN_ORDER
    terminal = Terminal()
    for entry in meant:
        say(terminal, f"Removed the key {_described(entry)}, from {name}.", "green", first="✓ ")
    return GOOD


def _meant(what: str, registry: Registry) -> list[Entry]:
    fingerprint = _FINGERPRINT.fullmatch(what)
    if fingerprint:
        beginning = f"sha256:{fingerprint[1].lower()}"
        return [entry for entry in registry if entry.fingerprint.startswith(beginning)]
    hint = what.replace("...", "…")  # as a terminal without that character shows it
    return [entry for entry in registry if entry.hint and entry.hint == hint]


def _described(entry: Entry, *, digits: int = 8) -> str:
    hint = f"{entry.hint} " if entry.hint else ""
    note = f", {entry.note}" if entry.note else ""
    fingerprint = entry.fingerprint[: len("sha256:") + digits]
    return f"{hint}({fingerprint}…{note}) of {entry.alias or entry.project}"


def _remove_project(address: str, project: Project, registry: Registry, *, is_sure: bool) -> int:
    keys = sum(entry.project == project.id for entry in registry)
    name = f"{project.alias} ({project.id})" if project.alias else project.id
    what = f"project {name} with its {keys} key{'' if keys == 1 else 's'}"
    where = edit.describe(address).name
    if not is_sure and not is_confirmed(f"Remove {what} from {where}?"):
        Terminal(sys.stderr).line("Nothing was removed.")
        return NOT_IN_ORDER
    edit.remove_project(address, project.id)
    say(Terminal(), f"Removed {what}, from {where}.", "green", first="✓ ")
    return GOOD
