"""The program that is to run: what is to be executed, and executing it."""

from __future__ import annotations

import os
import re
import shutil
import signal
import subprocess
import sys
from collections.abc import Sequence
from typing import NoReturn

from openai_project_guard._cli.parsers import nearest
from openai_project_guard._errors import ConfigurationError
from openai_project_guard._keys import shown

_PYTHON_FILE = (".py", ".pyw", ".pyz")
_STARTERS = ("python", "python3", "pytest", "gunicorn", "uvicorn", "celery", "uv", "flask")
_PYTHON = re.compile(r"(?:python|pypy)[\d.]*(?:w|[td]{1,2})?(?:-dbg)?(?:\.exe)?", re.IGNORECASE)
_WITH_VALUE = "XW"
_LAST = "cm"  # what follows belongs to the program
_ISOLATING = {"I": "PYTHONPATH", "E": "PYTHONPATH", "S": "sitecustomize"}


def command_line(command: Sequence[str]) -> list[str]:
    """The command with the interpreter before it where the command is a Python file or an option.

    Refuses what is not there, and a Python that is told to ignore what the guard needs.
    """
    first = command[0]
    line = list(command)
    if first.startswith("-") or first.lower().endswith(_PYTHON_FILE):
        line = [sys.executable, *command]
    elif shutil.which(first) is None:
        raise ConfigurationError(f"There is no command {shown(first)} on PATH{_suggestion(first)}")
    _refuse_isolation(line)
    return line


def execute(line: list[str]) -> NoReturn:
    """Becomes the program; on Windows, which cannot, runs it and exits with its status."""
    sys.stdout.flush()
    sys.stderr.flush()
    try:
        if os.name == "nt":
            raise SystemExit(run_to_end(line))
        for name in ("SIGPIPE", "SIGXFSZ"):  # Python ignores these, and a program would inherit it
            signal.signal(getattr(signal, name), signal.SIG_DFL)
        os.execvp(line[0], line)  # noqa: S606 - what the user asked for
    except OSError as error:
        raise ConfigurationError(f"{line[0]!r} cannot be executed: {error.strerror}.") from None


def run_to_end(line: list[str]) -> int:
    """Runs the program beside this process, which leaves Ctrl-C to it; returns its exit status."""
    with subprocess.Popen(line) as process:  # noqa: S603 - what the user asked for
        before = signal.signal(signal.SIGINT, signal.SIG_IGN)
        try:
            return process.wait()
        finally:
            signal.signal(signal.SIGINT, before)


def _suggestion(command: str) -> str:
    if os.path.isfile(command):
        return ". It is a file that is not executable: put python before it, or chmod +x it."
    return nearest(command, _STARTERS) or "."


def _refuse_isolation(line: list[str]) -> None:
    """Refuses a Python that would run the program unguarded, and say nothing of it."""
    if not _PYTHON.fullmatch(os.path.basename(line[0])):
        return
    arguments = iter(line[1:])
    for argument in arguments:
        if argument == "--check-hash-based-pycs":
            next(arguments, None)
            continue
        if not argument.startswith("-") or argument.startswith("--"):
            return
        for position, letter in enumerate(argument[1:], 2):
            if letter in _ISOLATING:
                raise ConfigurationError(
                    f"Python's option -{letter} ignores {_ISOLATING[letter]}, by which `run` "
                    "reaches a program: it would run unguarded. Leave the option out, or import "
                    "openai_project_guard in the program."
                )
            if letter in _LAST:
                return
            if letter in _WITH_VALUE:
                if position == len(argument):
                    next(arguments, None)
                break
