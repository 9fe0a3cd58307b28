"""Is what `check` and `doctor` tell me to do the right thing, and does it work?"""

from __future__ import annotations

import re
from pathlib import Path

import pytest
import support
from cli_shell import Shell
from support import STRANGER, A, B

from openai_project_guard import Registry
from openai_project_guard.loopback import loopback_api

FILE = Path("openai-projects.toml")
CUSTOM = support.VERSION >= (2, 54)  # the SDK reads OPENAI_CUSTOM_HEADERS


def test_where_no_registry_was_found(good: Shell, tmp_path: Path) -> None:
    FILE.unlink()
    good.patch.setenv("XDG_CONFIG_HOME", "/nowhere/config")
    sentence = good("check", "--json").json["mistakes"][0]["sentence"]
    assert sentence == (
        "No registry was found. Neither OPENAI_PROJECT_GUARD_REGISTRY nor "
        "OPENAI_PROJECT_GUARD_KEYS is set, and there is no openai-projects.toml and no "
        f"/nowhere/config/openai-project-guard/registry.toml, seen from {Path.cwd()}."
    )


@pytest.mark.parametrize(
    ("registry", "fix"),
    [
        ("~/gone.toml", "Correct or restore it, or set OPENAI_PROJECT_GUARD_REGISTRY to another."),
        (
            "~no-such-user/gone.toml",
            "Write the whole path in OPENAI_PROJECT_GUARD_REGISTRY: there is no home",
        ),
        ("gone.toml", "run in the right folder: a relative path is seen from the current one, "),
        ("/gone.toml", "Correct or restore it, or set OPENAI_PROJECT_GUARD_REGISTRY to another."),
    ],
)
def test_a_registry_that_is_not_there(good: Shell, registry: str, fix: str) -> None:
    good.patch.setenv("OPENAI_PROJECT_GUARD_REGISTRY", registry)
    assert fix in good("check", "--json").json["mistakes"][0]["cure"]


def test_an_inline_registry_is_corrected_in_its_own_variable(good: Shell) -> None:
    good.patch.setenv("OPENAI_PROJECT_GUARD_KEYS", "proj_a:sha256")
    (mistake,) = good("check", "--json").json["mistakes"]
    assert "OPENAI_PROJECT_GUARD_KEYS" in mistake["sentence"]
    assert mistake["cure"] == (
        "Correct OPENAI_PROJECT_GUARD_KEYS: project=fingerprint, with commas between."
    )


def test_the_commands_that_correct_an_outdated_entry_do_so(good: Shell) -> None:
    with loopback_api({A: "proj_new"}) as api:
        good.patch.setenv("OPENAI_BASE_URL", api.base_url)
        good.patch.setenv("OPENAI_PROJECT_GUARD_HOSTS", "127.0.0.1")
        good.patch.delenv("OPENAI_PROJECT_ID")
        good.patch.setenv("OPENAI_PROJECT_GUARD", "inject")
        good.patch.setenv("OPENAI_PROJECT_ID", "")
        (mistake,) = (
            mistake
            for mistake in good("doctor", "--live", "--json").json["mistakes"]
            if mistake["name"] == "server_disagrees"
        )
        commands = re.findall(r"openai-project-guard ((?:register|remove)[^,.]*)", mistake["cure"])
        assert len(commands) == 2
        for command in commands:
            assert good(*command.split()).status == 0, command
        good.patch.setenv("OPENAI_PROJECT_ID", "proj_new")
        assert good("check", "--live").status == 0


def test_the_commands_that_correct_one_entry_of_a_key_leave_its_others(good: Shell) -> None:
    good("register", "proj_b", "--also", "--key-env", "OPENAI_API_KEY")
    with loopback_api({A: "proj_a"}) as api, api.answer_as("proj_new"):
        good.patch.setenv("OPENAI_BASE_URL", api.base_url)
        good.patch.setenv("OPENAI_PROJECT_GUARD_HOSTS", "127.0.0.1")
        cure = good("doctor", "--live", "--json").json["mistakes"][0]["cure"]
    for command in re.findall(r"openai-project-guard ((?:register|remove)[^,.]*)", cure):
        assert good(*command.split()).status == 0, command
    assert {entry.project for entry in Registry.from_file(FILE).lookup(A)} == {"proj_b", "proj_new"}


def test_the_command_that_registers_an_unregistered_key_does_so(good: Shell) -> None:
    good.patch.setenv("OPENAI_API_KEY", STRANGER)
    (mistake,) = good("doctor", "--json").json["mistakes"]
    found = re.search(r"openai-project-guard (register PROJECT [^.]*)", mistake["cure"])
    assert found
    assert good(*found[1].replace("PROJECT", "proj_a").split()).status == 0
    assert good("doctor").status == 0


@pytest.mark.parametrize(
    ("variable", "value"),
    [
        ("OPENAI_PROJECT_ID", "proj_b"),
        ("OPENAI_PROJECT_ID", "proj_old"),
        ("OPENAI_PROJECT_ID", "proj_A"),
        ("OPENAI_PROJECT_ID", "Bot"),
        ("OPENAI_PROJECT_ID", "Support Bot"),
        ("OPENAI_PROJECT_ID", "proj_é"),
        ("OPENAI_PROJECT_ID", ""),
        ("OPENAI_PROJECT_ID", " proj_a "),
        ("OPENAI_CUSTOM_HEADERS", "OpenAI-Project: proj_b"),
        ("OPENAI_CUSTOM_HEADERS", "OpenAI-Project: Bot"),
    ],
)
def test_the_value_that_is_to_be_set_passes(good: Shell, variable: str, value: str) -> None:
    if variable == "OPENAI_CUSTOM_HEADERS" and not CUSTOM:
        pytest.skip("this SDK does not read the variable")
    good.patch.setenv(variable, value)
    ran = good("check", "--json")
    assert ran.status == 1
    fix = ran.json["mistakes"][0]["cure"]
    found = re.match(r"(?:Set|Have) (\w+) (?:to|say) (.*?)(?:, |\.\Z)", fix)
    assert found, fix
    assert found[1] == variable
    good.patch.setenv(variable, found[2])
    assert good("check").status == 0


@pytest.mark.parametrize("value", ["lab", '"proj_b"'])
def test_a_value_to_be_corrected_needs_another_key_where_it_is_of_another_project(
    good: Shell, value: str
) -> None:
    good.patch.setenv("OPENAI_PROJECT_ID", value)
    fix = good("check", "--json").json["mistakes"][0]["cure"]
    assert re.fullmatch(
        r"Set OPENAI_PROJECT_ID to proj_b(, alone)?, and OPENAI_API_KEY to a key of that project.",
        fix,
    )
    good.patch.setenv("OPENAI_PROJECT_ID", "proj_b")
    good.patch.setenv("OPENAI_API_KEY", B)
    assert good("check").status == 0
