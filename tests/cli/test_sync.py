"""Does `sync` take in the right projects, bind the right keys, and go on after an interruption?"""

from __future__ import annotations

import io
import json
import os
import re
import signal
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import openai
import pytest
from support import clean, fingerprint, write_registry

import openai_project_guard as opg
from openai_project_guard import Registry
from openai_project_guard._cli import main
from openai_project_guard._cli.key_input import Secret
from openai_project_guard._cli.sync import checkpoint
from openai_project_guard._cli.sync.administration import Administration, RemoteKey
from openai_project_guard._cli.sync.progress import Progress
from openai_project_guard.loopback import ADMIN_KEY, LoopbackAPI, LoopbackProject, loopback_api

__all__ = ["clean"]

NAME = "openai-projects.toml"
CHAT = "sk-proj-CANARYcanaryCANARYcanaryCANARYcanary-Ab3d"
LAB = "sk-proj-CANARYcanaryCANARYcanaryCANARYcanary-Ef5g"
ROBOT = "sk-svcacct-CANARYcanaryCANARYcanaryCANARY-Hj7k"
LAB_TWIN = "sk-proj-anotherANOTHERanotherANOTHERanother-Ef5g"
"""Shows the same characters as LAB does."""
OWNERS = {CHAT: "proj_chat", LAB: "proj_lab", ROBOT: "proj_lab"}
PROJECTS = (
    LoopbackProject("proj_chat", "Support Chat"),
    LoopbackProject("proj_lab", "Lab"),
    LoopbackProject("proj_old", "Old things", archived=True),
)


class Shell:
    """`sync` in a directory of its own, against a server on this machine."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
        self.monkeypatch = monkeypatch
        self._capsys = capsys
        self.out = self.err = ""

    def use(self, api: LoopbackAPI, **variables: str) -> None:
        self.monkeypatch.setenv("OPENAI_BASE_URL", api.base_url)
        self.monkeypatch.setenv("OPENAI_ADMIN_KEY", ADMIN_KEY)
        for name, value in variables.items():
            self.monkeypatch.setenv(name, value)

    def sync(self, *arguments: str) -> int:
        status = main(["sync", *arguments])
        self.out, self.err = self._capsys.readouterr()
        for text in (self.out, self.err, *(path.read_text() for path in Path().rglob("*.*"))):
            assert "canary" not in text.lower()
            assert "ANOTHER" not in text
            assert ADMIN_KEY not in text
        return status

    def report(self, *arguments: str, status: int = 0) -> Any:
        assert self.sync(*arguments, "--json") == status
        return json.loads(self.out)


@pytest.fixture
def shell(clean: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Shell:
    return Shell(clean, capsys)


@pytest.fixture
def api() -> Iterator[LoopbackAPI]:
    with loopback_api(OWNERS, projects=PROJECTS) as server:
        yield server


def projects() -> dict[str, str | None]:
    """The file's projects and their aliases."""
    known = Registry.from_file(NAME).snapshot.projects
    return {project.id: project.alias for project in known.values()}


def bound(key: str) -> list[str]:
    return [entry.project for entry in Registry.from_file(NAME).lookup(key)]


# Which projects are written, and under which alias?


def test_projects_are_written_and_the_key_at_hand_is_bound(shell: Shell, api: LoopbackAPI) -> None:
    shell.use(api, OPENAI_API_KEY=CHAT)
    assert shell.report() == {
        "registry": NAME,
        "listed": 2,
        "added": [
            {"project": "proj_chat", "alias": "support-chat"},
            {"project": "proj_lab", "alias": "lab"},
        ],
        "unlisted": [],
        "pruned": False,
        "dry_run": False,
        "keys": [
            {
                "variable": "OPENAI_API_KEY",
                "hint": "sk-proj-…Ab3d",
                "outcome": "bound",
                "projects": ["proj_chat"],
                "says": "bound to support-chat (proj_chat)",
            }
        ],
    }
    assert projects() == {"proj_chat": "support-chat", "proj_lab": "lab"}
    (entry,) = Registry.from_file(NAME).lookup(CHAT)
    assert (entry.project, entry.hint, entry.note) == ("proj_chat", "sk-proj-…Ab3d", "sync")


