"""The summary as JSON."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from dataclasses import asdict
from typing import Any

from openai_project_guard._audit.line import Record, iso
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
                "client_site": change.places[0].client_site,
                "key_hint": change.places[0].key_hint,
                "project": change.places[0].project,
                "count": sum(place.count for place in change.places),
                "call_sites": list(dict.fromkeys(place.call_site for place in change.places)),
                "sent": _sent(change.places),
            }
            for change in summary.changes
        ],
        "calls": [_call(record, summary) for record in summary.records],
    }


def _sent(places: Iterable[Record]) -> list[dict[str, Any]]:
    """What the calls carried, and how many of them did."""
    counts: Counter[tuple[str | None, str | None, tuple[str, ...]]] = Counter()
    for place in places:
        counts[place.actual, place.origin, place.expected] += place.count
    return [
        {"actual": actual, "origin": origin, "expected": expected, "count": count}
        for (actual, origin, expected), count in counts.items()
    ]


def _call(record: Record, summary: Summary) -> dict[str, Any]:
    told = asdict(record)
    others = told.pop("is_others")
    told |= {"first": iso(record.first), "last": iso(record.last)}
    return {**told, "others": others, "change": summary.change_for(record)}


def _time(seconds: float | None) -> str | None:
    return None if seconds is None else iso(seconds)
