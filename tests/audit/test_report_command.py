"""What does `report` print, write and exit with?"""

from __future__ import annotations

import json
import re
import sys
from collections.abc import Callable
from html.parser import HTMLParser
from pathlib import Path
from typing import Any, NamedTuple

import pytest
from audit.seen import MISMATCH, verdict
from json_shape import assert_as_described

from openai_project_guard._audit.record import Audit
from openai_project_guard._cli import main

HOSTILE = "</script><script>alert(1)</script><img src=x onerror=alert(2)>\"'&"


class Result(NamedTuple):
    status: int
    out: str
    err: str


Report = Callable[..., Result]


@pytest.fixture
def run(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> Report:
    monkeypatch.delenv("OPENAI_PROJECT_GUARD_AUDIT", raising=False)
    monkeypatch.setenv("COLUMNS", "80")

    def run(*arguments: object) -> Result:
        status = main(["report", *map(str, arguments)])
        return Result(status, *capsys.readouterr())

    return run


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """An audit with two wrong call sites of one client, a drift, an injected and right calls."""
    folder = tmp_path / "audit"
    audit = Audit(str(folder))
    for number in (7, 9, 9):
        audit.record(verdict(**{**MISMATCH, "call_site": f"app/jobs.py:{number} in run"}))
    other = {"expected": ("proj_b",), "actual": "proj_b", "key_hint": "sk-proj-…BBBB"}
    drift = {**other, "key_hint": "sk-proj-…CCCC", "answered": "proj_c"}
    audit.record(verdict(reason="drift", call_site="app/web.py:1 in f", **drift))
    audit.record(
        verdict(
            **{**other, "actual": None},
            outcome="injected",
            reason="missing",
            call_site="app/web.py:2 in g",
            client_site="app/llm.py:9 in other",
        )
    )
    for _ in range(1200):
        audit.record(verdict(client_site="app/llm.py:9 in other", **other))
    audit.close()
    return folder


# --- the terminal -------------------------------------------------------------------------------


def test_the_table_has_the_worst_first_and_what_to_change(run: Report, folder: Path) -> None:
    status, out, err = run(folder)
    assert (status, err) == (0, "")
    text = " ".join(re.sub(r"[│─┼]", " ", out).split())
    order = [
        "1 process on 1 host",
        "proj_a 3 3 0 0 0",
        "proj_b 1201 0 1 1 1200",
        "4 wrong call sites, 3 changes to make",
        '1. At app/llm.py:3 in make, pass project="proj_a" to the client (or set openai.project, ',
        "or give it a key of proj_b",
        "key sk-proj-…AAAA of proj_a, sent with OpenAI-Project proj_b (from project=)",
        "Calls Outcome Called at First Last 2 warned, mismatch app/jobs.py:9 in run",
        "1 warned, mismatch app/jobs.py:7 in run",
        "2. Correct the registry, which has the key",
        "1 drift app/web.py:1 in f",
        '3. At app/llm.py:9 in other, pass project="proj_b" to the client.',
        "1 injected, missing app/web.py:2 in g",
        "In order",
        "Calls Client built at Key Project Last 1200 app/llm.py:9 in other sk-proj-…BBBB proj_b",
    ]
    places = [text.find(part) for part in order]
    assert -1 not in places, dict(zip(order, places, strict=True))
    assert places == sorted(places)


def test_each_kind_of_outcome_has_its_colour(
    run: Report, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    audit = Audit(str(folder))
    sites = {"call_site": "app/a.py:1 in refused", "client_site": "app/a.py:2 in make"}
    audit.record(verdict(**{**MISMATCH, **sites, "outcome": "blocked"}))
    audit.close()
    monkeypatch.setenv("FORCE_COLOR", "1")
    monkeypatch.setenv("COLUMNS", "1000")
    out = run(folder).out
    red, green, yellow = "31", "32", "33"
    changes = re.findall(r"\x1b\[(\d+)m(\d)\. ", out)
    assert changes == [(red, "1"), (yellow, "2"), (red, "3")]  # refused, warned of, a drift
    counts = re.findall(r"\x1b\[(3\d)m *([1-9]\d*)\x1b", out)
    assert counts == [(red, "1"), (yellow, "3"), (red, "1"), (green, "1200")]


def test_an_empty_line_stands_between_what_is_said_of_different_things(
    run: Report, folder: Path
) -> None:
    audit = Audit(str(folder))
    drifted = {"expected": ("proj_b",), "key_hint": "sk-proj-…CCCC", "actual": "proj_c"}
    audit.record(verdict(**{**MISMATCH, **drifted, "call_site": "app/web.py:5 in h"}))
    audit.close()
    (folder / "torn.jsonl").write_text("{", "utf-8")
    blocks = run(folder).out.rstrip("\n").split("\n\n")
    begins = [" ".join(block.split()[:2]) for block in blocks]
    assert begins == [
        "1 process",
        "Project │",
        "✗ 5",
        "1. Correct",
        "client built",
        "2. At",
        "3. At",
        "In order",
        "! 1",
    ]


@pytest.mark.parametrize("columns", [80, 100, 200])
def test_no_line_is_wider_than_the_terminal(
    run: Report, folder: Path, columns: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", str(columns))
    audit = Audit(str(folder))
    long = "very/long/path/to/a/module/of/the/application.py:1234 in a_function_with_a_long_name"
    audit.record(verdict(**{**MISMATCH, "call_site": long, "client_site": f"{long}, then {long}"}))
    audit.record(verdict(client_site=long))
    audit.close()
    assert max(map(len, run(folder).out.splitlines())) <= columns


def test_the_project_of_a_scope_is_not_called_that_of_the_key(run: Report, tmp_path: Path) -> None:
    audit = Audit(str(tmp_path))
    pinned = {**MISMATCH, "reason": "scope", "expected": ("proj_p",), "actual": "proj_a"}
    audit.record(verdict(**pinned))
    audit.close()
    page = tmp_path / "page.html"
    shown = " ".join(run(tmp_path, "--html", str(page)).out.split())
    assert "AAAA, in a scope pinned to proj_p, sent with OpenAI-Project proj_a" in shown
    assert "of proj_p, sent" not in shown
    assert "<dt>Project of the scope</dt><dd><code>proj_p</code></dd>" in page.read_text()


@pytest.mark.parametrize("padding", range(10))
def test_a_space_at_the_end_of_a_value_is_seen_wherever_the_line_breaks(
    padding: int, run: Report, tmp_path: Path
) -> None:
    audit = Audit(str(tmp_path))
    value = "proj_" + "a" * (padding + 24)
    audit.record(verdict(**{**MISMATCH, "reason": "malformed", "actual": f"{value} "}))
    audit.close()
    page = tmp_path / "page.html"
    assert f"'{value}\u00a0'" in run(tmp_path, "--html", str(page)).out
    assert f"{value}\u00a0&#39;" in page.read_text("utf-8")


def test_calls_that_are_all_in_order_are_said_to_be(run: Report, tmp_path: Path) -> None:
    audit = Audit(str(tmp_path))
    audit.record(verdict())
    audit.close()
    assert "✓ Every call was in order." in run(tmp_path, "--fail-on", "blocked,warned").out


@pytest.mark.parametrize("since", ["740000d", "99999999d", "9999-12-31T23:59:59-23:00"])
def test_a_time_beyond_the_calendar_is_bad_usage(run: Report, folder: Path, since: str) -> None:
    status, out, err = run(folder, "--since", since)
    assert (status, out) == (2, "")
    assert f"--since '{since}' is not understood. Expected a duration, such as 90m" in err


def test_a_page_without_a_name_is_bad_usage(run: Report, folder: Path) -> None:
    status, out, err = run(folder, "--html", "")
    assert (status, out) == (2, "")
    assert "--html '' is not the path of a file." in err


def test_lines_that_cannot_be_read_are_told(run: Report, folder: Path) -> None:
    with next(folder.glob("*.jsonl")).open("ab") as file:
        file.write(b'{"torn')
    status, out, _ = run(folder)
    assert status == 0
    assert "1 line could not be read, and is left out" in " ".join(out.split())


@pytest.mark.parametrize(("more", "said"), [(0, False), (1, True)])
def test_of_the_calls_in_order_the_most_frequent_are_shown(
    run: Report, tmp_path: Path, more: int, said: bool
) -> None:
    audit = Audit(str(tmp_path))
    for number in range(50 + more):
        audit.record(verdict(client_site=f"app/llm.py:{number + 1} in make"))
    audit.close()
    out = run(tmp_path).out
    assert out.count("app/llm.py:") == 50
    assert ("and 1 more, which --json lists" in out, " more, " in out) == (said, said)


# --- the exit status ----------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("words", "status"),
    [
        ("warned", 1),
        ("blocked", 0),
        ("blocked,warned", 1),
        (" Blocked , DRIFT ", 1),
        ("injected", 1),
        ("mismatch", 1),
        ("missing", 1),
        ("unregistered,scope,organization,malformed", 0),
    ],
)
def test_fail_on_decides_the_exit_status(
    run: Report, folder: Path, words: str, status: int
) -> None:
    result = run(folder, "--fail-on", words)
    assert result.status == status
    assert ("--fail-on" in result.err) == bool(status)


@pytest.mark.parametrize("words", ["", "warn", "allowed", "warned,", "all"])
def test_a_word_that_fail_on_does_not_know_is_bad_usage(
    run: Report, folder: Path, words: str
) -> None:
    status, out, err = run(folder, "--fail-on", words)
    assert (status, out) == (2, "")
    assert re.search(r"--fail-on .*Accepted.*blocked, warned, drift", err)


def test_since_is_heeded_by_fail_on(run: Report, folder: Path) -> None:
    assert run(folder, "--fail-on", "warned", "--since", "1h").status == 1
    assert run(folder, "--fail-on", "warned", "--since", "2099-01-01").status == 0


def test_a_folder_without_an_audit_is_no_success(run: Report, tmp_path: Path) -> None:
    result = run(tmp_path, "--fail-on", "warned")
    assert (result.status, "There is no audit file in" in result.err) == (2, True)
    result = run(tmp_path / "mistyped")
    assert (result.status, "no such file" in result.err) == (2, True)


def test_no_folder_at_all_says_where_one_is_named(
    run: Report, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    result = run()
    assert (result.status, "OPENAI_PROJECT_GUARD_AUDIT is not set" in result.err) == (2, True)
    monkeypatch.setenv("OPENAI_PROJECT_GUARD_AUDIT", str(folder))
    assert run().status == 0


def test_one_unreadable_file_among_others_is_no_success(run: Report, folder: Path) -> None:
    (folder / "dangling.jsonl").symlink_to("nowhere")
    result = run(folder)
    assert result.status == 2
    assert "1204" in result.out or "1201" in result.out  # the others are reported
    path = str(folder / "dangling.jsonl")
    assert f"✗{path}cannotberead" in "".join(result.err.split())  # a long path is wrapped


# --- JSON ---------------------------------------------------------------------------------------


def test_json_has_what_the_help_says(run: Report, folder: Path) -> None:
    told: dict[str, Any] = json.loads(run(folder, "--json").out)
    assert_as_described("report", told)
    assert told["projects"][0] == {
        "project": "proj_a",
        "calls": 3,
        "blocked": 0,
        "warned": 3,
        "drift": 0,
        "injected": 0,
        "allowed": 0,
    }
    assert told["changes"][0] == {
        "change": 'At app/llm.py:3 in make, pass project="proj_a" to the client (or set '
        "openai.project, if that is where it stands), or give it a key of proj_b.",
        "client_site": "app/llm.py:3 in make",
        "key_hint": "sk-proj-…AAAA",
        "project": "proj_a",
        "count": 3,
        "call_sites": ["app/jobs.py:9 in run", "app/jobs.py:7 in run"],
        "sent": [
            {"actual": "proj_b", "origin": "project=", "expected": ["proj_a"], "count": 3},
        ],
    }
    assert [call["count"] for call in told["calls"]] == [2, 1, 1, 1, 1200]
    assert told["calls"][-1]["change"] is None


# --- the page -----------------------------------------------------------------------------------


class Page(HTMLParser):
    """The tags and texts of a page."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.texts: list[str] = []
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))

    def handle_data(self, data: str) -> None:
        self.texts.append(" ".join(data.split()))

    def all(self, tag: str) -> list[dict[str, str | None]]:
        return [attributes for name, attributes in self.tags if name == tag]


@pytest.fixture
def page(run: Report, tmp_path: Path) -> Callable[[Path], str]:
    pytest.importorskip("jinja2")

    def page(folder: Path) -> str:
        target = tmp_path / "page.html"
        assert run(folder, "--html", target).status == 0
        return target.read_text(encoding="utf-8")

    return page


def test_the_page_needs_nothing_from_elsewhere(page: Callable[[Path], str], folder: Path) -> None:
    text = page(folder)
    parsed = Page(text)
    assert not any("src" in attributes or "href" in attributes for _, attributes in parsed.tags)
    assert "http:" not in text
    assert "https:" not in text
    assert "url(" not in text
    assert "@import" not in text
    policy = next(meta for meta in parsed.all("meta") if meta.get("http-equiv"))["content"]
    assert policy is not None
    assert policy.startswith("default-src 'none'")


def test_the_page_has_the_wrong_call_sites_before_the_bars(
    page: Callable[[Path], str], folder: Path
) -> None:
    text = page(folder)
    places = [
        text.find(part)
        for part in (
            "4 wrong call sites",
            "At app/llm.py:3 in make, pass project=&#34;proj_a&#34; to the client",
            "<code>app/jobs.py:9 in run</code>",
            "<code>app/jobs.py:7 in run</code>",
            "Correct the registry, which has the key",
            "<h2>Calls by project and outcome</h2>",
            "1,201 calls, 1 drift, 1 injected, 1,200 allowed",
            "<h2>In order</h2>",
        )
    ]
    assert -1 not in places
    assert places == sorted(places)


def test_the_page_can_be_filtered_by_project_and_outcome(
    page: Callable[[Path], str], folder: Path
) -> None:
    parsed = Page(page(folder))
    rows = [row for row in parsed.all("tr") if "data-outcome" in row]
    assert {(row["data-project"], row["data-outcome"]) for row in rows} == {
        ("proj_a", "warned"),
        ("proj_b", "drift"),
        ("proj_b", "injected"),
        ("proj_b", "allowed"),
    }
    assert {option.get("value") for option in parsed.all("option")} >= {"*", "proj_a", "proj_b"}


def test_nothing_of_the_files_is_taken_for_a_part_of_the_page(
    page: Callable[[Path], str], tmp_path: Path
) -> None:
    hostile = tmp_path / "hostile"
    audit = Audit(str(hostile))
    fields = ("call_site", "client_site", "key_hint", "origin", "host", "method", "actual")
    audit.record(verdict(**{**MISMATCH, **dict.fromkeys(fields, HOSTILE), "expected": (HOSTILE,)}))
    audit.record(verdict(reason="drift", answered=HOSTILE, call_site=HOSTILE))
    audit.record_allowed(HOSTILE, HOSTILE, HOSTILE, HOSTILE, HOSTILE)
    audit.close()
    parsed = Page(page(hostile))
    assert len(parsed.all("script")) == 1
    assert parsed.all("img") == []
    assert not any(name.startswith("on") for _, attributes in parsed.tags for name in attributes)
    assert any(HOSTILE in text for text in parsed.texts)


def test_without_jinja2_the_page_says_how_to_install_it(
    run: Report, folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "jinja2", None)
    page = tmp_path / "page.html"
    page.write_text("of last week", "utf-8")
    result = run(folder, "--html", page)
    assert (result.status, result.out) == (2, "")
    assert page.read_text("utf-8") == "of last week"
    assert result.err.endswith(' pip install "jinja2>=3.1"\n')
    assert run(folder).status == 0  # the rest needs none


def test_a_page_that_cannot_be_written_is_told(run: Report, folder: Path, tmp_path: Path) -> None:
    pytest.importorskip("jinja2")
    result = run(folder, "--html", tmp_path)
    assert (result.status, result.out) == (2, "")
    assert "cannot be written: Is a directory" in result.err