def test_a_second_run_changes_nothing(shell: Shell, api: LoopbackAPI) -> None:
    shell.use(api, OPENAI_API_KEY=CHAT)
    assert shell.sync() == 0
    before = Path(NAME).read_bytes()
    report = shell.report()
    assert report["added"] == []
    assert report["keys"][0]["outcome"] == "registered"
    assert Path(NAME).read_bytes() == before
    assert [path.name for path in Path().iterdir()] == [NAME]


def test_archived_projects_are_left_out_unless_asked_for(shell: Shell, api: LoopbackAPI) -> None:
    shell.use(api)
    assert shell.sync() == 0
    assert "proj_old" not in projects()
    assert shell.sync("--include-archived") == 0
    assert projects()["proj_old"] == "old-things"


def test_an_alias_and_a_comment_of_the_file_are_kept(shell: Shell, api: LoopbackAPI) -> None:
    shell.use(api)
    Path(NAME).write_text(
        'version = 1\n[projects.bot]  # ours\nid = "proj_chat"\n\n'
        '[projects.proj_lab]\nid = "proj_lab"\n'
    )
    before = Path(NAME).read_text()
    assert shell.report()["added"] == []
    assert Path(NAME).read_text() == before
    assert projects() == {"proj_chat": "bot", "proj_lab": None}


@pytest.mark.parametrize(
    ("names", "aliases"),
    [
        (["Lab", "lab", "LAB!"], ["lab", "lab-2", "lab-3"]),
        (["Lab", "Lab 2", "Lab"], ["lab", "lab-2", "lab-3"]),
        (["  A/B -- test_2  "], ["a-b-test-2"]),
        (["Büro Köln", "データ"], ["büro-köln", "データ"]),
        (["proj_other"], ["proj-other"]),
        (["---", "🎉"], [None, None]),
        (["sk-proj-Ab12Cd34Ef56Gh78Ij90"], [None]),
        (["x" * 200], ["x" * 60]),
    ],
)
def test_aliases_are_made_of_names(
    shell: Shell, names: list[str], aliases: list[str | None]
) -> None:
    listed = [LoopbackProject(f"proj_{i}", name) for i, name in enumerate(names)]
    with loopback_api({}, projects=listed) as api:
        shell.use(api)
        assert shell.sync() == 0
    assert list(projects().values()) == aliases


def test_the_alias_of_another_project_in_the_file_is_not_taken(
    shell: Shell, api: LoopbackAPI
) -> None:
    shell.use(api)
    write_registry(Path(NAME), lab="proj_of_old")
    assert shell.sync() == 0
    assert projects()["proj_lab"] == "lab-2"


def test_nothing_is_removed_without_prune(shell: Shell, api: LoopbackAPI) -> None:
    shell.use(api)
    write_registry(Path(NAME), gone="proj_gone:some-key", chat="proj_chat")
    report = shell.report()
    assert report["unlisted"] == [{"project": "proj_gone", "alias": "gone"}]
    assert not report["pruned"]
    assert projects()["proj_gone"] == "gone"
    assert shell.sync() == 0
    assert "1 project of the registry not listed, and left; --prune removes:\n  ? gone" in shell.out
    assert shell.report("--prune", "--yes")["pruned"]
    assert sorted(projects()) == ["proj_chat", "proj_lab"]
    assert bound("some-key") == []


def test_an_empty_list_of_projects_is_an_error_and_empties_nothing(shell: Shell) -> None:
    write_registry(Path(NAME), chat="proj_chat:some-key")
    with loopback_api({}) as api:
        shell.use(api)
        assert shell.sync("--prune") == 2
    assert "lists no project at all" in shell.err
    assert bound("some-key") == ["proj_chat"]


def test_another_file_can_be_named(shell: Shell, api: LoopbackAPI) -> None:
    shell.use(api, OPENAI_API_KEY=LAB)
    assert shell.sync("--registry", "deep/down.toml") == 0
    assert len(Registry.from_file("deep/down.toml")) == 1
    assert not Path(NAME).exists()


# Which keys are bound?


