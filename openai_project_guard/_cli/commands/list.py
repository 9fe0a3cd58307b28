"""The command `list`."""

from __future__ import annotations

import argparse
import sys
from dataclasses import asdict

from openai_project_guard._cli import GOOD, UNUSABLE
from openai_project_guard._cli.output import Cell, Terminal, cells, count
from openai_project_guard._cli.parsers import Parser
from openai_project_guard._cli.registry_status import RegistryStatus, none_found, registry_statuses
from openai_project_guard._registry.entry import Entry
from openai_project_guard._registry.model import label


def add_arguments(parser: Parser) -> None:
    parser.epilog = "Exit status: 0, or 2 if a registry cannot be read (the others are listed)."
    parser.add_flags(
        json="print it as JSON", fingerprints="list the keys by their whole fingerprints"
    )
    parser.add_argument(
        "--registry", metavar="FILE|URL", help="list this one, not those that the environment names"
    )


def run(args: argparse.Namespace) -> int:
    """Lists the registries that can be read, and names the others."""
    found = registry_statuses(args.registry)
    if args.json:
        Terminal().json(_as_json(found))
    else:
        _show(found, Terminal(), fingerprints=args.fingerprints)
    errors = Terminal(sys.stderr)
    for registry in found:
        if registry.error:
            errors.bad(registry.error)
    return UNUSABLE if any(registry.error for registry in found) else GOOD


def _show(found: list[RegistryStatus], terminal: Terminal, *, fingerprints: bool) -> None:
    if not found:
        terminal.paragraph(f"{none_found()} Make one with openai-project-guard register PROJECT.")
    for number, registry in enumerate(found):
        if registry.error:
            continue
        if number:
            terminal.line()
        keys, projects = registry.keys, len(registry.projects)
        terminal.line(registry.name, "bold")
        if fingerprints:
            for entry in registry.registry:  # a table would break them
                facts = (label(entry.project, entry.alias), entry.hint, entry.note)
                terminal.line("  ".join((entry.fingerprint, *filter(None, facts))))
        elif projects:
            terminal.table(("Project", "Id", "Key", "Note", "Line"), _rows(registry))
        terminal.line(f"{count(keys, 'key')}, {count(projects, 'project')}", "dim")


def _rows(registry: RegistryStatus) -> list[tuple[Cell, ...]]:
    keys: dict[str, list[Entry]] = {}
    for entry in registry.registry:
        keys.setdefault(entry.project, []).append(entry)
    rows: list[tuple[Cell, ...]] = []
    for project in registry.projects:
        name = Cell(project.alias or "–", "" if project.alias else "dim")
        id_ = project.id + (f" of {project.organization}" if project.organization else "")
        for entry in keys.get(project.id, ()):
            line = entry.place.rpartition(", line ")[2]
            hint = entry.hint or f"{entry.fingerprint[:15]}…"
            facts = cells(id_, hint, entry.note or "", line if line.isdigit() else "–")
            rows.append((name, *facts))
            name, id_ = Cell(""), ""
        if project.id not in keys:
            rows.append((name, Cell(id_), Cell("no key", "dim"), *cells("", "–")))
    return rows


def _as_json(found: list[RegistryStatus]) -> dict[str, object]:
    return {
        "sources": [registry.as_json() for registry in found],
        "projects": [
            {
                "project": project.id,
                "alias": project.alias,
                "organization": project.organization,
                "source": registry.name,
            }
            for registry in found
            for project in registry.projects
        ],
        "keys": [
            {**asdict(entry), "source": registry.name}
            for registry in found
            for entry in registry.registry
        ],
    }
