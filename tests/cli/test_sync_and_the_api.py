"""Does `sync` read all that the API lists, wait where it must, and go on where it was stopped?"""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import openai
import pytest
from support import fingerprint
from sync_shell import CHAT, LAB, NAME, Shell, bound, projects

import openai_project_guard as opg
from openai_project_guard._cli.sync import checkpoint
from openai_project_guard._cli.sync.administration import Administration
from openai_project_guard._cli.sync.progress import Progress
from openai_project_guard.loopback import ADMIN_KEY, LoopbackAPI, LoopbackProject, loopback_api


def test_all_pages_are_read(shell: Shell) -> None:
    keys = {f"sk-proj-CANARY-{i:04}-canary-{i:04}": "proj_many" for i in range(250)}
    listed = [LoopbackProject(f"proj_{i:03}") for i in range(230)]
    with loopback_api(keys, projects=listed) as api:
        shell.use(api, OPENAI_API_KEY="sk-proj-CANARY-0249-canary-0249")
        assert shell.report()["listed"] == 231
        paths = Counter(line.path for line in api.ledger)
    assert paths["/v1/organization/projects"] == 3
    assert paths["/v1/organization/projects/proj_many/api_keys"] == 3
    assert bound("sk-proj-CANARY-0249-canary-0249") == ["proj_many"]


def test_no_project_header_goes_to_the_administration_api(shell: Shell, api: LoopbackAPI) -> None:
    shell.use(api, OPENAI_API_KEY=CHAT, OPENAI_PROJECT_ID="proj_stale")
    assert shell.sync() == 0
    assert {line.project_header for line in api.ledger} == {None}


def test_an_enabled_guard_does_not_refuse_it(shell: Shell, api: LoopbackAPI) -> None:
    shell.use(api, OPENAI_API_KEY=CHAT, OPENAI_PROJECT_ID="proj_lab")
    opg.enable(registry={"proj_lab": LAB}, project="proj_lab", hosts=["127.0.0.1"])
    assert shell.sync() == 0
    assert opg.is_enabled()
    with pytest.raises(opg.ProjectScopeError), openai.OpenAI(project="proj_chat") as client:
        client.models.list()


