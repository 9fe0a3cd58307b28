"""Do two branches that each change the registry merge by themselves, and rightly?"""

from __future__ import annotations

import os
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

from openai_project_guard import Registry
from openai_project_guard._keys import digest, fingerprint_of
from openai_project_guard._registry import stores
from openai_project_guard._registry.file.parse import find_mistakes

NAME = "openai-projects.toml"
BY_HAND = f"""\
# Who pays for what.
version = 1

# The bot.
[projects.support-bot]                 # the alias
id = "proj_a"
organization = "org-a"
keys = [
  {{ fingerprint = "{fingerprint_of(digest("old"))}", hint = "sk-proj-…Ab3d", note = "CI" }},
]
"""


@pytest.fixture(autouse=True)
def repository(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    for name in os.environ:
        if name.startswith("GIT_"):
            monkeypatch.delenv(name)
    monkeypatch.setenv("GIT_CONFIG_GLOBAL", os.devnull)
    git("init", "--quiet", "--initial-branch=main")
    git("config", "user.name", "A")
    git("config", "user.email", "a@example.com")
    Path(".gitattributes").write_text(f"{NAME} merge=union\n")


def git(*arguments: str) -> None:
    done = subprocess.run(["git", *arguments], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr


def commit(message: str) -> None:
    git("add", "--all")
    git("commit", "--quiet", "--message", message)


def add(key: str, project: str, alias: str | None = None) -> None:
    fingerprint = fingerprint_of(digest(f"the key {key}"))
    stores.add(NAME, project, fingerprint, alias=alias, hint=f"…{key}", note=key)


def merged(*branches: Callable[[], object]) -> set[tuple[str, str, str | None]]:
    """What the registry says once each branch has made its changes and all are merged."""
    commit("before")
    for number, change in enumerate(branches):
        git("switch", "--quiet", "--create", f"branch-{number}", "main")
        change()
        commit(f"branch {number}")
    git("switch", "--quiet", "main")
    for number in range(len(branches)):
        git("merge", "--quiet", "--no-edit", f"branch-{number}")
    assert find_mistakes(NAME) == []
    return {(entry.note or "", entry.project, entry.alias) for entry in Registry.from_file(NAME)}


def by_hand() -> None:
    Path(NAME).write_text(BY_HAND, encoding="utf-8")


def by_command() -> None:
    add("CI", "proj_a", "support-bot")


def by_command_without_keys() -> None:
    stores.change(NAME, lambda draft: draft.add_project("proj_a", alias="support-bot"), create=True)


BEGINNINGS = (by_hand, by_command, by_command_without_keys)


@pytest.fixture(params=BEGINNINGS)
def before(request: pytest.FixtureRequest) -> set[tuple[str, str, str | None]]:
    request.param()
    return {(entry.note or "", entry.project, entry.alias) for entry in Registry.from_file(NAME)}


Entries = set[tuple[str, str, str | None]]


def test_each_adds_a_key_to_the_same_project(before: Entries) -> None:
    found = merged(lambda: add("one", "proj_a"), lambda: add("two", "proj_a"))
    assert found == before | {("one", "proj_a", "support-bot"), ("two", "proj_a", "support-bot")}


def test_each_adds_a_project(before: Entries) -> None:
    found = merged(
        lambda: add("one", "proj_b", "search"),
        lambda: add("two", "proj_c"),
        lambda: add("three", "proj_d", "lab"),
    )
    assert found == before | {
        ("one", "proj_b", "search"),
        ("two", "proj_c", None),
        ("three", "proj_d", "lab"),
    }


def test_each_adds_a_key_and_a_project(before: Entries) -> None:
    def one() -> None:
        add("one", "proj_a")
        add("two", "proj_b", "search")

    def other() -> None:
        add("three", "proj_c", "lab")
        add("four", "proj_a")

    assert merged(one, other) == before | {
        ("one", "proj_a", "support-bot"),
        ("two", "proj_b", "search"),
        ("three", "proj_c", "lab"),
        ("four", "proj_a", "support-bot"),
    }


def test_one_adds_a_key_and_one_a_project(before: Entries) -> None:
    found = merged(lambda: add("one", "proj_a"), lambda: add("two", "proj_b"))
    assert found == before | {("one", "proj_a", "support-bot"), ("two", "proj_b", None)}


def test_a_project_that_one_removes_is_back_if_the_other_adds_a_key_to_it() -> None:
    """The page says so: nothing in the merged file tells it from one that nobody removed."""
    by_command()
    add("lab", "proj_b")
    found = merged(
        lambda: stores.remove_project(NAME, "proj_a"),
        lambda: add("one", "proj_a"),
    )
    assert {(note, project) for note, project, _ in found} == {
        ("CI", "proj_a"),
        ("one", "proj_a"),
        ("lab", "proj_b"),
    }


def test_each_adds_the_same_project_with_a_key_of_its_own(before: Entries) -> None:
    found = merged(lambda: add("one", "proj_b", "lab"), lambda: add("two", "proj_b", "lab"))
    assert found == before | {("one", "proj_b", "lab"), ("two", "proj_b", "lab")}


def test_each_begins_the_registry() -> None:
    found = merged(lambda: add("one", "proj_b"), lambda: add("two", "proj_c", "lab"))
    assert found == {("one", "proj_b", None), ("two", "proj_c", "lab")}


def test_they_go_on_from_what_was_merged(before: Entries) -> None:
    merged(lambda: add("one", "proj_b"), lambda: add("two", "proj_c"))
    git("branch", "--delete", "--force", "branch-0", "branch-1")
    Path("README").write_text("merged")

    def both(number: str) -> None:
        for project in ("proj_a", "proj_b", "proj_c", f"proj_{number}"):
            add(f"{project} {number}", project)

    found = merged(lambda: both("1"), lambda: both("2"))
    keys = {(note, project) for note, project, _ in found - before}
    assert keys == {("one", "proj_b"), ("two", "proj_c")} | {
        (f"{project} {number}", project)
        for number in "12"
        for project in ("proj_a", "proj_b", "proj_c", f"proj_{number}")
    }
