"""What does the summary make of files of many hosts, and of files that are not ours?"""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import pytest
from audit.seen import MISMATCH, files, verdict
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from openai_project_guard import ConfigurationError
from openai_project_guard._audit import summary as summing
from openai_project_guard._audit.line import LONGEST_TEXT, parse, tidy
from openai_project_guard._audit.record import Audit
from openai_project_guard._audit.summary import read_since, summarize

LINE: dict[str, Any] = {
    "call_site": "app/jobs.py:7 in run",
    "client_site": "app/llm.py:3 in make",
    "key_hint": "sk-…AAAA",
    "project": "proj_a",
    "outcome": "warned",
    "reason": "mismatch",
    "host": "api.openai.com",
    "method": "POST",
    "count": 3,
    "first": "2026-03-01T10:00:00.000Z",
    "last": "2026-03-01T11:00:00.000Z",
    "origin": "project=",
    "expected": ["proj_a"],
    "actual": "proj_b",
}


def write(path: Path, *lines: dict[str, Any], host: str = "one") -> Path:
    header = {"version": 1, "host": host, "pid": 7, "started": "2026-03-01T10:00:00.000Z"}
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("".join(json.dumps(line) + "\n" for line in (header, *lines)), encoding="utf-8")
    return path


def line(**other: Any) -> dict[str, Any]:
    return {**LINE, **other}


# --- adding up ----------------------------------------------------------------------------------


def test_files_of_several_hosts_add_up(tmp_path: Path) -> None:
    write(tmp_path / "a" / "x.jsonl", line(), line(count=4, last="2026-03-02T00:00:00Z"))
    write(tmp_path / "b" / "deep" / "y.jsonl", line(first="2026-02-01T00:00:00Z"), host="two")
    write(tmp_path / "c.jsonl", line(count=1), host="three")
    summary = summarize([str(tmp_path / "a"), str(tmp_path / "b"), str(tmp_path / "c.jsonl")])
    (record,) = summary.records
    assert (record.count, summary.files, summary.hosts) == (11, 3, {"one", "two", "three"})
    assert (summing.day(record.first), summing.day(record.last)) == (
        "2026-02-01 00:00",
        "2026-03-02 00:00",
    )


def test_a_file_that_is_named_twice_counts_once(tmp_path: Path) -> None:
    file = write(tmp_path / "x.jsonl", line())
    (tmp_path / "again.jsonl").symlink_to(file)
    summary = summarize([str(tmp_path), str(file), str(tmp_path)])
    assert [record.count for record in summary.records] == [3]


def test_the_worst_comes_first(tmp_path: Path) -> None:
    plain = {"reason": None, "outcome": "allowed", "call_site": None}
    write(
        tmp_path / "x.jsonl",
        line(**plain, count=9000),
        line(outcome="allowed", reason="unregistered", count=3),
        line(outcome="injected", reason="missing", count=500),
        line(outcome="allowed", reason="drift", count=1),
        line(count=2, call_site="app/a.py:1 in f"),
        line(count=7, call_site="app/b.py:1 in f"),
        line(outcome="blocked", count=1),
    )
    summary = summarize([str(tmp_path)])
    assert [(summing.kind_of(record), record.count) for record in summary.records] == [
        ("blocked", 1),
        ("warned", 7),
        ("warned", 2),
        ("drift", 1),
        ("injected", 500),
        ("allowed", 3),
        ("allowed", 9000),
    ]
    # A drift is about a call that is counted already.
    assert summing.calls_of(summary.projects["proj_a"]) == 9513


def test_one_change_names_all_its_call_sites(tmp_path: Path) -> None:
    sites = [f"app/jobs.py:{number} in run" for number in range(3)]
    other = line(client_site="app/other.py:1 in make", count=1)
    write(tmp_path / "x.jsonl", *(line(call_site=site, host=f"h{site}") for site in sites), other)
    first, second = summarize([str(tmp_path)]).changes
    assert [record.call_site for record in first.records] == sites
    assert sum(record.count for record in first.records) == 9
    assert sum(record.count for record in second.records) == 1


