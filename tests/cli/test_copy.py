"""Does `copy` make one registry say what another says, and nothing that I did not see first?"""

from __future__ import annotations

from pathlib import Path

import pytest
from cli_shell import LEGACY, NAME, Shell, keys
from support import STRANGER, A, B

from openai_project_guard import Registry

OTHER = Path("other.toml")


def write(run: Shell, path: str | Path, **projects: str) -> None:
    """A registry anew: `alias="project id:key"`."""
    Path(path).unlink(missing_ok=True)
    for alias, value in projects.items():
        project, _, key = value.partition(":")
        to = ("--registry", str(path))
        assert run("register", project, "--alias", alias, "--also", *to, stdin=key).status == 0


@pytest.fixture
def two(run: Shell) -> Shell:
    """The registry in use, which has A and B, and another, which has a project and a note more."""
    write(run, NAME, bot=f"proj_a:{A}", lab=f"proj_b:{B}")
    write(run, OTHER, bot=f"proj_a:{A}", new=f"proj_c:{STRANGER}")
    return run


def test_the_target_says_what_the_source_says(two: Shell) -> None:
    ran = two("copy", str(OTHER), "--yes")
    assert (ran.status, ran.err) == (0, "")
    assert ran.out == (
        "- project lab (proj_b)\n"
        "+ project new (proj_c)\n"
        "+ key sk-proj-…ZZZZ of proj_c\n"
        "- key sk-proj-…BBBB of proj_b\n"
        "✓ 4 changes written to openai-projects.toml.\n"
    )
    assert sorted(keys(NAME)) == sorted(keys(str(OTHER)))
    assert two("copy", str(OTHER)).out == "✓ No difference: openai-projects.toml is up to date.\n"


def test_a_target_may_be_named_and_is_made(two: Shell) -> None:
    assert two("copy", NAME, "made.toml", "--yes").status == 0
    assert keys("made.toml") == keys(NAME)


def test_what_cannot_be_rewritten_safely_is_named_and_left(two: Shell) -> None:
    text = 'version = 1\nprojects = {bot = {id="proj_a"}, lab = {id="proj_b"}}\n'
    Path("in.toml").write_text(text)
    ran = two("copy", str(OTHER), "in.toml", "--yes")
    assert (ran.status, "in.toml: projects.bot is laid out" in ran.err) == (2, True)
    assert Path("in.toml").read_text() == text


def test_a_key_without_a_hint_is_shown_by_the_beginning_of_its_fingerprint(two: Shell) -> None:
    Path("from.toml").write_text(
        'version = 1\n[projects.new]\nid = "proj_c"\n'
        f'keys = [{{ fingerprint = "sha256:{"0123456789abcdef" * 4}" }}]\n'
    )
    ran = two("copy", "from.toml", "--merge", "--dry-run")
    assert "+ key sha256:01234567… of proj_c\n" in ran.out


def test_a_dry_run_shows_and_writes_nothing(two: Shell) -> None:
    before = Path(NAME).read_text()
    ran = two("copy", str(OTHER), "--dry-run", "--yes")
    assert (ran.status, ran.err) == (1, "Nothing was written to openai-projects.toml.")
    assert "+ project new (proj_c)" in ran.out
    assert Path(NAME).read_text() == before


def test_without_a_terminal_nothing_is_overwritten(two: Shell) -> None:
    before = Path(NAME).read_text()
    ran = two("copy", str(OTHER))
    assert (ran.status, "Write 4 changes to openai-projects.toml?" in ran.err) == (2, True)
    assert ran.err.endswith("Not a terminal, so cannot ask. Pass --yes.")
    assert Path(NAME).read_text() == before


def test_json(two: Shell) -> None:
    ran = two("copy", str(OTHER), "--merge", "--yes", "--json")
    assert (ran.status, ran.json) == (
        0,
        {
            "written": True,
            "difference": [
                {"change": "+", "what": "project new (proj_c)"},
                {"change": "+", "what": "key sk-proj-…ZZZZ of proj_c"},
            ],
            "conflicts": [],
        },
    )


# --merge


def test_merge_only_adds(two: Shell) -> None:
    Path(NAME).write_text("# ours\n" + Path(NAME).read_text())
    assert two("copy", str(OTHER), "--merge", "--yes").status == 0
    assert Path(NAME).read_text().startswith("# ours\n")
    assert sorted(key[0] for key in keys(NAME)) == ["proj_a", "proj_b", "proj_c"]
    assert two("copy", str(OTHER), "--merge").out.startswith("✓ No difference")


def test_merge_takes_what_was_learned_into_the_teams_file(run: Shell) -> None:
    write(run, NAME, bot=f"proj_a:{A}")
    run("register", "proj_a", "--registry", "learned.toml", stdin=B)
    assert run("copy", "learned.toml", NAME, "--merge", "--yes").status == 0
    assert [(project, alias) for project, alias, *_ in keys(NAME)] == [("proj_a", "bot")] * 2


def test_merge_binds_no_key_to_a_second_project(two: Shell) -> None:
    write(two, OTHER, bot=f"proj_a:{A}", new=f"proj_c:{B}")
    ran = two("copy", str(OTHER), "--merge", "--yes")
    assert ran.status == 1
    assert ran.out == "+ project new (proj_c)\n✓ 1 change written to openai-projects.toml.\n"
    assert ran.err == (
        "✗ The key sk-proj-…BBBB is registered for lab (proj_b) there, so it is not added to "
        "new (proj_c). If it belongs to both: openai-project-guard register --also."
    )
    assert [entry.project for entry in Registry.from_file(NAME).lookup(B)] == ["proj_b"]


def test_merge_adds_a_key_of_several_projects_whole(two: Shell) -> None:
    write(two, OTHER, one=f"proj_c:{LEGACY}", more=f"proj_d:{LEGACY}")
    assert two("copy", str(OTHER), "--merge", "--yes").status == 0
    found = Registry.from_file(NAME).lookup(LEGACY)
    assert {entry.project for entry in found} == {"proj_c", "proj_d"}


def test_merge_leaves_out_an_alias_that_is_taken(two: Shell) -> None:
    write(two, OTHER, bot=f"proj_c:{STRANGER}")
    ran = two("copy", str(OTHER), "--merge", "--yes")
    assert ran.status == 1
    assert ran.err == ("✗ The alias bot belongs to proj_a there, so proj_c is added without it.")
    assert ("proj_c", None, "sk-proj-…ZZZZ", None) in keys(NAME)


def test_merge_adds_service_accounts(two: Shell) -> None:
    for path, account in ((Path(NAME), "user-1"), (OTHER, "user-2")):
        text = path.read_text().replace("keys", f'service_accounts = ["{account}"]\nkeys', 1)
        path.write_text(text)
    assert two("copy", str(OTHER), "--merge", "--yes").status == 0
    assert set(Registry.from_file(NAME).snapshot.accounts) == {"user-1", "user-2"}
