"""Are the tables, rules and charts of README.md and docs/ what the code does?"""

from __future__ import annotations

import ast
import inspect
import json
import re
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest
from doc_pages import (
    ALL,
    DOCS,
    KEY,
    ROOT,
    TEXTS,
    joined,
    script,
    table,
)
from support import http, sync_client

import openai_project_guard as opg
from openai_project_guard import _env
from openai_project_guard._cli import main

PACKAGE = ROOT / "openai_project_guard"
MONITORING = DOCS / "monitoring"

pytestmark = [
    pytest.mark.any_sdk,
    pytest.mark.skipif(not (ROOT / "mkdocs.yml").exists(), reason="this is no checkout"),
]


# Settings


def test_every_variable_is_among_the_settings_and_none_besides() -> None:
    written = set(re.findall(r"OPENAI_PROJECT_GUARD(?:_[A-Z]+)*", ALL))
    listed = [name for name, *_ in settings()]
    assert set(listed) == {each.name for each in _env.VARIABLES}
    assert written - {"OPENAI_PROJECT_GUARD_HOST"} <= set(listed)  # mistyped, in errors.md
    read = set()
    for module in PACKAGE.rglob("*.py"):
        for node in ast.walk(ast.parse(module.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Constant) and isinstance(node.value, str):
                read |= set(re.findall(rf"{_env.PREFIX}(?:_[A-Z]+)*\b", node.value))
    assert read <= set(listed)


def test_the_arguments_of_the_settings_are_those_of_enable() -> None:
    arguments = [argument.strip("`") for _, argument, _, _ in settings() if argument]
    assert sorted(arguments) == sorted(inspect.signature(opg.enable).parameters)


@pytest.mark.parametrize("name", [each.name for each in _env.VARIABLES])
def test_a_value_of_the_settings_is_accepted_and_no_other(
    name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    (variable,) = (each for each in _env.VARIABLES if each.name == name)
    values = next(values for found, _, values, _ in settings() if found == name)
    monkeypatch.setenv(name, "nonsense")
    if name == _env.KEYS or raised(variable.read) is None:
        return  # any text, or what has a test of its own
    choices = set(re.findall(r"\w+", variable.accepted)) - {"for"}
    written = set(re.findall(r"`(\w+)`", values))
    assert choices <= written if name != _env.PREFIX else choices == written
    for word in choices:
        monkeypatch.setenv(name, word)
        variable.read()


def settings() -> list[list[str]]:
    return [[name.strip("`"), *more] for name, *more in table("settings.md", "variable")]


# What is checked


def situations() -> list[list[str]]:
    in_readme, in_docs = (table("README.md", "situation"), table("what-is-checked.md", "situation"))
    assert in_readme == in_docs
    return in_readme


ORGANIZED = """\
version = 1
[projects.support-bot]
id = "proj_5fPqTn0w"
organization = "org-ours"
keys = [{{ fingerprint = "{}" }}]
"""


HEADERS = (  # what a call sends, where it is not what the client says
    ("header absent", {"OpenAI-Project": ""}),
    ("the same, with", {"OpenAI-Project": ""}),
    ("header is another", {"OpenAI-Project": "proj_8hRsLm2x"}),
    ("header is there more", {"OpenAI-Project": " proj_5fPqTn0w"}),
    ("two keys", {"Authorization": "Bearer sk-proj-of-a-stranger", "api-key": KEY}),
    ("two keys", {"Authorization": f'Bearer "{KEY}"'}),
    ("`OpenAI-Organization`", {"OpenAI-Organization": "org-theirs"}),
)
CALLS = [
    pytest.param(row, more, id=f"{row[0]} {[*more]}")
    for row in situations()
    for more in [sent for start, sent in HEADERS if row[0].startswith(start)] or [{}]
]


@pytest.mark.parametrize("mode", ["enforce", "inject", "warn"])
@pytest.mark.parametrize(("row", "more"), CALLS)
def test_a_situation_ends_as_the_table_says(
    row: list[str], more: dict[str, str], mode: str, tmp_path: Path, clean: pytest.MonkeyPatch
) -> None:
    situation, reason, *cells = row
    cell = dict(zip(("enforce", "inject", "warn"), cells, strict=True))[mode]
    said = cells[0] if cell.startswith("the same") else cell
    billed = "proj_8hRsLm2x" if situation.startswith("the server answers") else "proj_5fPqTn0w"
    arrived: list[object] = []

    def answer(request: object) -> object:
        arrived.append(request)
        answered = {"object": "list", "data": []}
        return http.Response(200, json=answered, headers={"openai-project": billed})

    file = tmp_path / "registry.toml"
    unknown = "sha256:" + "0" * 64
    file.write_text(ORGANIZED.format(unknown if "not registered" in situation else SHA))
    opg.enable(mode, registry=str(file))  # type: ignore[arg-type]
    if "several projects" in situation:
        opg.register(KEY, "proj_8hRsLm2x")
    verdicts: list[opg.Verdict] = []
    opg.add_observer(verdicts.append)
    client = sync_client(answer, api_key=KEY, project="proj_5fPqTn0w")
    with opg.guard(project="proj_9cAaBb0d" if "pinned" in situation else None):
        error = raised(lambda: client.models.list(extra_headers=more))
    opg.remove_observer(verdicts.append)
    last = verdicts[-1]
    assert (last.reason or "") == reason.strip("`")
    if said.startswith(("`", "by ")):
        named = said.strip("`") if said.startswith("`") else "UnregisteredKeyError"
        assert (type(error).__name__, last.outcome, arrived) == (named, "blocked", [])
    else:
        assert (error, len(arrived)) == (None, 1)
        ends = {"put in": "injected", "sent, logged": "warned"}
        assert last.outcome == ends.get(said, "allowed")


SHA = next(iter(re.findall(r"sha256:[0-9a-f]{64}", TEXTS["container.md"])))


def raised(run: Callable[[], object]) -> BaseException | None:
    try:
        run()
    except Exception as error:
        return error
    return None


CREDENTIALS: dict[str, Callable[[], list[str | None]]] = {
    "project key, service-account key, legacy user key": lambda: [
        ends(KEY, "proj_5fPqTn0w"),
        ends(KEY, "proj_8hRsLm2x"),
        ends(KEY, "proj_9cAaBb0d"),
    ],
    "admin key (`sk-admin-…`), client secret (`ek_…`)": lambda: [
        ends("sk-admin-not-a-real-key-Qr7t", None),
        ends("ek_not_a_real_secret_Qr7t", None),
    ],
    "workload identity": list,  # tests/hooks/test_workload_identity.py
    "`api_key=` callable": lambda: [
        ends(lambda: KEY, "proj_5fPqTn0w"),
        ends(lambda: "sk-proj-not-a-real-key-Qr7t", "proj_5fPqTn0w"),
    ],
    "none on the request": lambda: [ends(KEY, None, {"Authorization": ""})],
}
ENDINGS = [
    [None, None, "ProjectMismatchError"],
    [None, None],
    [],
    [None, "UnregisteredKeyError"],
    [None],
]


@pytest.mark.usefixtures("clean")
def test_each_credential_is_checked_as_the_table_says() -> None:
    assert [name for name, _ in table("what-is-checked.md", "credential")] == list(CREDENTIALS)
    opg.enable(registry={"proj_5fPqTn0w": KEY, "proj_8hRsLm2x": KEY})
    assert [calls() for calls in CREDENTIALS.values()] == ENDINGS


def ends(key: object, project: str | None, headers: object = None) -> str | None:
    """The name of the error that a call ends in, if it does."""
    client = sync_client(
        lambda _: http.Response(200, json={"object": "list", "data": []}),
        api_key=key,
        project=project,
    )
    error = raised(lambda: client.models.list(extra_headers=headers))
    return None if error is None else type(error).__name__


@pytest.mark.usefixtures("clean")
def test_a_key_that_no_registry_has_is_treated_as_the_table_says() -> None:
    endings = {}
    answered = {"openai-project": "proj_5fPqTn0w"}
    for row, _ in table("what-is-checked.md", "value"):
        value = row.partition("`")[2].partition("`")[0]
        opg.enable(registry={}, unregistered=value)  # type: ignore[arg-type]
        verdicts: list[opg.Verdict] = []
        opg.add_observer(verdicts.append)
        client = sync_client(
            lambda _: http.Response(200, json={"object": "list", "data": []}, headers=answered),
            api_key=KEY,
            project="proj_5fPqTn0w",
        )
        for _ in range(2):
            raised(client.models.list)
        opg.remove_observer(verdicts.append)
        endings[value] = [(verdict.outcome, verdict.reason) for verdict in verdicts]
    assert endings == {
        "block": [("blocked", "unregistered")] * 2,
        "warn": [("warned", "unregistered")] * 2,
        "allow": [("allowed", "unregistered")] * 2,
        "learn": [("allowed", "unregistered"), ("allowed", None)],
    }


def test_the_errors_are_those_that_there_are() -> None:
    rows = dict(re.findall(r"(?m)^\| `(\w+)` \| `(\w+)` \|", TEXTS["errors.md"]))
    kinds = {kind.__name__ for kind in opg.ProjectGuardError.__subclasses__()}
    assert set(rows) == kinds
    in_readme = re.findall(r"(?m)\| `(\w+)` \| `(\w+Error)` \|", TEXTS["README.md"])
    assert {(error, reason) for reason, error in in_readme} <= set(rows.items())


def test_the_outcomes_that_fail_a_report_are_those_of_its_page(
    capsys: pytest.CaptureFixture[str],
) -> None:
    with pytest.raises(SystemExit):
        main(["report", "--help"])
    shown = joined(capsys.readouterr().out)
    words = re.findall(r"one of these, with commas: ([a-z, ]+) Each", shown)[0].split(", ")
    (listed,) = re.findall(r"(?s)call was one of (.+?)\. Exit", TEXTS["audit-and-report.md"])
    assert re.findall(r"`(\w+)`", listed) == words


# Monitoring


def test_each_metric_of_the_rules_and_the_dashboard_is_one_of_ours() -> None:
    pytest.importorskip("prometheus_client")
    from prometheus_client import CollectorRegistry, generate_latest

    from openai_project_guard.prometheus import PrometheusObserver

    registry = CollectorRegistry()
    PrometheusObserver(registry)
    ours = set(re.findall(r"(?m)^# HELP (\w+)", generate_latest(registry).decode()))
    listed = {name for (name, *_) in (map(str, row) for row in table("alerts.md", "metric"))}
    assert {name.strip("`") for name in listed} == ours
    for file in MONITORING.iterdir():
        assert set(re.findall(r"openai_project_guard_\w+", file.read_text("utf-8"))) <= ours


def test_the_dashboard_is_one_and_asks_what_prometheus_understands(tmp_path: Path) -> None:
    dashboard = json.loads((MONITORING / "dashboard.json").read_text("utf-8"))
    assert {"title", "uid", "schemaVersion", "templating", "panels"} <= set(dashboard)
    panels = dashboard["panels"]
    assert len({panel["id"] for panel in panels}) == len(panels)
    questions = []
    for panel in panels:
        assert {"type", "title", "gridPos", "fieldConfig", "options"} <= set(panel)
        assert panel["gridPos"]["x"] + panel["gridPos"]["w"] <= 24
        for target in panel["targets"]:
            assert target["datasource"] == {"type": "prometheus", "uid": "${datasource}"}
            questions.append(target["expr"])
    rules = [
        {"record": f"q{number}", "expr": re.sub(r"\$__\w+", "5m", question).replace("$job", ".*")}
        for number, question in enumerate(questions)
    ]
    file = tmp_path / "rules.yml"
    file.write_text(json.dumps({"groups": [{"name": "dashboard", "rules": rules}]}))
    promtool("check", "rules", str(file))


def test_the_alerts_fire_when_they_should() -> None:
    named = {name for name, *_ in table("alerts.md", "alert")}
    rules = (MONITORING / "alerts.yml").read_text("utf-8")
    assert named == {f"`{name}`" for name in re.findall(r"alert: (\w+)", rules)}
    tested = (MONITORING / "alerts_test.yml").read_text("utf-8")
    assert {name.strip("`") for name in named} == set(re.findall(r"alertname: (\w+)", tested))
    promtool("test", "rules", str(MONITORING / "alerts_test.yml"))


def promtool(*words: str) -> None:
    program = shutil.which("promtool")
    if program is None:
        pytest.skip("there is no promtool here (Debian: it is in the package prometheus)")
    done = subprocess.run([program, *words], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr


# Performance


def test_the_page_of_performance_shows_what_the_benchmark_printed() -> None:
    charts = script("charts")
    found = json.loads(charts.RESULTS.read_text(encoding="utf-8"))
    text = TEXTS["performance.md"]
    assert charts.page(text, found) == text, "run docs/charts.py"
    assert charts.svg(found) == charts.PICTURE.read_text(encoding="utf-8"), "run docs/charts.py"


def test_a_figure_that_misses_its_target_is_shown_as_another() -> None:
    charts = script("charts")
    assert [charts.number(1.05001, 1.05), charts.number(250.4, 250)] == ["1.05001", "250.4"]
    assert [charts.number(1.05, 1.05), charts.number(0.9551, 0.97)] == ["1.05", "0.955"]
    for what, target, measured, verdict in table("performance.md", "what"):
        if verdict == "missed":
            assert target.split(" ", 2)[2] not in re.split("; |: ", measured), what
