"""What `check` and `doctor` recognise by name: what is wrong, and how to fix it.

To add one, name it here, and yield it where its like is: in `findings_on_calls` what a default
client sends, in `findings_on_setup` what surrounds it.
"""

from __future__ import annotations

from openai_project_guard import _env
from openai_project_guard._cli.diagnosis import findings_on_calls, findings_on_setup
from openai_project_guard._cli.diagnosis.calls import HooksReport
from openai_project_guard._cli.diagnosis.collect import CUSTOM, Diagnosis, collect
from openai_project_guard._cli.env_files import EnvFile
from openai_project_guard._cli.key_input import API_KEY

_PROJECT, _ORGANIZATION, _URL = "OPENAI_PROJECT_ID", "OPENAI_ORG_ID", "OPENAI_BASE_URL"
_HEADERS = (API_KEY, _PROJECT, _ORGANIZATION)

FINDINGS: dict[str, tuple[str, ...]] = {
    "override": (),
    "settings_unusable": (_env.PREFIX,),
    "registry_unreadable": (_env.PREFIX,),
    "registry_empty": (_env.PREFIX,),
    "sdk_unsupported": (),
    "hooks_removed": (),
    "no_key": (API_KEY,),
    "unclean_key": (API_KEY,),
    "admin_key": (API_KEY,),
    "other_host": (_URL,),
    "key_of_another_project": (API_KEY, _PROJECT, _env.PREFIX),
    "stale_project": (_PROJECT, _env.PREFIX),
    "name_for_id": (_PROJECT,),
    "unclean_project": (_PROJECT,),
    "wrong_variable": (_PROJECT,),
    "no_project": (_PROJECT,),
    "unclean_organization": (_ORGANIZATION,),
    "unclean_header": (CUSTOM,),
    "another_organization": (API_KEY, _ORGANIZATION, _env.PREFIX),
    "unregistered_key": (API_KEY, _env.PREFIX),
    "pinned_elsewhere": (API_KEY, _PROJECT, _env.PREFIX),
    "server_disagrees": (*_HEADERS, _URL, _env.PREFIX),
    "legacy_key": (API_KEY, _env.PREFIX),
    "unknown_values": (),
    "skipped_line": (),
    "environment_differs": (),
    "dotenv_not_loaded": (),
    "mistyped_variable": (),
    "learn_in_enforce": (_env.PREFIX,),
    "guard_off": (_env.PREFIX,),
    "guard_only_warns": (_env.PREFIX,),
    "audit_unwritable": (_env.PREFIX,),
}
"""The findings by name, in the order in which they are shown, each with the variables that it
depends on: with one of these unknown, it would be a guess. Those of the guard count as one.
"""


def examine(
    *, live: bool, hooks: HooksReport | None = None, env_file: EnvFile | None = None
) -> Diagnosis:
    """The diagnosis of this environment, with the findings.

    Args:
        live: ask the API, too.
        hooks: what was found out about them.
        env_file: where the environment comes from.
    """
    at = collect(live=live, hooks=hooks, env_file=env_file)
    unknown = {_env.PREFIX if name.startswith(_env.PREFIX) else name for name in at.unknown}
    if CUSTOM in unknown:  # it may set any header
        unknown.update(_HEADERS)
    at.findings = [
        finding._replace(message=at.without_keys(finding.message), fix=at.without_keys(finding.fix))
        for finding in (*findings_on_setup.find(at), *findings_on_calls.find(at))
        if unknown.isdisjoint(FINDINGS[finding.name])
    ]
    order = list(FINDINGS)
    at.findings.sort(key=lambda f: (f.name != "override", not f.is_wrong, order.index(f.name)))
    if at.unknown:  # the verdict is on values that stand in for them
        at.verdict = at.refusal = None
    return at
