"""Would a default `OpenAI()` in this environment pass, and does CI hear of it?"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import openai
import pytest
from cli_shell import VERDICT, Shell, command
from support import STRANGER, A, fingerprint, python

import openai_project_guard as opg
from openai_project_guard import _env
from openai_project_guard._cli.api_probe import Answer
from openai_project_guard.loopback import loopback_api


def test_what_is_in_order_passes(good: Shell) -> None:
    ran = good("check")
    assert (ran.status, ran.err) == (0, "")
    assert ran.out == (
        "✓ A default OpenAI() passes: GET api.openai.com/v1/models, key sk-proj-…AAAA,\n"
        "  project proj_a.\n"
    )


def test_json_of_what_passes(good: Shell) -> None:
    assert good("check", "--json").json == {
        "passes": True,
        "mode": "enforce",
        "judged_as": "enforce",
        "verdict": VERDICT,
        "refusal": None,
        "mistakes": [],
        "live": None,
        "error": None,
    }


@pytest.mark.parametrize(
    ("status", "is_good"),
    [(None, False), (199, False), (200, True), (299, True), (300, False), (401, False)],
)
def test_which_answers_count_as_taken(status: int | None, is_good: bool) -> None:
    assert Answer(status).is_good is is_good


def test_json_of_what_is_refused(good: Shell) -> None:
    good.patch.setenv("OPENAI_PROJECT_ID", "proj_b")
    good.patch.setenv("OPENAI_PROJECT_GUARD", "0")
    ran = good("check", "--json")
    found = ran.json
    assert (ran.status, ran.err) == (1, "")
    assert found["refusal"].pop("message").count("\n") == 4
    assert found == {
        "passes": False,
        "mode": "off",
        "judged_as": "enforce",
        "verdict": {
            **VERDICT,
            "outcome": "blocked",
            "reason": "mismatch",
            "actual": "proj_b",
            "origin": "OPENAI_PROJECT_ID",
        },
        "refusal": {"type": "ProjectMismatchError"},
        "mistakes": [
            {
                "name": "key_of_another_project",
                "sentence": "The key sk-proj-…AAAA is the key of another project: it belongs to "
                "bot (proj_a), and OPENAI_PROJECT_ID says lab (proj_b).",
                "cure": "Set OPENAI_PROJECT_ID to proj_a, or set OPENAI_API_KEY to a key of lab "
                "(proj_b).",
                "is_wrong": True,
            },
            {
                "name": "guard_off",
                "sentence": "OPENAI_PROJECT_GUARD is off: calls are not checked, except inside "
                "@guard and where enable() or openai-project-guard run is given a mode.",
                "cure": "Unset it, or set it to enforce.",
                "is_wrong": False,
            },
        ],
        "live": None,
        "error": None,
    }


def test_a_refusal_is_shown_whole(good: Shell) -> None:
    good.patch.setenv("OPENAI_PROJECT_ID", "proj_b")
    ran = good("check")
    text = " ".join(ran.out.split())
    assert ran.status == 1
    for sentence in (
        "✗ A default OpenAI() would be refused: ProjectMismatchError",
        "was about to be sent with key sk-proj-…AAAA and OpenAI-Project 'proj_b'.",
        "openai-projects.toml, line 4.",
        "comes from OPENAI_PROJECT_ID in the environment.",
        "Nothing was sent.",
        "To fix it: ",
        "Set OPENAI_PROJECT_ID to proj_a, or set OPENAI_API_KEY to a key of lab (proj_b).",
    ):
        assert sentence in text
    assert max(map(len, ran.out.splitlines())) < 80


@pytest.mark.parametrize("name", ["check", "doctor"])
@pytest.mark.parametrize("options", [(), ("--json",)])
def test_the_command_does_not_name_its_own_call_and_client(
    good: Shell, name: str, options: tuple[str, ...]
) -> None:
    good.patch.setenv("OPENAI_PROJECT_ID", "proj_b")
    ran = good(name, *options)
    assert ran.status == 1
    assert "Nothing was sent." in ran.out
    assert "client was" not in ran.out
    assert "alled at" not in ran.out


@pytest.mark.parametrize("mode", ["enforce", "inject", "off"])
@pytest.mark.parametrize("project", ["proj_é", "проект"])
def test_a_project_that_is_not_ascii_is_refused(good: Shell, project: str, mode: str) -> None:
    good.patch.setenv("OPENAI_PROJECT_GUARD", mode)
    good.patch.setenv("OPENAI_PROJECT_ID", project)
    ran = good("check")
    assert (ran.status, ran.err) == (1, "")
    assert "✗ A default OpenAI() would be refused: MalformedHeaderError" in ran.out
    ran = good("check", "--json")
    found = ran.json
    assert (ran.status, found["passes"], found["error"]) == (1, False, None)
    assert found["refusal"]["type"] == "MalformedHeaderError"
    assert (found["verdict"]["reason"], found["verdict"]["key_hint"]) == (
        "malformed",
        "sk-proj-…AAAA",
    )
    mistake = found["mistakes"][0]
    assert mistake["name"] == "name_for_id"
    assert mistake["sentence"].startswith(f"OPENAI_PROJECT_ID says {project!r}, which is no")
    assert mistake["cure"] == "Set OPENAI_PROJECT_ID to proj_a."
    assert good("doctor").status == 1


def test_a_project_that_is_not_ascii_is_not_asked_about(good: Shell) -> None:
    good.patch.setenv("OPENAI_PROJECT_ID", "proj_é")
    with loopback_api({A: "proj_a"}) as api:
        good.patch.setenv("OPENAI_BASE_URL", api.base_url)
        ran = good("check", "--live", "--json")
        assert (ran.status, ran.json["live"], len(api.ledger)) == (1, None, 0)


@pytest.mark.parametrize(
    ("mode", "status", "outcome"),
    [
        ("off", 1, "blocked"),
        ("warn", 1, "blocked"),
        ("enforce", 1, "blocked"),
        ("inject", 0, "injected"),
    ],
)
def test_the_mode_counts_only_where_it_fills_in_the_header(
    good: Shell, mode: str, status: int, outcome: str
) -> None:
    good.patch.setenv("OPENAI_PROJECT_GUARD", mode)
    good.patch.delenv("OPENAI_PROJECT_ID")
    ran = good("check", "--json")
    assert (ran.status, ran.json["verdict"]["outcome"]) == (status, outcome)
    assert "no_project" in str(ran.json["mistakes"]) or mode == "inject"
    good("check")


@pytest.mark.parametrize("variable", ["OPENAI_PROJECT_GUARD", "OPENAI_PROJECT_GUARD_OVERRIDE"])
def test_a_right_pair_that_nobody_checks_passes_with_a_word_about_it(
    good: Shell, variable: str
) -> None:
    passes = good("check").out
    good.patch.delenv("OPENAI_PROJECT_GUARD")
    assert good("check").out == passes  # `run` may be what switches the guard on
    good.patch.setenv(variable, "off")
    ran = good("check")
    said = " ".join(ran.out.removeprefix(passes).split())
    assert (ran.status, ran.out.startswith(passes)) == (0, True)
    assert said.startswith(f"! {variable} is off")
    assert "calls are not checked" in said or "no call is checked" in said
    assert good("check", "--json").json["passes"] is True
    good.patch.delenv(variable)
    Path("off.env").write_text(f"{variable}=off\n")
    ran = good("check", "--env-file", "off.env")
    assert (ran.status, ran.out) == (
        0,
        "✓ off.env: passes: key sk-proj-…AAAA, project proj_a. Calls are not checked: "
        f"{variable} is off.\n",
    )


@pytest.mark.parametrize("variable", ["OPENAI_PROJECT_GUARD", "OPENAI_PROJECT_GUARD_OVERRIDE"])
@pytest.mark.parametrize("mode", ["warn", "off"])
def test_of_a_wrong_pair_that_is_sent_nevertheless_that_is_said_too(
    good: Shell, variable: str, mode: str
) -> None:
    good.patch.setenv("OPENAI_PROJECT_ID", "proj_b")
    refused = good("check").out
    good.patch.setenv(variable, mode)
    ran = good("check")
    assert (ran.status, ran.out.startswith(refused)) == (1, True)
    assert ran.out.removeprefix(refused).startswith(f"\n! {variable} is {mode}: ")
    good.patch.delenv(variable)
    Path("wrong.env").write_text(f"{variable}={mode}\n")
    said = good("check", "--env-file", "wrong.env").out
    assert said.endswith(
        f" A wrong call is logged and sent: {variable} is warn.\n"
        if mode == "warn"
        else f" Calls are not checked: {variable} is off.\n"
    )


def test_an_override_that_switches_the_guard_on_is_not_off(good: Shell) -> None:
    good.patch.setenv("OPENAI_PROJECT_GUARD", "off")
    good.patch.setenv("OPENAI_PROJECT_GUARD_OVERRIDE", "enforce")
    assert "off" not in good("check").out
    names = [mistake["name"] for mistake in good("doctor", "--json").json["mistakes"]]
    assert names == ["override"]


@pytest.mark.parametrize(
    ("unregistered", "status", "shown"),
    [
        ("block", 1, "UnregisteredKeyError"),
        ("warn", 1, "with a warning (unregistered)"),
        ("allow", 0, "passes (unregistered)"),
        ("learn", 0, "passes (unregistered)"),
    ],
)
def test_unregistered_keys_are_judged_by_their_setting(
    good: Shell, unregistered: str, status: int, shown: str
) -> None:
    good.patch.setenv("OPENAI_API_KEY", STRANGER)
    good.patch.setenv("OPENAI_PROJECT_GUARD_UNREGISTERED", unregistered)
    ran = good("check")
    assert (ran.status, shown in ran.out) == (status, True)


def test_the_process_is_as_before(good: Shell, caplog: pytest.LogCaptureFixture) -> None:
    opg.enable(registry={"proj_x": STRANGER})
    good.patch.setenv("OPENAI_PROJECT_ID", "proj_b")
    good("check")
    assert opg.is_enabled()
    opg.disable()
    good("check")
    assert not opg.is_enabled()
    assert caplog.records == []


def test_a_base_url_of_somebody_else_is_not_checked(good: Shell) -> None:
    good.patch.setenv("OPENAI_API_KEY", STRANGER)
    good.patch.setenv("OPENAI_BASE_URL", "https://gateway.example/v1")
    ran = good("check")
    assert ran.status == 1
    assert " ".join(ran.out.split()).startswith(
        "✗ A default OpenAI() is not checked: the guard does not look at its calls to "
        "gateway.example."
    )


# Configuration


URL = "redis://svc:not-a-real-password@127.0.0.1:1/0"
SHOWN = "'redis://…@127.0.0.1:1/0'"
REFUSED = (
    ("", "enforced", "OPENAI_PROJECT_GUARD is 'enforced'"),
    ("_REGISTRY", "gone.toml", "gone.toml: there is no such file"),
    ("_REGISTRY", "redis://h/0?prefx=x", "did you mean prefix="),
    ("_KEYS", f"proj_a={A}", "pair 1 cannot be read"),
    ("_PROJECT", "nobody", "OPENAI_PROJECT_GUARD_PROJECT 'nobody'"),
    ("_UNREGISTERED", "bogus", "OPENAI_PROJECT_GUARD_UNREGISTERED is 'bogus'"),
    ("_HOSTS", "https://x/", "not a host name"),
    ("_LEARNED", URL, f"OPENAI_PROJECT_GUARD_LEARNED is {SHOWN}, a URL"),
    ("_SCOPE", "bogus", "OPENAI_PROJECT_GUARD_SCOPE is 'bogus'"),
    ("_SNAPSHOT", URL, f"OPENAI_PROJECT_GUARD_SNAPSHOT is {SHOWN}, a URL"),
    ("_OVERRIDE", "bogus", "OPENAI_PROJECT_GUARD_OVERRIDE is 'bogus'"),
    ("_ON_ERROR", "bogus", "OPENAI_PROJECT_GUARD_ON_ERROR is 'bogus'"),
    ("_AUDIT", URL, f"OPENAI_PROJECT_GUARD_AUDIT is {SHOWN}, a URL"),
    ("_AUDIT", f"seen/{A}", "OPENAI_PROJECT_GUARD_AUDIT is 'seen/sk-proj-…AAAA', with a key"),
)
"""Values that the import refuses: the rest of the variable's name, the value, the complaint."""


