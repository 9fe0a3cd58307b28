"""The command `register`."""

from __future__ import annotations

import argparse
import sys

from openai_project_guard._cli import GOOD, NOT_IN_ORDER, key_input, registry_option
from openai_project_guard._cli.key_input import KEY_HELP, Secret, read_key
from openai_project_guard._cli.output import Terminal
from openai_project_guard._cli.parsers import Parser
from openai_project_guard._errors import ConfigurationError
from openai_project_guard._registry import stores
from openai_project_guard._registry.changes import Draft
from openai_project_guard._registry.model import project_id


def add_arguments(parser: Parser) -> None:
    parser.epilog = f"{KEY_HELP} Only its fingerprint and its hint are kept."
    parser.add_argument(
        "project", metavar="PROJECT", help="the project's id (proj_...) or an alias of the registry"
    )
    parser.add_argument("--alias", metavar="A", help="the alias of a project that is new")
    key_input.add_argument(parser)
    parser.add_argument("--note", metavar="T", help="whatever helps to recognise the key later")
    parser.add_argument("--organization", metavar="ORG", help="the project's organization, checked")
    parser.add_flags(
        also="register the key for this project beside others (a legacy user key)",
        weak="register the key although it could be guessed from its fingerprint",
        verify="ask the API first whether the key is the project's",
    )
    registry_option.add_argument(parser)


def run(args: argparse.Namespace) -> int:
    """Reads the key and adds it, unless the API says that it must not."""
    address = registry_option.address(args.registry)
    place = stores.describe(address)
    key = read_key(args.key_env, args.note, args.alias, args.organization)
    if key.weakness and not args.weak:
        raise ConfigurationError(
            f"The key {key.hint} was not registered: {key.weakness}. Whoever reads the registry "
            "could guess it from its fingerprint. Register a key that OpenAI made, or pass --weak."
        )
    refusal = _refusal_of_the_api(key, address, args) if args.verify else None
    if refusal:
        Terminal(sys.stderr).paragraph(f"Nothing was registered: {refusal}", "red")
        return NOT_IN_ORDER

    def add(draft: Draft) -> tuple[str, str, str]:
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
        message = {
            "added": f"Registered the key {key.hint} for project {name}.",
            "updated": f"The key {key.hint} was registered for project {name}; its entry is "
            "renewed.",
            "unchanged": f"The key {key.hint} is registered for project {name} already.",
        }[change]
        is_new = draft.stored.version is None
        made = f", a new {draft.stored.word}; it holds no key" if is_new else ""
        return message, draft.id_of(args.project), made

    message, project, made = stores.change(address, add, create=True)
    Terminal().good(message)
    Terminal().paragraph(f"{place.of(key.fingerprint, project)}{made}", first="  ")
    return GOOD


def _refusal_of_the_api(key: Secret, address: str, args: argparse.Namespace) -> str | None:
    from openai_project_guard._cli.api_probe import ask

    known = stores.find(address)
    project = project_id((known,), args.project, "PROJECT")
    registered = known.snapshot.projects.get(project)
    organization = args.organization or (registered and registered.organization)
    headers = {"OpenAI-Project": project}  # OPENAI_CUSTOM_HEADERS would win over the client's
    if organization:
        headers["OpenAI-Organization"] = organization
    answer = ask(key, headers, project=project)
    if answer.is_good and answer.project in (None, project):
        return None
    if answer.is_good:
        return f"the API says that the key {key.hint} belongs to project {answer.project}."
    meaning = {
        "mismatched_project": f"the key {key.hint} does not belong to project {project}",
        "mismatched_organization": f"the key {key.hint} does not belong to that organization",
        "invalid_api_key": f"the API does not know the key {key.hint}",
    }.get(answer.code or "", f"the key {key.hint} could not be verified")
    return f"{meaning}. {answer.sentence}."
