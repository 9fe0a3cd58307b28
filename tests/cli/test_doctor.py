"""Does the doctor see the whole picture, and name the mistake that I made?"""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import openai
import pytest
import support
from cli_shell import LEGACY, VERDICT, Shell
from support import STRANGER, A, B, fingerprint, http

import openai_project_guard as opg
from openai_project_guard import _hooks
from openai_project_guard._cli.diagnosis.findings import FINDINGS
from openai_project_guard.loopback import loopback_api

ADMIN = "sk-admin-not-a-real-key-of-anybody-AAAA"
FILE = Path("openai-projects.toml")
CUSTOM = support.VERSION >= (2, 54)  # the SDK reads OPENAI_CUSTOM_HEADERS

Plant = Callable[[Shell], object]


def sets(**variables: str) -> Plant:
    def plant(shell: Shell) -> None:
        for name, value in variables.items():
            shell.patch.setenv(name, value)

    return plant


def drops(*names: str) -> Plant:
    def plant(shell: Shell) -> None:
        for name in names:
            shell.patch.delenv(name, raising=False)

    return plant


def writes(text: str) -> Plant:
    return lambda shell: FILE.write_text(text)


def both(*plants: Plant) -> Plant:
    return lambda shell: [plant(shell) for plant in plants]


def takes_the_hooks_off(shell: Shell) -> None:
    opg.enable()
    from openai import _base_client as base

    hook = vars(base.BaseClient)["_build_request"]
    base.BaseClient._build_request = hook.__wrapped__  # as it was, so nothing is to be put back


def puts_no_hooks_in(shell: Shell) -> None:
    shell.patch.setattr(_hooks, "install", lambda **_: None)


def of_organization(organization: str) -> str:
    return (
        f'version = 1\n[projects.bot]\nid = "proj_a"\norganization = "{organization}"\n'
        f'keys = [{{ fingerprint = "{fingerprint(A)}" }}]\n'
    )


def of_several(key: str) -> str:
    one = f'keys = [{{ fingerprint = "{fingerprint(key)}" }}]\n'
    return f'version = 1\n[projects.bot]\nid = "proj_a"\n{one}[projects.lab]\nid = "proj_b"\n{one}'


