"""Reads keys: from standard input, a prompt without echo or a variable, never an argument."""

from __future__ import annotations

import argparse
import getpass
import os
import re
import sys
import warnings
from collections.abc import Sequence

from openai_project_guard._errors import ConfigurationError, hide_frames
from openai_project_guard._keys import (
    digest,
    find_key,
    fingerprint_of,
    hint,
    redact,
    shown,
    validate_key,
    weakness,
)

KEY_HELP = (
    "The key is read from the variable that --key-env names, or else from standard input, or at a "
    "prompt that does not show it; never from an argument."
)
"""For `--help`."""

_VARIABLE = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")
API_KEY, ADMIN_KEY = "OPENAI_API_KEY", "OPENAI_ADMIN_KEY"
_SHORTEST = 8  # characters; a shorter value would be found in every other word: it must be alone
_LONGEST = 65_536  # characters; a key has a few hundred, a token a few thousand
_SCHEME = re.compile(r"\ABearer\s", re.IGNORECASE)
_WRAPPING = re.compile(r"\A[\s\"'‘’“”]*")


class Secret:
    """A key that was read. Neither its repr nor a traceback that shows locals gives it away."""

    __slots__ = ("_key",)

    def __init__(self, key: str) -> None:
        self._key = key

    def __repr__(self) -> str:
        return f"<key {self.hint}>"

    @property
    def hint(self) -> str:
        """What may be shown of it."""
        return hint(self._key)

    @property
    def weakness(self) -> str | None:
        """Why it could be guessed from its fingerprint; `None` if it looks random."""
        return weakness(self._key)

    @property
    def fingerprint(self) -> str:
        """Its fingerprint, as the registry file has it."""
        return fingerprint_of(digest(self._key))

    def reveal(self) -> str:
        """The key itself, for the SDK."""
        return self._key


@hide_frames
def read_key(variable: str | None, *beside: str | None) -> Secret:
    """A key from the named variable, or else from standard input or from a prompt without echo.

    Args:
        variable: its name; `None` where none was given.
        beside: what is to be kept with the key.

    Raises:
        ConfigurationError: there is none, it is unfit to be registered, or what is to be kept with
            it has a key in it.
    """
    key = _from_stdin() if variable is None else _from_variable(variable)
    validate_key(key, *beside)
    return Secret(key)


def add_argument(parser: argparse.ArgumentParser) -> None:
    """Declares `--key-env`."""
    parser.add_argument(
        "--key-env", metavar="NAME", help="the environment variable that holds the key"
    )


def refuse_keys(arguments: Sequence[str]) -> None:
    """Refuses arguments that contain a key, whatever they are meant for."""
    for argument in arguments:
        found = find_key(argument)
        if found:
            raise ConfigurationError(
                f"An argument holds an API key ({hint(found)}). Keys are not taken from "
                "arguments: it is now in the shell's history, and others may have seen it in "
                "the list of processes. Revoke it and make a new one. Give that one on standard "
                "input, at the prompt, or in a variable (--key-env NAME)."
            )


def without_keys(text: str) -> str:
    """The text with every key in it, of the environment or by its looks, replaced by its hint."""
    for name in (API_KEY, ADMIN_KEY):
        key = bare(os.environ.get(name, ""))
        if len(key) >= _SHORTEST:
            text = text.replace(key, hint(key))
        elif key:
            alone = rf"(?:(?<=['\"])|^\W*){re.escape(key)}(?=['\"]|\W*$)"
            text = re.sub(alone, lambda _: hint(""), text)
    return redact(text)


def bare(key: str) -> str:
    """A key without what may be around it by mistake."""
    begun = _WRAPPING.sub("", _SCHEME.sub("", key))
    return _WRAPPING.sub("", begun[::-1])[::-1]


def _from_variable(name: str) -> str:
    if not _VARIABLE.fullmatch(name):
        raise ConfigurationError("--key-env takes the name of a variable, not its value.")
    key = os.environ.get(name)
    if not key:
        state = "is not set" if key is None else "is empty"
        raise ConfigurationError(f"The variable {shown(name)}, which --key-env names, {state}.")
    return key


def _from_stdin() -> str:
    if sys.stdin is None:
        raise ConfigurationError("There is no standard input to read a key from. Use --key-env.")
    if not sys.stdin.isatty():
        return _from_pipe()
    with warnings.catch_warnings():
        # Where the echo cannot be switched off, getpass would warn and go on.
        warnings.simplefilter("error", getpass.GetPassWarning)
        try:
            return getpass.getpass("Key (it will not be shown): ", sys.stderr)
        except (getpass.GetPassWarning, EOFError):
            pass
    raise ConfigurationError("No key was read: this terminal cannot hide it, or gave none.")


def _from_pipe() -> str:
    try:
        key = sys.stdin.read(_LONGEST + 1)
    except UnicodeDecodeError:
        key = "\ufffd" * 2  # the error itself holds what was read
    key = re.sub(r"\r?\n\Z", "", key)
    if not key:
        raise ConfigurationError(
            "There is no key on standard input. Pipe it in, or name a variable with --key-env."
        )
    if len(key) > _LONGEST:
        raise ConfigurationError(
            f"There is no key on standard input, but more than {_LONGEST} characters. Pipe in the "
            "key alone."
        )
    return key
