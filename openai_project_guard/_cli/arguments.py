"""Keeps keys out of the command line's arguments."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from typing import Any

from openai_project_guard._errors import ConfigurationError
from openai_project_guard._key import hint
from openai_project_guard._sources.file import _RAW_KEY


def refuse_keys(arguments: Sequence[str]) -> None:
    """Refuses arguments in which a key stands, whatever they are meant for.

    Raises:
        ConfigurationError: one does; the message shows its hint only.
    """
    for argument in arguments:
        found = _RAW_KEY.search(argument)
        if found:
            raise ConfigurationError(
                f"An argument holds an API key ({hint(found.group())}). Keys are not taken from "
                "arguments: it now stands in the shell's history, and others may have seen it in "
                "the list of processes. Revoke it and make a new one. Give that one on standard "
                "input, at the prompt, or in a variable (--key-env NAME)."
            )


def keep_keys_out(parser: argparse.ArgumentParser) -> None:
    """Has a parser refuse keys before it could quote one in a complaint of its own."""
    parse = parser.parse_args

    def parse_args(args: Any = None, namespace: Any = None) -> Any:
        refuse_keys(args or ())
        return parse(args, namespace)

    parser.parse_args = parse_args  # type: ignore[method-assign]