PLANTED: dict[str, tuple[str, Plant, str]] = {
    "key of another project": (
        "key_of_another_project",
        sets(OPENAI_API_KEY=B),
        "The key sk-proj-…BBBB is the key of another project: it belongs to lab (proj_b), and "
        "OPENAI_PROJECT_ID says bot (proj_a).",
    ),
    "stale OPENAI_PROJECT_ID": (
        "stale_project",
        sets(OPENAI_PROJECT_ID="proj_old"),
        "OPENAI_PROJECT_ID is stale: it says proj_old, a project that no registry knows. The key "
        "sk-proj-…AAAA belongs to bot (proj_a).",
    ),
    "OPENAI_PROJECT instead": (
        "wrong_variable",
        both(drops("OPENAI_PROJECT_ID"), sets(OPENAI_PROJECT="proj_a")),
        "OPENAI_PROJECT is set, and the SDK does not read it: it reads OPENAI_PROJECT_ID, which is "
        "not set.",
    ),
    "OPENAI_PROJECT beside it": (
        "wrong_variable",
        sets(OPENAI_PROJECT="proj_b"),
        "the SDK does not read it: it reads OPENAI_PROJECT_ID, which says proj_a.",
    ),
    "alias for id": (
        "name_for_id",
        sets(OPENAI_PROJECT_ID="Bot"),
        "OPENAI_PROJECT_ID says 'Bot': that is the project's name (its alias in the registry), "
        "and the API wants its id, proj_a.",
    ),
    "name for id": (
        "name_for_id",
        sets(OPENAI_PROJECT_ID="Support Bot"),
        "OPENAI_PROJECT_ID says 'Support Bot', which is no project id; perhaps it is the "
        "project's name.",
    ),
    "key with a trailing newline": (
        "unclean_key",
        sets(OPENAI_API_KEY=A + "\n"),
        "OPENAI_API_KEY has a line break at its end: what is sent is not the key sk-proj-…AAAA. "
        "Without that it is the key of bot (proj_a).",
    ),
    "key with quotes": (
        "unclean_key",
        sets(OPENAI_API_KEY=f'"{A}"'),
        "OPENAI_API_KEY has quotes around it: what is sent is not the key sk-proj-…AAAA. Without "
        "that it is the key of bot (proj_a).",
    ),
    "key with Bearer": (
        "unclean_key",
        sets(OPENAI_API_KEY=f"Bearer {A}"),
        "OPENAI_API_KEY has the word Bearer in front of it",
    ),
    "key with white space": (
        "unclean_key",
        sets(OPENAI_API_KEY=f" {A}"),
        "OPENAI_API_KEY has white space around or in it",
    ),
    "key with a strange character": (
        "unclean_key",
        sets(OPENAI_API_KEY=f"{A}é"),
        "OPENAI_API_KEY has a character that no key has",
    ),
    "no key": ("no_key", drops("OPENAI_API_KEY"), "OPENAI_API_KEY is not set"),
    "key of another organization": (
        "another_organization",
        both(writes(of_organization("org-a")), sets(OPENAI_ORG_ID="org-b")),
        "The key sk-proj-…AAAA is the key of another organization: it belongs to org-a, and "
        "OPENAI_ORG_ID says org-b.",
    ),
    "legacy user key": (
        "legacy_key",
        sets(OPENAI_API_KEY=LEGACY),
        "The key sk-…Lm9n is a legacy user key: it works in every project of its user",
    ),
    "key of several projects": (
        "legacy_key",
        writes(of_several(A)),
        "is a legacy user key, registered for bot (proj_a) and lab (proj_b)",
    ),
    "admin key for inference": (
        "admin_key",
        sets(OPENAI_API_KEY=ADMIN),
        "OPENAI_API_KEY holds an admin key (sk-admin-…AAAA): it belongs to the organization",
    ),
    "base URL that is not OpenAI's": (
        "other_host",
        sets(OPENAI_API_KEY=STRANGER, OPENAI_BASE_URL="https://me:secret@gateway.example/v1"),
        "The base URL is not OpenAI's (https://gateway.example/v1), so the guard does not look at "
        "its calls.",
    ),
    "base URL of a gateway, registered key": (
        "other_host",
        sets(OPENAI_BASE_URL="https://gateway.example/v1"),
        "the guard looks at its calls only because this key is registered",
    ),
    "hooks removed": (
        "hooks_removed",
        takes_the_hooks_off,
        "Another tool removed the guard's hook from BaseClient._build_request: calls are sent "
        "unchecked.",
    ),
    "hooks that do nothing": (
        "hooks_removed",
        puts_no_hooks_in,
        "Another tool removed the guard's hook from",
    ),
    "registry empty": (
        "registry_empty",
        writes('version = 1\n[projects.bot]\nid = "proj_a"\n'),
        "The registry is empty: openai-projects.toml has no key.",
    ),
    "registry missing": (
        "registry_empty",
        lambda _: FILE.unlink(missing_ok=True),
        "No registry was found. Neither OPENAI_PROJECT_GUARD_REGISTRY nor "
        "OPENAI_PROJECT_GUARD_KEYS is set, and there is no openai-projects.toml and no ",
    ),
    "registry gone": (
        "registry_unreadable",
        sets(OPENAI_PROJECT_GUARD_REGISTRY="gone.toml"),
        "A registry cannot be read. gone.toml: there is no such file.",
    ),
    "registry truncated": (
        "registry_unreadable",
        writes(""),
        "A registry cannot be read. openai-projects.toml, line 1: version: it is missing; the "
        "file is empty.",
    ),
    "guard off": (
        "guard_off",
        drops("OPENAI_PROJECT_GUARD"),
        "OPENAI_PROJECT_GUARD is off or not set",
    ),
    "guard only warns": (
        "guard_only_warns",
        sets(OPENAI_PROJECT_GUARD="warn"),
        "OPENAI_PROJECT_GUARD is warn",
    ),
    "no project": (
        "no_project",
        drops("OPENAI_PROJECT_ID"),
        "Nothing names a project: OPENAI_PROJECT_ID is not set.",
    ),
    "project empty": (
        "no_project",
        sets(OPENAI_PROJECT_ID=""),
        "Nothing names a project: OPENAI_PROJECT_ID is empty.",
    ),
    "key empty": ("no_key", sets(OPENAI_API_KEY=""), "OPENAI_API_KEY is empty"),
    "project with quotes": (
        "unclean_project",
        sets(OPENAI_PROJECT_ID='"proj_a"'),
        "OPENAI_PROJECT_ID has quotes or white space around the project id: '\"proj_a\"'.",
    ),
    "key not registered": (
        "unregistered_key",
        sets(OPENAI_API_KEY=STRANGER),
        "The key sk-proj-…ZZZZ is not in any registry. Looked in: openai-projects.toml (2 keys).",
    ),
    "pinned to another project": (
        "pinned_elsewhere",
        sets(OPENAI_PROJECT_GUARD_PROJECT="lab"),
        "OPENAI_PROJECT_GUARD_PROJECT pins this process to proj_b; the key sk-proj-…AAAA belongs "
        "to bot (proj_a) and the header says proj_a.",
    ),
    "override left on": (
        "override",
        sets(OPENAI_PROJECT_GUARD_OVERRIDE="warn"),
        "OPENAI_PROJECT_GUARD_OVERRIDE is warn: it beats every setting",
    ),
    "learn left on": (
        "learn_in_enforce",
        sets(OPENAI_PROJECT_GUARD_UNREGISTERED="learn"),
        "OPENAI_PROJECT_GUARD_UNREGISTERED is learn, and OPENAI_PROJECT_GUARD is enforce: a call "
        "with a key that is in no registry is sent",
    ),
    "dotenv not loaded": (
        "dotenv_not_loaded",
        lambda _: Path(".env").write_text("OPENAI_PROJECT_ID=proj_b\nOTHER=1\n") and None,
        "There is a .env in this folder that sets OPENAI_PROJECT_ID, and it is not loaded",
    ),
    "variable mistyped": (
        "mistyped_variable",
        both(drops("OPENAI_PROJECT_ID"), sets(OPENAI_PROJCT_ID="proj_a")),
        "OPENAI_PROJCT_ID is set, which the SDK does not read; OPENAI_PROJECT_ID, which it reads, "
        "is not set.",
    ),
    "setting not understood": (
        "settings_unusable",
        sets(OPENAI_PROJECT_GUARD="enforced"),
        "The environment variable OPENAI_PROJECT_GUARD is 'enforced', which is not understood.",
    ),
}
ONLY_WORTH_KNOWING = [
    "legacy user key",
    "guard off",
    "guard only warns",
    "override left on",
    "learn left on",
    "dotenv not loaded",
]


