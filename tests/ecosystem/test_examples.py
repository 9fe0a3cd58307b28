"""Does every example run, and show what it says it shows?"""

from __future__ import annotations

import asyncio
import os
import shutil
import subprocess
import sys
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from importlib import import_module
from importlib.metadata import entry_points
from importlib.util import find_spec
from pathlib import Path
from typing import Annotated, Any

import pytest

import openai_project_guard
from openai_project_guard.loopback import loopback_api

HOME = Path(openai_project_guard.__file__).parents[1]
EXAMPLES = Path(__file__).parents[2] / "examples"
TENANTS = ("support", "billing")

pytestmark = [
    pytest.mark.skipif(not EXAMPLES.is_dir(), reason="there are no examples here"),
    pytest.mark.skipif(
        find_spec("openai.resources.responses") is None, reason="this SDK has no responses"
    ),
]


def run(*command: str | Path, directory: Path) -> str:
    """What a program prints; it must end well."""
    inherited = {
        name: value
        for name, value in os.environ.items()
        if not name.startswith(("OPENAI_", "PYTEST_", "COV_"))
    }
    done = subprocess.run(
        command,
        cwd=directory,
        env={**inherited, "PYTHONPATH": str(HOME), "XDG_CONFIG_HOME": str(directory)},
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def test_fastapi_never_mixes_up_two_tenants(tmp_path: Path) -> None:
    pytest.importorskip("fastapi")
    pytest.importorskip("uvicorn")
    said = run(sys.executable, EXAMPLES / "fastapi_two_tenants.py", directory=tmp_path)
    assert said.splitlines() == [
        "50 answers to /ask: Hello from the loopback API.",
        "50 answers to /mistake: refused: scope",
        "What the API saw, and who paid:",
        "25 calls with sk-proj-…Ab3d and OpenAI-Project proj_support, paid by proj_support",
        "25 calls with sk-proj-…Ef5g and OpenAI-Project proj_billing, paid by proj_billing",
    ]


async def test_fifty_requests_in_flight_at_once_stay_with_their_tenants(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    fastapi = pytest.importorskip("fastapi")
    httpx = pytest.importorskip("httpx")
    pytest.importorskip("uvicorn")
    monkeypatch.syspath_prepend(EXAMPLES)
    example = import_module("fastapi_two_tenants")
    pinned = asynccontextmanager(example.pinned)
    inside = 0
    all_are_inside = asyncio.Event()

    async def pinned_together(tenant: Any) -> AsyncIterator[str]:
        nonlocal inside
        async with pinned(tenant) as project:
            inside += 1
            if inside == 50:
                all_are_inside.set()
            await asyncio.wait_for(all_are_inside.wait(), 60)
            yield project

    pinned_together.__annotations__["tenant"] = Annotated[str, fastapi.Header(alias="X-Tenant")]
    keys: dict[str, str] = example.KEYS
    openai_project_guard.enable(registry=keys)
    try:
        with loopback_api({key: project for project, key in keys.items()}) as api:
            app = example.create_app(api.base_url)
            app.dependency_overrides[example.pinned] = pinned_together
            transport = httpx.ASGITransport(app)
            async with httpx.AsyncClient(transport=transport, base_url="http://service") as users:

                async def post(path: str, tenant: str) -> str:
                    answer = await users.post(f"/{path}", headers={"X-Tenant": tenant})
                    return f"{tenant}: {answer.json()}"

                twelve = [post("ask", tenant) for _ in range(12) for tenant in TENANTS]
                thirteen = [post("mistake", tenant) for _ in range(13) for tenant in TENANTS]
                answers = Counter(await asyncio.gather(*twelve, *thirteen))
    finally:
        openai_project_guard.disable()
    assert answers == {
        **{f"{tenant}: Hello from the loopback API.": 12 for tenant in TENANTS},
        **{f"{tenant}: refused: scope": 13 for tenant in TENANTS},
    }
    ledger = Counter(
        (line.key_hint, line.project_header, line.billed_project) for line in api.ledger
    )
    assert ledger == {
        ("sk-proj-…Ab3d", "proj_support", "proj_support"): 12,
        ("sk-proj-…Ef5g", "proj_billing", "proj_billing"): 12,
    }


def test_a_celery_task_is_pinned_to_its_project(tmp_path: Path) -> None:
    pytest.importorskip("celery")
    said = run(sys.executable, EXAMPLES / "celery_task.py", directory=tmp_path)
    assert "FAILURE: POST 127.0.0.1/v1/responses was about to be sent" in said
    assert "Paid: {'proj_support': 1}" in said


def test_a_notebook_warns_and_then_enforces(tmp_path: Path) -> None:
    said = run(sys.executable, EXAMPLES / "notebook.py", directory=tmp_path)
    assert "warned mismatch sk-proj-…Ef5g said proj_support" in said
    assert "The guard: POST 127.0.0.1/v1/responses was about to be sent" in said
    assert "Paid: {'proj_support': 1}" in said


def test_a_test_suite_with_the_plugin(tmp_path: Path) -> None:
    # As in a checkout without what the settings of our own tests need.
    settings = '[tool.pytest.ini_options]\naddopts = "--strict-config"\nof_another_plugin = 1\n'
    (tmp_path / "pyproject.toml").write_text(settings, "utf-8")
    suite = shutil.copytree(EXAMPLES / "with_pytest", tmp_path / "with_pytest")
    # Where the package is installed, its entry point loads the plugin.
    is_installed = any(entry_points(group="pytest11", name="openai_project_guard"))
    plugin = "openai_project_guard" if is_installed else "openai_project_guard.pytest_plugin"
    said = run(sys.executable, "-m", "pytest", "-p", plugin, "-q", directory=suite)
    assert "3 passed" in said


@pytest.mark.parametrize(
    "checker",
    [
        ["mypy", "--strict", "--python-executable", sys.executable],
        ["pyright", "--pythonpath", sys.executable],
        ["ty", "check", "--python", sys.executable],
    ],
    ids=lambda checker: checker[0],
)
def test_type_checkers_find_nothing_wrong(checker: list[str], tmp_path: Path) -> None:
    command = shutil.which(checker[0], path=f"{Path(sys.executable).parent}:{os.environ['PATH']}")
    if command is None:
        pytest.skip(f"{checker[0]} is not installed")
    # A project of a user's: its settings, some modules, a test-suite that uses the plugin.
    (tmp_path / "pyrightconfig.json").write_text('{"typeCheckingMode": "strict"}')
    for name in ("typed.py", "notebook.py"):
        shutil.copy(EXAMPLES / name, tmp_path)
    shutil.copytree(EXAMPLES / "with_pytest", tmp_path, dirs_exist_ok=True)
    run(command, *checker[1:], ".", directory=tmp_path)
