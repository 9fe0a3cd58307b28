"""The command `remove`."""

from __future__ import annotations

import argparse
import re
import sys

from openai_project_guard._cli import GOOD, NOT_IN_ORDER, registry_option
from openai_project_guard._cli.output import Terminal, confirm, count
from openai_project_guard._cli.parsers import Parser
from openai_project_guard._errors import ConfigurationError
from openai_project_guard._keys import FINGERPRINT, shown
from openai_project_guard._registry import stores
from openai_project_guard._registry.entry import Entry
from openai_project_guard._registry.model import Project
from openai_project_guard._registry.registry import Registry

_FINGERPRINT = re.compile(r"(?:sha256:)?([0-9a-fA-F]{8,64})")


def add_arguments(parser: Parser) -> None:
    parser.epilog = (
        "A key is removed from every project that it is registered for, or, with --project, from "
        "that one alone. A running process that follows the registry "
        "refuses the key's calls within a second."
    )
    parser.add_argument(
        "what",
        metavar="WHAT",
        help="a key, by its hint or its fingerprint (8 hex digits or more), or a project with its "
        "keys, by its alias or its id",
    )
    parser.add_argument(
        "--project", metavar="P", help="remove the key from this project alone, by its alias or id"
    )
    parser.add_flags(yes="remove a project without asking")
    registry_option.add_argument(parser)


def run(args: argparse.Namespace) -> int:
    """Removes what was meant, if that is one thing."""
    address = registry_option.address(args.registry)
    name = stores.describe(address).name
    registry = stores.read(address)
    project = registry.snapshot.projects.get(args.what)
    if project is not None and args.project:
        raise ConfigurationError(
            f"{shown(args.what)} is a project. --project goes with a key, by its hint or its "
            "fingerprint."
        )
    if project is not None:
        return _remove_project(address, project, registry, is_sure=args.yes)
    of = registry.snapshot.projects.get(args.project) if args.project else None
    if args.project and of is None:
        return _refused(f"{name} has no project {shown(args.project)}.")
    meant = [entry for entry in _meant(args.what, registry) if not of or entry.project == of.id]
    if not meant:
        is_whole = FINGERPRINT.fullmatch(args.what) and not of
        if is_whole and stores.remove(address, args.what):
            removed = f"{args.what.lower()}, which was registered for no valid project, from {name}"
            Terminal().good(f"Removed {removed}.")
            return GOOD
        where = f" in project {of.label}" if of else " and no such project"
        return _refused(
            f"{name} has no key with this hint or fingerprint{where}: {shown(args.what)}."
        )
    if len({entry.fingerprint for entry in meant}) > 1:
        return _refused(
            f"{shown(args.what)} may be any of these. Give more of the fingerprint.",
            [_described(entry, digits=16) for entry in meant],
        )
    if not stores.remove(address, meant[0].fingerprint, project=of.id if of else None):
        return _refused("somebody else has just removed it.")
    for entry in meant:
        Terminal().good(f"Removed the key {_described(entry)}, from {name}.")
    return GOOD


def _refused(why: str, which: list[str] | None = None) -> int:
    terminal = Terminal(sys.stderr)
    terminal.paragraph(f"Nothing was removed: {why}", "red")
    for line in which or ():
        terminal.line(f"  {line}")
    return NOT_IN_ORDER


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
    keys = count(sum(entry.project == project.id for entry in registry), "key")
    what = f"project {project.label} with its {keys}"
    where = stores.describe(address).name
    if not is_sure and not confirm(f"Remove {what} from {where}?"):
        Terminal(sys.stderr).line("Nothing was removed.")
        return NOT_IN_ORDER
    stores.remove_project(address, project.id)
    Terminal().good(f"Removed {what}, from {where}.")
    return GOOD
