"""The command line: finds the command, runs it, and turns what happened into an exit status."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from importlib import import_module
from itertools import takewhile
from types import ModuleType

from openai_project_guard._errors import ConfigurationError

PROGRAM = "openai-project-guard"
GOOD, NOT_IN_ORDER, UNUSABLE = 0, 1, 2
INTERRUPTED, READER_GONE = 130, 141
"""128 and the number of the signal, as the shell has it."""


COMMANDS = {
    "demo": "send right and wrong calls to a server on this machine, without and with the guard",
    "register": "add a key to the registry; the key itself is not kept",
    "run": "run a Python program under the guard, without a change to it",
    "check": "say whether a default OpenAI() in this environment would pass",
    "doctor": "show hooks, variables, registries and verdict, and how to fix what is wrong",
    "list": "show what is registered, and in which registry",
    "remove": "take a key, or a project with its keys, out of the registry",
    "fingerprint": "print the fingerprint of a key, as a registry has it",
    "validate": "say whether registry files are in order, for editors, pre-commit and CI",
    "copy": "make one registry say what another says, after showing the difference",
    "sync": "add the organization's projects to the registry and bind the keys in your environment",
    "report": "say what the processes that kept an audit saw, and what to change",
}
"""What each does. It is a module of that name in `commands`, with `add_arguments()` and `run()`."""


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
        complain(str(error))
        return UNUSABLE
    except KeyboardInterrupt:
        return INTERRUPTED
    except FileNotFoundError:
        if _is_somewhere():
            raise
        complain("The current folder was deleted. Change to another one.")
        return UNUSABLE
    except OutputError as error:
        # What is still in the buffer would raise again when the interpreter ends.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        if isinstance(error.__cause__, BrokenPipeError):
            return READER_GONE
        complain(f"The output cannot be written: {error}.")
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


def complain(problem: str, kind: str = "error") -> None:
    """Writes a line on standard error, if that can be written to; an indented one stays apart."""
    said = ""
    for line in problem.splitlines():
        said += f"\n{line}" if line.startswith("    ") else f" {line}"
    with suppress(OSError):
        sys.stderr.write(f"{PROGRAM}: {kind}:{said}\n")


def _is_somewhere() -> bool:
    try:
        os.getcwd()
    except FileNotFoundError:
        return False
    return True


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
    if name not in COMMANDS:
        near = parsers.nearest(name, COMMANDS)
        parsers.program().error(f"there is no command {name!r}{near}")
    status: int = load(name).run(parsers.command(name).parse_args(arguments))
    return status


def load(name: str) -> ModuleType:
    """Imports a command; no other is imported."""
    return import_module(f"{__name__}.commands.{name}")
