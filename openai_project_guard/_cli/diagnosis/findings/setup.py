"""Findings about registries, hooks, hosts and settings."""

from __future__ import annotations

import os
from collections.abc import Sequence

from openai_project_guard import _env
from openai_project_guard._cli.diagnosis.collect import Diagnosis
from openai_project_guard._cli.diagnosis.findings.finding import Finding
from openai_project_guard._cli.diagnosis.header_sources import shown_url
from openai_project_guard._cli.registry_status import RegistryStatus, none_found
from openai_project_guard._env import HOST_NAME
from openai_project_guard._registry.stores import is_url
from openai_project_guard._types import Mode


def settings_unusable(at: Diagnosis) -> Finding | None:
    if at.settings_error is None or any(registry.error for registry in at.registries):
        return None
    if at.hooks is not None and at.hooks.error:
        return None
    return Finding(at.settings_error, "Correct or unset that setting.")


def registry_unreadable(at: Diagnosis) -> Finding | None:
    broken = [registry for registry in at.registries if registry.error]
    if not broken:
        return None
    return Finding(
        f"A registry cannot be read. {' '.join(registry.error or '' for registry in broken)}",
        _fix_of_unreadable(broken, _env.registry_names()),
    )


def _fix_of_unreadable(broken: Sequence[RegistryStatus], names: Sequence[str]) -> str:
    if all(registry.name == _env.KEYS for registry in broken):
        return f"Correct {_env.KEYS}: project=fingerprint, with commas between."
    if any(name.startswith("~") for name in names):
        return f"Write the whole path in {_env.REGISTRY}: there is no home of such a user."
    if any(not (is_url(name) or os.path.isabs(name) or os.path.exists(name)) for name in names):
        return (
            f"Correct {_env.REGISTRY}, or run in the right folder: a relative path is seen from "
            f"the current one, {os.getcwd()}."
        )
    return f"Correct or restore it, or set {_env.REGISTRY} to another."


def registry_empty(at: Diagnosis) -> Finding | None:
    if any(registry.error for registry in at.registries) or any(len(known) for known in at.known):
        return None
    if at.registries:
        return Finding(
            f"The registry is empty: {' and '.join(registry.name for registry in at.registries)} "
            "has no key.",
            "Add one: openai-project-guard register PROJECT.",
        )
    return Finding(
        none_found(),
        "Make one: openai-project-guard register PROJECT.",
    )


def sdk_unsupported(at: Diagnosis) -> Finding | None:
    if at.hooks is None or at.hooks.error is None:
        return None
    return Finding(at.hooks.error, "Change the release of openai or of openai-project-guard.")


def hooks_removed(at: Diagnosis) -> Finding | None:
    if at.hooks is None or at.hooks.are_good or at.hooks.error:
        return None
    lost = " and ".join(at.hooks.lost)
    return Finding(
        f"Another tool removed the guard's hook from {lost}: calls are sent unchecked."
        if lost
        else "The hooks do not work: another tool removed them, or replaced what they wrap.",
        "Call openai_project_guard.enable() after that tool has started.",
    )


def other_host(at: Diagnosis) -> Finding | None:
    if at.sent is None or at.settings is None or at.is_openai:
        return None
    url = os.environ.get("OPENAI_BASE_URL")
    if not HOST_NAME.fullmatch(at.sent.host):
        return Finding(
            f"OPENAI_BASE_URL is {'empty' if not url else 'no URL with a host'}, so no call can "
            "go anywhere.",
            "Unset it, or set it to a URL such as https://api.openai.com/v1.",
        )
    unseen = "so the guard does not look at its calls"
    judged = "the guard looks at its calls only because this key is registered"
    return Finding(
        f"The base URL is not OpenAI's ({shown_url(url) or at.sent.host}), "
        f"{unseen if at.verdict is None else judged}.",
        f"Unset OPENAI_BASE_URL, or, if {at.sent.host} forwards calls to OpenAI, add it to "
        "OPENAI_PROJECT_GUARD_HOSTS.",
        is_wrong=at.verdict is None,
    )


def guard_off(at: Diagnosis) -> Finding | None:
    if at.mode is not Mode.OFF or at.settings_error:
        return None
    return Finding(
        "OPENAI_PROJECT_GUARD is off or not set: the guard checks only where the program itself "
        "calls enable() or uses @guard.",
        "Set OPENAI_PROJECT_GUARD=enforce and import openai_project_guard at start-up, or start "
        "the program with openai-project-guard run.",
        is_wrong=False,
    )


def guard_only_warns(at: Diagnosis) -> Finding | None:
    if at.mode is not Mode.WARN:
        return None
    return Finding(
        "OPENAI_PROJECT_GUARD is warn: a wrong call is logged and sent nevertheless.",
        "Set OPENAI_PROJECT_GUARD=enforce when no wrong call is logged any more.",
        is_wrong=False,
    )