@pytest.mark.parametrize("planted", PLANTED)
def test_what_is_wrong_is_named_with_its_fix(good: Shell, planted: str) -> None:
    name, plant, sentence = PLANTED[planted]
    plant(good)
    ran = good("doctor", "--json")
    found = [mistake for mistake in ran.json["mistakes"] if mistake["name"] == name]
    assert len(found) == 1, ran.json["mistakes"]
    assert sentence in found[0]["sentence"]
    assert len(found[0]["cure"]) > 10
    assert ran.json["in_order"] is (ran.status == 0)
    if found[0]["is_wrong"]:
        assert ran.status in (1, 2)
    everything = ran.out + ran.err
    assert not any(key[9:] in everything for key in (A, B, STRANGER, ADMIN, LEGACY))
    assert "me:secret" not in everything
    plant(good)  # once more: the first look has put hooks back that were off
    shown = " ".join(good("doctor").out.split())
    assert found[0]["sentence"] in shown
    assert found[0]["cure"] in shown


def test_every_finding_is_planted_here() -> None:
    elsewhere = {
        "server_disagrees",
        "sdk_unsupported",
        "unknown_values",
        "environment_differs",
    }
    assert {name for name, *_ in PLANTED.values()} | elsewhere == set(FINDINGS)


@pytest.mark.parametrize("name", ONLY_WORTH_KNOWING)
def test_what_is_only_worth_knowing_is_not_wrong(good: Shell, name: str) -> None:
    PLANTED[name][1](good)
    if name == "legacy user key":
        support.write_registry(FILE, bot=f"proj_a:{LEGACY}")
    assert good("doctor").status == 0


