"""What does `list` show of which registries?"""

from __future__ import annotations

import logging
import re
import sys
from pathlib import Path

import pytest
import support
from cli_shell import LEGACY, NAME, Shell
from support import A, B, fingerprint

from openai_project_guard._cli import main


def test_list_shows_projects_keys_notes_and_lines(run: Shell) -> None:
    run("register", "proj_b", stdin=B)
    run("register", "proj_a", "--alias", "bot", "--note", "CI", "--organization", "org-a", stdin=A)
    support.write_registry(Path("more.toml"), empty="proj_c")
    run.patch.setenv("OPENAI_PROJECT_GUARD_REGISTRY", f"{NAME},more.toml")
    run.patch.setenv("OPENAI_PROJECT_GUARD_KEYS", f"proj_d={fingerprint(LEGACY)}")
    ran = run("list")
    assert (ran.status, ran.err) == (0, "")
    assert ran.out == (
        "openai-projects.toml\n"
        " Project │ Id              │ Key           │ Note │ Line\n"
        "─────────┼─────────────────┼───────────────┼──────┼─────\n"
        " bot     │ proj_a of org-a │ sk-proj-…AAAA │ CI   │    7\n"
        " –       │ proj_b          │ sk-proj-…BBBB │      │   13\n"
        "2 keys, 2 projects\n"
        "\n"
        "more.toml\n"
        " Project │ Id     │ Key    │ Note │ Line\n"
        "─────────┼────────┼────────┼──────┼─────\n"
        " empty   │ proj_c │ no key │      │ –\n"
        "0 keys, 1 project\n"
        "\n"
        "OPENAI_PROJECT_GUARD_KEYS\n"
        " Project │ Id     │ Key              │ Note │ Line\n"
        "─────────┼────────┼──────────────────┼──────┼─────\n"
        f" –       │ proj_d │ {fingerprint(LEGACY)[:15]}… │      │ –\n"
        "1 key, 1 project\n"
    )


@pytest.mark.parametrize(
    "words", [["list"], ["list", "--fingerprints"], ["check"], ["doctor"], ["validate", NAME]]
)
def test_a_command_says_the_same_with_colours(good: Shell, words: list[str]) -> None:
    plain = good(*words)
    good.patch.setenv("FORCE_COLOR", "1")
    coloured = good(*words)
    assert "\x1b[" in coloured.out
    assert re.sub(r"\x1b\[\d+m", "", coloured.out).split() == plain.out.split()


def test_a_command_leaves_the_log_as_it_was(good: Shell) -> None:
    good("check")
    good("doctor")
    assert not logging.getLogger("openai_project_guard").disabled


def test_the_command_that_installs_what_is_missing_stands_on_a_line_of_its_own(
    clean: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    clean.setitem(sys.modules, "redis", None)  # as where it is not installed
    assert main(["list", "--registry", "redis://127.0.0.1"]) == 2
    assert '\n  pip install "redis>=5"\n' in capsys.readouterr().err


def test_list_as_json(run: Shell) -> None:
    run("register", "proj_a", "--alias", "bot", "--note", "CI", "--organization", "org-a", stdin=A)
    run.patch.setenv("OPENAI_PROJECT_GUARD_KEYS", f"proj_d={fingerprint(B)}")
    found = run("list", "--json").json
    assert 0 <= found["sources"][0].pop("age_seconds") < 60
    assert found == {
        "sources": [
            {"kind": "file", "name": NAME, "projects": 1, "keys": 1, "error": None},
            {
                "kind": "variable",
                "name": "OPENAI_PROJECT_GUARD_KEYS",
                "projects": 1,
                "keys": 1,
                "age_seconds": None,
                "error": None,
            },
        ],
        "projects": [
            {"project": "proj_a", "alias": "bot", "organization": "org-a", "source": NAME},
            {
                "project": "proj_d",
                "alias": None,
                "organization": None,
                "source": "OPENAI_PROJECT_GUARD_KEYS",
            },
        ],
        "keys": [
            {
                "fingerprint": fingerprint(A),
                "hint": "sk-proj-…AAAA",
                "project": "proj_a",
                "alias": "bot",
                "organization": "org-a",
                "note": "CI",
                "place": f"{NAME}, line 7",
                "source": NAME,
            },
            {
                "fingerprint": fingerprint(B),
                "hint": "",
                "project": "proj_d",
                "alias": None,
                "organization": None,
                "note": None,
                "place": "the environment variable OPENAI_PROJECT_GUARD_KEYS",
                "source": "OPENAI_PROJECT_GUARD_KEYS",
            },
        ],
    }


def test_a_key_of_several_projects_is_one_key(run: Shell) -> None:
    run("register", "proj_a", stdin=LEGACY)
    run("register", "proj_b", "--also", stdin=LEGACY)
    ran = run("list")
    assert ran.out.endswith("\n1 key, 2 projects\n")
    listed = run("list", "--json").json
    assert [key["project"] for key in listed["keys"]] == ["proj_b", "proj_a"]
    assert [source["keys"] for source in listed["sources"]] == [1]
    ran = run("doctor")
    assert re.search(r"openai-projects\.toml +│ +2 │ +1 │", ran.out), ran.out


def test_list_of_nothing_says_how_to_begin(run: Shell) -> None:
    ran = run("list")
    assert (ran.status, "openai-project-guard register PROJECT" in ran.out) == (0, True)


def test_list_names_what_it_cannot_read_and_lists_the_rest(run: Shell) -> None:
    support.write_registry(Path(NAME), a=f"proj_a:{A}")
    Path("broken.toml").write_text("version = 2\n")
    names = f"{NAME},broken.toml,gone.toml,nosuch://u:secret@host/0"
    run.patch.setenv("OPENAI_PROJECT_GUARD_REGISTRY", names)
    run.patch.setenv("OPENAI_PROJECT_GUARD_KEYS", "proj_a=nonsense")
    ran = run("list")
    assert ran.status == 2
    assert "1 key, 1 project" in ran.out
    for complaint in ("broken.toml, line 1", "gone.toml: there is no such file", "pair 1"):
        assert complaint in ran.err
    sources = run("list", "--json").json["sources"]
    assert [source["error"] is None for source in sources] == [True, False, False, False, False]
    assert sources[3]["name"] == "nosuch://host/0"


def test_list_of_one_file(run: Shell) -> None:
    support.write_registry(Path("mine.toml"), a=f"proj_a:{A}")
    assert run("list", "--registry", "mine.toml", "--json").json["sources"][0]["keys"] == 1


def test_list_shows_what_was_learned(run: Shell) -> None:
    support.write_registry(Path("learned.toml"), a=f"proj_a:{A}")
    run.patch.setenv("OPENAI_PROJECT_GUARD_LEARNED", "learned.toml")
    assert run("list").out.startswith("learned.toml\n")


def test_list_shows_whole_fingerprints(legacy: Shell) -> None:
    legacy.patch.setenv("COLUMNS", "40")
    lines = legacy("list", "--fingerprints").out.splitlines()
    assert set(lines[1:-1]) == {
        f"{fingerprint(LEGACY)}  {project}  sk-…Lm9n"
        for project in ("bot (proj_a)", "lab (proj_b)")
    }
