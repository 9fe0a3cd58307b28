"""Does CONTRIBUTING.md send its reader to rooms, files, sessions and scripts that are there?"""

from __future__ import annotations

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
PACKAGE = ROOT / "openai_project_guard"
TEXT = (ROOT / "CONTRIBUTING.md").read_text(encoding="utf-8")
SPANS = re.findall(r"`([^`\n]+)`", TEXT)
PATHS = sorted({span for span in SPANS if re.fullmatch(r"[\w./-]+(/|\.py|\.md|\.toml)", span)})


@pytest.mark.parametrize("path", PATHS)
def test_a_path_is_there(path: str) -> None:
    # A name alone is of the room that the line is about.
    places = [ROOT, PACKAGE, PACKAGE / "_check", PACKAGE / "_hooks", PACKAGE / "_registry"]
    assert any((place / path).exists() for place in (*places, PACKAGE / "_cli")), path


def test_a_room_of_the_package_is_in_the_tree() -> None:
    rooms = {path.name for path in PACKAGE.iterdir() if (path / "__init__.py").exists()}
    assert {f"{room}/" for room in rooms} <= set(SPANS)


@pytest.mark.parametrize("name", sorted(set(re.findall(r"nox -s ([a-z_ ]+)", TEXT))))
def test_a_session_is_there(name: str) -> None:
    noxfile = (ROOT / "noxfile.py").read_text(encoding="utf-8")
    for session in name.split():
        assert f"def {session}(" in noxfile, session


def test_an_arrow_is_between_rooms_that_are_there() -> None:
    (arrows,) = re.findall(r"^(`_cli`.+)$", TEXT, re.MULTILINE)
    for room in re.findall(r"`(\w+)`", arrows):
        assert (PACKAGE / room).is_dir() or (PACKAGE / f"{room}.py").is_file(), room
