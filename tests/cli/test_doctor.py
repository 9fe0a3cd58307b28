"""Does the doctor show the whole picture?"""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import openai
import pytest
from cli_shell import VERDICT, Shell, command
from openai._base_client import BaseClient
from ports import free_port
from support import STRANGER, A, B, fingerprint, http, needs_custom_headers

import openai_project_guard as opg
from openai_project_guard import _env
from openai_project_guard.loopback import loopback_api

FILE = Path("openai-projects.toml")


@pytest.fixture
def picture(good: Shell) -> Any:
    good.patch.setenv("OPENAI_PROJECT_GUARD_KEYS", f"proj_c={fingerprint(STRANGER)}")
    good.patch.setenv("OPENAI_PROJECT_GUARD_UNREGISTERED", "warn")
    good.patch.setenv("OPENAI_BASE_URL", "https://api.openai.com/v1")
    return good("doctor", "--json").json


def test_json_of_the_picture(picture: Any) -> None:
    assert re.fullmatch(r"3\.\d+\.\d+\S*", picture["versions"].pop("python"))
    assert picture["versions"].pop("openai") == openai.__version__
    assert set(picture["versions"]) == {
        "openai-project-guard",
        "wrapt",
        "httpx",
        "httpx2",
        "websockets",
        "tomlkit",
    }
    assert 0 <= picture["sources"][0].pop("age_seconds") < 60
    found = set(picture["hooks"].pop("found"))
    assert {
        "openai._base_client.BaseClient._build_request",
        f"{http.__name__}.Client._send_single_request",
        f"{http.__name__}.AsyncClient._send_single_request",
    } <= found
    del picture["versions"]

    def value(header: str, name: str, kind: str, text: str | None = None) -> dict[str, object]:
        return {
            "header": header,
            "name": name,
            "kind": kind,
            "value": text,
            "wins": text is not None,
        }

    def values(header: str, argument: str, variable: str, text: str | None) -> list[Any]:
        return [
            value(header, "extra_headers=", "argument"),
            value(header, "default_headers=", "argument"),
            value(header, "OPENAI_CUSTOM_HEADERS", "variable"),
            value(header, argument, "argument"),
            value(header, variable, "variable", text),
        ]

    assert picture == {
        "in_order": True,
        "mode": "enforce",
        "judged_as": "enforce",
        "verdict": VERDICT,
        "refusal": None,
        "mistakes": [],
        "live": None,
        "error": None,
        "hooks": {
            "lost": [],
            "error": None,
            "proofs": [
                {
                    "client": client,
                    "matching": "let through",
                    "wrong": "refused",
                    "is_good": True,
                }
                for client in ("OpenAI", "AsyncOpenAI")
            ],
        },
        "values": [
            *values("Authorization", "api_key=", "OPENAI_API_KEY", "sk-proj-…AAAA"),
            *values("OpenAI-Project", "project=", "OPENAI_PROJECT_ID", "proj_a"),
            value("OpenAI-Project", "OPENAI_PROJECT", "unread"),
            *values("OpenAI-Organization", "organization=", "OPENAI_ORG_ID", None),
            value("OpenAI-Organization", "OPENAI_ORGANIZATION", "unread"),
            value("base URL", "base_url=", "argument"),
            value("base URL", "OPENAI_BASE_URL", "variable", "https://api.openai.com/v1"),
            value("base URL", "OPENAI_API_BASE", "unread"),
        ],
        "sources": [
            {
                "kind": "file",
                "name": "openai-projects.toml",
                "projects": 2,
                "keys": 2,
                "error": None,
            },
            {
                "kind": "variable",
                "name": "OPENAI_PROJECT_GUARD_KEYS",
                "projects": 1,
                "keys": 1,
                "age_seconds": None,
                "error": None,
            },
        ],
        "settings": [
            {"name": "mode", "value": "enforce", "from": "OPENAI_PROJECT_GUARD"},
            {"name": "project", "value": "not pinned", "from": None},
            {
                "name": "unregistered",
                "value": "warn",
                "from": "OPENAI_PROJECT_GUARD_UNREGISTERED",
            },
            {"name": "hosts", "value": "api.openai.com", "from": None},
            {"name": "learned", "value": "in memory only", "from": None},
            {"name": "scope", "value": "sdk", "from": None},
            {"name": "snapshot", "value": "not set", "from": None},
            {"name": "override", "value": "not set", "from": None},
            {"name": "on_error", "value": "not set", "from": None},
            {"name": "audit", "value": "not set", "from": None},
        ],
    }


