"""What the observers that record verdicts have in common."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import asdict
from typing import Any

from openai_project_guard._check.verdict import Verdict
from openai_project_guard._registry.source import Status
from openai_project_guard._start_log import UNKNOWN
from openai_project_guard._state import STATE
from openai_project_guard._versions import version_of

_LINE = re.compile(r":(\d+) in ")


def fields_of(verdict: Verdict) -> dict[str, Any]:
    """A verdict's fields, and its call site in parts, by the names of OpenTelemetry."""
    fields = asdict(verdict)
    site = (verdict.call_site or "").removesuffix(" (nearest known)")
    if found := [*_LINE.finditer(site)]:
        path, line, function = site[: found[-1].start()], found[-1][1], site[found[-1].end() :]
        fields |= {"code.filepath": path, "code.lineno": int(line), "code.function": function}
    return fields


def info() -> dict[str, str]:
    """Whether calls are checked here, and by what: mode and versions.

    The mode is `off` where the guard is not enabled, or another package took a hook off.
    """
    from openai_project_guard._hooks import unreached

    settings = STATE.settings
    is_on = settings is not None and not unreached()
    return {
        "mode": settings.policy.mode.value if settings is not None and is_on else "off",
        "version": version_of("openai-project-guard") or UNKNOWN,
        "sdk": version_of("openai") or UNKNOWN,
    }


def source_statuses() -> Iterator[tuple[str, Status]]:
    """The name of each source in use, and how it is doing now.

    It is asked when a dashboard's figures are collected, never on the path of a call.
    """
    settings = STATE.active
    for source in settings.sources if settings else ():
        yield source.name, source.status()
