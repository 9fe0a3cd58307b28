"""Does `remove` remove what is meant, and nothing else?"""

from __future__ import annotations

import io
import re
import sys

import pytest
from cli_shell import LEGACY, NAME, Shell, keys, posix
from support import A, B, fingerprint

from openai_project_guard import Registry


@pytest.fixture
def filled(run: Shell) -> Shell:
    run("register", "proj_a", "--alias", "bot", "--note", "CI", stdin=A)
    run("register", "proj_b", stdin=B)
    run("register", "proj_b", stdin=LEGACY)
    run("register", "bot", "--also", stdin=LEGACY)
    return run


@pytest.mark.parametrize(
    "what", ["sk-proj-…AAAA", "sk-proj-...AAAA", fingerprint(A), fingerprint(A)[7:15].upper()]
)
def test_a_key_is_removed_by_hint_or_fingerprint(filled: Shell, what: str) -> None:
    ran = filled("remove", what)
    assert (ran.status, ran.err) == (0, "")
    assert "Removed the key sk-proj-…AAAA" in ran.out
    assert not Registry.from_file(NAME).lookup(A)
    assert Registry.from_file(NAME).lookup(B)


def test_a_legacy_key_is_removed_from_all_its_projects(filled: Shell) -> None:
    ran = filled("remove", "sk-…Lm9n")
    assert (ran.out.count("Removed"), Registry.from_file(NAME).lookup(LEGACY)) == (2, ())


def test_an_ambiguous_hint_removes_nothing_and_lists_what_it_may_mean(filled: Shell) -> None:
    filled("register", "proj_b", stdin=B.replace("not", "nor"))
    ran = filled("remove", "sk-proj-…BBBB")
    assert (ran.status, ran.out) == (1, "")
    assert "may be any of these" in ran.err
    assert ran.err.count("sha256:") == 2
    assert Registry.from_file(NAME).lookup(B)


@pytest.mark.parametrize("what", ["sk-proj-…QQQQ", "abcdef0123", "proj_z", "abc", "sk-proj-AAAA"])
def test_what_is_not_there_cannot_be_removed(filled: Shell, what: str) -> None:
    ran = filled("remove", what)
    assert (ran.status, "Nothing was removed" in ran.err) == (1, True)


@pytest.mark.parametrize("what", ["bot", "proj_a"])
def test_a_project_goes_with_its_keys(filled: Shell, what: str) -> None:
    ran = filled("remove", what, "--yes")
    assert ran.out == (
        "✓ Removed project bot (proj_a) with its 2 keys, from openai-projects.toml.\n"
    )
    assert {project for project, *_ in keys()} == {"proj_b"}


def test_without_a_terminal_a_project_is_not_removed_by_mistake(filled: Shell) -> None:
    ran = filled("remove", "bot")
    assert (ran.status, "Not a terminal, so cannot ask. Pass --yes." in ran.err) == (2, True)
    assert len(keys()) == 4


@pytest.mark.parametrize(("answer", "status"), [("y\n", 0), ("YES\n", 0), ("\n", 1), ("", 1)])
def test_on_a_terminal_a_project_is_removed_after_a_yes(
    filled: Shell, answer: str, status: int
) -> None:
    class Tty(io.StringIO):
        def isatty(self) -> bool:
            return True

    filled.patch.setattr(sys, "stdin", Tty(answer))
    ran = filled.as_it_is("remove", "proj_b")
    assert ran.status == status
    assert "Remove project proj_b with its 2 keys from openai-projects.toml? [y/N]" in ran.err
    assert len(keys()) == (2 if status == 0 else 4)


def test_a_key_that_somebody_else_just_removed(filled: Shell) -> None:
    from openai_project_guard._registry import stores as edit

    filled.patch.setattr(edit, "remove", lambda *_, **__: 0)
    ran = filled("remove", "sk-proj-…AAAA")
    assert (ran.status, "somebody else" in ran.err) == (1, True)


def test_removing_from_a_file_that_is_not_there(run: Shell) -> None:
    ran = run("remove", "bot")
    assert (ran.status, "there is no such file" in ran.err) == (2, True)


# From one project of several


def test_a_key_is_removed_from_one_project_alone(legacy: Shell) -> None:
    ran = legacy("remove", fingerprint(LEGACY)[:20], "--project", "lab")
    assert (ran.status, ran.err) == (0, "")
    assert " of lab, from openai-projects.toml." in " ".join(ran.out.split())
    assert [project for project, *_ in keys()] == ["proj_a"]


@pytest.mark.parametrize(
    ("argv", "status", "complaint"),
    [
        (("sk-…Lm9n", "--project", "nowhere"), 1, "has no project 'nowhere'."),
        (("sha256:00000000", "--project", "lab"), 1, "fingerprint in project lab (proj_b): "),
        (("bot", "--project", "lab"), 2, "'bot' is a project. --project goes with a key"),
    ],
)
def test_what_cannot_be_removed_from_a_project(
    legacy: Shell, argv: tuple[str, ...], status: int, complaint: str
) -> None:
    ran = legacy("remove", *argv)
    assert (ran.status, complaint in ran.err) == (status, True)
    assert len(keys()) == 2


@posix
@pytest.mark.parametrize(
    ("what", "answer"),
    [
        (("sk-proj-…AAAA",), "32"),
        (("proj_b", "--yes"), "32"),
        (("sk-proj-…none",), "31"),
        (("sk-proj-…AAAA", "--project", "proj_none"), "31"),
    ],
)
def test_what_was_removed_is_green_and_what_was_not_is_red(
    run: Shell, what: tuple[str, ...], answer: str
) -> None:
    run.patch.setenv("FORCE_COLOR", "1")
    run("register", "proj_a", stdin=A)
    run("register", "proj_b", stdin=B)
    ran = run("remove", *what)
    assert set(re.findall(r"\x1b\[(\d+)m", ran.out + ran.err)) == {"0", answer}