@pytest.fixture
def waits(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """What was waited for, without waiting."""
    found: list[float] = []
    monkeypatch.setattr(Progress, "wait", lambda self, seconds: found.append(seconds))
    return found


@pytest.mark.parametrize(
    ("headers", "pause"),
    [
        ({"retry-after": "7"}, 7.0),
        ({"retry-after-ms": "250", "retry-after": "9"}, 0.25),
        ({"retry-after": "0"}, 0.1),
        ({"retry-after": "soon"}, 20.0),
        ({"retry-after": "nan"}, 20.0),
        ({"retry-after": "Thu, 01 Jan 1970 00:00:00 GMT"}, 0.1),
        ({}, 20.0),
    ],
)
def test_a_rate_limit_is_waited_for(
    shell: Shell, api: LoopbackAPI, waits: list[float], headers: dict[str, str], pause: float
) -> None:
    shell.use(api, OPENAI_API_KEY=CHAT)
    # Not to be retried by the SDK, which would wait in earnest.
    api.fail_next(429, times=2, headers={**headers, "x-should-retry": "false"})
    assert shell.sync() == 0
    assert waits == [pause, pause]
    assert bound(CHAT) == ["proj_chat"]


@pytest.mark.parametrize(("pause", "times"), [(400.0, 2), (450.0, 2), (450.5, 1), (901.0, 0)])
def test_a_rate_limit_that_takes_more_than_15_minutes_is_an_error(
    shell: Shell, api: LoopbackAPI, waits: list[float], pause: float, times: int
) -> None:
    shell.use(api)
    api.fail_next(429, times=9, headers={"retry-after": f"{pause}", "x-should-retry": "false"})
    assert shell.sync() == 2
    assert waits == [pause] * times
    assert "answered 429" in shell.err
    assert "Run the command again: it continues there." in shell.err


@pytest.mark.parametrize(
    ("variables", "said"),
    [
        ({"OPENAI_ADMIN_KEY": ""}, "OPENAI_ADMIN_KEY is not set"),
        (
            {"OPENAI_ADMIN_KEY": "sk-admin-CANARY-of-somebody"},
            "answered 401 invalid_api_key (Incorrect API key provided: sk-admin-…body). "
            "Check OPENAI_ADMIN_KEY.",
        ),
        (
            {"OPENAI_ADMIN_KEY": CHAT},
            "answered 403 insufficient_permissions (/v1/organization/projects cannot be called "
            "with this key). Check OPENAI_ADMIN_KEY.",
        ),
        ({"OPENAI_BASE_URL": "http://127.0.0.1:9/v1"}, "gave no answer"),
    ],
)
def test_an_api_that_says_no_is_an_error(
    shell: Shell,
    api: LoopbackAPI,
    monkeypatch: pytest.MonkeyPatch,
    variables: dict[str, str],
    said: str,
) -> None:
    shell.use(api)
    monkeypatch.setattr("openai._base_client.INITIAL_RETRY_DELAY", 0.001)
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    assert shell.sync() == 2
    assert said in shell.err
    assert not Path(NAME).exists()


# Does it go on after an interruption?


MANY = 120


@pytest.fixture
def many() -> Iterator[LoopbackAPI]:
    keys = {f"sk-proj-CANARY-canary-{i:04}": f"proj_{i:04}" for i in range(MANY)}
    with loopback_api(keys) as server:
        yield server


def keys_read(api: LoopbackAPI) -> Counter[str]:
    return Counter(line.path for line in api.ledger if line.path.endswith("/api_keys"))


def stop_after(number: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """Ends the run, as ^C does, when it has read so many projects' keys."""
    read = Administration.keys
    count = iter(range(number))

    def keys(self: Administration, project: str) -> Any:
        if next(count, None) is None:
            raise KeyboardInterrupt
        return read(self, project)

    monkeypatch.setattr(Administration, "keys", keys)


def interrupt(shell: Shell, many: LoopbackAPI, monkeypatch: pytest.MonkeyPatch) -> None:
    """Begins a run, and ends it after 50 projects."""
    shell.use(many, OPENAI_API_KEY="sk-proj-CANARY-canary-0003")
    with monkeypatch.context() as patched:
        stop_after(50, patched)
        assert shell.sync() == 130


def test_an_interrupted_run_goes_on(
    shell: Shell, many: LoopbackAPI, monkeypatch: pytest.MonkeyPatch
) -> None:
    interrupt(shell, many, monkeypatch)
    assert len(projects()) == MANY  # they are there already, the key is not
    assert bound("sk-proj-CANARY-canary-0003") == []
    assert shell.sync() == 0
    assert len(keys_read(many)) == MANY
    assert set(keys_read(many).values()) == {1}
    assert bound("sk-proj-CANARY-canary-0003") == ["proj_0003"]
    assert [path.name for path in Path().iterdir()] == [NAME]


@pytest.mark.skipif(os.name != "posix", reason="signals of POSIX")
def test_a_killed_run_goes_on(shell: Shell, many: LoopbackAPI) -> None:
    shell.use(many, OPENAI_API_KEY="sk-proj-CANARY-canary-0003")
    code = "from openai_project_guard._cli import main; main(['sync'])"
    places = os.pathsep.join([str(Path(opg.__file__).parents[1]), os.environ.get("PYTHONPATH", "")])
    run = subprocess.Popen([sys.executable, "-c", code], env={**os.environ, "PYTHONPATH": places})
    deadline = time.monotonic() + 30
    while len(keys_read(many)) < 20 and time.monotonic() < deadline:
        time.sleep(0.002)
    run.send_signal(signal.SIGKILL)
    run.wait()
    before = len(keys_read(many))
    assert 20 <= before < MANY
    assert shell.sync() == 0
    assert len(keys_read(many)) == MANY
    assert sum(keys_read(many).values()) <= MANY + 1  # one was asked for and not noted
    assert bound("sk-proj-CANARY-canary-0003") == ["proj_0003"]


def replace_what_was_kept(*lines: str) -> None:
    """Puts these lines behind the first, which says of which run they are."""
    kept = Path(f".{NAME}.sync")
    head = kept.read_text("utf-8").split("\n")[1]
    kept.write_text("\n".join(["", head, *lines]), "utf-8")


@pytest.mark.parametrize(
    "change",
    [
        lambda patch: patch.setenv("OPENAI_API_KEY", "sk-proj-CANARY-canary-0004"),
        lambda patch: patch.setattr(checkpoint, "_HOUR", 0.0),
        lambda patch: Path(f".{NAME}.sync").write_text("what is this"),
        lambda patch: Path(f".{NAME}.sync").write_bytes(b"\n\xff\xff"),
        lambda patch: Path(f".{NAME}.sync").write_text("\n[]"),
        lambda patch: Path(f".{NAME}.sync").write_text('\n{"run": 7}'),
        lambda patch: replace_what_was_kept(
            "7", "[]", '{"project": "proj_0001"}', '{"project": 7}'
        ),
        lambda patch: replace_what_was_kept('{"project": "proj_0001", "matches": 7}'),
    ],
)
def test_a_checkpoint_that_does_not_fit_is_not_used(
    shell: Shell,
    many: LoopbackAPI,
    monkeypatch: pytest.MonkeyPatch,
    change: Callable[[pytest.MonkeyPatch], object],
) -> None:
    interrupt(shell, many, monkeypatch)
    change(monkeypatch)
    assert shell.sync() == 0
    assert sum(keys_read(many).values()) == MANY + 50


@pytest.mark.skipif(not os.path.isdir("/proc/self/fd"), reason="what is open cannot be looked at")
def test_the_checkpoint_is_closed_and_gone_when_all_is_read(
    shell: Shell, many: LoopbackAPI
) -> None:
    shell.use(many, OPENAI_API_KEY="sk-proj-CANARY-canary-0003")
    assert shell.sync() == 0
    opened = []
    for number in os.listdir("/proc/self/fd"):
        with suppress(OSError):  # that of the list itself
            opened.append(os.readlink(f"/proc/self/fd/{number}"))
    assert not [path for path in opened if ".sync" in path]
    assert not Path(f".{NAME}.sync").exists()


def test_a_line_cut_short_costs_its_project_only(
    shell: Shell, many: LoopbackAPI, monkeypatch: pytest.MonkeyPatch
) -> None:
    interrupt(shell, many, monkeypatch)
    kept = Path(f".{NAME}.sync")
    kept.write_bytes(kept.read_bytes()[:-10])
    with monkeypatch.context() as patched:
        stop_after(20, patched)
        assert shell.sync() == 130
    assert shell.sync() == 0
    assert sum(keys_read(many).values()) == MANY + 1
    assert bound("sk-proj-CANARY-canary-0003") == ["proj_0003"]


def test_the_checkpoint_holds_no_key_and_is_its_owners_alone(
    shell: Shell, many: LoopbackAPI, monkeypatch: pytest.MonkeyPatch
) -> None:
    shell.use(many, OPENAI_API_KEY="sk-proj-CANARY-canary-0003")
    stop_after(50, monkeypatch)
    assert shell.sync() == 130  # which looks for keys in every file
    kept = Path(f".{NAME}.sync")
    assert fingerprint("sk-proj-CANARY-canary-0003") in kept.read_text()
    if os.name == "posix":
        assert kept.stat().st_mode & 0o777 == 0o600


# What does a person see, and who sees the key?


def test_progress_is_shown_on_a_terminal_and_wiped(
    shell: Shell, many: LoopbackAPI, monkeypatch: pytest.MonkeyPatch
) -> None:
    shell.use(many, OPENAI_API_KEY="sk-proj-CANARY-canary-0003")
    monkeypatch.setattr("sys.stderr.isatty", lambda: True, raising=False)
    monkeypatch.setattr("openai_project_guard._cli.sync.progress._SELDOM", 0.0)
    many.fail_next(429, headers={"retry-after-ms": "1", "x-should-retry": "false"})
    assert shell.sync() == 0
    shown = re.split(r"\r\x1b\[K", shell.err)
    assert "reading projects: 120" in shown
    assert "reading keys: 120 of 120 projects" in shown
    assert "the API asks to wait: 0 s" in shown
    assert shown[-1] == ""
    assert "and 110 more" in shell.out


def test_texts_that_come_thick_and_fast_are_left_out(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("sys.stderr.isatty", lambda: True, raising=False)
    progress = Progress()
    for turn in range(7):
        monkeypatch.setattr("time.monotonic", lambda turn=turn: 1000 + turn / 16)  # seconds
        progress.show(f"turn {turn}")
    shown = re.split(r"\r\x1b\[K", capsys.readouterr().err)
    assert shown == ["", "turn 0", "turn 2", "turn 4", "turn 6"]


def test_no_repr_of_what_waits_shows_the_admin_key(
    shell: Shell, api: LoopbackAPI, monkeypatch: pytest.MonkeyPatch
) -> None:
    shell.use(api)
    administration_ = Administration()
    assert ADMIN_KEY not in repr(vars(administration_))
    assert ADMIN_KEY not in administration_.identity
    monkeypatch.delenv("OPENAI_ADMIN_KEY")
    with pytest.raises(opg.ConfigurationError, match="OPENAI_ADMIN_KEY"):
        Administration()