def test_every_variable_has_a_value_that_is_refused() -> None:
    assert {_env.PREFIX + name for name, _, _ in REFUSED} == {v.name for v in _env.VARIABLES}


@pytest.mark.parametrize(("variable", "value", "complaint"), REFUSED)
def test_what_the_import_refuses_is_2_for_every_command(
    good: Shell, variable: str, value: str, complaint: str
) -> None:
    variable = _env.PREFIX + variable
    environment = {_env.PREFIX: "enforce", variable: value}
    imported = python("import openai_project_guard", **environment)
    started = command("run", "--", "-c", "print('started')", env=environment)
    assert (imported.returncode, started.returncode, started.stdout) == (1, 2, "")
    good.patch.setenv(variable, value)
    said = [imported.stderr, started.stderr]
    for name in ("check", "doctor"):
        ran = good(name)
        assert ran.status == 2
        said.append(ran.out)
        ran = good(name, "--json")
        assert (ran.status, complaint in ran.err) == (2, True)
        assert not ran.json["passes" if name == "check" else "in_order"]
        said.append(ran.json["error"])
    for text in said:
        assert complaint in " ".join(text.split())
        assert not any(secret in text for secret in (A, "not-a-real-password"))
    assert [path.name for path in Path.cwd().iterdir()] == ["openai-projects.toml"]


