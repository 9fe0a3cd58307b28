"""`sync`: takes the organization's projects into the registry and binds the keys at hand."""

from __future__ import annotations

import argparse
import json
import re
import unicodedata
from collections.abc import Sequence
from contextlib import ExitStack, closing
from dataclasses import asdict, dataclass

from openai_project_guard._cli import GOOD, NOT_IN_ORDER, target
from openai_project_guard._cli.administration import ADMIN_KEY, Administration, RemoteProject
from openai_project_guard._cli.binding import Binding, LocalKey, bind, match
from openai_project_guard._cli.progress import Progress
from openai_project_guard._cli.secret import read_key
from openai_project_guard._cli.switched import off
from openai_project_guard._cli.terminal import Terminal
from openai_project_guard._errors import ConfigurationError
from openai_project_guard._keys import redact
from openai_project_guard._registry import stores as edit
from openai_project_guard._registry.changes import Draft

API_KEY = "OPENAI_API_KEY"
_LONGEST_ALIAS = 60
_SHOWN = 10  # projects named one by one; a terminal is no place for 2,000


@dataclass(frozen=True)
class Listed:
    """A project by its id and its alias."""

    project: str
    alias: str | None


@dataclass(frozen=True)
class Report:
    """What was done; `--json` prints it as it is.

    Attributes:
        registry: its path, or its URL without the password.
        listed: how many projects the API lists.
        added: those of them that are new in the registry.
        unlisted: those of the registry that the API does not list.
        pruned: whether these were removed.
        keys: what became of the keys at hand.
    """

    registry: str
    listed: int
    added: tuple[Listed, ...]
    unlisted: tuple[Listed, ...]
    pruned: bool
    keys: tuple[Binding, ...]


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declares the arguments of `sync`."""
    parser.formatter_class = argparse.RawDescriptionHelpFormatter
    parser.epilog = (
        f"{ADMIN_KEY} must hold an admin key; OPENAI_BASE_URL is honoured. A new project's\n"
        "alias is its name in lower case with dashes; what is registered stays. A key\n"
        "at hand is bound if what the API shows of keys fits keys of one project only.\n"
        "Interrupted and run again within the hour, it goes on where it was.\n\n"
        "--json prints one object:\n"
        '  "registry": file or URL, "listed": number, "pruned": true | false,\n'
        '  "added", "unlisted": [{"project", "alias"}],\n'
        '  "keys": [{"variable", "hint", "projects": [id], "says",\n'
        '            "outcome": "bound" | "registered" | "moved" | "ambiguous" | "unknown"}]\n\n'
        "Exit status: 0, or 1 if a key at hand has no project, or another than the API says."
    )
    target.add_argument(parser)
    parser.add_argument(
        "--key-env",
        metavar="NAME",
        action="append",
        default=[],
        help=f"a variable with a key to bind, beside {API_KEY}; may be given more than once",
    )
    parser.add_argument(
        "--include-archived", action="store_true", help="take archived projects in too"
    )
    parser.add_argument(
        "--prune",
        action="store_true",
        help="remove the projects that the API does not list from the registry, with their keys",
    )
    parser.add_argument("--json", action="store_true", help="print what was done as JSON")


def run(args: argparse.Namespace) -> int:
    """Reads, writes, binds, and says what was done.

    Returns:
        0 if every key at hand has its project, else 1.
    """
    keys = _keys_at_hand(args.key_env)
    address = target.address(args.registry)
    name = edit.describe(address).name
    progress = Progress()
    with off(), ExitStack() as stack:
        stack.callback(progress.wipe)
        api = stack.enter_context(closing(Administration(progress.wait)))
        projects = []
        for project in api.projects(include_archived=args.include_archived):
            projects.append(project)
            progress.show(f"reading projects: {len(projects):,}")
        added, unlisted = _take_in(projects, address, prune=args.prune)
        bindings: tuple[Binding, ...] = ()
        if keys:
            ids = [project.id for project in projects]
            bindings = tuple(bind(keys, match(keys, ids, address, api, progress.show), address))
    report = Report(name, len(projects), tuple(added), tuple(unlisted), args.prune, bindings)
    if args.json:
        Terminal().line(json.dumps(asdict(report), indent=2))
    else:
        _show(report, Terminal())
    return GOOD if all(key.is_good for key in bindings) else NOT_IN_ORDER


def _keys_at_hand(named: Sequence[str]) -> list[LocalKey]:
    """The keys of the variables; one that was not asked for is passed over if it is no key."""
    keys = []
    for variable in dict.fromkeys((API_KEY, *named)):
        try:
            key = LocalKey(variable, read_key(variable))
        except ConfigurationError:  # noqa: PERF203 - a handful of variables
            if variable in named:
                raise
        else:
            if variable in named or key.secret.hint.startswith("sk-"):
                keys.append(key)
    return keys


def _take_in(
    projects: Sequence[RemoteProject], address: str, *, prune: bool
) -> tuple[list[Listed], list[Listed]]:
    """Writes the projects down; gives those that are new, and those that only the registry has."""
    if not projects:
        raise ConfigurationError(
            "The API lists no project at all, and every organization has one. Nothing was changed; "
            f"check {ADMIN_KEY} and OPENAI_BASE_URL."
        )

    def take_in(draft: Draft) -> tuple[list[Listed], list[Listed]]:
        known = dict(draft.projects)
        taken = {*known, *(notes.alias for notes in known.values() if notes.alias)}
        added = []
        for project in projects:
            if project.id not in known:
                alias = _alias(project.name, taken)
                draft.add_project(project.id, alias=alias)
                added.append(Listed(project.id, alias))
        listed = {project.id for project in projects}
        unlisted = [Listed(id_, known[id_].alias) for id_ in known if id_ not in listed]
        if prune:
            draft.remove_projects(gone.project for gone in unlisted)
        return added, unlisted

    return edit.change(address, take_in, create=True)


def _alias(name: str, taken: set[str]) -> str | None:
    """An alias that nobody has yet, made of a project's name; it is taken then."""
    name = re.sub(r"[\W_]+", "-", unicodedata.normalize("NFKC", name).lower()).strip("-")
    name = name[:_LONGEST_ALIAS].rstrip("-")
    if not name or redact(name) != name:  # an alias that looks like a key is none
        return None
    alias, number = name, 1
    while alias in taken:
        number += 1
        alias = f"{name}-{number}"
    taken.add(alias)
    return alias


