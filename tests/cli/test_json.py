"""Does every command's `--json` print what its `--help` says?"""

from __future__ import annotations

import importlib.util
from pathlib import Path

import pytest
from cli_shell import Shell
from json_shape import assert_as_described
from support import STRANGER, A

from openai_project_guard._cli.json_fields import FIELDS, describe
from openai_project_guard.loopback import ADMIN_KEY, LoopbackProject, loopback_api

DOCS = Path(__file__).parents[2] / "docs"
COMMANDS: dict[str, list[tuple[str, ...]]] = {
    "demo": [("demo",)],
    "list": [("list",)],
    "fingerprint": [("fingerprint", "--key-env", "OPENAI_API_KEY")],
    "validate": [("validate", "openai-projects.toml", ".env")],
    "check": [("check",), ("check", "--live")],
    "doctor": [("doctor",), ("doctor", "--live")],
    "copy": [("copy", "openai-projects.toml", "other.toml", "--dry-run")],
    "sync": [("sync",)],
}


def test_every_command_that_prints_json_is_tried_here() -> None:
    tried = {*COMMANDS, "report"}  # that one is tried in tests/audit
    assert tried == {name.split()[0] for name in FIELDS}


@pytest.mark.parametrize(
    "argv", [argv for tried in COMMANDS.values() for argv in tried], ids=" ".join
)
@pytest.mark.parametrize("key", [A, STRANGER], ids=["registered", "not registered"])
def test_json_is_as_described(good: Shell, argv: tuple[str, ...], key: str) -> None:
    if key == STRANGER and argv[0] in ("demo", "list", "copy", "validate", "fingerprint"):
        pytest.skip("does not read the key")
    good.patch.setenv("OPENAI_API_KEY", key)
    Path(".env").write_text("no = 1\nnot = 2\n")
    with loopback_api({A: "proj_a"}, projects=[LoopbackProject("proj_new", "New")]) as api:
        good.patch.setenv("OPENAI_BASE_URL", api.base_url)
        good.patch.setenv("OPENAI_PROJECT_GUARD_HOSTS", "127.0.0.1")
        good.patch.setenv("OPENAI_ADMIN_KEY", ADMIN_KEY)
        ran = good(*argv, "--json")
    assert ran.status in (0, 1), ran.err
    assert_as_described(argv[0], ran.json)


@pytest.mark.parametrize("name", FIELDS)
def test_help_describes_the_json(good: Shell, name: str) -> None:
    assert describe(name) in good(name.split()[0], "--help").out


@pytest.mark.skipif(not DOCS.exists(), reason="of a checkout only")
def test_the_documentation_is_up_to_date() -> None:
    spec = importlib.util.spec_from_file_location("json_reference", DOCS / "json_reference.py")
    assert spec
    assert spec.loader
    reference = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(reference)
    assert (DOCS / "json.md").read_text("utf-8") == reference.page()