def test_values_in_quotes_as_docker_keeps_them_are_taken_without_them(good: Shell) -> None:
    Path("openai-projects.toml").unlink()
    good.patch.setenv("OPENAI_PROJECT_GUARD", '"enforce"')
    good.patch.setenv("OPENAI_PROJECT_GUARD_KEYS", f'"proj_a={fingerprint(A)}"')
    assert good("check").status == 0
    good.patch.setenv("OPENAI_PROJECT_ID", '"proj_a"')
    text = " ".join(good("check").out.split())
    assert "To fix it: take the quotes off the value in OPENAI_PROJECT_ID" in text
    assert "Set OPENAI_PROJECT_ID to proj_a, alone." in text


def test_without_a_key_there_is_nothing_to_check(good: Shell) -> None:
    good.patch.delenv("OPENAI_API_KEY")
    ran = good("check")
    assert ran.status == 2
    assert "OPENAI_API_KEY is not set" in ran.out
    assert "OpenAIError" in ran.err


# --live


def test_a_pin_to_another_project_does_not_make_the_registry_out_of_date(good: Shell) -> None:
    with loopback_api({A: "proj_a"}) as api:
        good.patch.setenv("OPENAI_BASE_URL", api.base_url)
        good.patch.setenv("OPENAI_PROJECT_GUARD_HOSTS", "127.0.0.1")
        good.patch.setenv("OPENAI_PROJECT_GUARD_PROJECT", "proj_b")
        found = good("check", "--live", "--json").json
    assert [mistake["name"] for mistake in found["mistakes"]] == ["pinned_elsewhere"]
    assert (found["passes"], found["live"]["agrees"]) == (False, True)


