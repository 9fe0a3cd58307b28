"""Am I told of every mistake in a registry file at once, each with its line?"""

from __future__ import annotations

from pathlib import Path

import pytest

from openai_project_guard import Registry, RegistryError
from openai_project_guard._registry.file.parse import find_mistakes

NAME = "openai-projects.toml"
KEY = "sk-proj-CANARYcanary0123456789CANARYcanaryAb3d"
A = "sha256:" + "a" * 64

WRONG = f"""\
version = 1
title = "Who pays for what"

[projects.bot]
id = "proj_a"
organization = "Acme"
keys = [
  {{ fingerprint = "{A}", hint = "sk-proj-…Ab3d" }},
  {{ fingerprint = "{KEY}", notes = "x" }},
  {{ fingerprint = "{A}", hint = 0, note = "it is {KEY}" }},
  "{KEY}",
  7,
]

[projects.other]
service_accounts = ["svc", "svc", 5, ""]

[projects.proj_b]
id = "proj_a"

[projects.team_{KEY}]
id = "proj_c"
sess-0123456789012345678901234567890123456789 = 1

[projects.list]
id = "Support Bot"
keys = 5
"""


@pytest.fixture(autouse=True)
def _in_an_empty_directory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


def mistakes(text: str) -> list[tuple[int | None, str]]:
    Path(NAME).write_text(text, encoding="utf-8")
    found = find_mistakes(NAME)
    assert KEY[:20] not in str(found)
    assert "0123456789012" not in str(found)
    return [(line, message.partition(". ")[0].rstrip(".")) for line, message in found]


def test_every_mistake_is_found_with_its_line() -> None:
    projects = "projects.bot"
    assert mistakes(WRONG) == [
        (2, "title: there is no such field here; there are version, projects"),
        (
            6,
            f"{projects}.organization: this is not an organization id, which is org- and letters, "
            "digits, _ or -",
        ),
        (
            9,
            f"{projects}.keys[1].notes: there is no such field here; there are fingerprint, hint, "
            "note",
        ),
        (
            9,
            f"{projects}.keys[1].fingerprint: this is a raw key (sk-proj-…Ab3d), not a fingerprint",
        ),
        (10, f"{projects}.keys[2].fingerprint: this fingerprint is in the project twice"),
        (10, f"{projects}.keys[2].hint: this is a whole number; it must be a string"),
        (10, f"{projects}.keys[2].note: there is a raw key here"),
        (
            11,
            f'{projects}.keys[3]: a key is written {{ fingerprint = "sha256:…" }}, not as a string',
        ),
        (12, f"{projects}.keys[4]: this is a whole number; it must be a table"),
        (15, 'projects.other.id: it is missing; give the project\'s id: id = "proj_…"'),
        (
            16,
            "projects.other.service_accounts[1]: this service account is in the project twice",
        ),
        (
            16,
            "projects.other.service_accounts[2]: this is a whole number; it must be a string",
        ),
        (16, "projects.other.service_accounts[3]: a service account's id is not empty"),
        (18, "projects.proj_b: an alias must not look like a project id"),
        (
            19,
            "projects.proj_b.id: the project proj_a is in the file twice; move its keys into "
            "one table",
        ),
        (21, 'projects."…": there is a raw key here'),
        (23, 'projects."…"."…": there is a raw key here'),
        (
            26,
            "projects.list.id: this is not a project id, which is proj_ and letters, digits, _ or "
            "-, as the project's settings page shows it; it is not the project's name",
        ),
        (27, "projects.list.keys: this is a whole number; it must be an array"),
    ]


def test_the_error_of_a_reader_names_the_first_of_them() -> None:
    Path(NAME).write_text(WRONG, encoding="utf-8")
    with pytest.raises(RegistryError, match=f"^{NAME}, line 2: title: there is no such field"):
        Registry.from_file(NAME)


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("", (1, "version: it is missing; the file is empty")),
        ("version = 1\nkey\n", (2, "this is not TOML")),
        ("version = 2\nmore = 1\n", (1, "version: this release reads version 1 of the format")),
        ('[projects.bot]\nid = "proj_a"\n', (1, "version: it is missing; the file begins")),
    ],
)
def test_a_file_that_cannot_be_read_on_has_one(text: str, found: tuple[int, str]) -> None:
    first = mistakes(text)[0]
    assert first[0] == found[0]
    assert first[1].startswith(found[1])


@pytest.mark.parametrize("beginning", ["sk-", "sk_", "ek-", "ek_", "sess-"])
def test_a_key_where_a_fingerprint_belongs_is_called_one(beginning: str) -> None:
    text = (
        f'version = 1\n[projects.bot]\nid = "proj_a"\nkeys = [{{ fingerprint = "{beginning}x" }}]'
    )
    [(line, message)] = mistakes(text)
    assert line == 4
    assert "this is a raw key" in message


def test_a_file_in_order_has_none() -> None:
    assert (
        mistakes(f'version = 1\n[projects.bot]\nid = "proj_a"\nkeys = [{{fingerprint="{A}"}}]')
        == []
    )


def test_a_missing_file_has_one_without_a_line() -> None:
    [(line, message)] = find_mistakes(NAME)
    assert line is None
    assert message.startswith("there is no such file.")


CONFLICT = f"""\
version = 1

[projects.bot]
id = "proj_a"
keys = [
<<<<<<< HEAD
  {{ fingerprint = "{A}", note = "one" }},
=======
  {{ fingerprint = "{A}", note = "other" }},
>>>>>>> their-branch
]
<<<<<<< HEAD
[projects.one]
||||||| base
=======
[projects.other]
>>>>>>> their-branch
"""
SAID = "there is a merge conflict here. Keep the lines that are right, and take out the lines that"


@pytest.mark.parametrize("newline", ["\n", "\r\n"])
def test_a_merge_conflict_is_called_one(newline: str) -> None:
    Path(NAME).write_text(CONFLICT.replace("\n", newline), encoding="utf-8", newline="")
    found = find_mistakes(NAME)
    assert [line for line, _ in found] == [6, 12]
    assert all(message.startswith(SAID) for _, message in found)
    with pytest.raises(RegistryError, match=f"^{NAME}, line 6: {SAID}"):
        Registry.from_file(NAME)


@pytest.mark.parametrize("left", ["=======", ">>>>>>> their-branch", "||||||| base", "<<<<<<< a"])
def test_a_marker_that_was_left_behind_is_called_one_too(left: str) -> None:
    found = mistakes(f'version = 1\n{left}\n[projects.bot]\nid = "proj_a"\n')
    assert found == [(2, "there is a merge conflict here")]


def test_what_looks_like_a_marker_in_a_comment_or_a_note_is_none() -> None:
    note = "'''\n=======\n'''"
    assert (
        mistakes(
            'version = 1\n# <<<<<<< HEAD\n[projects.bot]\nid = "proj_a"\n'
            f'keys = [{{ fingerprint = "{A}", note = {note} }}]'
        )
        == []
    )
