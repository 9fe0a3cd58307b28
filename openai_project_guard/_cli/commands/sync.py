"""The command `sync`."""

from __future__ import annotations

import argparse
import re
import sys
import unicodedata
from collections.abc import Callable, Sequence
from contextlib import closing
from typing import NamedTuple, TypeVar

from openai_project_guard._cli import GOOD, NOT_IN_ORDER, registry_option
from openai_project_guard._cli.key_input import ADMIN_KEY, API_KEY, read_key
from openai_project_guard._cli.output import Terminal, confirm, count
from openai_project_guard._cli.parsers import Parser
from openai_project_guard._cli.sync.administration import Administration, RemoteProject
from openai_project_guard._cli.sync.binding import Binding, LocalKey, bind, match
from openai_project_guard._cli.sync.preview import preview
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


class Listed(NamedTuple):
    """A project by its id and its alias."""

    project: str
    alias: str | None


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
        projects = []
        for project in api.projects(include_archived=args.include_archived):
            projects.append(project)
            progress.show(f"reading projects: {len(projects):,}")
        if not projects:
            raise ConfigurationError(
                "The API lists no project at all, and every organization has one. Nothing was "
                f"changed; check {ADMIN_KEY} and OPENAI_BASE_URL."
            )
        progress.close()
        removed = _to_be_removed(projects, address, args) if args.prune else set()
        trial = preview(address) if args.dry_run else None

        def change(step: Callable[[Draft], T]) -> T:
            return step(trial) if trial else stores.change(address, step, create=True)

        added, unlisted = change(lambda draft: _take_in(projects, draft, removed))
        # To read the keys may take long: the projects are in the registry already.
        matches = match(keys, [project.id for project in projects], address, api, progress.show)
        bindings = change(lambda draft: bind(keys, matches, draft))
    is_gone = args.prune and {gone.project for gone in unlisted} <= removed
    terminal = Terminal()
    if args.json:
        terminal.json(
            {
                "registry": name,
                "listed": len(projects),
                "added": [project._asdict() for project in added],
                "unlisted": [project._asdict() for project in unlisted],
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


def _to_be_removed(
    projects: Sequence[RemoteProject], address: str, args: argparse.Namespace
) -> set[str]:
    """The projects that only the registry has, if it is wanted that they go."""
    known = {project.id: project for project in stores.find(address).snapshot.projects.values()}
    gone = [known[id_] for id_ in known.keys() - {project.id for project in projects}]
    if not gone or args.dry_run or args.yes:
        return {project.id for project in gone}
    errors = Terminal(sys.stderr)
    for project in sorted(gone, key=lambda project: project.id):
        errors.line(f"- {project.label}", "red")
    what = f"{count(len(gone), 'project')} with {'its' if len(gone) == 1 else 'their'} keys"
    if confirm(f"Remove {what} from {stores.describe(address).name}?"):
        return {project.id for project in gone}
    return set()


def _local_keys(named: Sequence[str]) -> list[LocalKey]:
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
    projects: Sequence[RemoteProject], draft: Draft, removed: set[str]
) -> tuple[list[Listed], list[Listed]]:
    """Adds and removes projects; gives those that are new, and those that only the registry has."""
    known = dict(draft.projects)
    taken = {*known, *(fields.alias for fields in known.values() if fields.alias)}
    added = []
    for project in projects:
        if project.id not in known:
            alias = _alias(project.name, taken)
            draft.add_project(project.id, alias=alias)
            added.append(Listed(project.id, alias))
    listed = {project.id for project in projects}
    unlisted = [Listed(id_, known[id_].alias) for id_ in known if id_ not in listed]
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


def _show_unlisted(unlisted: Sequence[Listed], terminal: Terminal, *, is_gone: bool) -> None:
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


def _name_some(mark: str, projects: Sequence[Listed], style: str, terminal: Terminal) -> None:
    for listed in projects[:_SHOWN]:
        terminal.line(f"  {mark} {label(listed.project, listed.alias)}", style)
    if len(projects) > _SHOWN:
        terminal.line(f"    and {len(projects) - _SHOWN:,} more", "dim")
