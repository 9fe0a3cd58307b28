"""Does CONTRIBUTING.md send its reader to rooms, files, sessions and scripts that are there?"""

from __future__ import annotations

import ast
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


MODULES = sorted(PACKAGE.rglob("*.py"))
NAMES = {
    ".".join(path.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__"): path
    for path in MODULES
}


def test_no_module_is_longer_than_it_says() -> None:
    (most,) = map(int, re.findall(r"no module is longer than (\d+) lines", TEXT))
    lengths = {path: len(path.read_text(encoding="utf-8").splitlines()) for path in MODULES}
    assert [str(path) for path, length in lengths.items() if length > most] == []


def is_for_type_checkers(node: ast.AST) -> bool:
    return isinstance(node, ast.If) and "TYPE_CHECKING" in ast.unparse(node.test)


def imported(path: Path, *, later: bool) -> set[str]:
    """The modules of ours that a module imports when it is imported, or also `later`."""
    found: set[str] = set()
    nodes: list[ast.AST] = [*ast.parse(path.read_text(encoding="utf-8")).body]
    while nodes:
        node = nodes.pop()
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            inside = {f"{node.module}.{alias.name}" for alias in node.names}
            found |= inside & NAMES.keys() or {node.module}
        elif later and not is_for_type_checkers(node):
            nodes += ast.iter_child_nodes(node)
    return found & NAMES.keys()


@pytest.mark.parametrize("later", [False, True])
def test_no_import_runs_in_a_circle(later: bool) -> None:
    waiting = {name: imported(path, later=later) for name, path in NAMES.items()}
    if later:  # a package may import its own modules when it needs them
        for name, needed in waiting.items():
            needed -= {each for each in needed if each.startswith(f"{name}.")}
    while ready := [name for name, needed in waiting.items() if not needed & waiting.keys()]:
        for name in ready:
            del waiting[name]
    assert waiting == {}


def test_an_arrow_is_between_rooms_that_are_there() -> None:
    (arrows,) = re.findall(r"^(`_cli`.+)$", TEXT, re.MULTILINE)
    for room in re.findall(r"`(\w+)`", arrows):
        assert (PACKAGE / room).is_dir() or (PACKAGE / f"{room}.py").is_file(), room
