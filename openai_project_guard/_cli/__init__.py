"""The command line: finds the command, runs it, and turns what happened into an exit status."""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Sequence
from importlib import import_module
from itertools import takewhile
from typing import Any, Protocol, cast

from openai_project_guard._errors import ConfigurationError

PROGRAM = "openai-project-guard"
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
            return _run(list(sys.argv[1:] if argv is None else argv))
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


def _run(argv: list[str]) -> int:
    from openai_project_guard._cli import parsers
    from openai_project_guard._cli.key_input import refuse_keys

    if "_ARGCOMPLETE" in os.environ:  # the shell asks what may come next
        parsers.complete()

    own = argv[: argv.index("--")] if argv[:1] == ["run"] and "--" in argv else argv
    refuse_keys(own)  # before a complaint could quote one; what a program is given is its affair
    options = list(takewhile(lambda argument: argument.startswith("-"), argv))
    if options or not argv:
        program = parsers.program()
        program.parse_args(options)
        if options == argv:
            program.print_help(sys.stderr)
            program.exit(UNUSABLE)
    name, *arguments = argv[len(options) :]
    if name not in parsers.names():
        parsers.unknown_command(name)
    return load(name).run(parsers.command(name).parse_args(arguments))


def load(name: str) -> Command:
    """Imports a command; no other is imported."""
    return cast("Command", import_module(f"{__name__}.commands.{name}"))


class Version(argparse.Action):
    """Looks the version up only when it is asked for."""

    def __call__(self, parser: argparse.ArgumentParser, *_: Any) -> None:
        from importlib.metadata import PackageNotFoundError, version

        try:
            found = version(PROGRAM)
        except PackageNotFoundError:  # run from a checkout
            found = "(not installed)"
        sys.stdout.write(f"{PROGRAM} {found}\n")
        parser.exit()
