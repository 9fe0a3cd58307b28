"""The versions of what is installed, and how to install what is not."""

from __future__ import annotations

import functools
from importlib.metadata import PackageNotFoundError, version

# Of the extras, those whose library a message tells users to install. Written out here, since a
# frozen program has no metadata; a test compares it with pyproject.toml.
LIBRARIES = {"completion": "argcomplete>=3", "redis": "redis>=5", "report": "jinja2>=3.1"}


def how_to_install(extra: str) -> str:
    """Says how to install the library of an extra, with the command on a line of its own.

    The command names the library, not this package with the extra: that would have to be found
    again where this one is from, such as a checkout or a wheel.
    """
    return f'It comes with the extra {extra}, or with:\npip install "{LIBRARIES[extra]}"'


@functools.cache
def version_of(package: str) -> str | None:
    """A distribution's version, or `None` where it is not installed, as in a frozen program."""
    try:
        return version(package)
    except PackageNotFoundError:
        return None
