"""Is each mistake in the report by itself, with all its values, and is one mistake one?"""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import pytest
from audit.seen import MISMATCH, files, verdict
from json_shape import assert_as_described
from support import STRANGER, A, B, Recorder, Server, fingerprint, http, openai, sync_client

import openai_project_guard as opg
from openai_project_guard._audit.record import Audit
from openai_project_guard._audit.summary import summarize
from openai_project_guard._check.call_site import NOT_SEEN
from openai_project_guard._cli import main

ORGANIZATION = """
version = 1
[projects.a]
id = "proj_a"
organization = "org-right"
keys = [{{ fingerprint = "{}" }}]
"""


class Said(NamedTuple):
    """What `report` says of a folder, without its line breaks and rules."""

    text: str
    page: str
    json: dict[str, Any]

    @property
    def changes(self) -> list[str]:
        return [change["change"] for change in self.json["changes"]]


Report = Callable[[Path], Said]


@pytest.fixture
def report(
    capsys: pytest.CaptureFixture[str],
    clean: pytest.MonkeyPatch,
    tmp_path: Path,
) -> Report:
    pytest.importorskip("jinja2")
    clean.setenv("COLUMNS", "100")

    def report(folder: Path) -> Said:
        opg.disable()  # writes what was counted
        capsys.readouterr()
        page = tmp_path / "page.html"
        assert main(["report", str(folder), "--html", str(page)]) == 0
        text = " ".join(re.sub(r"[│─┼]", " ", capsys.readouterr().out).split())
        assert main(["report", str(folder), "--json"]) == 0
        told = json.loads(capsys.readouterr().out)
        assert_as_described("report", told)
        plain = " ".join(re.sub(r"<[^>]*>", " ", page.read_text(encoding="utf-8")).split())
        return Said(text, plain.replace("&#34;", '"'), told)

    return report


# --- what was sent, and why ---------------------------------------------------------------------


def test_each_wrong_value_at_one_place_is_counted_and_shown(report: Report, tmp_path: Path) -> None:
    opg.enable("warn", registry={"proj_a": A}, audit=tmp_path / "audit")
    times = {"proj_bbb": 5, "proj_ccc": 3, "proj_ddd": 1}
    for project, calls in times.items():
        for _ in range(calls):
            sync_client(Recorder(), project=project).models.list()
    said = report(tmp_path / "audit")
    assert {call["actual"]: call["count"] for call in said.json["calls"]} == times
    for change, (project, calls) in zip(said.json["changes"], times.items(), strict=True):
        assert change["change"].endswith(f"or give it a key of {project}.")
        sent = {"actual": project, "origin": "project=", "expected": ["proj_a"], "count": calls}
        assert (change["count"], change["sent"]) == (calls, [sent])
        assert f"sent with OpenAI-Project {project} (from project=)" in said.text
        assert f"OpenAI-Project {project} (from project=)" in said.page
        assert change["change"] in said.text
        assert change["change"] in said.page
    assert "✗ 1 wrong call site, 3 changes to make" in said.text
    assert "1 wrong call site, 3 changes to make" in said.page


def test_each_cause_at_one_place_is_shown_with_its_change(
    report: Report,
    clean: pytest.MonkeyPatch,
    tmp_path: Path,
) -> None:
    causes = {
        "OPENAI_PROJECT_ID": "proj_bbb",
        "OPENAI_CUSTOM_HEADERS": "OpenAI-Project: proj_ccc",
    }
    for name, value in causes.items():
        with clean.context() as variables:
            variables.setenv(name, value)
            opg.enable("warn", registry={"proj_a": A}, audit=tmp_path / "audit")
            client = sync_client(Recorder(), default_headers={"OpenAI-Project": "proj_ccc"})
            if name == "OPENAI_PROJECT_ID":
                client = sync_client(Recorder())
            client.models.list()
            opg.disable()
    said = report(tmp_path / "audit")
    assert {call["origin"]: call["actual"] for call in said.json["calls"]} == {
        "OPENAI_PROJECT_ID": "proj_bbb",
        "OPENAI_CUSTOM_HEADERS": "proj_ccc",
    }
    assert any("give it a key of proj_bbb" in change for change in said.changes)
    assert any("out of OPENAI_CUSTOM_HEADERS" in change for change in said.changes)
    for shown in (said.text, said.page):
        assert "OpenAI-Project proj_bbb (from OPENAI_PROJECT_ID)" in shown
        assert "OpenAI-Project proj_ccc (from OPENAI_CUSTOM_HEADERS)" in shown


