"""The command `sync`."""

from __future__ import annotations

import argparse
import re
import sys
import unicodedata
from collections.abc import Callable, Collection, Mapping, Sequence
from contextlib import closing
from itertools import islice
from typing import TypeVar

from openai_project_guard._cli import GOOD, NOT_IN_ORDER, registry_option
from openai_project_guard._cli.key_input import ADMIN_KEY, API_KEY, Secret, read_key
from openai_project_guard._cli.output import Terminal, confirm, count
from openai_project_guard._cli.parsers import Parser
from openai_project_guard._cli.sync.administration import Administration
from openai_project_guard._cli.sync.binding import Binding, bind, match
from openai_project_guard._cli.sync.progress import Progress
from openai_project_guard._cli.temporary_guard import disabled
from openai_project_guard._errors import ConfigurationError
from openai_project_guard._keys import redact
from openai_project_guard._registry import stores
from openai_project_guard._registry.changes import Draft
from openai_project_guard._registry.model import label

_LONGEST_ALIAS = 60
T = TypeVar("T")
_SHOWN = 10  # projects named one by one; a terminal is no place for 2,000

Aliases = dict[str, str | None]
"""The aliases of projects, by id."""


def add_arguments(parser: Parser) -> None:
    parser.epilog = (
        f"{ADMIN_KEY} must hold an admin key; OPENAI_BASE_URL is honoured. A new project's alias "
        "is its name in lower case with dashes; what is registered stays. A key in your "
        "environment is bound if what the API shows of keys fits keys of one project only. "
        "Interrupted and run again within the hour, it continues where it was.\n\n"
        "Exit status: 0, or 1 if a key in your environment has no project, or another than the "
        "API says."
    )
    registry_option.add_argument(parser)
    parser.add_argument(
        "--key-env",
        metavar="NAME",
        action="append",
        default=[],
        help=f"a variable with a key to bind, beside {API_KEY}; may be given more than once",
    )
    parser.add_flags(
        include_archived="take archived projects in too",
        prune="remove the projects that the API does not list from the registry, with their keys; "
        "shows them and asks",
        yes="do not ask before --prune removes",
        dry_run="only show what would be done; write nothing",
        json="print what was done as JSON",
    )


def run(args: argparse.Namespace) -> int:
    """Reads, writes, binds, and says what was done."""
    keys = _local_keys(args.key_env)
    address = registry_option.address(args.registry)
    name = stores.describe(address).name
    progress = Progress()
    with disabled(), closing(progress), closing(Administration(progress.wait)) as api:
        projects: dict[str, str] = {}  # their names, by id
        for project, project_name in api.projects(include_archived=args.include_archived):
            projects[project] = project_name
            progress.show(f"reading projects: {len(projects):,}")
        if not projects:
            raise ConfigurationError(
                "The API lists no project at all, and every organization has one. Nothing was "
                f"changed; check {ADMIN_KEY} and OPENAI_BASE_URL."
            )
        progress.close()
        removed = _to_be_removed(projects, address, args) if args.prune else set()
        trial = Draft(stores.find(address)) if args.dry_run else None  # which is never written

        def change(step: Callable[[Draft], T]) -> T:
            return step(trial) if trial else stores.change(address, step, create=True)

        added, unlisted = change(lambda draft: _take_in(projects, draft, removed))
        # To read the keys may take long: the projects are in the registry already.
        matches = match(keys, projects, address, api, progress.show)
        bindings = change(lambda draft: bind(keys, matches, draft))
    is_gone = args.prune and unlisted.keys() <= removed
    terminal = Terminal()
    if args.json:
        terminal.json(
            {
                "registry": name,
                "listed": len(projects),
                "added": _as_json(added),
                "unlisted": _as_json(unlisted),
                "pruned": is_gone and not args.dry_run,
                "keys": [key.as_json() for key in bindings],
                "dry_run": args.dry_run,
            }
        )
    else:
        if args.dry_run:
            terminal.paragraph("Nothing was written. What would be done:", "bold")
        listed = f"{count(len(projects), 'project')} listed by the API"
        terminal.paragraph(f"{listed}, {len(added):,} of them new in {name}.")
        _name_some("✓", added, "green", terminal)
        _show_unlisted(unlisted, terminal, is_gone=is_gone)
        _show_keys(bindings, terminal)
    return GOOD if all(key.is_good for key in bindings) else NOT_IN_ORDER


def _as_json(aliases: Aliases) -> list[dict[str, str | None]]:
    return [{"project": project, "alias": alias} for project, alias in aliases.items()]


def _to_be_removed(projects: Collection[str], address: str, args: argparse.Namespace) -> set[str]:
    """The projects that only the registry has, if it is wanted that they go."""
    known = {project.id: project for project in stores.find(address).snapshot.projects.values()}
    gone = known.keys() - projects
    if not gone or args.dry_run or args.yes:
        return gone
    errors = Terminal(sys.stderr)
    for project in sorted(gone):
        errors.line(f"- {known[project].label}", "red")
    what = f"{count(len(gone), 'project')} with {'its' if len(gone) == 1 else 'their'} keys"
    if confirm(f"Remove {what} from {stores.describe(address).name}?"):
        return gone
    return set()


def _local_keys(named: Sequence[str]) -> dict[str, Secret]:
    """The keys of the variables; one that was not asked for is passed over if it is no key."""
    keys = {}
    for variable in dict.fromkeys((API_KEY, *named)):
        try:
            key = read_key(variable)
        except ConfigurationError:  # noqa: PERF203 - a handful of variables
            if variable in named:
                raise
        else:
            if variable in named or key.hint.startswith("sk-"):
                keys[variable] = key
    return keys


def _take_in(
    projects: Mapping[str, str], draft: Draft, removed: set[str]
) -> tuple[Aliases, Aliases]:
    """Adds and removes projects; gives those that are new, and those that only the registry has."""
    known = dict(draft.projects)
    taken = {*known, *(fields.alias for fields in known.values() if fields.alias)}
    added: Aliases = {}
    for project, name in projects.items():
        if project not in known:
            added[project] = alias = _alias(name, taken)
            draft.add_project(project, alias=alias)
    unlisted = {id_: fields.alias for id_, fields in known.items() if id_ not in projects}
    draft.remove_projects(removed.intersection(known))
    return added, unlisted


def _alias(name: str, taken: set[str]) -> str | None:
    """A free alias, made of a project's name; it is taken then."""
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


def _show_unlisted(unlisted: Aliases, terminal: Terminal, *, is_gone: bool) -> None:
    number = count(len(unlisted), "project")
    if unlisted and is_gone:
        terminal.paragraph(f"{number} removed, with their keys:")
        _name_some("✗", unlisted, "yellow", terminal)
    elif unlisted:
        terminal.paragraph(f"{number} of the registry not listed, and left; --prune removes:")
        _name_some("?", unlisted, "yellow", terminal)


def _show_keys(keys: Sequence[Binding], terminal: Terminal) -> None:
    for key in keys:
        show = terminal.good if key.is_good else terminal.bad
        show(f"{key.variable} ({key.hint}): {key.message}.")
    if not keys:
        terminal.paragraph(f"No key to bind: {API_KEY} holds none, and no --key-env was given.")


def _name_some(mark: str, projects: Aliases, style: str, terminal: Terminal) -> None:
    for project, alias in islice(projects.items(), _SHOWN):
        terminal.line(f"  {mark} {label(project, alias)}", style)
    if len(projects) > _SHOWN:
        terminal.line(f"    and {len(projects) - _SHOWN:,} more", "dim")
