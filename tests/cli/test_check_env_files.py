"""Would the environments that my .env files make pass, each by itself?"""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from cli_shell import Shell
from json_shape import assert_as_described
from support import STRANGER, A, B

from openai_project_guard.loopback import loopback_api


@pytest.fixture
def shell(good: Shell) -> Shell:
    """A registry, and nothing set."""
    for name in ("OPENAI_API_KEY", "OPENAI_PROJECT_ID"):
        good.patch.delenv(name)
    return good


def write(name: str, *lines: str) -> str:
    Path(name).write_text("".join(f"{line}\n" for line in lines))
    return name


RIGHT = (f"OPENAI_API_KEY={A}", "OPENAI_PROJECT_ID=proj_a")
WRONG = (f"OPENAI_API_KEY={B}", "OPENAI_PROJECT_ID=proj_a")
LATER = ("OPENAI_API_KEY=${PROD_KEY}", "OPENAI_PROJECT_ID=proj_b")


def test_each_file_is_a_line_and_the_worst_is_the_exit_status(shell: Shell) -> None:
    before = dict(os.environ)
    files = [write("a.env", *RIGHT), write("b.env", *WRONG), write("c.env", *LATER)]
    ran = shell("check", *(argument for file in files for argument in ("--env-file", file)))
    assert (ran.status, ran.err) == (1, "")
    assert ran.out.splitlines() == [
        "✓ a.env: passes: key sk-proj-…AAAA, project proj_a.",
        "✗ b.env: The key sk-proj-…BBBB is the key of another project: it belongs to lab (proj_b), "
        "and OPENAI_PROJECT_ID says bot (proj_a).",
        "? c.env: unknown: OPENAI_API_KEY refers to PROD_KEY, which is not set here.",
    ]
    assert dict(os.environ) == before


@pytest.mark.parametrize(("lines", "status"), [(RIGHT, 0), (WRONG, 1), (LATER, 0)])
def test_the_status_of_one_file(shell: Shell, lines: tuple[str, ...], status: int) -> None:
    assert shell("check", "--env-file", write(".env", *lines)).status == status


def test_a_file_beats_the_environment(good: Shell) -> None:
    assert good("check", "--env-file", write(".env", f"OPENAI_API_KEY={B}")).status == 1
    lab = (f"OPENAI_API_KEY={B}", "OPENAI_PROJECT_ID=proj_b")
    assert good("check", "--env-file", write(".env", *lab)).status == 0


def test_what_is_referred_to_may_be_there(shell: Shell) -> None:
    shell.patch.setenv("PROD_KEY", B)
    ran = shell("check", "--env-file", write(".env", *LATER))
    assert (ran.status, "passes: key sk-proj-…BBBB" in ran.out) == (0, True)


@pytest.mark.parametrize(
    ("line", "complaint"),
    [
        ("OPENAI_PROJECT_ID=proj_old", "OPENAI_PROJECT_ID says proj_old, a project that no reg"),
        ("OPENAI_PROJECT_ID=proj_é", "OPENAI_PROJECT_ID says 'proj_é', which is no project id"),
        ("OPENAI_PROJECT_ID=bot", "OPENAI_PROJECT_ID says 'bot': that is the project's name"),
        ("OPENAI_PROJECT_ID=", "Nothing names a project"),
        ("OPENAI_PROJECT=proj_a", "it reads OPENAI_PROJECT_ID, which is not set"),
        ("OPENAI_BASE_URL=elsewhere", "OPENAI_BASE_URL is no URL with a host"),
        ("OPENAI_PROJECT_GUARD=enfroce", "OPENAI_PROJECT_GUARD is 'enfroce'"),
    ],
)
def test_what_is_wrong_whatever_the_key_will_be_is_wrong(
    shell: Shell, line: str, complaint: str
) -> None:
    file = write(".env", "OPENAI_API_KEY=${PROD_KEY}", line)
    ran = shell("check", "--env-file", file)
    assert ran.status in (1, 2)
    assert complaint in ran.out