def test_values_that_one_change_puts_right_stand_under_it(report: Report, tmp_path: Path) -> None:
    audit = Audit(str(tmp_path / "audit"))
    for actual in ("proj_b", "proj_b", "proj_c"):
        audit.record(verdict(**{**MISMATCH, "actual": actual, "origin": "default_headers"}))
    audit.close()
    said = report(tmp_path / "audit")
    (change,) = said.json["changes"]
    assert [(sent["actual"], sent["count"]) for sent in change["sent"]] == [
        ("proj_b", 2),
        ("proj_c", 1),
    ]
    assert change["call_sites"] == [MISMATCH["call_site"]]
    for shown in (said.text, said.page):
        assert "1 wrong call site, 1 change to make" in shown
        assert shown.index("proj_b (from default_headers") < shown.index("proj_c (from default_")


def test_another_organization_is_not_said_to_be_another_project(
    report: Report,
    clean: pytest.MonkeyPatch,
    tmp_path: Path,
) -> None:
    registry = tmp_path / "projects.toml"
    registry.write_text(ORGANIZATION.format(fingerprint(A)), encoding="utf-8")
    opg.enable("warn", registry=registry, audit=tmp_path / "audit")
    sync_client(Recorder(), project="proj_a", organization="org-wrong").models.list()
    said = report(tmp_path / "audit")
    (change,) = said.changes
    assert "pass the organization= that the registry has for proj_a to the client" in change
    for shown in (said.text, said.page):
        assert (
            "another OpenAI-Organization than the registry has for it (from organization=)" in shown
        )
        assert "OpenAI-Project proj_a (from" not in shown


# --- a key that a call brings -------------------------------------------------------------------

OF_A = {"OpenAI-Project": "proj_a"}


@pytest.mark.parametrize("place", ["project=", "default_headers", "http_client", "nowhere"])
def test_a_call_that_brings_its_key_is_put_right_there_and_not_in_its_client(
    place: str, report: Report, tmp_path: Path
) -> None:
    registry = {"proj_a": A, "proj_b": B}
    opg.enable("warn", registry=registry, audit=tmp_path / "audit")
    sent = Recorder()
    options: dict[str, Any] = {
        "project=": {"project": "proj_a"},
        "default_headers": {"default_headers": OF_A},
    }.get(place, {})
    of_http_client = OF_A if place == "http_client" else {}
    http_client = http.Client(transport=http.MockTransport(sent), headers=of_http_client)
    client = openai.OpenAI(api_key=A, http_client=http_client, **options)
    key = {"Authorization": f"Bearer {B}"}
    client.models.list(extra_headers=key)
    said = report(tmp_path / "audit")
    (call,) = said.json["calls"]
    assert said.changes == [
        f"At {call['call_site']}, set OpenAI-Project in extra_headers to proj_b."
    ]
    header = "no OpenAI-Project" if place == "nowhere" else "OpenAI-Project proj_a"
    assert f"sent with {header} (see extra_headers)" in said.text
    opg.enable("enforce", registry=registry)
    client.models.list(extra_headers={**key, "OpenAI-Project": "proj_b"})  # as it says
    assert sent.projects[-1] == "proj_b"


def test_an_organization_is_put_right_in_a_call_that_brings_its_key(
    report: Report, tmp_path: Path
) -> None:
    registry = opg.Registry()
    registry.register(A, "proj_a", organization="org-1")
    registry.register(B, "proj_b", organization="org-2")
    opg.enable("warn", registry=registry, audit=tmp_path / "audit")
    client = sync_client(Recorder(), project="proj_a", organization="org-1")
    of_b = {"Authorization": f"Bearer {B}", "OpenAI-Project": "proj_b"}
    client.models.list(extra_headers=of_b)
    said = report(tmp_path / "audit")
    (call,) = said.json["calls"]
    assert said.changes == [
        f"At {call['call_site']}, set OpenAI-Organization in extra_headers to the one that the "
        "registry has for proj_b."
    ]
    opg.enable("enforce", registry=registry)
    client.models.list(extra_headers={**of_b, "OpenAI-Organization": "org-2"})  # as it says


