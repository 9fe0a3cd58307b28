"""The command line: finds the command, runs it, and turns what happened into an exit status.

A command is a module of this folder with `add_arguments(parser)` and `run(args)`. Only the one
that was asked for is imported.
"""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Sequence
from importlib import import_module
from typing import Any, Protocol, cast

from openai_project_guard._errors import ConfigurationError

PROGRAM = "openai-project-guard"

COMMANDS = {
    "demo": "send right and wrong calls to a server on this machine, without and with the guard",
    "run": "run a Python program under the guard, without a change to it",
    "register": "add a key to the registry; the key itself is not kept",
    "list": "show what is registered, and where it stands",
    "remove": "take a key, or a project with its keys, out of the registry",
    "check": "say whether a default OpenAI() in this environment would pass",
    "doctor": "show hooks, variables, registries and verdict, and how to mend what is wrong",
    "push": "make the registry in Redis what a file says, after a look at the difference",
    "pull": "make a file say what the registry in Redis is, after a look at the difference",
    "sync": "take the organization's projects into the registry and bind the keys at hand",
}
"""What each command does, in the words of `--help`."""

GOOD, NOT_IN_ORDER, UNUSABLE = 0, 1, 2
INTERRUPTED, READER_GONE = 130, 141
"""128 and the number of the signal, as the shell has it."""


class Command(Protocol):
    """What a command's module has."""

    def add_arguments(self, parser: argparse.ArgumentParser) -> None:
        """Declares the command's arguments."""
        ...

    def run(self, args: argparse.Namespace) -> int:
        """Does the work and returns the exit status."""
        ...


def main(argv: Sequence[str] | None = None) -> int:
    """Runs one command.

    Args:
        argv: the arguments after the program's name. Default: those of the process.

    Returns:
        0 good, 1 the thing checked is not in order, 2 bad usage or configuration.

    Raises:
        SystemExit: with 2 for bad usage, with 0 for `--help` and `--version`.
    """
    try:
        try:
            return _run(argv)
        finally:
            sys.stdout.flush()  # here, where a reader that has gone can still be noticed
    except ConfigurationError as error:
        line = " ".join(str(error).splitlines())
        sys.stderr.write(f"{PROGRAM}: error: {line}\n")
        return UNUSABLE
    except KeyboardInterrupt:
        return INTERRUPTED
    except BrokenPipeError:
        # What is still in the buffer would raise again when the interpreter ends.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return READER_GONE


def _run(argv: Sequence[str] | None) -> int:
    from openai_project_guard._cli.arguments import refuse_keys

    given = list(sys.argv[1:] if argv is None else argv)
    ours = given[: given.index("--")] if given[:1] == ["run"] and "--" in given else given
    refuse_keys(ours)  # before a complaint could quote one
    asked = _parser().parse_args(argv)
    command = cast(
        "Command",
        import_module(f"{__name__}.{'commands.run' if asked.command == 'run' else asked.command}"),
    )
    parser = argparse.ArgumentParser(
        f"{PROGRAM} {asked.command}", description=_sentence(COMMANDS[asked.command])
    )
    command.add_arguments(parser)
    return command.run(parser.parse_args(given[given.index(asked.command) + 1 :]))


def _parser() -> argparse.ArgumentParser:
    width = max(map(len, COMMANDS))
    commands = "\n".join(f"  {name:{width}}  {does}" for name, does in COMMANDS.items())
    parser = argparse.ArgumentParser(
        PROGRAM,
        description="Stops OpenAI calls whose OpenAI-Project header does not fit their API key.",
        formatter_class=argparse.RawDescriptionHelpFormatter,
        epilog=(
            f"commands:\n{commands}\n\n"
            f"{PROGRAM} COMMAND --help says more.\n"
            "Exit status: 0 good, 1 the thing checked is not in order, 2 bad usage or "
            "configuration."
        ),
    )
    parser.add_argument(
        "--version", action=_Version, nargs=0, help="show the version of the package"
    )
    parser.add_argument(
        "command", metavar="COMMAND", choices=COMMANDS, help="one of those listed below"
    )
    parser.add_argument("arguments", nargs=argparse.REMAINDER, default=[], help=argparse.SUPPRESS)
    return parser


class _Version(argparse.Action):
    """Looks the version up only when it is asked for."""

    def __call__(self, parser: argparse.ArgumentParser, *_: Any) -> None:
        from importlib.metadata import PackageNotFoundError, version

        try:
            found = version(PROGRAM)
        except PackageNotFoundError:  # run from a checkout
            found = "(not installed)"
        sys.stdout.write(f"{PROGRAM} {found}\n")
        parser.exit()


def _sentence(text: str) -> str:
    return text[0].upper() + text[1:] + "."
