"""Are mistakes in a registry file found before they are committed?"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import support
from cli_shell import NAME, ROOT, Shell
from support import A, B, fingerprint

HOOKS = Path(__file__).parents[2] / ".pre-commit-hooks.yaml"
BROKEN = f"""\
version = 1

[projects.bot]
id = "the bot"
keys = [
  {{ fingerprint = "{A}" }},
  {{ fingerprint = "{fingerprint(B)}", hnit = "x" }},
]
"""
CONFLICT = """\
version = 1

[projects.bot]
<<<<<<< HEAD
id = "proj_a"
=======
id = "proj_b"
>>>>>>> other
"""


def test_valid_files_are_valid(run: Shell) -> None:
    support.write_registry(Path(NAME), bot=f"proj_a:{A}")
    support.write_registry(Path("other.toml"), lab=f"proj_b:{B}")
    ran = run("validate", NAME, "other.toml")
    assert (ran.status, ran.out, ran.err) == (0, "✓ 2 files valid.\n", "")


def test_a_url_is_no_file(run: Shell) -> None:
    support.write_registry(Path(NAME), bot=f"proj_a:{A}")
    ran = run("validate", NAME, "redis://svc:not-a-real-password@h/0")
    assert (ran.status, ran.out) == (2, "")
    assert "'redis://…@h/0' is a URL, and `validate` checks files. `list --registry`" in ran.err


def test_each_mistake_is_a_line_that_editors_understand(run: Shell) -> None:
    Path("broken.toml").write_text(BROKEN)
    support.write_registry(Path(NAME), bot=f"proj_a:{A}")
    ran = run("validate", NAME, "broken.toml")
    assert (ran.status, ran.err) == (1, "")
    lines = ran.out.splitlines()
    assert [line.split(" ")[0] for line in lines] == [
        "broken.toml:4:",
        "broken.toml:6:",
        "broken.toml:7:",
    ]
    assert "projects.bot.id" in lines[0]
    assert "hnit" in lines[2]
    assert A not in ran.out


def test_a_merge_conflict_is_called_one(run: Shell) -> None:
    Path(NAME).write_text(CONFLICT)
    ran = run("validate", NAME)
    assert ran.status == 1
    assert ran.out.startswith(f"{NAME}:4: there is a merge conflict here.")


def test_a_file_that_cannot_be_read_is_2(run: Shell) -> None:
    ran = run("validate", "missing.toml")
    assert ran.status == 2
    assert ran.out.startswith("missing.toml: ")


def test_github_shows_it_at_the_line(run: Shell) -> None:
    run.patch.setenv("GITHUB_ACTIONS", "true")
    Path("a,b.toml").write_text(CONFLICT)
    first, second = run("validate", "a,b.toml").out.splitlines()
    message = first.removeprefix("a,b.toml:4: ")
    assert second == f"::error file=a%2Cb.toml,line=4::{message}"


def test_json(run: Shell) -> None:
    Path(NAME).write_text("version = 2\n")
    ran = run("validate", NAME, "--json")
    assert (ran.status, ran.json["valid"]) == (1, False)
    (mistake,) = ran.json["mistakes"]
    assert (mistake["file"], mistake["line"]) == (NAME, 1)


@pytest.mark.skipif(shutil.which("git") is None, reason="needs git")
@pytest.mark.skipif(not HOOKS.exists(), reason="of a checkout only")
def test_pre_commit_stops_a_commit(run: Shell) -> None:
    """With pre-commit itself, and the hook as the repository offers it."""
    pytest.importorskip("pre_commit")
    hook = HOOKS.read_text().partition("\n- ")[2].replace("language: python", "language: system")
    entry = f"{sys.executable} -m openai_project_guard"
    hook = hook.replace("entry: openai-project-guard", f"entry: {entry}")
    assert entry in hook
    lines = "\n".join(f"    {line}".rstrip() for line in hook.splitlines())
    Path(".pre-commit-config.yaml").write_text(
        f"repos:\n- repo: local\n  hooks:\n    - {lines.strip()}\n"
    )
    environment = {
        **os.environ,
        "PYTHONPATH": ROOT,
        "PRE_COMMIT_HOME": str(Path("cache").absolute()),
        "GIT_CONFIG_GLOBAL": os.devnull,
    }

    def tool(*argv: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            argv, env=environment, capture_output=True, encoding="utf-8", check=False
        )

    tool("git", "init", "-q")
    Path("sub").mkdir()
    Path("sub", NAME).write_text(CONFLICT)
    Path("unrelated.toml").write_text(CONFLICT)
    tool("git", "add", "sub", "unrelated.toml")
    pre_commit = (sys.executable, "-m", "pre_commit", "run")
    done = tool(*pre_commit)
    assert done.returncode == 1, done.stderr
    assert f"sub/{NAME}:4: there is a merge conflict here." in done.stdout
    assert "unrelated" not in done.stdout
    support.write_registry(Path("sub", NAME), bot=f"proj_a:{A}")
    tool("git", "add", "sub")
    assert tool(*pre_commit).returncode == 0