def test_the_text_fits_eighty_columns(good: Shell) -> None:
    good.patch.setenv("OPENAI_PROJECT", "proj_b")
    good.patch.setenv("COLUMNS", "80")
    ran = good("doctor")
    assert (ran.status, ran.err) == (0, "")
    assert max(map(len, ran.out.splitlines())) <= 80
    for title in ("Versions", "Hooks", "What a default OpenAI()", "Registry", "Settings"):
        assert f"\n{title}" in f"\n{ran.out}"
    assert "the SDK does not" in ran.out
    assert "\n Source               │ Projects │ Keys │ Changed\n" in ran.out
    assert "✓ OpenAI: matching call let through, wrong call refused" in ran.out


def test_of_what_may_set_a_value_the_variables_of_the_sdk_and_what_is_set_are_shown(
    good: Shell,
) -> None:
    good.patch.setenv("OPENAI_PROJECT", "proj_b")
    table = good("doctor").out.partition("What a default OpenAI()")[2].partition("Registry")[0]
    rows = [line.split("│") for line in table.splitlines() if "│" in line]
    assert [cell.strip() for cell in rows[0]] == ["Value", "Variable", "Says", "Taken"]
    assert [(row[0].strip(), row[1].strip()) for row in rows[1:] if row[0].strip()] == [
        ("Authorization", "OPENAI_API_KEY"),
        ("OpenAI-Project", "OPENAI_PROJECT_ID"),
        ("OpenAI-Project", "OPENAI_PROJECT"),
        ("OpenAI-Organization", "OPENAI_ORG_ID"),
        ("base URL", "OPENAI_BASE_URL"),
    ]


@pytest.mark.parametrize(("variable", "has_color"), [("FORCE_COLOR", True), ("NO_COLOR", False)])
def test_only_the_colours_that_stand_out_everywhere(
    good: Shell, variable: str, has_color: bool
) -> None:
    good.patch.setenv(variable, "1")
    good.patch.setenv("OPENAI_PROJECT_ID", "proj_b")
    codes = set(re.findall(r"\x1b\[(\d+)m", good("doctor").out))
    assert bool(codes) is has_color
    assert codes <= {"0", "1", "2", "31", "32", "33"}


@pytest.mark.parametrize(
    ("age", "shown"),
    [
        (5, "less than a minute ago"),
        (61, "1 minute ago"),
        (2 * 3600 + 0.001, "2 hours ago"),
        (2 * 86_400 + 0.001, "2 days ago"),
    ],
)
def test_the_age_of_a_file_is_told(good: Shell, age: float, shown: str) -> None:
    import os
    import time

    os.utime(FILE, (time.time() - age,) * 2)
    assert shown in good("doctor").out


def test_the_hook_tests_ignore_the_environment(good: Shell) -> None:
    good.patch.setenv("OPENAI_BASE_URL", "https://gateway.example/v1")
    good.patch.setenv("OPENAI_CUSTOM_HEADERS", "OpenAI-Project: proj_b")
    assert all(proof["is_good"] for proof in good("doctor", "--json").json["hooks"]["proofs"])


def test_an_sdk_that_fails_fails_the_hook_tests(good: Shell) -> None:
    from openai.resources.models import Models

    def fail(_: object) -> None:
        raise RuntimeError(f"something with {A}")

    good.patch.setattr(Models, "list", fail)
    ran = good("doctor", "--json")
    assert ran.json["hooks"]["proofs"][0]["matching"] == (
        "failed: RuntimeError: something with sk-proj-…AAAA"
    )
    assert ran.status == 2  # the default client cannot make its call either


