"""Findings about variables and the files that they are read from."""

from __future__ import annotations

import os
from collections.abc import Iterable
from difflib import get_close_matches

from openai_project_guard import _env
from openai_project_guard._cli.diagnosis.collect import OVERRIDE, Diagnosis
from openai_project_guard._cli.diagnosis.findings.finding import Finding
from openai_project_guard._cli.key_input import ADMIN_KEY, API_KEY
from openai_project_guard._types import Mode

# What the SDK and the guard read (https://github.com/openai/openai-python, _client.py and
# lib/azure.py). What only looks like one of them is `wrong_variable`.
_READ = (
    API_KEY,
    ADMIN_KEY,
    "OPENAI_ORG_ID",
    "OPENAI_PROJECT_ID",
    "OPENAI_BASE_URL",
    "OPENAI_CUSTOM_HEADERS",
    "OPENAI_WEBHOOK_SECRET",
    "OPENAI_LOG",
    "OPENAI_API_VERSION",
    "OPENAI_API_TYPE",
)
_ALMOST = 0.8  # of 1, by difflib


def override(_: Diagnosis) -> Finding | None:
    value = _env.text(OVERRIDE)
    if value is None:
        return None
    return Finding(
        f"{OVERRIDE} is {value}: it beats every setting, argument and scope of this process.",
        "Unset it when the emergency is over.",
        is_wrong=False,
    )


def unknown_values(at: Diagnosis) -> Finding | None:
    if not at.unknown:
        return None
    return Finding(
        "; ".join(
            f"{name} refers to {' and '.join(refers)}, which "
            f"{'is' if len(refers) == 1 else 'are'} not set here"
            for name, refers in at.unknown.items()
        )
        + ".",
        "What depends on it is unknown. Set it here to have it judged too.",
        is_wrong=False,
    )


def environment_differs(at: Diagnosis) -> Finding | None:
    if at.env_file is None or not (names := _of_openai(at.env_file.replaced)):
        return None
    return Finding(
        f"The environment has another value of {names} than {at.env_file.path}. The file was taken "
        "here, but load_dotenv() keeps what the environment has.",
        "Unset it in the environment, or call load_dotenv(override=True).",
        is_wrong=False,
    )


def dotenv_not_loaded(at: Diagnosis) -> Finding | None:
    if at.dotenv is None:
        return None
    here = {name for name, value in at.dotenv.values.items() if os.environ.get(name) == value}
    if not (names := _of_openai(at.dotenv.values.keys() - here)):
        return None
    return Finding(
        f"There is a .env in this folder that sets {names}, and it is not loaded: importing "
        "openai_project_guard reads no file, and reads the environment once.",
        "Look at it with openai-project-guard doctor --env-file .env. In the program, call "
        "openai_project_guard.enable() after load_dotenv(), or start it with openai-project-guard "
        "run --env-file .env -- COMMAND.",
        is_wrong=False,
    )


def mistyped_variable(_: Diagnosis) -> Finding | None:
    missing = [name for name in _READ if name not in os.environ]
    for name in sorted(os.environ):
        if not name.startswith("OPEN") or name in _READ or name.startswith(_env.PREFIX):
            continue
        if name in ("OPENAI_PROJECT", "OPENAI_ORGANIZATION", "OPENAI_API_BASE"):
            continue  # said elsewhere
        for near in get_close_matches(name, missing, n=1, cutoff=_ALMOST):
            return Finding(
                f"{name} is set, which the SDK does not read; {near}, which it reads, is not set.",
                f"If it is a typing mistake, name the variable {near}.",
                is_wrong=False,
            )
    return None


def learn_in_enforce(at: Diagnosis) -> Finding | None:
    if at.settings is None or at.settings.policy.unregistered != "learn":
        return None
    if at.mode not in (Mode.ENFORCE, Mode.INJECT):
        return None
    return Finding(
        f"{_env.PREFIX}_UNREGISTERED is learn, and OPENAI_PROJECT_GUARD is {at.mode}: a call with "
        "a key that is in no registry is sent, and the key is registered for whatever project "
        "pays.",
        f"Set {_env.PREFIX}_UNREGISTERED to block, or unset it, when all keys are learned.",
        is_wrong=False,
    )


def _of_openai(names: Iterable[str]) -> str:
    return " and ".join(sorted(name for name in names if name.startswith("OPENAI_")))
