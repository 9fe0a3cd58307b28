"""Findings on what surrounds a default client: registries, hooks, settings, variables, files."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator, Sequence
from difflib import get_close_matches
from pathlib import Path

from openai_project_guard import _env
from openai_project_guard._cli.diagnosis.collect import CUSTOM, Diagnosis, Finding, note
from openai_project_guard._cli.diagnosis.header_sources import HEADERS, shown_url
from openai_project_guard._cli.key_input import ADMIN_KEY, API_KEY
from openai_project_guard._cli.registry_status import RegistryStatus, none_found
from openai_project_guard._hosts import is_host, normal_host
from openai_project_guard._registry.stores import is_url
from openai_project_guard._types import Mode

# What the SDK reads (https://github.com/openai/openai-python, _client.py and
# lib/azure.py).
_READ = (
    *(variable for _, _, variable, _ in HEADERS),
    *(ADMIN_KEY, CUSTOM, "OPENAI_WEBHOOK_SECRET", "OPENAI_LOG"),
    *("OPENAI_API_VERSION", "OPENAI_API_TYPE"),
)
_NAMED_ELSEWHERE = {name for *_, unread in HEADERS for name in unread}
_ALMOST = 0.8  # of 1, by difflib


def find(at: Diagnosis) -> Iterator[Finding]:
    """All of them."""
    yield from _on_registries(at)
    yield from _on_hooks(at)
    yield from _on_the_host(at)
    yield from _on_settings(at)
    yield from _on_the_audit(at)
    yield from _on_files(at)
    yield from _on_misspelt_variables()


def _on_registries(at: Diagnosis) -> Iterator[Finding]:
    broken = [registry for registry in at.registries if registry.error]
    if broken:
        errors = [registry.error or "" for registry in broken]
        # What ends in a command, on a line of its own, comes last.
        errors.sort(key=lambda error: "\n" in error)
        yield Finding(
            "registry_unreadable",
            f"A registry cannot be read. {' '.join(errors)}",
            _fix_of_unreadable(broken, _env.registry_names()),
        )
    elif not any(each.keys for each in at.registries) and not at.settings_error:
        names = " and ".join(registry.name for registry in at.registries)
        yield Finding(
            "registry_empty",
            f"The registry is empty: {names} has no key." if names else none_found(),
            f"{'Add' if names else 'Make'} one: openai-project-guard register PROJECT.",
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


def _on_hooks(at: Diagnosis) -> Iterator[Finding]:
    hooks = at.hooks
    if hooks is not None and hooks.error:
        yield Finding(
            "sdk_unsupported",
            hooks.error,
            "Change the release of openai or of openai-project-guard.",
        )
    elif hooks is not None and (hooks.lost or not all(test.is_good for test in hooks.proofs)):
        lost = " and ".join(hooks.lost)
        yield Finding(
            "hooks_removed",
            f"Another tool removed the guard's hook from {lost}: calls are sent unchecked."
            if lost
            else "The hooks do not work: another tool removed them, or replaced what they wrap.",
            "Call openai_project_guard.enable() after that tool has started.",
        )


def _on_the_host(at: Diagnosis) -> Iterator[Finding]:
    if at.error or at.is_openai:
        return
    url = os.environ.get("OPENAI_BASE_URL")
    if not is_host(normal_host(at.sent.host)):
        yield Finding(
            "other_host",
            f"OPENAI_BASE_URL is {'no URL with a host' if url else 'empty'}, so no call can go "
            "anywhere.",
            "Unset it, or set it to a URL such as https://api.openai.com/v1.",
        )
        return
    if any(name == API_KEY or name.startswith(_env.PREFIX) for name in at.unknown):
        return  # a registered key is looked at everywhere, and so is any at a listed host
    is_unseen = at.verdict is None
    yield Finding(
        "other_host",
        f"The base URL is not OpenAI's ({shown_url(url) if url else at.sent.host})"
        + (
            ", so the guard does not look at its calls."
            if is_unseen
            else "; the guard looks at its calls only because this key is registered."
        ),
        f"Unset OPENAI_BASE_URL, or, if {at.sent.host} forwards calls to OpenAI, add it to "
        f"{_env.HOSTS}.",
        is_wrong=is_unseen,
    )


def _on_settings(at: Diagnosis) -> Iterator[Finding]:
    is_named = any(registry.error for registry in at.registries) or (at.hooks and at.hooks.error)
    if at.settings_error is not None and not is_named:
        yield Finding("settings_unusable", at.settings_error, "Correct or unset that setting.")
    if at.override is not None:
        unchecked = ", and no call is checked" if at.override is Mode.OFF else ""
        yield note(
            "override",
            f"{_env.OVERRIDE} is {at.override}: it beats every setting, argument and scope of this "
            f"process{unchecked}.",
            "Unset it when the emergency is over.",
        )
    learns = at.settings is not None and at.settings.policy.unregistered == "learn"
    if learns and at.mode in (Mode.ENFORCE, Mode.INJECT):
        yield note(
            "learn_in_enforce",
            f"{_env.POLICY_UNREGISTERED} is learn, and {_env.PREFIX} is {at.mode}: a call with a "
            "key that is in no registry is sent, and the key is registered for whatever project "
            "pays.",
            f"Set {_env.POLICY_UNREGISTERED} to block, or unset it, when all keys are learned.",
        )
    if at.off_by == _env.PREFIX:
        yield note(
            "guard_off",
            f"{_env.PREFIX} is off: calls are not checked, except inside @guard and where enable() "
            "or openai-project-guard run is given a mode.",
            "Unset it, or set it to enforce.",
        )
    elif at.mode is Mode.OFF and not (at.override or at.settings_error):
        yield note(
            "guard_off",
            f"{_env.PREFIX} is not set: the guard checks only where the program itself calls "
            "enable() or uses @guard.",
            f"Set {_env.PREFIX}=enforce and import openai_project_guard at start-up, or start the "
            "program with openai-project-guard run.",
        )
    if at.mode is Mode.WARN and at.override in (None, Mode.WARN):
        yield note(
            "guard_only_warns",
            f"{_env.PREFIX} is warn: a wrong call is logged and sent nevertheless.",
            f"Set {_env.PREFIX}=enforce when no wrong call is logged any more.",
        )


def _on_the_audit(at: Diagnosis) -> Iterator[Finding]:
    named = None if at.settings_error else _env.path(_env.AUDIT)
    if named is None:
        return
    from tempfile import TemporaryFile

    folder = Path(named).absolute()
    # What is missing of it would be made in the nearest that is there.
    nearest = next(filter(os.path.lexists, (folder, *folder.parents)), folder)
    try:
        with TemporaryFile(dir=nearest):  # os.access() says that root can write anywhere
            pass
    except OSError as error:
        yield note(
            "audit_unwritable",
            f"No file can be made in {named}, which {_env.AUDIT} names ({error.strerror}): no "
            "audit would be kept.",
            f"Set {_env.AUDIT} to a folder that this user can write to, or unset it.",
        )


def _on_files(at: Diagnosis) -> Iterator[Finding]:
    if at.unknown:
        yield note(
            "unknown_values",
            "; ".join(
                f"{name} refers to {' and '.join(refers)}, which "
                f"{'is' if len(refers) == 1 else 'are'} not set here"
                for name, refers in at.unknown.items()
            )
            + ".",
            "What depends on it is unknown. Set it here to have it judged too.",
        )
    if at.env_file is not None:
        for line in at.env_file.skipped:
            yield note(
                "skipped_line",
                f"{at.env_file.path}, line {line}, is not NAME=value, so it was skipped.",
                "Correct it, or begin it with # if it is a comment.",
            )
        if names := _of_openai(at.env_file.replaced):
            yield note(
                "environment_differs",
                f"The environment has another value of {names} than {at.env_file.path}. The file "
                "was taken here, but load_dotenv() keeps what the environment has.",
                "Unset it in the environment, or call load_dotenv(override=True).",
            )
    of_file = at.dotenv.values.items() if at.dotenv else ()
    unloaded = (name for name, value in of_file if os.environ.get(name) != value)
    if names := _of_openai(unloaded):
        yield note(
            "dotenv_not_loaded",
            f"There is a .env in this folder that sets {names}, and it is not loaded: importing "
            "openai_project_guard reads no file, and reads the environment once.",
            "Look at it with openai-project-guard doctor --env-file .env. In the program, call "
            "openai_project_guard.enable() after load_dotenv(), or start it with "
            "openai-project-guard run --env-file .env -- COMMAND.",
        )


def _of_openai(names: Iterable[str]) -> str:
    return " and ".join(sorted(name for name in names if name.startswith("OPENAI_")))


def _on_misspelt_variables() -> Iterator[Finding]:
    readers = dict.fromkeys(_READ, "the SDK")
    readers.update({variable.name: "the guard" for variable in _env.VARIABLES})
    for name in sorted(os.environ.keys() - readers.keys() - _NAMED_ELSEWHERE):
        if not name.upper().startswith("OP") or name.startswith(_env.PREFIX + "_"):
            continue
        for near in get_close_matches(name.upper(), readers, n=1, cutoff=_ALMOST):
            if near not in os.environ:
                yield note(
                    "mistyped_variable",
                    f"{name} is set, which {readers[near]} does not read; {near}, which it reads, "
                    "is not set.",
                    f"If it is a typing mistake, name the variable {near}.",
                )
