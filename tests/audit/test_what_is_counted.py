"""Which calls stand in the audit, and what of them?"""

from __future__ import annotations

import json
import os
import sys
import threading
from pathlib import Path

import pytest
from audit.seen import MISMATCH, counts, files, lines, verdict
from support import KEYS, A, B, Recorder, chat, clean, sync_client  # noqa: F401

import openai_project_guard as opg
from openai_project_guard._audit import record as recording
from openai_project_guard._audit.line import parse
from openai_project_guard._audit.record import Audit
from openai_project_guard._audit.summary import summarize


def test_a_line_names_both_places_and_counts_the_calls(tmp_path: Path) -> None:
    audit = Audit(str(tmp_path))
    for _ in range(3):
        audit.record(verdict(**MISMATCH))
    audit.close()
    (line,) = lines(tmp_path)
    first, last = line.pop("first"), line.pop("last")
    assert line == {
        "call_site": "app/jobs.py:7 in run",
        "client_site": "app/llm.py:3 in make",
        "key_hint": "sk-proj-…AAAA",
        "project": "proj_a",
        "outcome": "warned",
        "reason": "mismatch",
        "host": "api.openai.com",
        "method": "POST",
        "count": 3,
        "origin": "project=",
        "expected": ["proj_a"],
        "actual": "proj_b",
    }
    assert first <= last
    assert first.endswith("Z")


@pytest.mark.parametrize(
    "other",
    [
        {"call_site": "app/jobs.py:8 in run"},
        {"client_site": "app/llm.py:4 in make"},
        {"key_hint": "sk-proj-…BBBB"},
        {"expected": ("proj_c",)},
        {"outcome": "blocked"},
        {"reason": "scope"},
        {"host": "eu.api.openai.com"},
        {"method": "GET"},
        {"actual": "proj_c"},
        {"origin": "OPENAI_CUSTOM_HEADERS"},
        {"answered": "proj_c"},
        {"transport": "websocket"},
    ],
    ids=lambda other: next(iter(other)),
)
def test_calls_that_differ_in_one_thing_are_counted_apart(
    tmp_path: Path, other: dict[str, object]
) -> None:
    audit = Audit(str(tmp_path))
    audit.record(verdict(**MISMATCH))
    audit.record(verdict(**{**MISMATCH, **other}))
    audit.close()
    assert [line["count"] for line in lines(tmp_path)] == [1, 1]


def test_the_path_of_a_call_does_not_tell_calls_apart(tmp_path: Path) -> None:
    audit = Audit(str(tmp_path))
    for number in range(20):
        audit.record(verdict(**MISMATCH, path=f"/v1/files/file-{number}"))
    audit.close()
    assert [line["count"] for line in lines(tmp_path)] == [20]


def test_a_websocket_is_told_to_be_one(tmp_path: Path) -> None:
    audit = Audit(str(tmp_path))
    audit.record(verdict(**MISMATCH, transport="websocket"))
    audit.close()
    (record,) = summarize([str(tmp_path)]).records
    assert record.transport == "websocket"


def test_an_allowed_call_is_counted_by_client_and_project(tmp_path: Path) -> None:
    audit = Audit(str(tmp_path))
    for _ in range(5):
        audit.record_allowed("app/llm.py:3 in make", "sk-…AAAA", "proj_a", "api.openai.com", "GET")
    audit.record(verdict(client_site="app/llm.py:3 in make", key_hint="sk-…AAAA", method="GET"))
    audit.close()
    (line,) = lines(tmp_path)
    assert (line["count"], line["client_site"], line["project"], line["call_site"]) == (
        *(6, "app/llm.py:3 in make", "proj_a"),
        None,
    )


def test_lines_of_later_intervals_add_up(tmp_path: Path) -> None:
    audit = Audit(str(tmp_path))
    for _ in range(4):
        audit.record_allowed("here", "sk-…AAAA", "proj_a", "api.openai.com", "POST")
        audit.record(verdict(**MISMATCH))
        audit.flush()
    audit.flush()  # nothing new: nothing written
    assert len(lines(tmp_path)) == 8
    audit.close()
    assert len(lines(tmp_path)) < 8
    assert counts(tmp_path) == {
        ("allowed", None, "proj_a"): 4,
        ("warned", "mismatch", "proj_a"): 4,
    }


def test_no_count_is_lost_between_threads_and_flushes(tmp_path: Path) -> None:
    audit = Audit(str(tmp_path))
    each, threads = 20_000, 8
    start = threading.Barrier(threads + 1)

    def call(number: int) -> None:
        start.wait()
        for turn in range(each):
            audit.record_allowed("shared", "sk-…AAAA", "proj_a", "api.openai.com", "POST")
            if turn % 100 == 0:
                audit.record(verdict(**MISMATCH))
                audit.record_allowed(
                    f"{number} {turn}", "sk-…AAAA", "proj_b", "api.openai.com", "POST"
                )

    interval = sys.getswitchinterval()
    sys.setswitchinterval(1e-5)
    try:
        running = [threading.Thread(target=call, args=(number,)) for number in range(threads)]
        for thread in running:
            thread.start()
        start.wait()
        while any(thread.is_alive() for thread in running):
            audit.flush()
        audit.close()
    finally:
        sys.setswitchinterval(interval)
    assert counts(tmp_path) == {
        ("allowed", None, "proj_a"): each * threads,
        ("allowed", None, "proj_b"): each // 100 * threads,
        ("warned", "mismatch", "proj_a"): each // 100 * threads,
    }