def test_live_asks_the_api(good: Shell) -> None:
    with loopback_api({A: "proj_a"}, organization="org-x") as api:
        good.patch.setenv("OPENAI_BASE_URL", api.base_url)
        good.patch.setenv("OPENAI_PROJECT_GUARD_HOSTS", "127.0.0.1")
        ran = good("check", "--live", "--json")
        assert (ran.status, len(api.ledger)) == (0, 1)
        assert ran.json["live"] == {
            "status": 200,
            "code": None,
            "message": None,
            "project": "proj_a",
            "organization": "org-x",
            "agrees": True,
        }
        assert "The API took the call, for proj_a." in good("check", "--live").out
        with api.answer_as("proj_moved"):
            ran = good("check", "--live")
        assert (ran.status, "The registry is out of date" in ran.out) == (1, True)
        api.fail_next(503, times=2, headers={"retry-after-ms": "1"})
        ran = good("check", "--live")
        assert (ran.status, ran.out.count("The API answered 503")) == (1, 1)


def test_live_hears_the_refusal_of_the_api(good: Shell) -> None:
    with loopback_api({A: "proj_b"}) as api:
        good.patch.setenv("OPENAI_BASE_URL", api.base_url)
        found = good("check", "--live", "--json").json
    assert not found["passes"]
    assert (found["live"]["status"], found["live"]["code"]) == (401, "mismatched_project")
    assert "OpenAI-Project header should match" in found["live"]["message"]


