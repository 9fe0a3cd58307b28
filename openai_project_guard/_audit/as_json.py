"""The summary as JSON."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from typing import Any

from openai_project_guard._audit.line import Record, fields_of, iso
from openai_project_guard._audit.summary import Summary, calls_of


def as_json(summary: Summary) -> dict[str, Any]:
    """The object that `report --json` prints: additions only."""
    return {
        "files": summary.files,
        "processes": len(summary.processes),
        "folders": sorted(summary.folders),
        "hosts": sorted(summary.hosts),
        "since": _time(summary.since),
        "first": _time(summary.first),
        "last": _time(summary.last),
        "skipped_lines": summary.skipped,
        "unreadable": [{"file": path, "error": error} for path, error in summary.unreadable],
        "others": summary.others,
        "projects": [
            {"project": name, "calls": calls_of(counts), **counts}
            for name, counts in summary.projects.items()
        ],
        "changes": [
            {
                "change": change.sentence,
                "client_site": change.records[0].client_site,
                "key_hint": change.records[0].key_hint,
                "project": change.records[0].project,
                "count": sum(record.count for record in change.records),
                "call_sites": list(dict.fromkeys(record.call_site for record in change.records)),
                "sent": _sent(change.records),
            }
            for change in summary.changes
        ],
        "calls": [
            {**fields_of(record), "change": summary.change_for(record)}
            for record in summary.records
        ],
    }


def _sent(records: Iterable[Record]) -> list[dict[str, Any]]:
    """What the calls carried, and how many of them did."""
    counts: Counter[tuple[str | None, str | None, tuple[str, ...]]] = Counter()
    for record in records:
        counts[record.actual, record.origin, record.expected] += record.count
    return [
        {"actual": actual, "origin": origin, "expected": expected, "count": count}
        for (actual, origin, expected), count in counts.items()
    ]


def _time(seconds: float | None) -> str | None:
    return None if seconds is None else iso(seconds)
