"""The places in the application's code, as a line of the audit names them."""

from __future__ import annotations

import re

from openai_project_guard._check.call_site import MADE_BEFORE

_RELATIVE = re.compile(
    rf"(^|, then \w+ at )(?!/|\\|[A-Za-z]:[/\\]|<|Cell |{re.escape(MADE_BEFORE)})"
)
"""Before a path that is said from a directory; a notebook's cell and `<stdin>` are in none."""


def whole(site: str | None, folder: str | None) -> str | None:
    """A call site or a client site with its paths in full.

    Args:
        site: as it is written.
        folder: the directory from which the process that wrote it names paths.
    """
    if not site or not folder:
        return site
    separator = "/" if folder[0] == "/" else "\\"  # the file may come from another system
    prefix = folder if folder[-1] == separator else folder + separator
    return _RELATIVE.sub(lambda found: found[1] + prefix, site)
