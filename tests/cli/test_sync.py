"""Does `sync` take in the right projects, bind the right keys, and ask before it removes?"""

from __future__ import annotations

import io
import sys
from pathlib import Path

import pytest
from support import write_registry
from sync_shell import CHAT, LAB, LAB_TWIN, NAME, PROJECTS, ROBOT, Shell, bound, projects

from openai_project_guard import Registry
from openai_project_guard._cli.key_input import Secret
from openai_project_guard._cli.sync.administration import RemoteKey
from openai_project_guard.loopback import ADMIN_KEY, LoopbackAPI, LoopbackProject, loopback_api

# Which projects are written, and under which alias?


def test_projects_are_written_and_the_key_of_the_environment_is_bound(
    shell: Shell, api: LoopbackAPI
) -> None:
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


def test_two_keys_of_the_environment_that_fit_one_listed_key_are_not_bound(shell: Shell) -> None:
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
        (f"{CHAT[:-3]}...{CHAT[-4:]}", False),  # of a longer one
        ("", False),
    ],
)
def test_a_redacted_value_fits_by_its_beginning_and_its_end(redacted: str, fits: bool) -> None:
    assert RemoteKey("key_1", redacted).fits(Secret(CHAT)) is fits


# What does it say, and what does it ask?


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