def test_live_is_part_of_the_picture(good: Shell) -> None:
    with loopback_api({A: "proj_a"}) as api:
        good.patch.setenv("OPENAI_BASE_URL", api.base_url)
        good.patch.setenv("OPENAI_PROJECT_GUARD_HOSTS", "127.0.0.1")
        ran = good("doctor", "--live")
        assert (ran.status, "The API took the call, for proj_a" in ran.out) == (0, True)
        assert len(api.ledger) == 1
        good.patch.setenv("OPENAI_ORG_ID", "org-other")
        found = good("doctor", "--live", "--json").json
        assert found["mistakes"] == [
            {
                "name": "another_organization",
                "sentence": "The key sk-proj-…AAAA is the key of another organization: it belongs "
                "to one that the registry does not name, and OPENAI_ORG_ID says org-other.",
                "cure": "Set OPENAI_ORG_ID to the organization of the key, or unset it.",
                "is_wrong": True,
            }
        ]
        assert found["live"]["code"] == "mismatched_organization"
        good.patch.delenv("OPENAI_ORG_ID")
        with api.answer_as("proj_moved"):
            found = good("doctor", "--live", "--json").json
        assert found["mistakes"][0]["sentence"] == (
            "The registry is out of date: it has the key sk-proj-…AAAA for bot (proj_a), and the "
            "API says it belongs to proj_moved."
        )


def test_an_api_out_of_reach_is_looked_for_in_the_url_and_the_network(good: Shell) -> None:
    good.patch.setenv("OPENAI_BASE_URL", f"http://127.0.0.1:{free_port()}/v1")
    good.patch.setenv("OPENAI_PROJECT_GUARD_HOSTS", "127.0.0.1")
    (mistake,) = good("doctor", "--live", "--json").json["mistakes"]
    assert mistake["name"] == "server_disagrees"
    assert mistake["cure"] == "Look at the base URL and the network."


def test_a_registry_that_cannot_be_read_is_told_where_the_registries_are(good: Shell) -> None:
    FILE.write_text("version = 2\n")
    ran = good("doctor")
    registry = ran.out.partition("\nRegistry\n")[2].partition("\nSettings\n")[0]
    assert (ran.status, registry[:32]) == (2, "✗ openai-projects.toml, line 1: ")


@needs_custom_headers
def test_a_variable_that_the_sdk_passes_over_is_no_mistake(good: Shell) -> None:
    good.patch.setenv("OPENAI_PROJECT_ID", "proj_é")
    good.patch.setenv("OPENAI_CUSTOM_HEADERS", "OpenAI-Project: proj_a")
    ran = good("doctor", "--json")
    assert (ran.status, ran.json["verdict"], ran.json["mistakes"]) == (0, VERDICT, [])


def test_an_override_is_shown_first(good: Shell) -> None:
    good.patch.setenv("OPENAI_PROJECT_GUARD_OVERRIDE", "warn")
    good.patch.setenv("OPENAI_API_KEY", B)
    ran = good("doctor")
    assert ran.out.startswith("! OPENAI_PROJECT_GUARD_OVERRIDE is warn: it beats every setting")
    found = good("doctor", "--json").json
    assert [mistake["name"] for mistake in found["mistakes"]][:2] == [
        "override",
        "key_of_another_project",
    ]
    assert {
        "name": "override",
        "value": "warn",
        "from": "OPENAI_PROJECT_GUARD_OVERRIDE",
    } in found["settings"]


def test_every_variable_of_the_guard_is_among_the_settings_or_the_registries(good: Shell) -> None:
    extra = _env.Variable("OPENAI_PROJECT_GUARD_NEWEST", lambda: None, "anything")
    good.patch.setattr(_env, "VARIABLES", (*_env.VARIABLES, extra))
    good.patch.setenv(extra.name, f"a value with {STRANGER}")
    found = good("doctor", "--json").json["settings"]
    assert {"name": "newest", "value": "a value with sk-proj-…ZZZZ", "from": extra.name} in found
    names = {f"OPENAI_PROJECT_GUARD_{each['name'].upper()}" for each in found} - {
        "OPENAI_PROJECT_GUARD_MODE"
    }
    assert names | {"OPENAI_PROJECT_GUARD", _env.REGISTRY, _env.KEYS} == {
        variable.name for variable in _env.VARIABLES
    }


def test_what_a_setting_says_is_shown_where_it_cannot_be_used(good: Shell) -> None:
    good.patch.setenv("OPENAI_PROJECT_GUARD_HOSTS", "https://x/")
    good.patch.setenv("OPENAI_PROJECT_GUARD_AUDIT", "seen")
    found = good("doctor", "--json")
    values = {each["name"]: each["value"] for each in found.json["settings"]}
    assert (found.status, values["hosts"], values["audit"]) == (2, "https://x/", "seen")


