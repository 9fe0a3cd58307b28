"""The versions of what is installed."""

from __future__ import annotations

import functools
from importlib.metadata import PackageNotFoundError, version


@functools.cache
def version_of(package: str) -> str | None:
    """A distribution's version, or `None` where it is not installed, as in a frozen program."""
    try:
        return version(package)
    except PackageNotFoundError:
        return None