def test_without_live_nothing_leaves(good: Shell) -> None:
    with loopback_api({A: "proj_a"}) as api:
        good.patch.setenv("OPENAI_BASE_URL", api.base_url)
        good("check")
        assert (api.connections, api.bytes_received) == (0, 0)


def test_live_without_an_answer(good: Shell) -> None:
    good.patch.setenv("OPENAI_BASE_URL", "http://127.0.0.1:1/v1")
    found: Any = good("check", "--live", "--json").json
    assert (found["live"]["status"], found["live"]["agrees"]) == (None, False)


def test_as_a_step_of_ci(good: Shell) -> None:
    done = command(
        "check",
        env={"OPENAI_API_KEY": A, "OPENAI_PROJECT_ID": "proj_b", "OPENAI_PROJECT_GUARD": "enforce"},
    )
    assert done.returncode == 1
    assert "ProjectMismatchError" in done.stdout
    assert "alled at" not in done.stdout
    assert done.stderr == ""
    assert "\x1b" not in done.stdout


@pytest.mark.parametrize(
    "key", ["gateway.key.7777", "key7", "a-\\1", "sess-canaryCANARY7777canary"]
)
@pytest.mark.parametrize("around", ["{}", "'{}'"])
@pytest.mark.parametrize(
    "name",
    [
        "OPENAI_PROJECT_ID",
        "OPENAI_PROJECT",
        "OPENAI_ORG_ID",
        "OPENAI_PROJECT_GUARD_PROJECT",
    ],
)
@pytest.mark.parametrize("command", ["check", "doctor"])
def test_the_key_in_another_variable_is_not_shown(
    command: str, name: str, around: str, key: str, good: Shell
) -> None:
    good.patch.setenv("OPENAI_API_KEY", key)
    good.patch.setenv(name, around.format(key))
    for options in ([], ["--json"]):
        ran = good(command, *options)
        assert ran.out
        assert key not in ran.out + ran.err


@pytest.mark.parametrize("url", ["redis//user:PASSWORD@host/0", "//user:PASSWORD@host"])
@pytest.mark.parametrize("command", ["list", "check", "doctor"])
def test_the_password_of_a_mistyped_url_is_not_shown(command: str, url: str, good: Shell) -> None:
    good.patch.setenv("OPENAI_PROJECT_GUARD_REGISTRY", url)
    for options in ([], ["--json"]):
        ran = good(command, *options)
        assert "…@host" in ran.out + ran.err
        assert "PASSWORD" not in ran.out + ran.err


def test_a_dotenv_that_explains_it_is_mentioned(good: Shell) -> None:
    Path(".env").write_text("OPENAI_API_KEY=${NOWHERE}\n")
    assert ".env" not in good("check").out
    good.patch.delenv("OPENAI_API_KEY")
    ran = good("check")
    assert ran.status == 2
    assert "There is a .env in this folder that sets OPENAI_API_KEY" in ran.out


