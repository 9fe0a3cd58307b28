"""The sum of many audit files, of as many processes and hosts as there are: worst first."""

from __future__ import annotations

import os
import re
import time
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from typing import Final

from openai_project_guard._audit.change import Change, change_for
from openai_project_guard._audit.files import ENDING, read
from openai_project_guard._audit.line import VERSION, Header, Record, iso, seconds_of
from openai_project_guard._check.call_site import NOT_SEEN
from openai_project_guard._errors import ConfigurationError
from openai_project_guard._keys import shown

KINDS: Final = ("blocked", "warned", "drift", "injected", "allowed")
"""What became of calls, worst first. `drift` is said of a call that was counted before it left."""

_MOST = 100_000  # distinct records in memory: a file may be anybody's
_UNITS: Final = {"s": 1, "m": 60, "h": 3600, "d": 86400, "w": 604800}
_DURATION = re.compile(r"(\d{1,9}(?:\.\d{1,9})?)\s*([smhdw])")
_RELATIVE = re.compile(rf"(^|, then \w+ at )(?!/|\\|[A-Za-z]:[/\\]|<|Cell |{re.escape(NOT_SEEN)})")
"""Before a path that is said from a directory; a notebook's cell and `<stdin>` are in none."""


@dataclass(slots=True)
class Summary:
    """What the files say.

    Attributes:
        records: one for each distinct call, worst first.
        changes: what to change, worst first.
        projects: how many calls of each kind, by project; `None` is where it is not known.
        drifts: by key and expected projects, where the server named another project.
        files: how many files had something to say.
        processes: which processes wrote them.
        hosts: the names of the machines that wrote them.
        folders: the directories from which they name paths; if there is not just one, the paths
            here are whole.
        skipped: lines that could not be read.
        unreadable: the files that could not be, and why.
        since: what was asked for, in seconds since 1970.
    """

    records: list[Record] = field(default_factory=list)
    changes: list[Change] = field(default_factory=list)
    projects: dict[str | None, dict[str, int]] = field(default_factory=dict)
    drifts: dict[tuple[object, ...], Record] = field(default_factory=dict)
    files: int = 0
    processes: set[tuple[object, ...]] = field(default_factory=set)
    hosts: set[str] = field(default_factory=set)
    folders: set[str] = field(default_factory=set)
    skipped: int = 0
    unreadable: list[tuple[str, str]] = field(default_factory=list)
    since: float | None = None

    @property
    def first(self) -> float | None:
        """When the first call was made."""
        return min((record.first for record in self.records), default=None)

    @property
    def last(self) -> float | None:
        """When the last call was made."""
        return max((record.last for record in self.records), default=None)

    @property
    def in_order(self) -> list[Record]:
        """The calls about which nothing is to be changed."""
        return [record for record in self.records if not (is_wrong(record) or record.is_others)]

    @property
    def others(self) -> int:
        """Calls that were too many to be told apart."""
        return sum(record.count for record in self.records if record.is_others)

    @property
    def wrong_sites(self) -> int:
        """How many lines make wrong calls; where that is not known, how many clients do."""
        records = [record for change in self.changes for record in change.records]
        return len({record.call_site or record.client_site for record in records})

    def change_for(self, record: Record) -> str | None:
        """What to change about a call."""
        return change_for(self.cause_of(record))

    def cause_of(self, record: Record) -> Record:
        """What is to be corrected: the call, or what the registry says of its key if it drifted."""
        if record.reason in (None, "drift"):
            return record
        return self.drifts.get((record.key_hint, record.expected), record)

    def total(self, kind: str) -> int:
        """How many calls there were of a kind."""
        return sum(record.count for record in self.records if kind_of(record) == kind)

    def matching(self, words: Sequence[str]) -> int:
        """How many calls have one of these kinds or reasons."""
        return sum(r.count for r in self.records if kind_of(r) in words or r.reason in words)


def kind_of(record: Record) -> str:
    """What became of the calls: the outcome, or `drift`."""
    return "drift" if record.reason == "drift" else record.outcome


def is_wrong(record: Record) -> bool:
    """Whether something is to be changed about it."""
    return record.reason is not None


def calls_of(kinds: dict[str, int]) -> int:
    """How many calls these are; a drift is about a call that is counted already."""
    return sum(count for kind, count in kinds.items() if kind != "drift")


def day(seconds: float | None) -> str:
    """A time as people read it: UTC, to the minute."""
    return "–" if seconds is None else iso(seconds)[:16].replace("T", " ")


def read_since(text: str, now: float | None = None) -> float:
    """The time that `24h`, `7d` or an ISO 8601 time names, in seconds since 1970.

    Raises:
        ConfigurationError: it names none.
    """
    duration = _DURATION.fullmatch(text.strip())
    if duration is not None:
        number, unit = duration.groups()
        since = (time.time() if now is None else now) - float(number) * _UNITS[unit]
    try:
        if duration is None:
            since = seconds_of(text)
        iso(since)  # which years there are
        return since
    except (ValueError, OverflowError, OSError):
        raise ConfigurationError(
            f"--since {shown(text)} is not understood. Expected a duration, such as 90m, 24h or "
            "7d, or a time, such as 2026-11-25 or 2026-11-25T14:00:00Z."
        ) from None


