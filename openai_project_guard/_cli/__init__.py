"""The command line: finds the command, runs it, and turns what happened into an exit status."""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
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
    for stream in ("stdout", "stderr"):
        if getattr(sys, stream) is None:  # closed by who started us, as a service manager may
            setattr(sys, stream, open(os.devnull, "w"))  # noqa: SIM115
    try:
        try:
            return _run(list(sys.argv[1:] if argv is None else argv))
        finally:
            with output_errors():  # here, where what goes wrong can still be said
                sys.stdout.flush()
    except ConfigurationError as error:
        _complain(str(error))
        return UNUSABLE
    except KeyboardInterrupt:
        return INTERRUPTED
    except OutputError as error:
        # What is still in the buffer would raise again when the interpreter ends.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        if isinstance(error.__cause__, BrokenPipeError):
            return READER_GONE
        _complain(f"The output cannot be written: {error}.")
        return UNUSABLE


class OutputError(Exception):
    """What a command prints cannot be written."""


@contextmanager
def output_errors() -> Iterator[None]:
    """Raises `OutputError` where a stream cannot be written to."""
    try:
        yield
    except OSError as error:
        raise OutputError(error.strerror) from error


def _complain(problem: str) -> None:
    with suppress(OSError):
        sys.stderr.write(f"{PROGRAM}: error: {' '.join(problem.splitlines())}\n")


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
        with output_errors():
            sys.stdout.write(f"{PROGRAM} {found}\n")
        parser.exit()