def test_a_mistyped_variable_that_explains_it_is_mentioned(good: Shell) -> None:
    good.patch.setenv("OPENAI_API_KEYS", A)
    assert "OPENAI_API_KEYS" not in good("check").out
    good.patch.delenv("OPENAI_API_KEY")
    assert "OPENAI_API_KEYS is set, which the SDK does not read" in good("check").out


@pytest.mark.parametrize("key", [A, STRANGER, "sk-admin-not-a-real-key-of-anybody-AAAA", ""])
@pytest.mark.parametrize("project", ["proj_a", "proj_b", "bot", "proj_é", ""])
@pytest.mark.parametrize("url", ["https://api.openai.com/v1", "https://gateway.example/v1"])
def test_the_mark_the_status_and_the_json_agree(
    good: Shell, key: str, project: str, url: str
) -> None:
    good.patch.setenv("OPENAI_API_KEY", key)
    good.patch.setenv("OPENAI_PROJECT_ID", project)
    good.patch.setenv("OPENAI_BASE_URL", url)
    for mode, unregistered in (("enforce", "block"), ("inject", "warn"), ("warn", "allow")):
        good.patch.setenv("OPENAI_PROJECT_GUARD", mode)
        good.patch.setenv("OPENAI_PROJECT_GUARD_UNREGISTERED", unregistered)
        ran, found = good("check"), good("check", "--json")
        passes = ran.status == 0
        assert ran.out.startswith("✓ A default OpenAI() passes" if passes else "✗ ")
        assert (found.status, found.json["passes"]) == (ran.status, passes)
        assert any(mistake["is_wrong"] for mistake in found.json["mistakes"]) is not passes


@pytest.mark.parametrize("flaw", ["{}\n", "{}\r\n", "{} ", "\t{}", "{}\n{}", "{}", "{}\x7f"])
@pytest.mark.parametrize("variable", ["OPENAI_API_KEY", "OPENAI_ORG_ID"])
def test_of_a_call_that_cannot_be_sent_it_says_what_the_sdk_raises(
    good: Shell, variable: str, flaw: str
) -> None:
    value = A if variable == "OPENAI_API_KEY" else "org-a"
    good.patch.setenv(variable, flaw.replace("{}", value))
    with loopback_api({A: "proj_a"}) as api:
        try:
            openai.OpenAI(base_url=api.base_url, max_retries=0).models.list()
        except openai.APIConnectionError:
            is_sendable = False
        except openai.APIStatusError:
            is_sendable = True
        else:
            is_sendable = True
        assert bool(api.ledger) is is_sendable
    good.patch.setenv("OPENAI_PROJECT_GUARD_UNREGISTERED", "warn")
    ran, found = good("check"), good("check", "--json").json
    cannot = "✗ A default OpenAI() cannot send its call, which raises an APIConnectionError: GET"
    is_refused = "would be refused: MalformedHeaderError" in ran.out  # before it cannot be sent
    assert is_refused is (flaw.count("{}") == 2 and value == A)
    assert (cannot in " ".join(ran.out.split())) is not (is_sendable or is_refused)
    says_why = any("so no call can be sent." in each["sentence"] for each in found["mistakes"])
    assert says_why is not is_sendable
    if not is_sendable:
        assert (ran.status, found["passes"]) == (1, False)


def test_what_it_says_and_how_it_exits_agree(good: Shell) -> None:
    good.patch.delenv("OPENAI_PROJECT_ID")
    good.patch.setenv("OPENAI_PROJECT_GUARD", "inject")
    good.patch.setenv("OPENAI_PROJECT", "proj_a")
    ran = good("check")
    assert ran.status == 1
    assert ran.out.startswith(
        "✗ A default OpenAI() would be sent, with its project put in (missing), but the\n"
        "  environment is not in order: GET"
    )