def test_keys_of_named_variables_are_bound(shell: Shell, api: LoopbackAPI) -> None:
    shell.use(api, OPENAI_API_KEY=CHAT, LAB_KEY=LAB, ROBOT_KEY=ROBOT)
    assert shell.sync("--key-env", "LAB_KEY", "--key-env", "ROBOT_KEY") == 0
    assert [bound(key) for key in (CHAT, LAB, ROBOT)] == [["proj_chat"], ["proj_lab"], ["proj_lab"]]
    assert "✓ LAB_KEY (sk-proj-…Ef5g): bound to lab (proj_lab)." in shell.out


def test_a_redacted_value_that_fits_two_projects_binds_neither(shell: Shell) -> None:
    with loopback_api({LAB: "proj_lab", LAB_TWIN: "proj_chat"}, projects=PROJECTS) as api:
        shell.use(api, OPENAI_API_KEY=LAB)
        (key,) = shell.report(status=1)["keys"]
    assert (key["outcome"], key["projects"]) == ("ambiguous", ["proj_chat", "proj_lab"])
    assert "fits keys of 2 projects, support-chat (proj_chat) and lab (proj_lab)" in key["says"]
    assert "register PROJECT --key-env OPENAI_API_KEY" in key["says"]
    assert bound(LAB) == []


def test_two_keys_of_one_project_that_fit_are_no_doubt(shell: Shell) -> None:
    with loopback_api({LAB: "proj_lab", LAB_TWIN: "proj_lab"}) as api:
        shell.use(api, OPENAI_API_KEY=LAB)
        assert shell.sync() == 0
    assert bound(LAB) == ["proj_lab"]


def test_two_keys_at_hand_that_fit_the_same_listed_key_are_not_bound(shell: Shell) -> None:
    with loopback_api({LAB: "proj_lab"}) as api:
        shell.use(api, OPENAI_API_KEY=LAB, OTHER=LAB_TWIN)
        first, second = shell.report("--key-env", "OTHER", status=1)["keys"]
    assert first["outcome"] == second["outcome"] == "ambiguous"
    assert "may also be the one in OTHER" in first["says"]
    assert bound(LAB) == bound(LAB_TWIN) == []


def test_one_key_in_two_variables_is_one_key(shell: Shell, api: LoopbackAPI) -> None:
    shell.use(api, OPENAI_API_KEY=LAB, OTHER=LAB)
    assert [key["outcome"] for key in shell.report("--key-env", "OTHER")["keys"]] == ["bound"] * 2


def test_a_key_in_no_list_is_left_alone(shell: Shell, api: LoopbackAPI) -> None:
    shell.use(api, OPENAI_API_KEY="sk-CANARYcanaryLegacyUserLm9n")
    assert shell.sync() == 1
    assert "not bound: no project of this organization lists such a key" in " ".join(
        shell.out.split()
    )


def test_a_registered_key_stays_even_if_the_api_says_otherwise(
    shell: Shell, api: LoopbackAPI
) -> None:
    shell.use(api, OPENAI_API_KEY=LAB)
    write_registry(Path(NAME), chat=f"proj_chat:{LAB}")
    (key,) = shell.report(status=1)["keys"]
    assert (key["outcome"], key["projects"]) == ("moved", ["proj_lab"])
    assert "registered for chat (proj_chat), but the API lists it for lab" in key["says"]
    assert bound(LAB) == ["proj_chat"]


def test_a_registered_key_that_no_list_has_is_in_order(shell: Shell, api: LoopbackAPI) -> None:
    shell.use(api, OPENAI_API_KEY="sk-CANARYcanaryLegacyUserLm9n")
    write_registry(Path(NAME), chat="proj_chat:sk-CANARYcanaryLegacyUserLm9n")
    assert shell.report()["keys"][0]["outcome"] == "registered"


@pytest.mark.parametrize("value", ["", "not-a-key", f"{LAB}\n", ADMIN_KEY])
def test_what_is_no_key_in_openai_api_key_is_passed_over(
    shell: Shell, api: LoopbackAPI, value: str
) -> None:
    shell.use(api, OPENAI_API_KEY=value)
    assert shell.sync() == 0
    assert "No key to bind: OPENAI_API_KEY holds none" in shell.out
    assert not [line for line in api.ledger if line.path.endswith("/api_keys")]


