"""Which registry a command changes."""

from __future__ import annotations

import argparse
import os

from openai_project_guard import _env
from openai_project_guard._errors import ConfigurationError
from openai_project_guard._registry.stores import SCHEMES, is_url, is_writable

DEFAULT = "openai-projects.toml"
URLS = f"{'://, '.join(SCHEMES[:-1])}:// or {SCHEMES[-1]}:// URL"


def add_argument(parser: argparse.ArgumentParser) -> None:
    """Declares `--registry`."""
    parser.add_argument(
        "--registry",
        metavar="FILE|URL",
        help=f"the registry: a file, or a {URLS} (default: the one that "
        f"{_env.REGISTRY} names, or else ./{DEFAULT} or the one in the user's "
        "configuration directory)",
    )


def address(given: str | None, option: str = "--registry") -> str:
    """The registry that was given, that the environment names, that is there, or a new file here.

    Raises:
        ConfigurationError: the environment names several, or one that cannot be changed, or a file
            that would be named after a password or a key.
    """
    how = f"{option} FILE or {option} URL" if option.startswith("-") else option
    names = (given,) if given is not None else _env.registry_names()
    if len(names) > 1:
        raise ConfigurationError(
            f"{_env.REGISTRY} names several registries. Say which one is meant: {how}."
        )
    if not names:
        return DEFAULT
    who = _env.REGISTRY if given is None else option
    if not is_url(names[0]):
        _env.checked_path(who, names[0], f"a file or a {URLS}")
    elif not is_writable(names[0]):
        # The URL itself is not shown: there may be a password in it.
        raise ConfigurationError(
            f"{who} names a URL at which a registry can be read, not changed. Give a file or a "
            f"{URLS}: {how}."
        )
    return names[0].removeprefix(os.path.join(os.curdir, ""))
