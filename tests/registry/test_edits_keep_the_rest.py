"""Whatever a registry file looks like and whatever is changed in it: does the rest stay?"""

from __future__ import annotations

import os
import tempfile
from collections.abc import Callable
from contextlib import suppress
from functools import partial
from pathlib import Path
from random import Random
from typing import Any

import pytest

from openai_project_guard import Registry, RegistryError
from openai_project_guard._keys import digest, fingerprint_of
from openai_project_guard._registry import stores
from openai_project_guard._registry.changes import Draft

PROJECTS = [f"proj_{letter}" for letter in "abcd"]
ALIASES = ["bot", "the search", "sk-learn", "x.y", "ü"]
FINGERPRINTS = [fingerprint_of(digest(letter)) for letter in "efghi"]
NOTES = ["CI", 'a "quoted" \\ note', "é # no comment", "]"]
BLANK = ["", "", "\n", "# a comment, [x] = { }\n", "\n\n# two\n# lines\n"]
BEHIND = ["", "", "  # behind", " # ]"]

# Numbered rather than searched for: hypothesis gives a test up as flaky if any thread draws from
# the global `random` meanwhile, as our thread that follows Redis once did.


def some(chance: Random, among: list[str]) -> list[str]:
    return chance.sample(among, chance.randint(0, 3))


def keys(chance: Random) -> str:
    written = []
    for fingerprint in some(chance, FINGERPRINTS):
        fields = [f'fingerprint = "{fingerprint}"']
        if chance.random() < 0.5:
            fields.append("note = 'kept'")
        chance.shuffle(fields)
        written.append("{ " + ", ".join(fields) + " }")
    behind = partial(chance.choice, BEHIND)
    if chance.random() < 0.5:  # all on one line
        return f"keys = [{', '.join(written)}]{behind()}\n"
    lines = [f"{chance.choice(BLANK)}  {key},{behind()}\n" for key in written]
    if lines and chance.random() < 0.5:  # without the last comma
        lines[-1] = f"  {written[-1]}\n"
    return f"keys = [{behind()}\n{''.join(lines)}{chance.choice(BLANK)}]{behind()}\n"


def a_registry(chance: Random) -> str:
    blank, behind = partial(chance.choice, BLANK), partial(chance.choice, BEHIND)
    aliases = chance.sample(ALIASES, len(ALIASES))
    text = f"{blank()}version = 1{behind()}\n"
    for project, alias in zip(some(chance, PROJECTS), aliases, strict=False):
        name = chance.choice([f'"{alias}"', f"'{alias}'", project])
        fields = [f'id = "{project}"{behind()}\n', keys(chance)]
        if chance.random() < 0.5:
            fields.append(f'organization = "org-{project}"{behind()}\n')
        chance.shuffle(fields)
        lines = "".join(blank() + field for field in fields)
        text += f"{blank()}[projects.{name}]{behind()}\n{lines}"
    text += blank()
    if chance.random() < 0.5:
        text = text.replace("\n", "\r\n")
    return ("\ufeff" if chance.random() < 0.5 else "") + text


def some_changes(chance: Random) -> list[tuple[str, ...]]:
    kinds: list[Callable[[], tuple[Any, ...]]] = [
        lambda: (
            "add",
            chance.choice(PROJECTS),
            chance.choice(FINGERPRINTS),
            chance.choice([None, *NOTES]),
        ),
        lambda: ("remove key", chance.choice(FINGERPRINTS)),
        lambda: ("remove project", chance.choice(PROJECTS)),
        lambda: ("set organization", chance.choice(PROJECTS)),
    ]
    return [chance.choice(kinds)() for _ in range(chance.randint(0, 5))]


Entries = dict[tuple[str, str], str | None]


def entries(path: Path) -> Entries:
    return {(entry.project, entry.fingerprint): entry.note for entry in Registry.from_file(path)}


def carried_out(draft: Draft, change: tuple[str, ...], expected: Entries) -> None:
    """Makes a change, and the same one in what is expected."""
    what, *arguments = change
    if what == "add":
        project, fingerprint, note = arguments
        draft.add(project, fingerprint, note=note, also=True)
        expected[project, fingerprint] = note or expected.get((project, fingerprint))
    elif what == "remove key":
        draft.remove_key(arguments[0])
        for entry in [entry for entry in expected if entry[1] == arguments[0]]:
            del expected[entry]
    elif what == "set organization":
        draft.add_project(arguments[0], organization="org-new")
    elif arguments[0] in draft.projects:
        draft.remove_projects(arguments)
        for entry in [entry for entry in expected if entry[0] == arguments[0]]:
            del expected[entry]


@pytest.mark.parametrize("number", range(150))
def test_entries_are_as_wanted_and_what_is_not_touched_stays_to_the_letter(number: int) -> None:
    chance = Random(number)
    text, changes = a_registry(chance), some_changes(chance)
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "openai-projects.toml")
        path.write_bytes(text.encode())
        before = entries(path)
        expected = dict(before)

        def step(draft: Draft) -> None:
            expected.clear()
            expected.update(before)
            for change in changes:
                carried_out(draft, change, expected)

        stores.change(path, step)
        assert entries(path) == expected
        assert os.listdir(folder) == [path.name]
        now = path.read_bytes().decode()
        assert now.startswith("\ufeff") == text.startswith("\ufeff")
        if text.count("\r\n"):
            assert now.count("\n") == now.count("\r\n")
        # Of a project that was not touched, nothing is different, nor of what is in front.
        touched = {change[1] for change in changes} | {
            project
            for project, fingerprint in {*before, *expected}
            if any(fingerprint in change for change in changes)
        }
        for block in blocks(text):
            if not any(f'"{project}"' in block for project in touched):
                table, comment = taken_apart(block)
                assert table in now
                assert comment in now  # a new table may stand between them


def taken_apart(block: str) -> tuple[str, str]:
    """A table, and the comment behind it, which may be the next one's."""
    lines = block.splitlines(keepends=True)
    end = len(lines)
    while end and (not lines[end - 1].strip() or lines[end - 1].startswith("#")):
        end -= 1
    return "".join(lines[:end]).rstrip(), "".join(lines[end:]).strip().rpartition("\n\n")[2]


def blocks(text: str) -> list[str]:
    """The tables of a file, and what stands in front of them."""
    found = [""]
    for line in text.lstrip("\ufeff").splitlines(keepends=True):
        if line.startswith("[projects."):
            found.append("")
        found[-1] += line
    return found


@pytest.mark.parametrize("project", ["proj_a", "nobody"])
@pytest.mark.parametrize("number", range(25))
def test_an_error_leaves_the_file_as_it_was(number: int, project: str) -> None:
    text = a_registry(Random(number))
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "openai-projects.toml")
        path.write_bytes(text.encode())

        def step(draft: Draft) -> None:
            draft.add(project, FINGERPRINTS[0], also=True)
            raise RegistryError("not this time")

        with suppress(RegistryError):
            stores.change(path, step)
        assert path.read_bytes() == text.encode()
        assert os.listdir(folder) == [path.name]
