"""`register`: adds a key to the registry."""

from __future__ import annotations

import argparse
import sys

from openai_project_guard._cli import GOOD, NOT_IN_ORDER, target
from openai_project_guard._cli.saying import say
from openai_project_guard._cli.secret import Secret, read_key
from openai_project_guard._cli.terminal import Terminal
from openai_project_guard._registry import stores as edit
from openai_project_guard._registry.changes import Draft
from openai_project_guard._registry.model import project_id
from openai_project_guard._registry.registry import Registry


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declares the arguments of `register`."""
    parser.epilog = (
        "The key is read from the variable that --key-env names, or else from standard input, or "
        "at a prompt that does not show it; never from an argument. Only its fingerprint and its "
        "hint are kept."
    )
    parser.add_argument(
        "project", metavar="PROJECT", help="the project's id (proj_...) or an alias of the registry"
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
        0 if the registry has it now, 1 if the API says that it must not.
    """
    address = target.address(args.registry)
    place = edit.describe(address)
    key = read_key(args.key_env, args.note)
    if args.verify:
        refused = _refused_by_the_api(key, address, args)
        if refused:
            problem = f"Nothing was registered: {refused}"
            Terminal(sys.stderr).paragraph(problem, "red")
            return NOT_IN_ORDER

    def add(draft: Draft) -> tuple[str, str, str]:
        """What is said of it, under which project it stands, and whether in a new registry."""
        change = draft.add(
            args.project,
            key.fingerprint,
            alias=args.alias,
            organization=args.organization,
            hint=key.hint,
            note=args.note,
            also=args.also,
        )
        name = draft.named(args.project)
        said = {
            "added": f"Registered the key {key.hint} for project {name}.",
            "updated": f"The key {key.hint} was registered for project {name}; its entry is "
            "renewed.",
            "unchanged": f"The key {key.hint} is registered for project {name} already.",
        }[change]
        is_new = draft.stored.version is None
        made = f", a new {draft.stored.word}; it holds no key" if is_new else ""
        return said, draft.id_of(args.project), made

    said, project, made = edit.change(address, add, create=True)
    terminal = Terminal()
    say(terminal, said, "green", first="✓ ")
    terminal.paragraph(f"  {place.of(key.fingerprint, project)}{made}")
    return GOOD


def _refused_by_the_api(key: Secret, address: str, args: argparse.Namespace) -> str | None:
    """Why the API does not want this key for this project."""
    from openai_project_guard._cli.live import ask

    known = Registry()
    known.snapshot = edit.find(address).snapshot
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