def test_an_unregistered_key_of_a_call_is_replaced_there(report: Report, tmp_path: Path) -> None:
    opg.enable("warn", registry={"proj_a": A}, audit=tmp_path / "audit")
    key = {"Authorization": f"Bearer {STRANGER}"}
    sync_client(Recorder(), project="proj_a").models.list(extra_headers=key)
    said = report(tmp_path / "audit")
    (call,) = said.json["calls"]
    (change,) = said.changes
    assert change.endswith(
        f"If it is not right: at {call['call_site']}, set Authorization in extra_headers to "
        "another key."
    )
    assert "sent with OpenAI-Project proj_a (key from extra_headers)" in said.text


# --- a registry that is out of date -------------------------------------------------------------


def test_a_registry_that_the_server_contradicts_is_corrected_first(
    report: Report, tmp_path: Path
) -> None:
    opg.enable("warn", registry={"proj_zzz": A}, audit=tmp_path / "audit")
    sync_client(Server("proj_aaa"), project="proj_aaa").models.list()
    sync_client(Server("proj_aaa")).models.list()
    said = report(tmp_path / "audit")
    (change,) = said.json["changes"]
    assert change["change"].startswith(
        "Correct the registry, which has the key for proj_zzz, while the server answered as "
        "proj_aaa: openai-project-guard remove "
    )
    assert {call["change"] for call in said.json["calls"]} == {change["change"]}
    assert sorted(str(sent["actual"]) for sent in change["sent"]) == ["None", "proj_aaa"]
    for shown in (said.text, said.page):
        assert 'project="proj_zzz"' not in shown


def test_it_comes_before_worse_calls_of_other_keys_and_leaves_their_changes(
    report: Report, tmp_path: Path
) -> None:
    audit = Audit(str(tmp_path / "audit"))
    for _ in range(9):
        other = {"key_hint": "sk-proj-…BBBB", "outcome": "blocked"}
        audit.record(verdict(**{**MISMATCH, **other}))
    audit.record(verdict(**MISMATCH))
    audit.record(verdict(**{**MISMATCH, "expected": ("proj_c",)}))  # the registry was corrected
    audit.record(
        verdict(**{**MISMATCH, "outcome": "allowed", "reason": "drift"}, answered="proj_c")
    )
    audit.close()
    registry, *others = report(tmp_path / "audit").json["changes"]
    assert registry["change"].startswith("Correct the registry, which has the key")
    assert (registry["count"], registry["key_hint"]) == (2, "sk-proj-…AAAA")
    assert [(change["key_hint"], change["count"]) for change in others] == [
        ("sk-proj-…BBBB", 9),
        ("sk-proj-…AAAA", 1),
    ]


# --- where it is --------------------------------------------------------------------------------

APP = """\
import os, sys
import openai_project_guard as opg
opg.enable("warn", registry={"proj_a": os.environ["KEY"]}, audit=os.environ["FOLDER"])
from support import Recorder, http, openai
def client(number):
    transport = http.MockTransport(Recorder())
    http_client = http.Client(transport=transport)
    return openai.OpenAI(api_key=os.environ["KEY"], project="proj_b", http_client=http_client)
only = client(0)
for folder in sys.argv[1:]:
    os.chdir(folder)
    for one in (only, client(1)):
        one.models.list()
"""


def start(app: Path, folder: Path, cwd: Path, *folders: Path) -> None:
    """Runs a service from a directory; in each of the folders it makes two calls."""
    inherited = {name: v for name, v in os.environ.items() if not name.startswith("OPENAI_")}
    places = [Path(opg.__file__).parents[1], Path(__file__).parents[1]]
    environment = {"PYTHONPATH": os.pathsep.join(map(str, places)), "KEY": A, "FOLDER": str(folder)}
    subprocess.run(
        [sys.executable, str(app), *map(str, folders)],
        env={**inherited, **environment},
        cwd=cwd,
        check=True,
        timeout=600,
        capture_output=True,
    )