@pytest.mark.parametrize(
    ("text", "seconds"),
    [("90s", 90), ("90m", 5400), ("24h", 86400), ("7d", 604800), ("1.5h", 5400)],
)
def test_since_takes_a_duration(text: str, seconds: float) -> None:
    assert read_since(text, now=1_000_000.0) == 1_000_000.0 - seconds


def test_since_takes_a_time(tmp_path: Path) -> None:
    write(tmp_path / "x.jsonl", line(), line(call_site=None, last="2026-03-03T00:00:00Z"))
    for text in ("2026-03-02", "2026-03-02T00:00:00Z", "2026-03-02T02:00:00+02:00"):
        assert len(summarize([str(tmp_path)], read_since(text)).records) == 1
    assert len(summarize([str(tmp_path)], read_since("2026-03-01T11:00:00Z")).records) == 2


@pytest.mark.parametrize(
    "text", ["", "yesterday", "24", "24 hours", "-1h", "9" * 400 + "h", "0001"]
)
def test_since_says_what_it_takes(text: str) -> None:
    with pytest.raises(ConfigurationError, match=r"--since .* a duration, such as 90m"):
        read_since(text)


# --- what is not ours ---------------------------------------------------------------------------


@pytest.mark.parametrize(
    "other",
    [
        {"count": 0},
        {"count": -1},
        {"count": True},
        {"count": 1.5},
        {"count": "3"},
        {"count": 10**15 + 1},
        {"count": 10**30},
        {"outcome": "fine"},
        {"outcome": None},
        {"outcome": ["warned"]},
        {"reason": "because"},
        {"reason": []},
        {"transport": "pigeon"},
        {"call_site": 7},
        {"call_site": {"a": 1}},
        {"client_site": "x" * (LONGEST_TEXT + 1)},
        {"first": None},
        {"first": "soon"},
        {"last": 12},
        {"last": "0001-01-01T00:00:00+23:00"},
        {"last": "9999-12-31T23:59:59-23:00"},
        {"last": "2026-02-01T00:00:00Z"},
        {"expected": "proj_a"},
        {"expected": [1]},
        {"expected": ["x"] * 1000},
    ],
    ids=str,
)
def test_a_line_with_a_wrong_value_is_skipped_and_counted(
    tmp_path: Path, other: dict[str, Any]
) -> None:
    write(tmp_path / "x.jsonl", line(**other), line())
    summary = summarize([str(tmp_path)])
    assert (summary.skipped, [record.count for record in summary.records]) == (1, [3])


def test_the_largest_count_is_read_and_not_gone_beyond(tmp_path: Path) -> None:
    write(tmp_path / "x.jsonl", line(count=10**15), line(count=10**15))
    summary = summarize([str(tmp_path)])
    assert (summary.skipped, [record.count for record in summary.records]) == (0, [10**15])


@pytest.mark.parametrize(
    "content",
    [
        b"\x00" * 100_000,
        b"[" * 50_000 + b"\n",
        b'{"count":' * 5_000 + b"\n",
        b"{}",
        b"null\n",
        b'"text"\n',
        b"7\n",
        b"9" * 60_000 + b"\n",
        b"NaN\n",
        b"\xff\xfe{}\n",
        b"x" * 5_000_000,
        (b"y" * 3_000_000 + b"\n") * 2,
        b'{"version":"1"}\n',
        b'{"version":1,"host":[],"pid":1,"started":""}\n',
    ],
    ids=lambda content: repr(content[:12]),
)
def test_what_is_no_audit_is_skipped_and_counted(tmp_path: Path, content: bytes) -> None:
    write(tmp_path / "good.jsonl", line())
    (tmp_path / "bad.jsonl").write_bytes(content + b"\n" + json.dumps(line()).encode() + b"\n")
    summary = summarize([str(tmp_path)])
    assert summary.skipped in (1, 2)
    assert [record.count for record in summary.records] == [6]  # what stands after it is read


