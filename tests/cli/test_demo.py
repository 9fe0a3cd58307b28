"""`openai-project-guard demo`, run as a user runs it, and its picture."""

from __future__ import annotations

import asyncio
import importlib.util
import json
import logging
import os
import re
import subprocess
import sys
from collections.abc import Iterator, Mapping
from contextlib import suppress
from pathlib import Path
from types import MappingProxyType, ModuleType
from typing import Any

import openai
import pytest
import support
from pytest_mock import MockerFixture

import openai_project_guard
from openai_project_guard._cli import main
from openai_project_guard._cli.demo import scenarios
from openai_project_guard._cli.demo.scenarios import A, B, C
from openai_project_guard._state import STATE
from openai_project_guard.loopback import loopback_api

ROOT = Path(openai_project_guard.__file__).parent.parent
PICTURE = ROOT / "docs" / "picture.py"
REFUSALS = {
    "with_options(api_key=B)": "ProjectMismatchError",
    "with_options, async": "ProjectMismatchError",
    "with_options, streamed": "ProjectMismatchError",
    "client.api_key = B": "ProjectMismatchError",
    "stale OPENAI_PROJECT_ID": "ProjectMismatchError",
    "OPENAI_CUSTOM_HEADERS": "ProjectMismatchError",
    "extra_headers=": "ProjectMismatchError",
    "key B, no project=": "ProjectMissingError",
    "key C, not registered": "UnregisteredKeyError",
    "@guard(project=...)": "ProjectScopeError",
}
DISTURBANCES = {
    "OPENAI_API_KEY": "sk-proj-of-the-user-Zz9z",
    "OPENAI_BASE_URL": "http://127.0.0.1:9/v1",
    "OPENAI_PROJECT_ID": "proj_user",
    "OPENAI_ORG_ID": "org-user",
    "OPENAI_CUSTOM_HEADERS": "OpenAI-Project: proj_user",
    "OPENAI_LOG": "debug",
    "OPENAI_PROJECT_GUARD": "warn",
    "OPENAI_PROJECT_GUARD_PROJECT": "proj_user",
    "OPENAI_PROJECT_GUARD_UNREGISTERED": "allow",
    "HTTP_PROXY": "http://127.0.0.1:9",
    "all_proxy": "socks5://127.0.0.1:9",
    "SSL_CERT_FILE": "no-such-file.pem",
}


