"""Wherever an audit file is torn, and whatever stands behind: what is still counted?"""

from __future__ import annotations

import tempfile
from pathlib import Path

from hypothesis import example, given, settings
from hypothesis import strategies as st

from openai_project_guard._audit.files import AuditFile
from openai_project_guard._audit.line import Record
from openai_project_guard._audit.summary import summarize

UNFINISHED = st.binary(max_size=30).map(lambda data: data.replace(b"\n", b""))
PLACES = st.sampled_from(["app/jobs.py:7 in run", "app/é.py:3 in make", "a b\\c.py:1 in <module>"])
RECORDS = st.builds(
    Record,
    call_site=st.none() | PLACES,
    client_site=st.none() | PLACES,
    key_hint=st.sampled_from(["sk-proj-…Ab3d", "…"]),
    project=st.sampled_from(["proj_a", None]),
    outcome=st.sampled_from(["allowed", "warned", "blocked"]),
    reason=st.sampled_from([None, "mismatch"]),
    host=st.just("api.openai.com"),
    method=st.sampled_from(["GET", "POST"]),
    count=st.integers(1, 5),
    first=st.just(1_800_000_000.0),
    last=st.just(1_800_000_001.0),
    expected=st.lists(st.sampled_from(["proj_a", "proj_b"]), max_size=2).map(tuple),
)


def written(folder: str, records: list[Record]) -> tuple[Path, AuditFile]:
    audit = AuditFile(folder)
    for record in records:
        audit.append([record])
    (path,) = Path(folder).iterdir()
    return path, audit


def total(folder: str) -> int:
    return sum(record.count for record in summarize([folder]).records)


@settings(max_examples=150, deadline=None, derandomize=True, database=None)
@given(st.lists(RECORDS, min_size=1, max_size=4), st.floats(0, 1), UNFINISHED)
@example([Record(first=1.0, last=1.0)], 1.0, b'{"count": 1')
def test_whole_lines_count_and_torn_ones_cost_only_themselves(
    records: list[Record], where: float, behind: bytes
) -> None:
    with tempfile.TemporaryDirectory() as folder:
        path, _ = written(folder, records)
        data = path.read_bytes()
        at = round(where * len(data))
        torn = data[:at] + behind
        path.write_bytes(torn)
        whole = data[:at].count(b"\n") - 1  # without the header
        assert total(folder) == sum(record.count for record in records[: max(whole, 0)])


@settings(max_examples=100, deadline=None, derandomize=True, database=None)
@given(st.lists(RECORDS, min_size=1, max_size=3), RECORDS, st.floats(0, 1))
def test_a_process_goes_on_writing_behind_what_somebody_tore(
    records: list[Record], later: Record, where: float
) -> None:
    with tempfile.TemporaryDirectory() as folder:
        path, audit = written(folder, records)
        data = path.read_bytes()
        at = round(where * len(data))
        path.write_bytes(data[:at])
        audit.append([later])
        whole = max(data[:at].count(b"\n") - 1, 0)
        # A line that lacks nothing but its end is ended by what is written next.
        is_complete = data[at : at + 1] == b"\n" and at > data.index(b"\n")
        counts = [record.count for record in records]
        assert total(folder) == sum(counts[: whole + is_complete]) + later.count


@settings(max_examples=150, deadline=None, derandomize=True, database=None)
@given(st.lists(st.binary(max_size=80), max_size=6))
@example([b'{"version":1,"host":1,"pid":2,"started":"x"}', b'{"count":1e400,"outcome":"allowed"}'])
@example([b"[" * 5000, b'{"version":true}', b'{"count":1,"outcome":[],"first":"1"}'])
def test_no_file_is_too_strange_to_be_read(lines: list[bytes]) -> None:
    with tempfile.TemporaryDirectory() as folder:
        Path(folder, "audit-x.jsonl").write_bytes(b"\n".join(lines))
        assert total(folder) == 0