def test_beyond_the_most_kinds_calls_are_counted_as_others(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(recording, "MOST", 10)
    audit = Audit(str(tmp_path))
    for number in range(15):
        audit.record(verdict(**{**MISMATCH, "call_site": f"app/jobs.py:{number} in run"}))
        audit.record_allowed(f"site {number}", "sk-…AAAA", "proj_a", "api.openai.com", "POST")
    audit.record(verdict(**{**MISMATCH, "call_site": "app/jobs.py:0 in run"}))  # one of the first
    audit.close()
    others = [line for line in lines(tmp_path) if line.get("others")]
    assert len(lines(tmp_path)) - len(others) == 10
    assert {(line["outcome"], line["reason"]): line["count"] for line in others} == {
        ("warned", "mismatch"): 10,
        ("allowed", None): 10,
    }
    assert sum(line["count"] for line in lines(tmp_path)) == 31


def test_no_key_stands_in_the_file_wherever_it_comes_from(tmp_path: Path) -> None:
    audit = Audit(str(tmp_path))
    places = {
        "call_site": f"{A}.py:1 in f",
        "client_site": "x" * 480 + A,
        "origin": A,
        "actual": A,
        "host": A,
        "key_hint": "y" * 1990 + A,
    }
    for name, value in places.items():
        audit.record(verdict(**{**MISMATCH, name: value}))
    audit.record(verdict(**{**MISMATCH, "expected": (A, B)}))
    audit.record_allowed(A, A, A, A, A)
    audit.close()
    text = files(tmp_path)[0].read_text(encoding="utf-8")
    assert A[:20] not in text
    assert B[:20] not in text


def test_every_line_that_is_written_can_be_read_again(tmp_path: Path) -> None:
    audit = Audit(str(tmp_path))
    long = "\U0001f600ä\x1b[2J\ud800\n" * 500
    audit.record(
        verdict(**{**MISMATCH, **dict.fromkeys(("call_site", "client_site", "actual"), long)})
    )
    audit.record(verdict(**{**MISMATCH, "expected": tuple(f"{long}{n}" for n in range(80))}))
    audit.close()
    for line in files(tmp_path)[0].read_bytes().splitlines():
        assert parse(line) is not None
        assert b"\x1b" not in line


def test_folder_and_file_are_their_owners_alone(tmp_path: Path) -> None:
    folder = tmp_path / "a" / "b"
    audit = Audit(str(folder))
    audit.record(verdict())
    audit.close()
    if os.name != "nt":
        assert folder.stat().st_mode & 0o077 == 0
        assert files(folder)[0].stat().st_mode & 0o777 == 0o600
    header = json.loads(files(folder)[0].read_text(encoding="utf-8").splitlines()[0])
    assert (header["version"], header["pid"]) == (1, os.getpid())


def test_a_folder_in_the_home_is_found(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("USERPROFILE", str(tmp_path))
    audit = Audit("~/audit")
    audit.record(verdict())
    audit.close()
    assert len(files(tmp_path / "audit")) == 1


def test_what_a_signal_handler_raises_is_not_swallowed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    class SoftTimeLimitExceeded(Exception):  # noqa: N818 - as Celery has it
        pass

    def interrupted() -> float:
        raise SoftTimeLimitExceeded

    audit = Audit(str(tmp_path))
    with monkeypatch.context() as patch:
        patch.setattr(recording.time, "time", interrupted)
        with pytest.raises(SoftTimeLimitExceeded):
            audit.record(verdict(**MISMATCH))
        with pytest.raises(SoftTimeLimitExceeded):
            audit.record(verdict())
    audit.record(verdict())
    audit.close()
    assert counts(tmp_path) == {("allowed", None, "proj_a"): 1}


def test_two_audits_of_one_process_keep_two_files(tmp_path: Path) -> None:
    for _ in range(2):
        audit = Audit(str(tmp_path))
        audit.record(verdict())
        audit.close()
    assert len(files(tmp_path)) == 2


def test_nothing_is_written_of_a_process_without_a_call(tmp_path: Path) -> None:
    Audit(str(tmp_path)).close()
    assert files(tmp_path) == []


def test_what_the_sdk_sends_is_counted(clean: pytest.MonkeyPatch, tmp_path: Path) -> None:  # noqa: F811
    opg.enable(mode="warn", registry=KEYS)
    audit = Audit(str(tmp_path))
    opg.add_observer(audit.record)
    sent = Recorder()
    for _ in range(3):
        chat(sync_client(sent, project="proj_a"))
    chat(sync_client(sent, project="proj_b"))
    chat(sync_client(sent))
    audit.close()
    assert len(sent.requests) == 5
    assert counts(tmp_path) == {
        ("allowed", None, "proj_a"): 3,
        ("warned", "mismatch", "proj_a"): 1,
        ("warned", "missing", "proj_a"): 1,
    }
    assert {line["host"] for line in lines(tmp_path)} == {"api.openai.com"}
    assert A not in files(tmp_path)[0].read_text(encoding="utf-8")