def test_the_doctor_in_a_process_of_its_own(good: Shell) -> None:
    done = command(
        "doctor",
        env={"OPENAI_API_KEY": A, "OPENAI_PROJECT_ID": "proj_b", "OPENAI_PROJECT_GUARD": "enforce"},
    )
    assert (done.returncode, done.stderr) == (1, "")
    assert "✓ AsyncOpenAI: matching call let through, wrong call refused" in done.stdout
    assert "refused: ProjectMismatchError" in done.stdout
    assert "alled at" not in done.stdout


def test_a_hook_that_another_tool_took_off_is_named(good: Shell) -> None:
    original = vars(BaseClient)["_build_request"]
    opg.enable()
    BaseClient._build_request = original  # type: ignore[method-assign]
    ran = good("doctor", "--json")
    assert (ran.status, ran.json["in_order"]) == (1, False)
    assert ran.json["hooks"]["lost"] == ["BaseClient._build_request"]
    BaseClient._build_request = original  # type: ignore[method-assign]
    shown = " ".join(good("doctor").out.split())
    assert "Another tool removed the guard's hook from BaseClient._build_request" in shown


# Env files


def test_doctor_looks_at_an_env_file(good: Shell) -> None:
    Path("other.env").write_text(f"OPENAI_API_KEY={B}\nOPENAI_ORG_ID=${{ORG}}\n")
    ran = good("doctor", "--env-file", "other.env", "--json")
    assert ran.status == 1
    names = {mistake["name"]: mistake["sentence"] for mistake in ran.json["mistakes"]}
    assert names["unknown_values"] == "OPENAI_ORG_ID refers to ORG, which is not set here."
    assert "key_of_another_project" in names
    assert names["environment_differs"].startswith(
        "The environment has another value of OPENAI_API_KEY than other.env."
    )
    shown = " ".join(good("doctor", "--env-file", "other.env").out.split())
    assert "OPENAI_ORG_ID │ unknown: refers to ORG" in shown
    Path("other.env").write_text("OPENAI_API_KEY=${KEY}\n")
    assert good("doctor", "--env-file", "other.env").status == 0  # what is not known may be right
    assert good("doctor").status == 0


@pytest.mark.parametrize(
    "name", ["OPENAI_API_KEY", "OPENAI_PROJECT_ID", "OPENAI_PROJECT_GUARD_REGISTRY"]
)
def test_what_depends_on_an_unknown_value_is_not_judged(good: Shell, name: str) -> None:
    Path("other.env").write_text(f"{name}=${{NOWHERE}}\n")
    ran = good("doctor", "--env-file", "other.env")
    assert ran.status == 0
    shown = " ".join(ran.out.split())
    assert (
        f"Verdict ? What becomes of a default OpenAI() is unknown: {name} refers to NOWHERE, which "
        "is not set here." in shown
    )
    assert "refused:" not in shown
    found = good("doctor", "--env-file", "other.env", "--json").json
    assert (found["in_order"], found["verdict"], found["refusal"]) == (True, None, None)


def test_a_line_of_an_env_file_that_is_skipped_is_told(good: Shell) -> None:
    Path("other.env").write_text(f"\nOPENAI_API_KEY '{B}\nOTHER=1\n")
    ran = good("doctor", "--env-file", "other.env", "--json")
    (mistake,) = ran.json["mistakes"]
    assert (ran.status, mistake["name"], mistake["is_wrong"]) == (0, "skipped_line", False)
    assert mistake["sentence"] == "other.env, line 2, is not NAME=value, so it was skipped."
    assert mistake["sentence"] in good("doctor", "--env-file", "other.env").out


def test_a_dotenv_that_is_loaded_is_not_mentioned(good: Shell) -> None:
    Path(".env").write_text(f"export OPENAI_API_KEY={A}\nOPENAI_PROJECT_ID='proj_a'\nOTHER=1\n")
    assert good("doctor", "--json").json["mistakes"] == []
    assert good("doctor", "--json", "--env-file", ".env").json["mistakes"] == []


def test_what_cannot_be_used_is_not_in_order_whatever_else_is_unknown(good: Shell) -> None:
    Path("x.env").write_text("OPENAI_PROJECT_GUARD_HOSTS=${X}\nOPENAI_PROJECT_GUARD=enfroce\n")
    ran = good("doctor", "--json", "--env-file", "x.env")
    assert (ran.status, ran.json["in_order"]) == (2, False)