def service(folder: Path) -> Path:
    folder.mkdir(parents=True)
    app = folder / "app.py"
    app.write_text(APP, encoding="utf-8")
    return app


def test_the_same_line_of_two_services_is_two_call_sites(report: Report, tmp_path: Path) -> None:
    apps = [service(tmp_path / name) for name in ("billing-svc", "support-svc")]
    for app in apps:
        start(Path("app.py"), tmp_path / "audit", app.parent, Path())
    said = report(tmp_path / "audit")
    assert {call["call_site"] for call in said.json["calls"]} == {
        f"{app}:13 in <module>" for app in apps
    }
    assert said.json["folders"] == [str(app.parent) for app in apps]
    for app in apps:
        assert any(f"At {app}:" in change for change in said.changes)
    assert "2 wrong call sites, 2 changes to make" in said.text
    assert "2 wrong call sites, 2 changes to make" in said.page


def test_one_line_is_one_call_site_from_wherever_it_is_run(report: Report, tmp_path: Path) -> None:
    app, elsewhere = service(tmp_path / "srv" / "app"), tmp_path / "elsewhere"
    elsewhere.mkdir()
    for cwd in (app.parent, app.parent.parent, tmp_path, elsewhere):
        start(app, tmp_path / "audit", cwd, Path())
    said = report(tmp_path / "audit")
    assert {call["call_site"] for call in said.json["calls"]} == {f"{app}:13 in <module>"}
    assert "1 wrong call site, 1 change to make" in said.text


def test_a_process_that_changes_its_directory_names_its_lines_as_before(
    report: Report, tmp_path: Path
) -> None:
    app = service(tmp_path / "srv" / "app")
    folders = (Path(), tmp_path, app.parent, app.parent.parent)
    start(app, tmp_path / "audit", app.parent.parent, *folders)
    said = report(tmp_path / "audit")
    site, client = (os.path.join("app", f"app.py:{line}") for line in (13, 8))
    (call,) = said.json["calls"]
    assert (call["call_site"], call["client_site"], call["count"]) == (
        *(f"{site} in <module>", f"{client} in client"),
        8,
    )
    assert said.json["folders"] == [str(app.parent.parent)]


def header_of(where: Path, **fields: Any) -> None:
    """Gives the only file there another header."""
    (file,) = files(where)
    first, rest = file.read_text(encoding="utf-8").split("\n", 1)
    told = {name: v for name, v in {**json.loads(first), **fields}.items() if v is not None}
    file.write_text(json.dumps(told) + "\n" + rest, encoding="utf-8")


@pytest.mark.parametrize(
    ("folder", "site", "shown"),
    [
        ("/srv", "a/b.py:3 in f", "/srv/a/b.py:3 in f"),
        ("/srv", "/opt/b.py:3 in f", "/opt/b.py:3 in f"),
        ("C:\\srv", "a\\b.py:3 in f", "C:\\srv\\a\\b.py:3 in f"),
        ("C:\\srv", "D:\\b.py:3 in f", "D:\\b.py:3 in f"),
        (
            "/srv",
            "a.py:1 in f, then copy at b.py:2 in g",
            "{0}a.py:1 in f, then copy at {0}b.py:2 in g",
        ),
        ("/srv", NOT_SEEN, NOT_SEEN),
        ("/srv", "<stdin>:1 in <module>", "<stdin>:1 in <module>"),
        ("/srv", "Cell In[3]:1 in <module>", "Cell In[3]:1 in <module>"),
        (None, "a/b.py:3 in f", "a/b.py:3 in f"),
        ("", "a/b.py:3 in f", "a/b.py:3 in f"),
    ],
)
def test_paths_are_whole_where_directories_differ(
    tmp_path: Path, folder: str | None, site: str, shown: str
) -> None:
    for name, directory in (("one", folder), ("two", "/other")):
        audit = Audit(str(tmp_path / name))
        audit.record(verdict(**{**MISMATCH, "call_site": site, "client_site": site}))
        audit.close()
        header_of(tmp_path / name, folder=directory)
    places = {(call.call_site, call.client_site) for call in summarize([str(tmp_path)]).records}
    expected = shown.format("/srv/")
    assert (expected, expected) in places
    only = summarize([str(tmp_path / "one")]).records
    assert [(call.call_site, call.client_site) for call in only] == [(site, site)]