def test_an_sdk_without_the_places_is_unusable(good: Shell) -> None:
    from openai import _base_client

    good.patch.delattr(_base_client.BaseClient, "_build_request")
    ran = good("doctor", "--json")
    assert ran.status == 2
    assert "sdk_unsupported" in [mistake["name"] for mistake in ran.json["mistakes"]]
    assert "_build_request" in ran.json["hooks"]["error"]
    assert good("doctor").status == 2


@pytest.mark.skipif(not CUSTOM, reason="this SDK does not read the variable")
def test_a_header_of_the_environment_is_named_as_the_origin(good: Shell) -> None:
    good.patch.setenv("OPENAI_CUSTOM_HEADERS", "OpenAI-Project: proj_b\nAuthorization: Bearer " + A)
    found = good("doctor", "--json").json
    assert "OPENAI_CUSTOM_HEADERS says lab (proj_b)" in found["mistakes"][0]["sentence"]
    winning = [(value["header"], value["name"]) for value in found["values"] if value["wins"]]
    assert winning == [
        ("Authorization", "OPENAI_CUSTOM_HEADERS"),
        ("OpenAI-Project", "OPENAI_CUSTOM_HEADERS"),
    ]
    assert "OPENAI_CUSTOM_HEADERS" in good("doctor").out


def test_a_base_url_without_a_host(good: Shell) -> None:
    good.patch.setenv("OPENAI_BASE_URL", "")
    ran = good("doctor")
    assert (ran.status, "OPENAI_BASE_URL is empty" in ran.out) == (1, True)
    good.patch.setenv("OPENAI_BASE_URL", "http://[")
    ran = good("doctor")
    # Older HTTP libraries refuse such a URL when the client is made.
    if ran.status != 2:
        assert (ran.status, "OPENAI_BASE_URL is no URL with a host" in ran.out) == (1, True)


# The picture


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
            {
                "name": "unregistered",
                "value": "warn",
                "from": "OPENAI_PROJECT_GUARD_UNREGISTERED",
            },
            {"name": "project", "value": "not pinned", "from": None},
            {"name": "hosts", "value": "api.openai.com", "from": None},
            {"name": "scope", "value": "sdk", "from": None},
            {"name": "learned", "value": "in memory only", "from": None},
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
    assert "✓ OpenAI: matching call let through, wrong call refused" in ran.out


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
    [(5, "less than a minute ago"), (61, "1 minute ago"), (7_300, "2 hours ago")],
)
def test_the_age_of_a_file_is_told(good: Shell, age: int, shown: str) -> None:
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
        assert found["mistakes"][0]["name"] == "another_organization"
        assert found["live"]["code"] == "mismatched_organization"
        good.patch.delenv("OPENAI_ORG_ID")
        with api.answer_as("proj_moved"):
            found = good("doctor", "--live", "--json").json
        assert found["mistakes"][0]["sentence"] == (
            "The registry is out of date: it has the key sk-proj-…AAAA for bot (proj_a), and the "
            "API says it belongs to proj_moved."
        )


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
    assert found["settings"][-1] == {
        "name": "override",
        "value": "warn",
        "from": "OPENAI_PROJECT_GUARD_OVERRIDE",
    }


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


def test_a_dotenv_that_is_loaded_is_not_mentioned(good: Shell) -> None:
    Path(".env").write_text(f"export OPENAI_API_KEY={A}\nOPENAI_PROJECT_ID='proj_a'\nOTHER=1\n")
    assert good("doctor", "--json").json["mistakes"] == []
    assert good("doctor", "--json", "--env-file", ".env").json["mistakes"] == []


# Where was looked, and what to do


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
