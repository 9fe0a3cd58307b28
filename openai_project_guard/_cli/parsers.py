"""The parsers of the program and of its commands: their help, and the nearest name for a typo."""

from __future__ import annotations

import argparse
import sys
import textwrap
from collections.abc import Iterable, Sequence
from contextlib import suppress
from difflib import get_close_matches
from typing import Any, NoReturn

from openai_project_guard._cli import PROGRAM, Version, load, output_errors
from openai_project_guard._keys import redact

_ORDER = (
    "demo",
    "register",
    "run",
    "check",
    "doctor",
    "list",
    "remove",
    "fingerprint",
    "validate",
    "copy",
    "sync",
    "report",
)
"""In which the help lists the commands; one that is not named here comes last."""


class Parser(argparse.ArgumentParser):
    """Names the nearest option for one that it does not know."""

    def __init__(self, prog: str, **options: Any) -> None:
        super().__init__(prog, allow_abbrev=False, formatter_class=_Formatter, **options)

    def error(self, message: str) -> NoReturn:
        """Like `ArgumentParser.error`, but shows no key."""
        super().error(redact(message))

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


def names() -> list[str]:
    """The names of the commands: of the modules in `commands`."""
    from pkgutil import iter_modules

    from openai_project_guard._cli import commands

    found = {module.name for module in iter_modules(commands.__path__)}
    return [name for name in _ORDER if name in found] + sorted(found.difference(_ORDER))


def summary(name: str) -> str:
    """What a command does: the first line of its module's docstring. The module is not imported."""
    from importlib.util import find_spec

    spec = find_spec(f"openai_project_guard._cli.commands.{name}")
    source = b""
    with suppress(AttributeError, OSError):  # a frozen program has no source
        source = spec.loader.get_data(spec.origin)  # type: ignore[union-attr]
    return _summary(source.decode().partition("\n")[0].strip('"'))


def _summary(docstring: str | None) -> str:
    return (docstring or "").partition("\n")[0].partition(": ")[2].rstrip(".")


class _Program(Parser):
    """Looks up what each command does only when the help is shown."""

    def format_help(self) -> str:
        found = names()
        width = max(map(len, found))
        commands = "\n".join(f"  {name:{width}}  {summary(name)}" for name in found)
        self.epilog = (
            f"commands:\n{commands}\n\n"
            f"{PROGRAM} COMMAND --help says more.\n\n"
            'Completion in the shell: pip install "openai-project-guard[completion]", then '
            f'eval "$(register-python-argcomplete {PROGRAM})".\n\n'
            "Exit status: 0 good, 1 the thing checked is not in order, 2 bad usage or "
            "configuration."
        )
        return super().format_help()


def program() -> Parser:
    """The parser of the arguments before the command."""
    parser = _Program(
        PROGRAM,
        usage="%(prog)s [-h] [--version] COMMAND ...",
        description="Stops OpenAI calls whose OpenAI-Project header does not fit their API key.",
    )
    parser.add_argument("--version", action=Version, nargs=0, help="show the version")
    return parser


def command(name: str) -> Parser:
    """The parser of one command."""
    from openai_project_guard._cli import json_fields

    module = load(name)
    text = _summary(module.__doc__)
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
    for name in names():
        load(name).add_arguments(commands.add_parser(name, help=summary(name)))
    argcomplete.autocomplete(parser)


def unknown_command(name: str) -> NoReturn:
    """Ends the program because there is no such command."""
    program().error(f"there is no command {name!r}{nearest(name, names())}")


def nearest(word: str, known: Iterable[str]) -> str:
    """The end of an error about a word that is not known: the nearest one, if there is one."""
    found = get_close_matches(word, list(known), n=1)
    return f". Did you mean {found[0]}?" if found else ""