def test_a_file_of_a_later_version_is_named(tmp_path: Path) -> None:
    later = write(tmp_path / "x.jsonl", line())
    later.write_text(later.read_text().replace('"version": 1', '"version": 2'))
    summary = summarize([str(tmp_path)])
    assert summary.records == []
    ((path, why),) = summary.unreadable
    assert path == str(later)
    assert "upgrade" in why


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="this system has no FIFO")
def test_a_pipe_keeps_nobody_waiting(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe.jsonl")
    (tmp_path / "folder.jsonl").mkdir()
    (tmp_path / "dangling.jsonl").symlink_to("nowhere")
    summary = summarize([str(tmp_path), str(tmp_path / "missing")])
    assert [os.path.basename(path) for path, _ in sorted(summary.unreadable)] == [
        "dangling.jsonl",
        "missing",
        "pipe.jsonl",
    ]


def test_a_hostile_file_cannot_fill_the_memory(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(summing, "_MOST", 10)
    write(tmp_path / "x.jsonl", *(line(call_site=f"app.py:{number} in f") for number in range(50)))
    summary = summarize([str(tmp_path)])
    assert len(summary.records) == 11
    assert (summary.others, summary.total("warned")) == (120, 150)


def test_what_is_shown_moves_no_cursor_and_shows_no_key(tmp_path: Path) -> None:
    key = "sk-proj-not-a-real-key-of-project-a-AAAA"
    write(
        tmp_path / "x.jsonl",
        line(call_site="\x1b[2J\x07app.py\u202e:1\n in f\ud800", client_site=f"app {key}"),
    )
    (record,) = summarize([str(tmp_path)]).records
    assert record.call_site is not None
    assert record.call_site.isprintable()
    assert record.call_site.encode("utf-8")
    assert record.client_site == "app sk-proj-…AAAA"


@pytest.fixture(scope="module")
def written(tmp_path_factory: pytest.TempPathFactory) -> bytes:
    folder = tmp_path_factory.mktemp("audit")
    audit = Audit(str(folder))
    for number in range(6):
        audit.record(verdict(**{**MISMATCH, "call_site": f"app/jöbs.py:{number} in run"}))
        audit.flush()
    audit.close()
    return files(folder)[0].read_bytes()


def test_a_file_that_is_torn_at_any_byte_keeps_its_whole_lines(
    written: bytes, tmp_path: Path
) -> None:
    file = tmp_path / "x.jsonl"
    for end in range(len(written) + 1):
        torn = written[:end]
        file.write_bytes(torn)
        whole = torn.count(b"\n")
        summary = summarize([str(file)])
        assert sum(record.count for record in summary.records) == max(whole - 1, 0)
        assert summary.skipped == (0 if torn.endswith(b"\n") or not torn else 1)


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
@given(data=st.data())
def test_whatever_is_done_to_a_file_it_can_be_read(
    written: bytes, tmp_path: Path, data: st.DataObject
) -> None:
    start = data.draw(st.integers(0, len(written)))
    end = data.draw(st.integers(start, len(written)))
    junk = data.draw(st.binary(max_size=60))
    (tmp_path / "x.jsonl").write_bytes(written[:start] + junk + written[end:])
    for record in summarize([str(tmp_path)]).records:
        assert record.count > 0
        assert isinstance(json.dumps(record.key), str)


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=8,
)


@settings(deadline=None)
@given(st.dictionaries(st.sampled_from([*LINE, "others", "version"]), JSON))
def test_no_value_of_a_field_stops_the_reader(other: dict[str, Any]) -> None:
    parse(json.dumps({**LINE, **other}).encode())
    parse(json.dumps(other).encode())


@pytest.mark.parametrize("text", ["@" + ":/" * 5000, "sk-" * 5000, "//" * 5000 + "@"])
def test_of_a_text_that_is_made_to_be_slow_only_the_beginning_is_looked_at(text: str) -> None:
    assert tidy(text) == tidy(text[: 4 * LONGEST_TEXT])
    assert len(tidy(text)) <= LONGEST_TEXT
