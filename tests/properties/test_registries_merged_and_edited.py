"""A registry made into another, merged with another, edited: is it then what was asked for?"""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from itertools import count
from pathlib import Path
from typing import Any, NamedTuple

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from openai_project_guard import Registry, RegistryError
from openai_project_guard._keys import digest, fingerprint_of
from openai_project_guard._registry import stores
from openai_project_guard._registry.transfer import Transfer

PROJECTS = [f"proj_{letter}" for letter in "abc"]
FINGERPRINTS = [fingerprint_of(digest(letter)) for letter in "efgh"]
TEXTS = ["CI", 'a "quoted" \\ note', "é # no comment", "]", "'''", "{ x = 1 }", "a\tb"]
COMMENTS = ["# one", "#", '# "quoted" ] }', "# [projects.proj_x]", ""]
FIXED = settings(max_examples=80, deadline=None, derandomize=True, database=None)


class Key(NamedTuple):
    fingerprint: str
    hint: str
    note: str | None


class Project(NamedTuple):
    id: str
    alias: str | None
    organization: str | None
    accounts: tuple[str, ...]
    keys: tuple[Key, ...]


KEYS = st.builds(
    Key,
    st.sampled_from(FINGERPRINTS),
    st.sampled_from(["", "sk-proj-…Ab3d", "sk-…Ef5g"]),
    st.sampled_from([None, *TEXTS]),
)


def projects(aliases: list[str]) -> st.SearchStrategy[list[Project]]:
    """Registries; a project's alias, where it has one, is of its own."""
    return st.lists(
        st.builds(
            lambda number, named, organization, accounts, keys: Project(
                PROJECTS[number],
                aliases[number] if named else None,
                organization,
                tuple(f"{account}-{number}" for account in accounts),
                tuple(keys),
            ),
            st.integers(0, 2),
            st.booleans(),
            st.sampled_from([None, "org-one", "org-two"]),
            st.lists(st.sampled_from(["svc", "é svc"]), unique=True, max_size=2),
            st.lists(KEYS, max_size=3, unique_by=lambda key: key.fingerprint),
        ),
        max_size=3,
        unique_by=lambda project: project.id,
    )


ONE = projects(["bot", "the search", "x.y"])
OTHER = projects(["bot", "lab", "the search"])  # some of the names are somebody else's there


def quoted(text: str) -> str:
    return '"' + text.replace("\\", "\\\\").replace('"', '\\"').replace("\t", "\\t") + '"'


def text_of(found: list[Project], comments: list[str]) -> str:
    """The file, with a comment in front of each line and behind each table."""
    lines = ["version = 1"]
    for project in found:
        lines += [f"[projects.{quoted(project.alias or project.id)}]", f"id = {quoted(project.id)}"]
        if project.organization:
            lines.append(f"organization = {quoted(project.organization)}")
        if project.accounts:
            lines.append(f"service_accounts = [{', '.join(map(quoted, project.accounts))}]")
        lines.append("keys = [")
        for key in project.keys:
            fields = {"fingerprint": key.fingerprint, "hint": key.hint, "note": key.note}
            told = ", ".join(f"{name} = {quoted(text)}" for name, text in fields.items() if text)
            lines.append(f"  {{ {told} }},")
        lines.append("]")
    for number, line in enumerate(lines):
        comment = comments[number % len(comments)] if comments else ""
        lines[number] = f"{comment}\n{line} {comment}" if comment else line
    return "\n".join(lines) + "\n"


COMMENTED = st.lists(st.sampled_from(COMMENTS), max_size=4)


@contextmanager
def registry_files() -> Iterator[Callable[[str], Path]]:
    """Writes registry files, in a folder for one example."""
    with tempfile.TemporaryDirectory() as folder:
        names = (Path(folder, f"{number}.toml") for number in count())

        def write(text: str) -> Path:
            path = next(names)
            path.write_text(text, "utf-8")
            return path

        yield write


def held(path: Path) -> Any:
    """What a file says: of its keys, and of its projects."""
    keys = {
        (entry.fingerprint, entry.project, entry.hint, entry.note, entry.alias, entry.organization)
        for entry in Registry.from_file(path)
    }
    snapshot = stores.read(str(path)).snapshot
    accounts = {
        (account, record.project.id)
        for account, records in snapshot.accounts.items()
        for record in records
    }
    found = {(p.id, p.alias, p.organization) for p in snapshot.projects.values()}
    return keys, accounts, found


def of(found: list[Project]) -> Any:
    """What it must say."""
    keys = {
        (key.fingerprint, p.id, key.hint, key.note, p.alias, p.organization)
        for p in found
        for key in p.keys
    }
    accounts = {(account, p.id) for p in found for account in p.accounts}
    return keys, accounts, {(p.id, p.alias, p.organization) for p in found}