@pytest.mark.parametrize(
    ("key", "said"),
    [
        (None, "? .env: unknown: OPENAI_API_KEY refers to PROD_KEY, which is not set here.\n"),
        (B, "✓ .env: passes: key sk-proj-…BBBB, project proj_b.\n"),
        (STRANGER, "✗ .env: The base URL is not OpenAI's (https://elsewhere.example/v1), so the"),
    ],
)
def test_at_another_host_it_depends_on_the_key_whether_its_calls_are_looked_at(
    shell: Shell, key: str | None, said: str
) -> None:
    if key is not None:
        shell.patch.setenv("PROD_KEY", key)
    file = write(".env", *LATER, "OPENAI_BASE_URL=https://elsewhere.example/v1")
    ran = shell("check", "--env-file", file)
    assert (ran.status, ran.out[: len(said)]) == (int(key == STRANGER), said)


def test_a_registry_that_is_only_referred_to_is_unknown(shell: Shell) -> None:
    file = write(".env", *RIGHT, "OPENAI_PROJECT_GUARD_REGISTRY=${WHERE}/r.toml")
    ran = shell("check", "--env-file", file)
    assert (ran.status, ran.out) == (
        0,
        "? .env: unknown: OPENAI_PROJECT_GUARD_REGISTRY refers to WHERE, which is not set here.\n",
    )


def test_one_file_that_cannot_be_read_does_not_hide_the_others(shell: Shell) -> None:
    ran = shell("check", "--env-file", "missing.env", "--env-file", write("a.env", *RIGHT))
    first, second = ran.out.splitlines()
    assert ran.status == 2
    assert first.startswith("✗ --env-file missing.env: it cannot be read (No such file")
    assert second == "✓ a.env: passes: key sk-proj-…AAAA, project proj_a."


def test_a_line_that_is_skipped_is_told(shell: Shell) -> None:
    ran = shell("check", "--env-file", write(".env", *RIGHT, 'X="never closed'))
    assert ran.out.endswith("Line 3 is not NAME=value, so it was skipped.\n")


def test_what_is_not_known_is_not_sent_to_the_api(shell: Shell) -> None:
    with loopback_api({A: "proj_a"}) as api:
        shell.patch.setenv("OPENAI_BASE_URL", api.base_url)
        shell.patch.setenv("OPENAI_PROJECT_GUARD_HOSTS", "127.0.0.1")
        unknown_project = (RIGHT[0], "OPENAI_PROJECT_ID=${NOWHERE}")
        for lines in (LATER, unknown_project):
            assert shell("check", "--live", "--env-file", write("c.env", *lines)).status == 0
        assert len(api.ledger) == 0
        assert shell("check", "--live", "--env-file", write("a.env", *RIGHT)).status == 0
        assert len(api.ledger) == 1


def test_json(shell: Shell) -> None:
    files = [write("a.env", *RIGHT), write("b.env", *WRONG, "=="), write("c.env", *LATER), "d.env"]
    ran = shell("check", "--json", *(a for file in files for a in ("--env-file", file)))
    assert ran.status == 2
    assert_as_described("check --env-file", ran.json)
    told = ran.json["files"]
    assert [(each["file"], each["passes"]) for each in told] == [
        ("a.env", True),
        ("b.env", False),
        ("c.env", None),
        ("d.env", False),
    ]
    assert (told[2]["check"]["verdict"], told[2]["check"]["refusal"]) == (None, None)
    assert told[2]["unknown"] == [{"name": "OPENAI_API_KEY", "refers_to": ["PROD_KEY"]}]
    assert told[3]["error"].startswith("--env-file d.env: it cannot be read")


@pytest.mark.parametrize("line", [f"OPENAI_API_KEY={STRANGER}", f"OPENAI_PROJECT_ID={STRANGER}"])
def test_no_key_is_shown(shell: Shell, line: str) -> None:
    ran = shell("check", "--env-file", write(".env", line), "--json")
    assert STRANGER not in ran.out + ran.err
