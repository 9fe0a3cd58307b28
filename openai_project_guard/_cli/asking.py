"""Asks before something is lost."""

from __future__ import annotations

import sys

from openai_project_guard._errors import ConfigurationError


def is_confirmed(question: str) -> bool:
    """Whether whoever sits at the terminal says yes.

    Raises:
        ConfigurationError: nobody sits there.
    """
    if sys.stdin is None or not sys.stdin.isatty():
        raise ConfigurationError(f"{question} There is no terminal to ask at: say --yes.")
    sys.stderr.write(f"{question} [y/N] ")
    sys.stderr.flush()
    return sys.stdin.readline().strip().lower() in ("y", "yes")