@FIXED
@given(ONE, COMMENTED)
def test_a_file_says_what_was_written(found: list[Project], comments: list[str]) -> None:
    with registry_files() as write:
        assert held(write(text_of(found, comments))) == of(found)


@FIXED
@given(ONE, OTHER, COMMENTED)
def test_a_copy_makes_it_the_other_and_then_nothing_is_different(
    one: list[Project], other: list[Project], comments: list[str]
) -> None:
    with registry_files() as write:
        origin, target = write(text_of(one, [])), write(text_of(other, comments))
        transfer = Transfer(str(origin), str(target))
        assert bool(transfer.differences) == (of(one) != of(other))
        transfer.carry_out()
        assert held(target) == of(one)
        assert Transfer(str(origin), str(target)).differences == []
        assert held(origin) == of(one)


@FIXED
@given(ONE, OTHER, COMMENTED)
def test_a_merge_adds_and_takes_nothing_away(
    one: list[Project], other: list[Project], comments: list[str]
) -> None:
    with registry_files() as write:
        origin, target = write(text_of(one, [])), write(text_of(other, comments))
        transfer = Transfer(str(origin), str(target), merge=True)
        assert all(found.sign != "-" for found in transfer.differences)
        transfer.carry_out()
        keys, accounts, found = held(target)
        was_keys, was_accounts, was_found = of(other)
        assert was_keys <= keys
        assert was_accounts <= accounts
        assert was_found <= found
        # A key that was there keeps its projects; every other has those of the origin.
        owners = {fingerprint: set() for fingerprint in FINGERPRINTS}
        there = {key[0] for key in was_keys}
        for fingerprint, project, *_ in was_keys | {k for k in of(one)[0] if k[0] not in there}:
            owners[fingerprint].add(project)
        assert {(key[0], key[1]) for key in keys} == {
            (fingerprint, project) for fingerprint, ids in owners.items() for project in ids
        }
        # Said once: a second merge has nothing to add, and the same conflicts.
        again = Transfer(str(origin), str(target), merge=True)
        assert again.differences == []
        assert len(again.conflicts) <= len(transfer.conflicts)


@FIXED
@given(ONE, OTHER, OTHER)
def test_a_merge_after_a_merge_is_a_merge_of_both(
    one: list[Project], two: list[Project], start: list[Project]
) -> None:
    """With the same keys for the same projects, the order changes nothing in who owns what."""
    with registry_files() as write:
        sources = [str(write(text_of(found, []))) for found in (one, two)]
        owned = []
        for order in (sources, sources[::-1]):
            target = write(text_of(start, []))
            for source in order:
                Transfer(source, str(target), merge=True).carry_out()
            owned.append({key[0] for key in held(target)[0]})
        assert owned[0] == owned[1]


EDITS: dict[str, Callable[[Any, str, str], Any]] = {
    "add": lambda draft, project, fingerprint: draft.add(project, fingerprint, also=True),
    "remove key": lambda draft, project, fingerprint: draft.remove_key(fingerprint),
    "remove project": lambda draft, project, _: draft.remove_projects([project]),
}


@FIXED
@given(ONE, COMMENTED, st.sampled_from(list(EDITS)), st.integers(0, 2), st.integers(0, 3))
def test_an_edit_changes_what_it_names_and_every_comment_stays(
    found: list[Project], comments: list[str], what: str, project: int, key: int
) -> None:
    name, fingerprint = PROJECTS[project], FINGERPRINTS[key]
    with registry_files() as write:
        path = write(text_of(found, comments))
        try:
            stores.change(str(path), lambda draft: EDITS[what](draft, name, fingerprint))
        except RegistryError:
            assert what == "remove project"
            assert name not in {project.id for project in found}
            assert held(path) == of(found)
            return
        owned = {(entry.project, entry.fingerprint) for entry in Registry.from_file(path)}
        before = {(p.id, key.fingerprint) for p in found for key in p.keys}
        expected = {
            "add": before | {(name, fingerprint)},
            "remove key": {pair for pair in before if pair[1] != fingerprint},
            "remove project": {pair for pair in before if pair[0] != name},
        }[what]
        assert owned == expected
        if what == "add":
            now = path.read_text("utf-8")
            assert [line for line in text_of(found, comments).splitlines() if line not in now] == []


def test_what_cannot_be_read_is_not_merged(tmp_path: Path) -> None:
    broken = tmp_path / "broken.toml"
    broken.write_text("version = 1\n[projects")
    for pair in ((broken, tmp_path / "new.toml"), (tmp_path / "none.toml", broken)):
        with pytest.raises(RegistryError):
            Transfer(*map(str, pair), merge=True)
