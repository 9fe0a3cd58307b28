"""Do README.md and docs/ say what is so? Each command, name, file and refusal that they print."""

from __future__ import annotations

import ast
import os
import re
import shlex
import subprocess
import sys
from pathlib import Path

import pytest

import openai_project_guard as opg
from openai_project_guard import _env
from openai_project_guard._cli import main
from openai_project_guard._registry.file.parse import find_mistakes

ROOT = Path(__file__).parents[2]
PACKAGE = ROOT / "openai_project_guard"
README = ROOT / "README.md"
PAGES = [README, *sorted((ROOT / "docs").glob("*.md"))]
TEXTS = {page.name: page.read_text(encoding="utf-8") for page in PAGES}
ALL = "\n".join(TEXTS.values())
KEY = "sk-proj-9vTq2LwX7bYk4RmN8cZs6HdJ3gPf5AeU-Ab3d"


def blocks(page: str, language: str) -> list[str]:
    return re.findall(rf"(?ms)^```{language}\n(.*?)^```", TEXTS[page])


def printed_commands() -> list[str]:
    """Each command of ours in a shell block, on a line of its own, or in backquotes."""
    lines = [line for page in TEXTS for block in blocks(page, "sh") for line in block.splitlines()]
    spans = re.findall(r"`(openai-project-guard [^`]+)`", re.sub(r"(?s)```.*?```", "", ALL))
    found = [line for line in lines if line.startswith("openai-project-guard ")]
    return sorted({line.partition("  #")[0].strip() for line in [*found, *spans]})


@pytest.mark.parametrize("command", printed_commands())
def test_a_printed_command_is_understood(command: str, capsys: pytest.CaptureFixture[str]) -> None:
    _, name, *arguments = shlex.split(command)
    arguments = arguments[: arguments.index("--")] if "--" in arguments else arguments
    with pytest.raises(SystemExit) as done:
        main([name, "--help"])
    assert done.value.code in (0, None)
    known = set(re.findall(r"--[a-z-]+", capsys.readouterr().out))
    assert {word for word in arguments if word.startswith("--")} <= known


@pytest.mark.parametrize("name", TEXTS)
def test_a_link_leads_to_a_file_or_a_heading_that_is_there(name: str) -> None:
    page = next(page for page in PAGES if page.name == name)
    for target in re.findall(r"\]\(([^)\s]+)\)", TEXTS[name]):
        if "://" not in target:
            path, _, heading = target.partition("#")
            assert (page.parent / path).exists(), target
            if heading:
                headings = re.findall(r"(?m)^#+ (.+)$", (page.parent / path).read_text("utf-8"))
                assert heading in {text.lower().replace(" ", "-") for text in headings}, target


def test_the_readme_is_read_in_five_minutes() -> None:
    assert len(TEXTS["README.md"].splitlines()) <= 150


def test_the_readme_leads_to_every_page() -> None:
    linked = set(re.findall(r"\]\(docs/([\w-]+\.md)\)", TEXTS["README.md"]))
    assert linked == {page.name for page in PAGES} - {"README.md"}


def test_the_refusal_in_the_readme_is_what_a_program_gets(tmp_path: Path) -> None:
    """Its three commands as printed, but for the key on standard input and this checkout's code."""
    (refusal,) = blocks("README.md", "text")
    install, register, run = (line for line in blocks("README.md", "sh")[0].splitlines())
    assert install == "pip install ."
    (tmp_path / "app.py").write_text("import openai\nopenai.OpenAI().models.list()\n")
    environment = {
        name: value for name, value in os.environ.items() if not name.startswith("OPENAI_")
    } | {
        "PYTHONPATH": str(ROOT),
        "XDG_CONFIG_HOME": str(tmp_path),
        "PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}",
        "OPENAI_API_KEY": KEY,
        "OPENAI_PROJECT_ID": "proj_8hRsLm2x",
    }
    outcomes = []
    for command in (register, run):
        words = shlex.split(command)
        assert words[0] == "openai-project-guard"
        done = subprocess.run(
            [sys.executable, "-m", "openai_project_guard", *words[1:]],
            cwd=tmp_path,
            env=environment,
            input=KEY,
            capture_output=True,
            text=True,
            timeout=120,
            check=False,
        )
        outcomes.append(done)
    registered, refused = outcomes
    assert registered.returncode == 0, registered.stderr
    assert refused.returncode == 1, refused.stdout
    said = " ".join(refused.stderr.replace(str(tmp_path), "/srv/app").split())
    for line in refusal.splitlines():  # broken and shortened there
        assert line in said, line
    assert KEY not in refused.stdout + refused.stderr


def test_the_registry_file_shown_is_in_order(tmp_path: Path) -> None:
    file = tmp_path / "openai-projects.toml"
    file.write_text(blocks("registry-file.md", "toml")[0], encoding="utf-8")
    assert not find_mistakes(file)
    assert opg.Registry.from_file(file).lookup(KEY)


def test_every_variable_is_among_the_settings_and_none_besides() -> None:
    written = set(re.findall(r"OPENAI_PROJECT_GUARD(?:_[A-Z]+)*", ALL))
    listed = set(re.findall(r"(?m)^\| `(OPENAI_PROJECT_GUARD\w*)`", TEXTS["settings.md"]))
    assert written <= listed
    read = set()
    for module in PACKAGE.rglob("*.py"):
        for node in ast.walk(ast.parse(module.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Constant) and isinstance(node.value, str):
                read |= set(re.findall(rf"{_env.PREFIX}(?:_[A-Z]+)*\b", node.value))
    assert read <= listed


def test_the_errors_are_those_that_there_are() -> None:
    rows = dict(re.findall(r"(?m)^\| `(\w+)` \| `(\w+)` \|", TEXTS["errors.md"]))
    kinds = {kind.__name__ for kind in opg.ProjectGuardError.__subclasses__()}
    assert set(rows) == kinds
    in_readme = re.findall(r"(?m)\| `(\w+)` \| `(\w+Error)` \|", TEXTS["README.md"])
    assert {(error, reason) for reason, error in in_readme} <= set(rows.items())


def test_every_python_block_is_python() -> None:
    for page in TEXTS:
        for block in blocks(page, "python"):
            ast.parse(block)


def test_the_loopback_server_shown_bills_as_it_says() -> None:
    (code,) = (block for block in blocks("testing.md", "python") if "loopback_api" in block)
    exec(compile(code, "testing.md", "exec"), {})
