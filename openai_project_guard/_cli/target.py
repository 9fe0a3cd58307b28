"""Which registry file a command changes."""

from __future__ import annotations

import argparse
import os

from openai_project_guard import _environment
from openai_project_guard._errors import ConfigurationError
from openai_project_guard._key import shown

DEFAULT = "openai-projects.toml"


def add_argument(parser: argparse.ArgumentParser) -> None:
    """Declares `--registry`."""
    parser.add_argument(
        "--registry",
        metavar="FILE",
        help="the registry file (default: the one that OPENAI_PROJECT_GUARD_REGISTRY names, or "
        f"else ./{DEFAULT} or the one in the user's configuration directory)",
    )


def registry_file(given: str | None) -> str:
    """The file that was given, that the environment names, that is there, or a new one here.

    Raises:
        ConfigurationError: the environment names several, or something that is no file.
    """
    if given is not None:
        if "://" in given:
            raise ConfigurationError(f"--registry takes a file, and {shown(given)} is a URL.")
        return given
    names = _environment.registry_names()
    if len(names) > 1 or any("://" in name for name in names):
        what = "several registries" if len(names) > 1 else "a URL, not a file"
        raise ConfigurationError(
            f"{_environment.REGISTRY} names {what}. Say which file is meant: --registry FILE."
        )
    return names[0].removeprefix(os.path.join(os.curdir, "")) if names else DEFAULT
