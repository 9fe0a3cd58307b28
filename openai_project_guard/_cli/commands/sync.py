"""`sync`: add the organization's projects to the registry and bind the keys in your environment."""

from __future__ import annotations

import argparse
import re
import sys
import unicodedata
from collections.abc import Sequence
from contextlib import ExitStack, closing
from dataclasses import asdict, dataclass

from openai_project_guard._cli import GOOD, NOT_IN_ORDER, registry_option
from openai_project_guard._cli.key_input import read_key
from openai_project_guard._cli.output import Terminal, confirm, count
from openai_project_guard._cli.sync.administration import ADMIN_KEY, Administration, RemoteProject
from openai_project_guard._cli.sync.binding import Binding, LocalKey, bind, match
from openai_project_guard._cli.sync.preview import preview
from openai_project_guard._cli.sync.progress import Progress
from openai_project_guard._cli.temporary_guard import disabled
from openai_project_guard._errors import ConfigurationError
from openai_project_guard._keys import redact
from openai_project_guard._registry import stores
from openai_project_guard._registry.changes import Draft
from openai_project_guard._registry.model import label

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
        keys: what became of the keys in the environment.
        dry_run: whether nothing was written, and this is what would be done.
    """

    registry: str
    listed: int
    added: tuple[Listed, ...]
    unlisted: tuple[Listed, ...]
    pruned: bool
    keys: tuple[Binding, ...]
    dry_run: bool


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declares the arguments of `sync`."""
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
    parser.add_argument(
        "--include-archived", action="store_true", help="take archived projects in too"
    )
    parser.add_argument(
        "--prune",
        action="store_true",
        help="remove the projects that the API does not list from the registry, with their keys; "
        "shows them and asks",
    )
    parser.add_argument("--yes", action="store_true", help="do not ask before --prune removes")
    parser.add_argument(
        "--dry-run", action="store_true", help="only show what would be done; write nothing"
    )
    parser.add_argument("--json", action="store_true", help="print what was done as JSON")


def run(args: argparse.Namespace) -> int:
    """Reads, writes, binds, and says what was done.

    Returns:
        0 if every key in the environment has its project, else 1.
    """
    keys = _local_keys(args.key_env)
    address = registry_option.address(args.registry)
    name = stores.describe(address).name
    progress = Progress()
    with disabled(), ExitStack() as stack:
        stack.callback(progress.wipe)
        api = stack.enter_context(closing(Administration(progress.wait)))
        projects = []
        for project in api.projects(include_archived=args.include_archived):
            projects.append(project)
            progress.show(f"reading projects: {len(projects):,}")
        _refuse_none(projects)
        removed: set[str] = set()
        if args.prune:
            progress.wipe()
            removed = _to_be_removed(projects, address, args)
        ids = [project.id for project in projects]

        def take_in(draft: Draft) -> tuple[list[Listed], list[Listed]]:
            return _take_in(projects, draft, removed)

        if args.dry_run:
            matches = match(keys, ids, address, api, progress.show) if keys else {}
            draft = preview(address)
            added, unlisted = take_in(draft)
            bindings = bind(keys, matches, draft)
        else:
            added, unlisted = stores.change(address, take_in, create=True)
            bindings = []
            if keys:  # which may take long, so the projects are there already
                matches = match(keys, ids, address, api, progress.show)
                bindings = stores.change(address, lambda draft: bind(keys, matches, draft))
    report = Report(
        registry=name,
        listed=len(projects),
        added=tuple(added),
        unlisted=tuple(unlisted),
        pruned=args.prune and not args.dry_run and {gone.project for gone in unlisted} <= removed,
        keys=tuple(bindings),
        dry_run=args.dry_run,
    )
    if args.json:
        Terminal().json(asdict(report))
    else:
        _show(report, Terminal(), is_pruned=report.pruned or (args.prune and args.dry_run))
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


def _refuse_none(projects: Sequence[RemoteProject]) -> None:
    if not projects:
        raise ConfigurationError(
            "The API lists no project at all, and every organization has one. Nothing was changed; "
            f"check {ADMIN_KEY} and OPENAI_BASE_URL."
        )


def _take_in(
    projects: Sequence[RemoteProject], draft: Draft, removed: set[str]
) -> tuple[list[Listed], list[Listed]]:
    """Adds and removes projects; gives those that are new, and those that only the registry has."""
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


def _show(report: Report, terminal: Terminal, *, is_pruned: bool) -> None:
    if report.dry_run:
        terminal.paragraph("Nothing was written. What would be done:", "bold")
    terminal.paragraph(
        f"{count(report.listed, 'project')} listed by the API, {len(report.added):,} of them new "
        f"in {report.registry}."
    )
    _name_some("✓", report.added, "green", terminal)
    if report.unlisted and is_pruned:
        terminal.paragraph(f"{count(len(report.unlisted), 'project')} removed, with their keys:")
        _name_some("✗", report.unlisted, "yellow", terminal)
    elif report.unlisted:
        terminal.paragraph(
            f"{count(len(report.unlisted), 'project')} of the registry not listed, and left; "
            "--prune removes:"
        )
        _name_some("?", report.unlisted, "yellow", terminal)
    for key in report.keys:
        mark, style = ("✓", "green") if key.is_good else ("✗", "red")
        terminal.paragraph(f"{key.variable} ({key.hint}): {key.says}.", style, first=f"{mark} ")
    if not report.keys:
        terminal.paragraph(f"No key to bind: {API_KEY} holds none, and no --key-env was given.")


def _name_some(mark: str, projects: Sequence[Listed], style: str, terminal: Terminal) -> None:
    for listed in projects[:_SHOWN]:
        terminal.line(f"  {mark} {label(listed.project, listed.alias)}", style)
    if len(projects) > _SHOWN:
        terminal.line(f"    and {len(projects) - _SHOWN:,} more", "dim")