def _show(report: Report, terminal: Terminal) -> None:
    terminal.paragraph(
        f"{_count(report.listed)} listed by the API, {len(report.added):,} of them new in "
        f"{report.registry}."
    )
    _name_some("✓", report.added, "green", terminal)
    if report.unlisted and report.pruned:
        terminal.paragraph(f"{_count(report.unlisted)} removed, with their keys:")
        _name_some("✗", report.unlisted, "yellow", terminal)
    elif report.unlisted:
        terminal.paragraph(
            f"{_count(report.unlisted)} of the registry not listed, and left; --prune removes:"
        )
        _name_some("?", report.unlisted, "yellow", terminal)
    for key in report.keys:
        mark, style = ("✓", "green") if key.is_good else ("✗", "red")
        terminal.paragraph(f"{mark} {key.variable} ({key.hint}): {key.says}.", style)
    if not report.keys:
        terminal.paragraph(f"No key at hand: {API_KEY} holds none, and no --key-env was given.")


def _name_some(mark: str, projects: Sequence[Listed], style: str, terminal: Terminal) -> None:
    for listed in projects[:_SHOWN]:
        name = f"{listed.alias} ({listed.project})" if listed.alias else listed.project
        terminal.line(f"  {mark} {name}", style)
    if len(projects) > _SHOWN:
        terminal.line(f"    and {len(projects) - _SHOWN:,} more", "dim")


def _count(projects: Sequence[Listed] | int) -> str:
    number = projects if isinstance(projects, int) else len(projects)
    return f"{number:,} project{'' if number == 1 else 's'}"
