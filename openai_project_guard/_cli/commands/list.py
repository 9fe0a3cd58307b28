"""`list`: show what is registered, and in which registry."""

from __future__ import annotations

import argparse
import sys
from dataclasses import asdict

from openai_project_guard._cli import GOOD, UNUSABLE
from openai_project_guard._cli.output import Cell, Terminal, count
from openai_project_guard._cli.registry_status import RegistryStatus, none_found, registry_statuses
from openai_project_guard._registry.entry import Entry
from openai_project_guard._registry.model import label


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declares the arguments of `list`."""
    parser.epilog = "Exit status: 0, or 2 if a registry cannot be read (the others are listed)."
    parser.add_argument("--json", action="store_true", help="print it as JSON")
    parser.add_argument(
        "--fingerprints", action="store_true", help="list the keys by their whole fingerprints"
    )
    parser.add_argument(
        "--registry", metavar="FILE|URL", help="list this one, not those that the environment names"
    )


def run(args: argparse.Namespace) -> int:
    """Lists them.

    Returns:
        0 if every registry could be read, else 2.
    """
    found = registry_statuses(args.registry)
    if args.json:
        Terminal().json(_as_json(found))
    else:
        _show(found, Terminal(), fingerprints=args.fingerprints)
    errors = Terminal(sys.stderr)
    for registry in found:
        if registry.error:
            errors.paragraph(f"✗ {registry.error}", "red")
    return UNUSABLE if any(registry.error for registry in found) else GOOD


def _show(found: list[RegistryStatus], terminal: Terminal, *, fingerprints: bool) -> None:
    if not found:
        terminal.paragraph(f"{none_found()} Make one with openai-project-guard register PROJECT.")
    for number, registry in enumerate(found):
        if registry.error:
            continue
        if number:
            terminal.line()
        keys, projects = len(registry.registry), len(registry.projects)
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
            _, _, line = entry.place.rpartition(", line ")
            hint = entry.hint or f"{entry.fingerprint[:15]}…"
            line = line if line.isdigit() else "–"
            rows.append((name, Cell(id_), Cell(hint), Cell(entry.note or ""), Cell(line)))
            name, id_ = Cell(""), ""
        if project.id not in keys:
            rows.append((name, Cell(id_), Cell("no key", "dim"), Cell(""), Cell("–")))
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