# --- how many there were ------------------------------------------------------------------------


def test_a_process_that_keeps_several_files_is_one_process(report: Report, tmp_path: Path) -> None:
    for _ in range(3):
        opg.enable("warn", registry={"proj_a": A}, audit=tmp_path / "audit")
        sync_client(Recorder(), project="proj_a").models.list()
        opg.disable()
    said = report(tmp_path / "audit")
    assert (said.json["files"], said.json["processes"]) == (3, 1)
    assert said.text.startswith("1 process on 1 host;")
    assert "1 process on 1 host" in said.page


@pytest.mark.skipif(not hasattr(os, "fork"), reason="this system has no fork()")
@pytest.mark.filterwarnings("ignore:.*fork:DeprecationWarning")  # the audit has a thread
def test_a_forked_child_is_a_process_of_its_own(tmp_path: Path) -> None:
    audit = Audit(str(tmp_path))
    audit.record(verdict())
    audit.flush()
    child = os.fork()
    if not child:
        audit.record(verdict())
        audit.flush()
        os._exit(0)
    os.waitpid(child, 0)
    audit.close()
    assert len(summarize([str(tmp_path)]).processes) == 2


def test_processes_of_one_number_are_told_apart_by_their_start(tmp_path: Path) -> None:
    for name in ("one", "two"):
        audit = Audit(str(tmp_path / name))
        audit.record(verdict())
        audit.close()
    header_of(tmp_path / "two", started="2026-03-01T10:00:00.000Z")
    assert len(summarize([str(tmp_path)]).processes) == 2


def test_a_call_of_a_key_with_several_projects_counts_for_the_one_it_named(tmp_path: Path) -> None:
    folder = tmp_path / "audit"
    opg.enable("enforce", registry={"proj_a": A, "proj_b": A}, audit=folder)
    for project, times in (("proj_b", 3), ("proj_a", 1)):
        for _ in range(times):
            sync_client(Recorder(), project=project).models.list()
    opg.disable()
    projects = summarize([str(folder)]).projects
    assert {name: sum(counts.values()) for name, counts in projects.items()} == {
        "proj_a": 1,
        "proj_b": 3,
    }


# --- whose key it is, and which of the two is malformed -----------------------------------------


def test_a_key_in_a_scope_of_another_project_counts_for_its_own(
    report: Report, tmp_path: Path
) -> None:
    opg.enable("warn", registry={"proj_a": A, "proj_b": B}, audit=tmp_path / "audit")
    client = sync_client(Recorder(), api_key=B, project="proj_b")
    with opg.guard(project="proj_a"):
        client.models.list()
    said = report(tmp_path / "audit")
    assert [row["project"] for row in said.json["projects"]] == ["proj_b"]
    assert said.json["calls"][0]["project"] == "proj_b"
    assert "BBBB of proj_b, in a scope pinned to proj_a, sent with" in said.text
    assert "Project of the key proj_b Project of the scope proj_a" in said.page


def test_a_malformed_key_is_not_called_that_of_no_project(report: Report, tmp_path: Path) -> None:
    opg.enable("warn", registry={"proj_a": A}, audit=tmp_path / "audit")
    for key in (f"'{A}'", f"Bearer {A}"):
        sync_client(Recorder(), api_key=key, project="proj_a").models.list()
    said = report(tmp_path / "audit")
    assert len(said.changes) == 2  # they are built at one line, and shown as two keys
    for change in said.changes:
        assert "pass the key alone as api_key=, without quotes or Bearer, to the client" in change
    for shown in (said.text, said.page):
        assert "OpenAI-Project proj_a (key from api_key=)" in shown
        assert "no project" not in shown
        assert "not registered" not in shown


@pytest.mark.parametrize("value", ["proj_a ", "proj é"])
def test_a_value_is_shown_in_quotes_where_its_fault_might_not_be_seen(
    value: str, report: Report, tmp_path: Path
) -> None:
    audit = Audit(str(tmp_path / "audit"))
    audit.record(verdict(**{**MISMATCH, "reason": "malformed", "actual": value}))
    audit.close()
    assert f"sent with OpenAI-Project {value!r} (from project=)" in report(tmp_path / "audit").text
