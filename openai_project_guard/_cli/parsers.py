"""The parsers of the program and of its commands: their help, and the nearest name for a typo."""

from __future__ import annotations

import argparse
import sys
import textwrap
from collections.abc import Iterable, Sequence
from difflib import get_close_matches
from typing import Any, NoReturn

from openai_project_guard._cli import COMMANDS, PROGRAM, load, output_errors
from openai_project_guard._keys import without_random


class Parser(argparse.ArgumentParser):
    """Names the nearest option for one that it does not know."""

    def __init__(self, prog: str, **options: Any) -> None:
        super().__init__(prog, allow_abbrev=False, formatter_class=_Formatter, **options)

    def error(self, message: str) -> NoReturn:
        """Like `ArgumentParser.error`, but shows no key."""
        super().error(without_random(message))

    def _print_message(self, message: str, file: Any = None) -> None:
        with output_errors():  # argparse itself would say nothing
            (file or sys.stderr).write(message)

    def add_flags(self, **helps: str) -> None:
        """Adds options that take no value, each with its help."""
        for name, text in helps.items():
            self.add_argument(f"--{name.replace('_', '-')}", action="store_true", help=text)

    def parse_args(  # type: ignore[override]
        self, args: Sequence[str] | None = None, namespace: argparse.Namespace | None = None
    ) -> argparse.Namespace:
        """Like `ArgumentParser.parse_args`."""
        parsed, unknown = self.parse_known_args(args, namespace)
        if unknown:
            known = [option for action in self._actions for option in action.option_strings]
            option = unknown[0].partition("=")[0]
            near = nearest(option, known) if option.startswith("-") else ""
            self.error(f"unrecognized arguments: {' '.join(unknown)}{near}")
        return parsed


class _Formatter(argparse.HelpFormatter):
    """Keeps paragraphs apart, and lines that are indented as they are."""

    def _fill_text(self, text: str, width: int, indent: str) -> str:
        paragraphs = []
        for paragraph in text.split("\n\n"):
            if "\n " not in paragraph and not paragraph.startswith(" "):
                paragraph = textwrap.fill(" ".join(paragraph.split()), width)
            paragraphs.append(textwrap.indent(paragraph, indent))
        return "\n\n".join(paragraphs)


def program() -> Parser:
    """The parser of the arguments before the command."""
    from openai_project_guard._versions import LIBRARIES, version_of

    width = max(map(len, COMMANDS))
    commands = "\n".join(f"  {name:{width}}  {does}" for name, does in COMMANDS.items())
    parser = Parser(
        PROGRAM,
        usage="%(prog)s [-h] [--version] COMMAND ...",
        description="Stops OpenAI calls whose OpenAI-Project header does not fit their API key.",
        epilog=f"commands:\n{commands}\n\n"
        f"{PROGRAM} COMMAND --help says more.\n\n"
        "Completion in bash and zsh needs argcomplete, of the extra completion:\n"
        f'  pip install "{LIBRARIES["completion"]}"\n'
        f'  eval "$(register-python-argcomplete {PROGRAM})"\n\n'
        "Exit status: 0 good, 1 the thing checked is not in order, 2 bad usage or configuration.",
    )
    found = version_of(PROGRAM) or "(not installed)"  # run from a checkout
    parser.add_argument(
        "--version", action="version", version=f"{PROGRAM} {found}", help="show the version"
    )
    return parser


def command(name: str) -> Parser:
    """The parser of one command."""
    from openai_project_guard._cli import json_fields

    module = load(name)
    text = COMMANDS[name]
    parser = Parser(f"{PROGRAM} {name}", description=text[:1].upper() + text[1:] + ".")
    module.add_arguments(parser)
    described = [fields for fields in json_fields.FIELDS if fields.split()[0] == name]
    texts = filter(None, (parser.epilog, *map(json_fields.describe, described)))
    parser.epilog = "\n\n".join(texts)
    return parser


def complete() -> None:
    """Answers the shell's question through argcomplete, if it is installed, and ends the process.

    Here all commands are imported: the shell may ask for the options of any.
    """
    try:
        import argcomplete
    except ImportError:
        return
    parser = program()
    commands = parser.add_subparsers(parser_class=Parser)
    for name, does in COMMANDS.items():
        load(name).add_arguments(commands.add_parser(name, help=does))
    argcomplete.autocomplete(parser)


def nearest(word: str, known: Iterable[str]) -> str:
    """The end of an error about a word that is not known: the nearest one, if there is one."""
    found = get_close_matches(word, list(known), n=1)
    return f". Did you mean {found[0]}?" if found else ""
