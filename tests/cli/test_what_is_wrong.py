"""Do `check` and `doctor` name the mistake that I made?"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
import support
from cli_shell import LEGACY, Shell
from support import STRANGER, A, B, fingerprint

import openai_project_guard as opg
from openai_project_guard import _hooks
from openai_project_guard._cli.diagnosis.findings import FINDINGS

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


def writes_file(name: str) -> Plant:
    return lambda shell: Path(name).write_text("")


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
        "OPENAI_API_KEY has a line break at its end, so no call can be sent. Without that it is "
        "the key of bot (proj_a).",
    ),
    "key with the end of a line of Windows": (
        "unclean_key",
        sets(OPENAI_API_KEY=f"{A}\r"),
        "OPENAI_API_KEY has a line break at its end",
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
    "organization that is not ASCII": (
        "unclean_organization",
        sets(OPENAI_ORG_ID="org-é"),
        "OPENAI_ORG_ID has a character that no id has, so no call can be sent.",
    ),
    "organization with a line break": (
        "unclean_organization",
        sets(OPENAI_ORG_ID="org-a\n"),
        "OPENAI_ORG_ID has white space around or in it, so no call can be sent.",
    ),
    "header that HTTP does not allow": (
        "unclean_header",
        sets(OPENAI_CUSTOM_HEADERS="X Team: bot"),
        "OPENAI_CUSTOM_HEADERS sets a header that HTTP does not allow, 'x team', so no call can be "
        "sent.",
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
        "The base URL is not OpenAI's (https://gateway.example/v1); the guard looks at its calls "
        "only because this key is registered.",
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
    "registry with a merge conflict": (
        "registry_unreadable",
        writes("version = 1\n<<<<<<< HEAD\n=======\n>>>>>>> other\n"),
        "A registry cannot be read. openai-projects.toml, line 2: there is a merge conflict here.",
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
        "OPENAI_PROJECT_GUARD is not set: the guard checks only where the program itself calls",
    ),
    "guard off by hand": (
        "guard_off",
        sets(OPENAI_PROJECT_GUARD="off"),
        "OPENAI_PROJECT_GUARD is off: calls are not checked, except inside @guard and where",
    ),
    "override of off": (
        "override",
        sets(OPENAI_PROJECT_GUARD_OVERRIDE="off"),
        "of this process, and no call is checked.",
    ),
    "audit folder that cannot be made": (
        "audit_unwritable",
        both(writes_file("seen"), sets(OPENAI_PROJECT_GUARD_AUDIT="seen/audit")),
        "No file can be made in seen/audit, which OPENAI_PROJECT_GUARD_AUDIT names (",
    ),
    "audit folder that is a file": (
        "audit_unwritable",
        both(writes_file("seen"), sets(OPENAI_PROJECT_GUARD_AUDIT="seen")),
        "No file can be made in seen, which OPENAI_PROJECT_GUARD_AUDIT names (",
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
    "project that is not ASCII": (
        "name_for_id",
        sets(OPENAI_PROJECT_ID="proj_é"),
        "OPENAI_PROJECT_ID says 'proj_é', which is no project id; perhaps it is the project's "
        "name.",
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
    "variable in small letters": (
        "mistyped_variable",
        both(drops("OPENAI_API_KEY"), sets(openai_api_key=A)),
        "openai_api_key is set, which the SDK does not read; OPENAI_API_KEY, which it reads, is "
        "not set.",
    ),
    "switch of the guard mistyped": (
        "mistyped_variable",
        both(drops("OPENAI_PROJECT_GUARD"), sets(OPENAI_PROJECT_GAURD="enforce")),
        "OPENAI_PROJECT_GAURD is set, which the guard does not read; OPENAI_PROJECT_GUARD, which "
        "it reads, is not set.",
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
    "guard off by hand",
    "override of off",
    "audit folder that cannot be made",
    "audit folder that is a file",
    "guard only warns",
    "override left on",
    "learn left on",
    "dotenv not loaded",
]


@pytest.mark.parametrize("planted", PLANTED)
def test_what_is_wrong_is_named_with_its_fix(good: Shell, planted: str) -> None:
    name, plant, sentence = PLANTED[planted]
    if name == "unclean_header" and not CUSTOM:
        pytest.skip("this SDK does not read the variable")
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


@pytest.mark.parametrize(
    ("planted", "fix"),
    [
        ("OPENAI_PROJECT instead", "Name the variable OPENAI_PROJECT_ID instead."),
        ("OPENAI_PROJECT beside it", "Unset OPENAI_PROJECT."),
        (
            "key with a trailing newline",
            "Set OPENAI_API_KEY to the key alone. From a file: OPENAI_API_KEY=$(cat FILE), which "
            "drops it.",
        ),
        ("key with quotes", "Set OPENAI_API_KEY to the key alone."),
    ],
)
def test_what_is_told_to_do_is_for_this_mistake_alone(good: Shell, planted: str, fix: str) -> None:
    name, plant, _ = PLANTED[planted]
    plant(good)
    mistakes = good("doctor", "--json").json["mistakes"]
    assert [mistake["cure"] for mistake in mistakes if mistake["name"] == name] == [fix]


def test_every_finding_is_planted_here() -> None:
    elsewhere = {
        "server_disagrees",
        "sdk_unsupported",
        "unknown_values",
        "environment_differs",
        "skipped_line",
    }
    assert {name for name, *_ in PLANTED.values()} | elsewhere == set(FINDINGS)


@pytest.mark.parametrize("name", ONLY_WORTH_KNOWING)
def test_what_is_only_worth_knowing_is_not_wrong(good: Shell, name: str) -> None:
    PLANTED[name][1](good)
    if name == "legacy user key":
        support.write_registry(FILE, bot=f"proj_a:{LEGACY}")
    assert good("doctor").status == 0


@pytest.mark.parametrize("folder", ["seen", "seen/of/today", "."])
def test_an_audit_folder_that_can_be_made_is_not_made_and_not_mentioned(
    good: Shell, folder: str
) -> None:
    good.patch.setenv("OPENAI_PROJECT_GUARD_AUDIT", folder)
    assert good("doctor", "--json").json["mistakes"] == []
    assert [path.name for path in Path().iterdir()] == [FILE.name]


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


@pytest.mark.parametrize("name", ["AZURE_OPENAI_API_KEY", "OPENROUTER_API_KEY", "OPERATOR"])
def test_a_variable_of_somebody_else_is_no_typing_mistake(good: Shell, name: str) -> None:
    good.patch.delenv("OPENAI_API_KEY")
    good.patch.setenv(name, "x")
    names = [mistake["name"] for mistake in good("doctor", "--json").json["mistakes"]]
    assert names == ["no_key"]


def test_a_base_url_without_a_host(good: Shell) -> None:
    good.patch.setenv("OPENAI_BASE_URL", "")
    ran = good("doctor")
    assert (ran.status, "OPENAI_BASE_URL is empty" in ran.out) == (1, True)
    good.patch.setenv("OPENAI_BASE_URL", "http://[")
    ran = good("doctor")
    # Older HTTP libraries refuse such a URL when the client is made.
    if ran.status != 2:
        assert (ran.status, "OPENAI_BASE_URL is no URL with a host" in ran.out) == (1, True)


def test_a_variable_like_one_that_is_set_is_not_taken_for_another(good: Shell) -> None:
    good.patch.delenv("OPENAI_PROJECT_GUARD", raising=False)
    good.patch.setenv("OPENAI_PROJECT_ID", "proj_a")
    good.patch.setenv("OPENAI_PROJCT_ID", "proj_a")
    names = [mistake["name"] for mistake in good("doctor", "--json").json["mistakes"]]
    assert "mistyped_variable" not in names


# A key in several registries


def test_a_project_that_several_registries_have_is_named_once(good: Shell) -> None:
    Path("learned.toml").write_text(FILE.read_text())
    good.patch.setenv("OPENAI_PROJECT_GUARD_LEARNED", "learned.toml")
    good.patch.setenv("OPENAI_PROJECT_ID", "proj_b")
    (mistake,) = good("doctor", "--json").json["mistakes"]
    assert mistake["sentence"] == (
        "The key sk-proj-…AAAA is the key of another project: it belongs to bot (proj_a), and "
        "OPENAI_PROJECT_ID says lab (proj_b)."
    )
    assert mistake["cure"].startswith("Set OPENAI_PROJECT_ID to proj_a, or set")
    good.patch.setenv("OPENAI_PROJECT_ID", "proj_a")
    assert good("doctor", "--json").json["mistakes"] == []  # nor is it a legacy user key
    good.patch.setenv("OPENAI_API_KEY", f"{A}\n")
    assert "Without that it is the key of bot (proj_a)." in good("doctor", "--json").out


@pytest.mark.parametrize(
    ("key", "is_legacy"),
    [
        (LEGACY, True),
        ("sk-None-DemoUserNotARealKeyLm9n", True),
        ("sk-svcacct-DemoNotARealKeyLm9n", False),
        ("sk-or-v1-0123456789abcdef0123456789abcdef", False),
        ("gateway.key.7777", False),
    ],
)
def test_only_a_key_of_a_user_is_called_one(good: Shell, key: str, is_legacy: bool) -> None:
    good.patch.setenv("OPENAI_API_KEY", key)
    mistakes = good("doctor", "--json").json["mistakes"]
    assert ("legacy_key" in [mistake["name"] for mistake in mistakes]) is is_legacy


def test_a_key_with_a_line_break_comes_from_the_variable_all_the_same(good: Shell) -> None:
    good.patch.setenv("OPENAI_API_KEY", f"{STRANGER}\n")
    found = good("doctor", "--json").json
    assert found["verdict"]["origin"] == "OPENAI_API_KEY"
    assert "The key comes from OPENAI_API_KEY in the environment." in found["refusal"]["message"]
    assert [value["wins"] for value in found["values"] if value["name"] == "OPENAI_API_KEY"] == [
        True
    ]
