"""Keeps keys out of the command line's arguments."""

from __future__ import annotations

from collections.abc import Sequence

from openai_project_guard._errors import ConfigurationError
from openai_project_guard._keys import find_key, hint


def refuse_keys(arguments: Sequence[str]) -> None:
    """Refuses arguments in which a key stands, whatever they are meant for.

    Raises:
        ConfigurationError: one does; the message shows its hint only.
    """
    for argument in arguments:
        found = find_key(argument)
        if found:
            raise ConfigurationError(
                f"An argument holds an API key ({hint(found)}). Keys are not taken from "
                "arguments: it now stands in the shell's history, and others may have seen it in "
                "the list of processes. Revoke it and make a new one. Give that one on standard "
                "input, at the prompt, or in a variable (--key-env NAME)."
            )
