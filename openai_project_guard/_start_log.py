"""The records at the guard's start: what is checked, by which registries, in which versions."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from typing import TYPE_CHECKING

from openai_project_guard import _env
from openai_project_guard._log import log, logger
from openai_project_guard._versions import version_of

if TYPE_CHECKING:
    from openai_project_guard._settings import Settings

UNKNOWN = "(unknown version)"


def log_started(settings: Settings, where: str = "") -> None:
    """Logs an override, if there is one, and the settings that calls are judged by from now on."""
    log_override()
    if not logger.isEnabledFor(logging.INFO):
        return  # to find the versions out takes longer than the rest of a start
    policy = settings.policy
    snapshots = [registry.snapshot for registry in settings.registries]
    # Copied, as below, for another thread may register a key of one more project meanwhile.
    projects = {known.id for snapshot in snapshots for known in [*snapshot.projects.values()]}
    log(
        logging.INFO,
        "Started%s: mode %s%s, pinned to %s, registry %s, %d keys of %d projects, "
        "openai-project-guard %s, openai %s.",
        where,
        policy.mode,
        " (OPENAI_PROJECT_GUARD_OVERRIDE)" if policy.is_override else "",
        policy.pinned or "no project",
        ", ".join(_registry_names(settings)) or "in memory",
        len(set().union(*(snapshot.keys for snapshot in snapshots))),
        len(projects),
        version_of("openai-project-guard") or UNKNOWN,
        version_of("openai") or UNKNOWN,
    )


def log_override() -> None:
    """Logs that the guard starts under `OPENAI_PROJECT_GUARD_OVERRIDE`, if it does."""
    override = _env.override()
    if override is not None:
        log(
            logging.WARNING,
            "%s is %s: it beats every setting, argument and scope of this process. Unset it when "
            "the emergency is over.",
            _env.OVERRIDE,
            override.value,
        )


def _registry_names(settings: Settings) -> Iterator[str]:
    """The sources, and what no source keeps: a variable, a mapping, the program's `Registry`."""
    for source in settings.sources:
        yield source.name
    kept = [source.registry for source in settings.sources]
    for registry in settings.registries[:-1]:  # the last are the keys given to register()
        places = {project.place.name for project in [*registry.snapshot.projects.values()]}
        if not places or any(registry is each for each in kept):
            continue
        yield places.pop() if len(places) == 1 else "the Registry given to enable(registry=...)"
