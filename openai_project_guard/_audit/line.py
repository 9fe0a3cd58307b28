"""One line of an audit file: how many calls of one kind there were in an interval."""

from __future__ import annotations

import json
import re
from dataclasses import asdict, dataclass
from datetime import datetime, timezone
from functools import lru_cache
from operator import attrgetter
from typing import Any, Final, get_args

from openai_project_guard._keys import redact
from openai_project_guard._types import Outcome, Reason, Transport

VERSION: Final = 1
LONGEST_TEXT: Final = 500  # characters of a field
_LARGEST: Final = 10**15  # a count beyond it was not counted
_YEAR_9999: Final = 253_370_764_800.0
MOST_EXPECTED: Final = 20  # projects that one key is registered for
_UNPRINTABLE = re.compile(r"[^\x20-\x7e\xa0-\u2027\u202f-\u2065\u2070-\ud7ff\uf900-\ufffd]")
_OUTCOMES: Final = frozenset(get_args(Outcome))
_REASONS: Final = frozenset(get_args(Reason))
_TRANSPORTS: Final = frozenset(get_args(Transport))
KEY: Final = (
    *("call_site", "client_site", "key_hint", "project", "outcome", "reason", "host", "method"),
    *("origin", "expected", "actual", "answered", "transport", "is_others"),
)
"""What tells one record from another: everything but how many calls there were, and when."""
_key_of = attrgetter(*KEY)


@dataclass(slots=True)
class Record:
    """Calls that are the same in all that `KEY` names, and how many of them there were.

    Attributes:
        call_site: the application's line that made the call; `None` for one that was allowed.
        client_site: where the client was built.
        key_hint: what may be shown of the key.
        project: the project that the key is registered for, if it is one.
        outcome: as in the verdict.
        reason: as in the verdict.
        host: the host that was called.
        method: the HTTP method.
        count: how many calls.
        first: when the first of them was made, in seconds since 1970.
        last: when the last of them was made.
        origin: what set the wrong value.
        expected: the projects that would have passed.
        actual: the `OpenAI-Project` header.
        answered: on `drift`, the project that the server named.
        transport: `http` or `websocket`.
        is_others: calls that were too many to be told apart; only outcome and reason are known.
    """

    call_site: str | None = None
    client_site: str | None = None
    key_hint: str | None = None
    project: str | None = None
    outcome: str = "allowed"
    reason: str | None = None
    host: str | None = None
    method: str | None = None
    count: int = 1
    first: float = 0.0
    last: float = 0.0
    origin: str | None = None
    expected: tuple[str, ...] = ()
    actual: str | None = None
    answered: str | None = None
    transport: str = "http"
    is_others: bool = False

    @property
    def key(self) -> tuple[object, ...]:
        """What tells one record from another."""
        return tuple(_key_of(self))

    def add(self, other: Record) -> None:
        """Counts the other's calls too."""
        self.count = min(self.count + other.count, _LARGEST)
        self.first = min(self.first, other.first)
        self.last = max(self.last, other.last)


@dataclass(frozen=True, slots=True)
class Header:
    """The first line of a file: which process wrote it.

    Attributes:
        version: of the format.
        host: the name of the machine.
        pid: the number of the process.
        started: when it began to keep an audit, ISO 8601; the same in all its files.
        folder: the directory from which its lines name paths, if that is known.
    """

    version: int
    host: str
    pid: int
    started: str
    folder: str | None = None


_TEXTS: Final = (
    *("call_site", "client_site", "key_hint", "project", "reason", "host", "method"),
    *("origin", "actual", "answered"),
)


# --- one line -----------------------------------------------------------------------------------


def iso(seconds: float) -> str:
    """A time as the file has it: UTC, ISO 8601, to the millisecond."""
    moment = datetime.fromtimestamp(seconds, timezone.utc)
    return moment.isoformat(timespec="milliseconds").replace("+00:00", "Z")


def seconds_of(text: str) -> float:
    """The seconds since 1970 of an ISO 8601 time; one without an offset is taken as UTC.

    Raises:
        ValueError: it is none.
    """
    # Python 3.10 reads neither Z nor three digits less than six.
    moment = datetime.fromisoformat(re.sub(r"[zZ]$", "+00:00", text.strip()))
    if moment.tzinfo is None:
        moment = moment.replace(tzinfo=timezone.utc)
    return moment.timestamp()


def fields_of(record: Record) -> dict[str, Any]:
    """A record as `report --json` has it, and, but for what is empty, its line."""
    fields = asdict(record)
    others = fields.pop("is_others")
    return fields | {"first": iso(record.first), "last": iso(record.last), "others": others}


def line_of(record: Record) -> bytes:
    """The line that says so."""
    fields = fields_of(record)
    for name in ("origin", "expected", "actual", "answered", "others"):
        if not fields[name]:
            del fields[name]
    if record.transport == "http":
        del fields["transport"]
    return json.dumps(fields, ensure_ascii=False, separators=(",", ":")).encode() + b"\n"


@lru_cache(4096)
def tidy(text: str) -> str:
    """A text as it may be written and shown: no key, nothing that moves a terminal's cursor."""
    # A key that is cut off must not pass for a hint, so the keys go before anything is shortened.
    shown = _UNPRINTABLE.sub("�", redact(text[: 4 * LONGEST_TEXT]))
    return shown if len(shown) <= LONGEST_TEXT else shown[: LONGEST_TEXT - 1] + "…"


def parse(line: bytes) -> Record | Header | None:
    """What a line says; `None` if it is not one of ours, whatever stands in it."""
    try:
        data = json.loads(line)
        if not isinstance(data, dict):
            return None
        return _header(data) if "version" in data else _record(data)
    except (ValueError, TypeError, OverflowError, RecursionError):
        return None


def _header(data: dict[str, Any]) -> Header | None:
    host, pid, started = data.get("host"), data.get("pid"), data.get("started")
    folder = data.get("folder")
    if not (type(data["version"]) is type(pid) is int and type(host) is type(started) is str):
        return None
    folder = tidy(folder) if isinstance(folder, str) and folder else None
    return Header(data["version"], tidy(host), pid, tidy(started), folder)


def _record(data: dict[str, Any]) -> Record | None:
    texts: dict[str, Any] = {}
    for name in _TEXTS:
        value = data.get(name)
        if value is not None and not (isinstance(value, str) and len(value) <= LONGEST_TEXT):
            return None
        texts[name] = None if value is None else tidy(value)
    count, outcome, expected = data.get("count"), data.get("outcome"), data.get("expected", [])
    transport = data.get("transport", "http")
    if (
        type(count) is not int
        or not 0 < count <= _LARGEST
        or outcome not in _OUTCOMES
        or transport not in _TRANSPORTS
        or not (texts["reason"] is None or texts["reason"] in _REASONS)
        or not isinstance(expected, list)
        or len(expected) > MOST_EXPECTED
        or not all(isinstance(one, str) and len(one) <= LONGEST_TEXT for one in expected)
    ):
        return None
    first, last = seconds_of(str(data.get("first"))), seconds_of(str(data.get("last")))
    if not 0 <= first <= last < _YEAR_9999:
        return None
    return Record(
        **texts,
        outcome=str(outcome),
        count=count,
        first=first,
        last=last,
        expected=tuple(map(tidy, expected)),
        transport=str(transport),
        is_others=data.get("others") is True,
    )