@pytest.fixture(autouse=True)
def _plain_environment(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    for name in list(os.environ):
        if name.startswith("OPENAI") or name in ("NO_COLOR", "FORCE_COLOR", "COLUMNS"):
            monkeypatch.delenv(name)
    openai_project_guard.disable()
    yield
    openai_project_guard.disable()


def demo(
    *arguments: str,
    cwd: Path,
    program: tuple[str, ...] = ("-m", "openai_project_guard"),
    env: Mapping[str, str] = MappingProxyType({}),
) -> subprocess.CompletedProcess[str]:
    path = os.pathsep.join(filter(None, (str(ROOT), os.environ.get("PYTHONPATH"))))
    return subprocess.run(
        [sys.executable, *program, "demo", *arguments],
        cwd=cwd,
        env={**os.environ, "PYTHONPATH": path, "PYTHONIOENCODING": "utf-8", **env},
        capture_output=True,
        encoding="utf-8",
        check=False,
    )


def assert_holds_no_key(text: str) -> None:
    assert not any(key in text for key in (A, B, C))


# What a user sees


def test_the_table_fits_80_columns_and_all_is_as_expected(tmp_path: Path) -> None:
    done = demo(cwd=tmp_path)
    assert (done.returncode, done.stderr) == (0, "")
    lines = done.stdout.splitlines()
    assert max(map(len, lines)) <= 80
    assert "\x1b" not in done.stdout
    assert_holds_no_key(done.stdout)
    rows = {line.split("│")[0].strip(): line for line in lines if "│" in line}
    for call, error in REFUSALS.items():
        if call in rows or call != "OPENAI_CUSTOM_HEADERS" or support.VERSION >= (3,):
            assert re.search(
                rf"│ ✗ (401 +│ nobody|200 +│ proj_(lab|old)) .*{error} +│ +0$", rows[call]
            )
    for call in ("key and project match", "matching, async", "matching, streamed"):
        assert re.search(r"│ ✓ 200 +│ proj_chat │ ✓ 200, proj_chat +│ +\d{3}$", rows[call])
    assert re.search(r"✓ 200 .*✓ 200, header put in", rows["no project=, inject"])
    assert "scenarios, all as expected" in done.stdout
    assert any(line.startswith("Next: openai-project-guard register PROJECT") for line in lines)


def test_the_users_environment_neither_disturbs_nor_is_asked(tmp_path: Path) -> None:
    tmp_path.joinpath("openai-projects.toml").write_text(
        'version = 1\n[projects.user]\nid = "proj_user"\n'
    )
    done = demo(cwd=tmp_path, env=DISTURBANCES)
    assert (done.returncode, done.stderr) == (0, "")
    assert "scenarios, all as expected" in done.stdout
    assert "user" not in done.stdout


def test_json_says_the_same_and_nothing_leaves_the_machine(tmp_path: Path) -> None:
    watched = tmp_path / "watched.py"
    watched.write_text(
        "import sys\n"
        "def watch(event, arguments):\n"
        "    if event == 'socket.connect' and arguments[1][0] != '127.0.0.1':\n"
        "        sys.exit(f'connects to {arguments[1]}')\n"
        "sys.addaudithook(watch)\n"
        "from openai_project_guard._cli import main\n"
        "sys.exit(main())\n"
    )
    done = demo("--json", cwd=tmp_path, program=(str(watched),))
    assert (done.returncode, done.stderr) == (0, "")
    assert_holds_no_key(done.stdout)
    results = {result["call"]: result for result in json.loads(done.stdout)}
    assert all(result["as_expected"] and result["problems"] == [] for result in results.values())
    for call, result in results.items():
        without, guarded = result["without_guard"], result["with_guard"]
        assert (without["requests"], without["connections"]) == (1, 1)
        assert without["bytes"] > 400
        if call in REFUSALS:
            assert guarded["answer"] == REFUSALS[call]
            assert guarded["billed"] is None
            assert (guarded["requests"], guarded["connections"], guarded["bytes"]) == (0, 0, 0)
        else:
            assert guarded["billed"] == guarded["project_header"] == without["billed"]
            assert guarded["text"] == without["text"] == "Hello from the loopback API."
    assert results["with_options(api_key=B)"]["without_guard"]["answer"] == "401 mismatched_project"
    assert results["key B, no project="]["without_guard"]["billed"] == "proj_lab"
    assert results["no project=, inject"]["without_guard"]["project_header"] is None


def test_each_call_is_made_in_the_way_that_its_name_says(mocker: MockerFixture) -> None:
    run = mocker.spy(asyncio, "run")
    for scenario in scenarios.scenarios():
        with loopback_api(scenarios.OWNERS) as api:
            with suppress(openai.AuthenticationError):
                scenario.make(api.base_url)
            (request,) = api.ledger
        assert request.stream is ("streamed" in scenario.call)
        assert run.call_count == ("async" in scenario.call)
        run.reset_mock()


def test_a_stream_that_takes_ascii_only_gets_ascii(tmp_path: Path) -> None:
    done = demo(cwd=tmp_path, env={"PYTHONIOENCODING": "ascii"})
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.isascii()
    assert "with_options(api_key=B) | x 401   | nobody    | + ProjectMismatchError |" in done.stdout
    assert "sk-proj-...Ab3d" in done.stdout


def test_color_when_asked_for_and_none_when_refused(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("FORCE_COLOR", "1")
    assert main(["demo"]) == 0
    colored = capsys.readouterr().out
    assert re.search(r"\x1b\[31m✗ 200 +\x1b\[0m.*\x1b\[31mproj_lab +\x1b\[0m", colored)
    monkeypatch.setenv("NO_COLOR", "1")
    assert main(["demo"]) == 0
    assert capsys.readouterr().out == re.sub(r"\x1b\[\d+m", "", colored)


# What it leaves behind: nothing


def test_everything_is_as_it_was_afterwards(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    for name, value in DISTURBANCES.items():
        monkeypatch.setenv(name, value)
    openai_project_guard.enable(
        registry={"proj_user": "sk-proj-of-the-user-Zz9z"}, project="proj_user"
    )
    logger = logging.getLogger("openai_project_guard")
    before = dict(os.environ), STATE.settings, logger.disabled
    assert main(["demo", "--json"]) == 0
    assert (dict(os.environ), STATE.settings, logger.disabled) == before
    assert openai_project_guard.is_enabled()


def test_the_sdk_is_as_it_was_afterwards(capsys: pytest.CaptureFixture[str]) -> None:
    def snapshot() -> list[dict[str, Any]]:
        return [
            dict(vars(owner))
            for kind in (openai.OpenAI, openai.AsyncOpenAI)
            for owner in kind.__mro__
        ]

    before = snapshot()
    assert main(["demo", "--json"]) == 0
    assert snapshot() == before
    assert not openai_project_guard.is_enabled()


# What it says when something is wrong


def test_a_guard_that_does_nothing_is_noticed(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("openai_project_guard._api.enable", lambda *args, **kwargs: None)
    assert main(["demo"]) == 1
    shown = " ".join(capsys.readouterr().out.split())
    assert "scenarios did not come out as expected:" in shown
    assert (
        "key B, no project=: with the guard, answer should be 'ProjectMissingError' and was '200'"
    ) in shown
    assert "with the guard, billed should be None and was 'proj_lab'" in shown
    assert "with the guard, connections should be 0 and was 1" in shown
    assert "all as expected" not in shown


def test_a_guard_that_refuses_a_right_call_is_noticed(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(scenarios, "REGISTRY", {"proj_chat": B, "proj_lab": A})
    assert main(["demo", "--json"]) == 1
    first = json.loads(capsys.readouterr().out)[0]
    assert not first["as_expected"]
    assert first["problems"][0] == (
        "with the guard, answer should be '200' and was 'ProjectMismatchError'"
    )


def test_a_server_that_bills_somebody_else_is_noticed(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(scenarios, "OWNERS", {A: "proj_chat", B: "proj_lab", C: "proj_chat"})
    assert main(["demo", "--json"]) == 1
    wrong = [result for result in json.loads(capsys.readouterr().out) if result["problems"]]
    assert [(result["call"], result["problems"]) for result in wrong] == [
        (
            "key C, not registered",
            ["without the guard, billed should be 'proj_old' and was 'proj_chat'"],
        )
    ]


# Its picture


@pytest.fixture
def picture() -> ModuleType:
    if not PICTURE.exists():
        pytest.skip("the picture is drawn from a checkout")
    spec = importlib.util.spec_from_file_location("picture", PICTURE)
    assert spec
    assert spec.loader
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def without_what_differs(svg: str) -> str:
    """The release of the SDK and what its requests weigh are not the picture's business."""
    svg = re.sub(r' textLength="[^"]*"', "", svg)
    svg = re.sub(r"openai \d+\.\d+\.\w+", "openai 0.0.0", svg)
    return re.sub(r">\d{3}</text>", ">000</text>", svg)


def test_the_picture_shows_what_the_demo_prints(picture: ModuleType) -> None:
    if "OPENAI_CUSTOM_HEADERS" not in {scenario.call for scenario in scenarios.scenarios()}:
        pytest.skip("this SDK has fewer scenarios")
    committed = picture.PICTURE.read_text(encoding="utf-8")
    assert without_what_differs(committed) == without_what_differs(picture.svg(picture.demo()))
    assert_holds_no_key(committed)
    assert re.findall(r"(?:href|src)=|url\(|@import|<script", committed) == []