def summarize(paths: Iterable[str], since: float | None = None) -> Summary:
    """Reads audit files, and folders of them, and adds up what they say.

    Args:
        paths: of files and folders; folders with everything below them.
        since: leaves out what had ended before; seconds since 1970.
    """
    summary = Summary(since=since)
    found: dict[tuple[object, ...], Record] = {}
    for path in _files(paths, summary):
        _read_file(path, summary, found)
    summary.records = sorted(_with_whole_paths(found), key=_badness)
    drifts = [record for record in summary.records if record.reason == "drift"]
    summary.drifts = {(drift.key_hint, drift.expected): drift for drift in reversed(drifts)}
    summary.changes = _changes(summary)
    summary.projects = _by_project(summary.records)
    return summary


def _read_file(path: str, summary: Summary, found: dict[tuple[object, ...], Record]) -> None:
    is_ours = False
    folder: str | None = None
    processes: set[tuple[object, ...]] = set()
    try:
        for line in read(path):
            if line is None:
                summary.skipped += 1
                continue
            is_ours = True
            if isinstance(line, Header):
                if line.version > VERSION:
                    raise OSError(f"version {line.version} of the format; upgrade this package")
                summary.hosts.add(line.host)
                processes.add((line.host, line.pid, line.started))
                folder = line.folder
                summary.folders |= {folder} if folder else set()
            elif summary.since is None or line.last >= summary.since:
                _add(line, found, folder)
    except OSError as error:
        summary.unreadable.append((path, error.strerror or str(error)))
    if is_ours:
        summary.files += 1
        summary.processes |= processes or {(path,)}


def _add(line: Record, found: dict[tuple[object, ...], Record], folder: str | None = None) -> None:
    """Adds a line to its equals: those whose paths are said from the same folder."""
    if (folder, *line.key) not in found and len(found) >= _MOST:
        others = Record(outcome=line.outcome, reason=line.reason, is_others=True)
        line = replace(others, count=line.count, first=line.first, last=line.last)
    known = found.setdefault((folder, *line.key), line)
    if known is not line:
        known.add(line)


def _with_whole_paths(found: dict[tuple[object, ...], Record]) -> Iterable[Record]:
    """The records; those of processes in one directory as they are written."""
    if len({folder for folder, *_ in found}) <= 1:
        return found.values()
    records: dict[tuple[object, ...], Record] = {}
    for (folder, *_), record in found.items():
        sites = [_whole(site, str(folder or "")) for site in (record.call_site, record.client_site)]
        _add(replace(record, call_site=sites[0], client_site=sites[1]), records)
    return records.values()


def _whole(site: str | None, folder: str) -> str | None:
    """A call site or a client site with its paths in full, and not as seen from the folder."""
    if not site or not folder:
        return site
    separator = "/" if folder[0] == "/" else "\\"  # the file may come from another system
    prefix = folder if folder[-1] == separator else folder + separator
    return _RELATIVE.sub(lambda found: found[1] + prefix, site)


def _files(paths: Iterable[str], summary: Summary) -> Iterator[str]:
    """The files that are meant, each once."""
    seen: set[str] = set()
    for path in paths:
        inside = [path]
        if os.path.isdir(path):
            inside = [
                os.path.join(folder, name)
                for folder, _, names in os.walk(path)
                for name in names
                if name.endswith(ENDING) and not name.startswith(".")
            ]
        elif not os.path.lexists(path):
            summary.unreadable.append((path, "there is no such file or folder"))
            continue
        for name in sorted(inside):
            real = os.path.realpath(name)
            if real not in seen:
                seen.add(real)
                yield name


def _badness(record: Record) -> tuple[object, ...]:
    """What sorts records worst first, and always the same."""
    return (
        KINDS.index(kind_of(record)),
        not is_wrong(record),
        -record.count,
        *(str(part) for part in record.key),
    )


def _changes(summary: Summary) -> list[Change]:
    wrong: dict[tuple[object, ...], Record] = {}
    for record in filter(is_wrong, summary.records):  # hosts and methods do not make two of one
        _add(replace(record, host=None, method=None), wrong)
    changes: dict[tuple[object, ...], Change] = {}
    for record in sorted(wrong.values(), key=_badness):
        cause = summary.cause_of(record)
        sentence = change_for(cause)
        if sentence is not None:
            client_site = None if cause.reason == "drift" else record.client_site
            same = (sentence, client_site, cause.key_hint, cause.project)
            changes.setdefault(same, Change(sentence, [])).records.append(record)
    # A registry that makes calls wrong is corrected before they are.
    return sorted(
        changes.values(),
        key=lambda change: {r.reason == "drift" for r in change.records} != {True, False},
    )


def _by_project(records: Iterable[Record]) -> dict[str | None, dict[str, int]]:
    """How many calls of each kind; the projects with most wrong calls come first."""
    projects: dict[str | None, dict[str, int]] = {}
    for record in records:
        kinds = projects.setdefault(record.project, dict.fromkeys(KINDS, 0))
        kinds[kind_of(record)] += record.count
    return dict(
        sorted(
            projects.items(),
            key=lambda item: (*(-item[1][kind] for kind in KINDS), item[0] or ""),
        )
    )
