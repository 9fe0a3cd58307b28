"""Whatever a registry file looks like and whatever is changed in it: does the rest stay?"""

from __future__ import annotations

import os
import tempfile
from contextlib import suppress
from pathlib import Path

from hypothesis import given, settings
from hypothesis import strategies as st

from openai_project_guard import Registry, RegistryError
from openai_project_guard._keys import digest, fingerprint_of
from openai_project_guard._registry import stores
from openai_project_guard._registry.changes import Draft

PROJECTS = [f"proj_{letter}" for letter in "abcd"]
ALIASES = ["bot", "the search", "sk-learn", "x.y", "ü"]
FINGERPRINTS = [fingerprint_of(digest(letter)) for letter in "efghi"]
NOTES = ["CI", 'a "quoted" \\ note', "é # no comment", "]"]
BLANK = st.sampled_from(["", "", "\n", "# a comment, [x] = { }\n", "\n\n# two\n# lines\n"])
BEHIND = st.sampled_from(["", "", "  # behind", " # ]"])


@st.composite
def keys(draw: st.DrawFn) -> str:
    found = draw(st.lists(st.sampled_from(FINGERPRINTS), unique=True, max_size=3))
    written = []
    for fingerprint in found:
        fields = [f'fingerprint = "{fingerprint}"']
        if draw(st.booleans()):
            fields.append("note = 'kept'")
        if draw(st.booleans()):
            fields.reverse()
        written.append("{ " + ", ".join(fields) + " }")
    if draw(st.booleans()):  # all on one line
        return f"keys = [{', '.join(written)}]{draw(BEHIND)}\n"
    lines = [f"{draw(BLANK)}  {key},{draw(BEHIND)}\n" for key in written]
    if lines and draw(st.booleans()):  # without the last comma
        lines[-1] = f"  {written[-1]}\n"
    return f"keys = [{draw(BEHIND)}\n{''.join(lines)}{draw(BLANK)}]{draw(BEHIND)}\n"


@st.composite
def registries(draw: st.DrawFn) -> str:
    projects = draw(st.lists(st.sampled_from(PROJECTS), unique=True, max_size=3))
    aliases = draw(st.permutations(ALIASES))
    text = f"{draw(BLANK)}version = 1{draw(BEHIND)}\n"
    for project, alias in zip(projects, aliases, strict=False):
        name = draw(st.sampled_from([f'"{alias}"', f"'{alias}'", project]))
        fields = [f'id = "{project}"{draw(BEHIND)}\n', draw(keys())]
        if draw(st.booleans()):
            fields.append(f'organization = "org-{project}"{draw(BEHIND)}\n')
        lines = "".join(draw(BLANK) + field for field in draw(st.permutations(fields)))
        text += f"{draw(BLANK)}[projects.{name}]{draw(BEHIND)}\n{lines}"
    text += draw(BLANK)
    if draw(st.booleans()):
        text = text.replace("\n", "\r\n")
    return ("\ufeff" if draw(st.booleans()) else "") + text


CHANGES = st.lists(
    st.one_of(
        st.tuples(
            st.just("add"),
            st.sampled_from(PROJECTS),
            st.sampled_from(FINGERPRINTS),
            st.sampled_from([None, *NOTES]),
        ),
        st.tuples(st.just("remove key"), st.sampled_from(FINGERPRINTS)),
        st.tuples(st.just("remove project"), st.sampled_from(PROJECTS)),
        st.tuples(st.just("set organization"), st.sampled_from(PROJECTS)),
    ),
    max_size=5,
)
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


@settings(derandomize=True, deadline=None, max_examples=150)
@given(registries(), CHANGES)
def test_entries_are_as_wanted_and_what_is_not_touched_stays_to_the_letter(
    text: str, changes: list[tuple[str, ...]]
) -> None:
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


@settings(derandomize=True, deadline=None, max_examples=50)
@given(registries(), st.sampled_from(["proj_a", "nobody"]))
def test_an_error_leaves_the_file_as_it_was(text: str, project: str) -> None:
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
