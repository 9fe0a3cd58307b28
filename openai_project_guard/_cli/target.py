"""Which registry a command changes."""

from __future__ import annotations

import argparse
import os

from openai_project_guard import _env
from openai_project_guard._errors import ConfigurationError
from openai_project_guard._registry.stores import SCHEMES, is_url, is_writable

DEFAULT = "openai-projects.toml"
_REDIS = f"{'://, '.join(SCHEMES[:-1])}:// or {SCHEMES[-1]}:// URL"


def add_argument(parser: argparse.ArgumentParser) -> None:
    """Declares `--registry`."""
    parser.add_argument(
        "--registry",
        metavar="FILE|URL",
        help=f"the registry: a file, or a {_REDIS} (default: the one that "
        f"{_env.REGISTRY} names, or else ./{DEFAULT} or the one in the user's "
        "configuration directory)",
    )


def add_url_argument(parser: argparse.ArgumentParser) -> None:
    """Declares `--registry` for a command that takes a file besides."""
    parser.add_argument(
        "--registry",
        metavar="URL",
        help=f"the registry in Redis (default: the {_REDIS} in {_env.REGISTRY})",
    )


def address(given: str | None) -> str:
    """The registry that was given, that the environment names, that is there, or a new file here.

    Raises:
        ConfigurationError: the environment names several, or one that cannot be changed.
    """
    names = (given,) if given is not None else _env.registry_names()
    if len(names) > 1:
        raise ConfigurationError(
            f"{_env.REGISTRY} names several registries. Say which one is meant: "
            "--registry FILE or --registry URL."
        )
    if not names:
        return DEFAULT
    if not is_writable(names[0]):
        who = _env.REGISTRY if given is None else "--registry"
        # The URL itself is not shown: there may be a password in it.
        raise ConfigurationError(
            f"{who} names a URL at which a registry can be read, not changed. Give a file or a "
            f"{_REDIS}: --registry FILE or --registry URL."
        )
    return names[0].removeprefix(os.path.join(os.curdir, ""))


def url(given: str | None) -> str:
    """The URL that was given, or else the only one in Redis that the environment names.

    Raises:
        ConfigurationError: it names none, or several.
    """
    if given is not None:
        if is_url(given):
            return given
        raise ConfigurationError(f"--registry takes a {_REDIS} here.")
    urls = [name for name in _env.registry_names() if is_url(name)]
    if len(urls) == 1:
        return urls[0]
    raise ConfigurationError(
        f"{_env.REGISTRY} names {'several registries' if urls else 'no registry'} in "
        "Redis. Say which one is meant: --registry URL."
    )
