"""What `check` and `doctor` recognise by name: what is wrong, and how to fix it.

To add one, write a function of a `Diagnosis` that gives a `Finding` or `None`, and list it below.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

from openai_project_guard import _env
from openai_project_guard._cli.diagnosis.collect import Diagnosis
from openai_project_guard._cli.diagnosis.findings import key, project, setup
from openai_project_guard._cli.diagnosis.findings.finding import Finding
from openai_project_guard._cli.diagnosis.header_sources import CUSTOM
from openai_project_guard._cli.key_input import without_keys

_ABOUT = {
    "settings_unusable": _env.PREFIX,
    "registry_unreadable": _env.PREFIX,
    "registry_empty": _env.PREFIX,
    "sdk_unsupported": "",
    "hooks_removed": "",
    "other_host": "OPENAI_BASE_URL",
    "stale_project": "OPENAI_PROJECT",
    "name_for_id": "OPENAI_PROJECT",
    "unclean_project": "OPENAI_PROJECT",
    "wrong_variable": "OPENAI_PROJECT",
    "no_project": "OPENAI_PROJECT",
}
"""The findings that hold although some variables are not known, unless their name begins so."""

FINDINGS: dict[str, Callable[[Diagnosis], Finding | None]] = {
    "settings_unusable": setup.settings_unusable,
    "registry_unreadable": setup.registry_unreadable,
    "registry_empty": setup.registry_empty,
    "sdk_unsupported": setup.sdk_unsupported,
    "hooks_removed": setup.hooks_removed,
    "no_key": key.no_key,
    "unclean_key": key.unclean_key,
    "admin_key": key.admin_key,
    "other_host": setup.other_host,
    "key_of_another_project": project.key_of_another_project,
    "stale_project": project.stale_project,
    "name_for_id": project.name_for_id,
    "unclean_project": project.unclean_project,
    "wrong_variable": project.wrong_variable,
    "no_project": project.no_project,
    "another_organization": project.another_organization,
    "unregistered_key": key.unregistered_key,
    "pinned_elsewhere": project.pinned_elsewhere,
    "server_disagrees": key.server_disagrees,
    "legacy_key": key.legacy_key,
    "guard_off": setup.guard_off,
    "guard_only_warns": setup.guard_only_warns,
}
"""Each finding's name, which `--json` shows, and the function that recognises it."""


def find_all(diagnosis: Diagnosis) -> list[Finding]:
    """The findings of a diagnosis: those that put it out of order first."""
    found = [
        replace(
            finding,
            name=name,
            message=without_keys(finding.message),
            fix=without_keys(finding.fix),
        )
        for name, find in FINDINGS.items()
        if _is_sure(name, diagnosis) and (finding := find(diagnosis)) is not None
    ]
    return sorted(found, key=lambda finding: not finding.is_wrong)


def _is_sure(name: str, diagnosis: Diagnosis) -> bool:
    if not diagnosis.unknown:
        return True
    about = _ABOUT.get(name)
    return about == "" or (
        about is not None
        and CUSTOM not in diagnosis.unknown
        and not any(variable.startswith(about) for variable in diagnosis.unknown)
    )
