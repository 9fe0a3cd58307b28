"""`register`: adds a key to the registry file."""

from __future__ import annotations

import argparse
import os
import sys

from openai_project_guard._cli import GOOD, NOT_IN_ORDER, target
from openai_project_guard._cli.saying import say
from openai_project_guard._cli.secret import Secret, read_key
from openai_project_guard._cli.terminal import Terminal
from openai_project_guard._registry import Registry, project_id
from openai_project_guard._sources import edit
from openai_project_guard._sources.file import FilePlace


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declares the arguments of `register`."""
    parser.epilog = (
        "The key is read from the variable that --key-env names, or else from standard input, or "
        "at a prompt that does not show it; never from an argument. Only its fingerprint and its "
        "hint are kept."
    )
    parser.add_argument(
        "project", metavar="PROJECT", help="the project's id (proj_...) or an alias of the file"
    )
    parser.add_argument("--alias", metavar="A", help="the alias of a project that is new")
    parser.add_argument(
        "--key-env", metavar="NAME", help="the environment variable that holds the key"
    )
    parser.add_argument("--note", metavar="T", help="whatever helps to recognise the key later")
    parser.add_argument("--organization", metavar="ORG", help="the project's organization, checked")
    parser.add_argument(
        "--also",
        action="store_true",
        help="let the key stand under this project beside others (a legacy user key)",
    )
    parser.add_argument(
        "--verify", action="store_true", help="ask the API first whether the key is the project's"
    )
    target.add_argument(parser)


def run(args: argparse.Namespace) -> int:
    """Reads the key and adds it.

    Returns:
        0 if the file has it now, 1 if the API says that it must not.
    """
    path = target.registry_file(args.registry)
    is_new = not os.path.exists(path)
    key = read_key(args.key_env)
    if args.verify:
        refused = _refused_by_the_api(key, path, args)
        if refused:
            problem = f"Nothing was registered: {refused}"
            Terminal(sys.stderr).paragraph(problem, "red")
            return NOT_IN_ORDER
    change = edit.add(
        path,
        args.project,
        key.fingerprint,
        alias=args.alias,
        organization=args.organization,
        hint=key.hint,
        note=args.note,
        also=args.also,
    )
    _say(change, key, path, is_new=is_new, project=args.project)
    return GOOD


def _say(change: edit.Change, key: Secret, path: str, *, is_new: bool, project: str) -> None:
    found = [
        entry
        for entry in Registry.from_file(path)
        if entry.fingerprint == key.fingerprint and project in (entry.project, entry.alias)
    ]
    name = _named(found[0].project, found[0].alias) if found else project
    said = {
        "added": f"Registered the key {key.hint} for project {name}.",
        "updated": f"The key {key.hint} was registered for project {name}; its entry is renewed.",
        "unchanged": f"The key {key.hint} is registered for project {name} already.",
    }[change]
    terminal = Terminal()
    say(terminal, said, "green", first="✓ ")
    made = ", a new file; it holds no key" if is_new else ""
    terminal.paragraph(f"  {FilePlace(path).of(key.fingerprint)}{made}")


def _named(project: str, alias: str | None) -> str:
    return f"{alias} ({project})" if alias else project


def _refused_by_the_api(key: Secret, path: str, args: argparse.Namespace) -> str | None:
    """Why the API does not want this key for this project."""
    from openai_project_guard._cli.live import ask

    known = Registry.from_file(path) if os.path.exists(path) else Registry()
    project = project_id((known,), args.project, "PROJECT")
    standing = known.snapshot.projects.get(project)
    organization = args.organization or (standing and standing.organization)
    answer = ask(
        key,
        {"OpenAI-Project": project},  # OPENAI_CUSTOM_HEADERS would win over the client's
        project=project,
        **({"organization": organization} if organization else {}),
    )
    if answer.is_good and answer.project in (None, project):
        return None
    if answer.is_good:
        return f"the API says that the key {key.hint} belongs to project {answer.project}."
    meaning = {
        "mismatched_project": f"the key {key.hint} does not belong to project {project}",
        "mismatched_organization": f"the key {key.hint} does not belong to that organization",
        "invalid_api_key": f"the API does not know the key {key.hint}",
    }.get(answer.code or "", f"the key {key.hint} could not be verified")
    return f"{meaning}. {answer.said}."