@pytest.mark.parametrize(("value", "problem"), [(None, "is not set"), (f"{LAB}\n", "white space")])
def test_a_named_variable_must_hold_a_key(
    shell: Shell, api: LoopbackAPI, value: str | None, problem: str
) -> None:
    shell.use(api)
    if value is not None:
        shell.monkeypatch.setenv("MINE", value)
    assert shell.sync("--key-env", "MINE") == 2
    assert problem in shell.err
    assert api.ledger == ()


@pytest.mark.parametrize(
    ("redacted", "fits"),
    [
        ("sk-proj-****...Ab3d", True),
        ("sk-proj-...Ab3d", True),
        ("sk-proj-*******************Ab3d", True),
        ("sk-proj…Ab3d", True),
        ("sk-...b3d", True),
        ("****Ab3d", True),
        ("sk-proj-CAN...Ab3d", True),
        ("sk-proj-****...Ab3e", False),
        ("sk-svcacct-****...Ab3d", False),
        ("sk-proj-****...3d", False),  # too little to tell
        ("sk-proj-****...", False),
        ("sk-proj-Ab3d", False),
        (CHAT, False),
        ("", False),
    ],
)
def test_a_redacted_value_fits_by_its_beginning_and_its_end(redacted: str, fits: bool) -> None:
    assert RemoteKey("key_1", redacted).fits(Secret(CHAT)) is fits


# How is the API read?


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


def test_a_rate_limit_that_never_ends_is_an_error(
    shell: Shell, api: LoopbackAPI, waits: list[float]
) -> None:
    shell.use(api)
    api.fail_next(429, times=9, headers={"retry-after": "400", "x-should-retry": "false"})
    assert shell.sync() == 2
    assert waits == [400.0, 400.0]
    assert "answered 429" in shell.err
    assert "Run the command again: it continues there." in shell.err


