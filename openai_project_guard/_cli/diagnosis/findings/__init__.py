"""What `check` and `doctor` recognise by name: what is wrong, and how to fix it.

To add one, write a function of a `Diagnosis` that gives a `Finding` or `None`, and list it below.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import replace

from openai_project_guard import _env
from openai_project_guard._cli.diagnosis.collect import Diagnosis
from openai_project_guard._cli.diagnosis.findings import key, project, setup, variables
from openai_project_guard._cli.diagnosis.findings.finding import Finding
from openai_project_guard._cli.diagnosis.header_sources import CUSTOM
from openai_project_guard._cli.key_input import API_KEY, without_keys

_PROJECT, _ORGANIZATION, _URL = "OPENAI_PROJECT_ID", "OPENAI_ORG_ID", "OPENAI_BASE_URL"
_HEADERS = (API_KEY, _PROJECT, _ORGANIZATION)
Variables = tuple[str, ...]

FINDINGS: dict[str, tuple[Callable[[Diagnosis], Finding | None], Variables]] = {
    "override": (variables.override, ()),
    "settings_unusable": (setup.settings_unusable, (_env.PREFIX,)),
    "registry_unreadable": (setup.registry_unreadable, (_env.PREFIX,)),
    "registry_empty": (setup.registry_empty, (_env.PREFIX,)),
    "sdk_unsupported": (setup.sdk_unsupported, ()),
    "hooks_removed": (setup.hooks_removed, ()),
    "no_key": (key.no_key, (API_KEY,)),
    "unclean_key": (key.unclean_key, (API_KEY,)),
    "admin_key": (key.admin_key, (API_KEY,)),
    "other_host": (setup.other_host, (_URL,)),
    "key_of_another_project": (project.key_of_another_project, (API_KEY, _PROJECT, _env.PREFIX)),
    "stale_project": (project.stale_project, (_PROJECT, _env.PREFIX)),
    "name_for_id": (project.name_for_id, (_PROJECT,)),
    "unclean_project": (project.unclean_project, (_PROJECT,)),
    "wrong_variable": (project.wrong_variable, (_PROJECT,)),
    "no_project": (project.no_project, (_PROJECT,)),
    "another_organization": (project.another_organization, (API_KEY, _ORGANIZATION, _env.PREFIX)),
    "unregistered_key": (key.unregistered_key, (API_KEY, _env.PREFIX)),
    "pinned_elsewhere": (project.pinned_elsewhere, (API_KEY, _PROJECT, _env.PREFIX)),
    "server_disagrees": (
        key.server_disagrees,
        (*_HEADERS, _URL, _env.PREFIX),
    ),
    "legacy_key": (key.legacy_key, (API_KEY, _env.PREFIX)),
    "unknown_values": (variables.unknown_values, ()),
    "environment_differs": (variables.environment_differs, ()),
    "dotenv_not_loaded": (variables.dotenv_not_loaded, ()),
    "mistyped_variable": (variables.mistyped_variable, ()),
    "learn_in_enforce": (variables.learn_in_enforce, (_env.PREFIX,)),
    "guard_off": (setup.guard_off, (_env.PREFIX,)),
    "guard_only_warns": (setup.guard_only_warns, (_env.PREFIX,)),
}
"""Each finding's name, which `--json` shows; the function that recognises it; the variables that it
depends on: with one of these unknown, it would be a guess. Those of the guard count as one.
"""


def find_all(diagnosis: Diagnosis) -> list[Finding]:
    """The findings of a diagnosis: an override first, then what puts it out of order."""
    unknown = _unknown(diagnosis)
    found = [
        replace(
            finding,
            name=name,
            message=without_keys(finding.message),
            fix=without_keys(finding.fix),
        )
        for name, (find, needed) in FINDINGS.items()
        if unknown.isdisjoint(needed) and (finding := find(diagnosis)) is not None
    ]
    return sorted(found, key=lambda finding: (finding.name != "override", not finding.is_wrong))


def is_in_order(diagnosis: Diagnosis, findings: Iterable[Finding]) -> bool:
    """Whether nothing is wrong; what is not known is not wrong."""
    if any(finding.is_wrong for finding in findings):
        return False
    return diagnosis.passes or bool(diagnosis.unknown)


def _unknown(diagnosis: Diagnosis) -> set[str]:
    unknown = {
        _env.PREFIX if variable.startswith(_env.PREFIX) else variable
        for variable in diagnosis.unknown
    }
    if CUSTOM in unknown:  # it may set any header
        unknown.update(_HEADERS)
    return unknown