@pytest.mark.parametrize(
    ("variables", "said"),
    [
        ({"OPENAI_ADMIN_KEY": ""}, "OPENAI_ADMIN_KEY is not set"),
        ({"OPENAI_ADMIN_KEY": "sk-admin-CANARY-of-somebody"}, "answered 401 invalid_api_key"),
        ({"OPENAI_ADMIN_KEY": CHAT}, "answered 403 insufficient_permissions"),
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


def test_an_interrupted_run_goes_on(
    shell: Shell, many: LoopbackAPI, monkeypatch: pytest.MonkeyPatch
) -> None:
    shell.use(many, OPENAI_API_KEY="sk-proj-CANARY-canary-0003")
    with monkeypatch.context() as patched:
        stop_after(50, patched)
        assert shell.sync() == 130
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


@pytest.mark.parametrize(
    "change",
    [
        lambda patch: patch.setenv("OPENAI_API_KEY", "sk-proj-CANARY-canary-0004"),
        lambda patch: patch.setattr(checkpoint, "_HOUR", 0.0),
        lambda patch: Path(f".{NAME}.sync").write_text("what is this"),
        lambda patch: Path(f".{NAME}.sync").write_bytes(b"\n\xff\xff"),
    ],
)
def test_notes_that_do_not_fit_are_not_used(
    shell: Shell,
    many: LoopbackAPI,
    monkeypatch: pytest.MonkeyPatch,
    change: Callable[[pytest.MonkeyPatch], object],
) -> None:
    shell.use(many, OPENAI_API_KEY="sk-proj-CANARY-canary-0003")
    with monkeypatch.context() as patched:
        stop_after(50, patched)
        assert shell.sync() == 130
    change(monkeypatch)
    assert shell.sync() == 0
    assert sum(keys_read(many).values()) == MANY + 50


def test_a_line_cut_short_costs_its_project_only(
    shell: Shell, many: LoopbackAPI, monkeypatch: pytest.MonkeyPatch
) -> None:
    shell.use(many, OPENAI_API_KEY="sk-proj-CANARY-canary-0003")
    with monkeypatch.context() as patched:
        stop_after(50, patched)
        assert shell.sync() == 130
    notes = Path(f".{NAME}.sync")
    notes.write_bytes(notes.read_bytes()[:-10])
    with monkeypatch.context() as patched:
        stop_after(20, patched)
        assert shell.sync() == 130
    assert shell.sync() == 0
    assert sum(keys_read(many).values()) == MANY + 1
    assert bound("sk-proj-CANARY-canary-0003") == ["proj_0003"]


def test_the_notes_hold_no_key_and_are_the_owners_alone(
    shell: Shell, many: LoopbackAPI, monkeypatch: pytest.MonkeyPatch
) -> None:
    shell.use(many, OPENAI_API_KEY="sk-proj-CANARY-canary-0003")
    stop_after(50, monkeypatch)
    assert shell.sync() == 130  # which looks for keys in every file
    notes = Path(f".{NAME}.sync")
    assert fingerprint("sk-proj-CANARY-canary-0003") in notes.read_text()
    if os.name == "posix":
        assert notes.stat().st_mode & 0o777 == 0o600


# What does a person see?


def test_it_is_quiet_in_a_pipe(shell: Shell, api: LoopbackAPI) -> None:
    shell.use(api, OPENAI_API_KEY=CHAT)
    assert shell.sync() == 0
    assert shell.err == ""
    assert shell.out == (
        "2 projects listed by the API, 2 of them new in openai-projects.toml.\n"
        "  ✓ support-chat (proj_chat)\n"
        "  ✓ lab (proj_lab)\n"
        "✓ OPENAI_API_KEY (sk-proj-…Ab3d): bound to support-chat (proj_chat).\n"
    )


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


# Only a look, and a question before anything is lost


def test_a_dry_run_writes_nothing_and_tells_all(
    shell: Shell, api: LoopbackAPI, tmp_path: Path
) -> None:
    shell.use(api, OPENAI_API_KEY=CHAT)
    report = shell.report("--dry-run")
    assert report["dry_run"]
    assert [project["project"] for project in report["added"]] == ["proj_chat", "proj_lab"]
    assert report["keys"][0]["outcome"] == "bound"
    assert list(tmp_path.rglob("*")) == []
    shell.sync("--dry-run")
    assert shell.out.startswith("Nothing was written. What would be done:\n")
    assert shell.report() | {"dry_run": True} == report


def test_a_dry_run_removes_nothing(shell: Shell, api: LoopbackAPI) -> None:
    write_registry(Path(NAME), gone=f"proj_gone:{ROBOT}")
    before = Path(NAME).read_text()
    shell.use(api)
    report = shell.report("--dry-run", "--prune", "--yes")
    assert ([gone["project"] for gone in report["unlisted"]], report["pruned"]) == (
        ["proj_gone"],
        False,
    )
    shell.sync("--dry-run", "--prune")
    assert "1 project removed, with their keys:\n  ✗ gone (proj_gone)" in shell.out
    assert Path(NAME).read_text() == before


def test_without_a_terminal_nothing_is_pruned(shell: Shell, api: LoopbackAPI) -> None:
    write_registry(Path(NAME), gone=f"proj_gone:{ROBOT}")
    before = Path(NAME).read_text()
    shell.use(api)
    assert shell.sync("--prune") == 2
    assert "- gone (proj_gone)\n" in shell.err
    assert "Remove 1 project with its keys from openai-projects.toml? Not a terminal" in shell.err
    assert Path(NAME).read_text() == before


@pytest.mark.parametrize("answer", ["y\n", "n\n"])
def test_prune_removes_what_was_shown_if_the_answer_is_yes(
    shell: Shell, api: LoopbackAPI, answer: str
) -> None:
    write_registry(Path(NAME), gone=f"proj_gone:{ROBOT}")
    shell.use(api)
    stdin = io.StringIO(answer)
    stdin.isatty = lambda: True  # type: ignore[method-assign]
    shell.monkeypatch.setattr(sys, "stdin", stdin)
    is_yes = answer == "y\n"
    assert shell.report("--prune")["pruned"] is is_yes
    projects = set(Registry.from_file(NAME).snapshot.projects)
    assert ("proj_gone" in projects) is not is_yes
    assert "proj_chat" in projects
