"""An audit file: a process appends to one of its own, and `report` reads many.

Every line is a count since the one before it, so the lines of a call add up, and a last line that a
killed process left unfinished costs no more than itself.
"""

from __future__ import annotations

import json
import math
import os
import re
import secrets
import socket
import stat
import time
from collections.abc import Iterable, Iterator
from contextlib import suppress
from datetime import datetime, timezone
from functools import cache
from typing import Final

from openai_project_guard._audit.line import VERSION, Header, Record, iso, line_of, parse, tidy
from openai_project_guard._check.call_site import folder_of_paths

ENDING: Final = ".jsonl"
LIMIT = 2_000_000
"""Bytes of a file, from which on lines of the same call are merged."""

_LONGEST_LINE: Final = 65_536  # bytes; no line that is written is as long
_HOUR, _DAY = 3600.0, 86400.0
_COARSER = ((2 * _DAY, math.inf), (_DAY, 7 * _DAY), (_DAY, 0.0), (-math.inf, -math.inf))
"""Up to which age, in seconds, lines are kept by the hour and by the day; until they are few."""
_NOFOLLOW: int = getattr(os, "O_NOFOLLOW", 0)
_NONBLOCK: int = getattr(os, "O_NONBLOCK", 0)


def read(path: str) -> Iterator[Record | Header | None]:
    """What the lines of a file say, one at a time; `None` for each that is not understood.

    Raises:
        OSError: it cannot be read, or is no file: a pipe would keep us waiting for ever.
    """
    descriptor = os.open(path, os.O_RDONLY | _NONBLOCK | getattr(os, "O_BINARY", 0))
    if not stat.S_ISREG(os.fstat(descriptor).st_mode):
        os.close(descriptor)
        raise OSError("it is not a file")
    with open(descriptor, "rb") as file:
        while line := file.readline(_LONGEST_LINE):
            is_whole = line.endswith(b"\n")
            while not line.endswith(b"\n") and line:  # the rest of one that is too long
                line = file.readline(_LONGEST_LINE)
            if not line.strip() and is_whole:
                continue
            yield parse(line) if is_whole else None


class AuditFile:
    """The file of this process in a folder; its name is chosen when something is first written.

    Args:
        folder: where it is to be; made if missing.
    """

    def __init__(self, folder: str) -> None:
        self._folder = folder
        self._path: str | None = None
        self._length = 0
        self._limit = LIMIT
        self._header = b""

    def append(self, records: Iterable[Record]) -> None:
        """Adds lines; either all of them are there afterwards or none.

        Raises:
            OSError: they cannot be written.
        """
        data = b"".join(map(line_of, records))
        descriptor = self._opened()
        try:
            length = os.fstat(descriptor).st_size
            if not length:
                data = self._header + data
            elif length != self._length:  # somebody else's doing; what is torn stays torn
                data = b"\n" + data
            try:
                _write(descriptor, data)
            except BaseException:
                with suppress(OSError):
                    os.ftruncate(descriptor, length)
                raise
            self._length = length + len(data)
        finally:
            os.close(descriptor)

    def compact(self) -> None:
        """Merges lines once the file has grown beyond its limit; the sums stay what they are.

        Raises:
            OSError: it cannot be replaced; the old one stays.
        """
        if self._length <= self._limit or self._path is None:
            return
        self._limit = self._length + LIMIT  # should this fail, it is not tried again at once
        records = [record for record in read(self._path) if isinstance(record, Record)]
        now = time.time()
        for hourly, daily in _COARSER:
            records = _merged_by_age(records, now, hourly, daily)
            if sum(len(line_of(record)) for record in records) <= LIMIT / 2:
                break
        self._replace(records)
        self._limit = max(LIMIT, 2 * self._length)

    def tidy_up(self) -> None:
        """Merges the lines of the same call and hour, in a file that is small.

        Raises:
            OSError: it cannot be replaced; the old one stays.
        """
        if self._path is None or self._length > LIMIT / 20:
            return
        found = list(read(self._path))
        if None in found:  # somebody else's doing, which is for them to see
            return
        records = [record for record in found if isinstance(record, Record)]
        merged = _merged_by_age(records, time.time(), math.inf, math.inf)
        if len(merged) < len(records):
            self._replace(merged)

    def _replace(self, records: Iterable[Record]) -> None:
        from openai_project_guard._registry.file.atomic import replace as replace_file

        data = self._header + b"".join(map(line_of, records))
        replace_file(str(self._path), data)
        self._length = len(data)

    def _opened(self) -> int:
        """The file's descriptor; the first time the file is made."""
        flags = os.O_WRONLY | os.O_APPEND | os.O_CREAT | _NOFOLLOW | getattr(os, "O_BINARY", 0)
        os.makedirs(self._folder, mode=0o700, exist_ok=True)
        if self._path is not None:
            return os.open(self._path, flags, 0o600)
        host, moment = socket.gethostname(), datetime.now(timezone.utc).strftime("%Y%m%dT%H%M%SZ")
        # Containers on one volume may share host name, process number and second.
        distinct = f"{moment}-{os.getpid()}-{secrets.token_hex(3)}"
        name = f"audit-{re.sub(r'[^A-Za-z0-9.-]', '_', host)[:64]}-{distinct}{ENDING}"
        path = os.path.join(self._folder, name)
        descriptor = os.open(path, flags | os.O_EXCL, 0o600)
        self._path = path
        process = {"host": host, "pid": os.getpid(), "started": _started(os.getpid())}
        header = {"version": VERSION, **process, "folder": tidy(folder_of_paths())}
        self._header = json.dumps(header, separators=(",", ":")).encode() + b"\n"
        return descriptor


@cache
def _started(pid: int) -> str:
    """When a process wrote its first file: with its number, that is one process's alone."""
    del pid  # a forked child has another, and begins anew
    return iso(time.time())


def _write(descriptor: int, data: bytes) -> None:
    view = memoryview(data)
    while view:
        view = view[os.write(descriptor, view) :]


def _merged_by_age(
    records: Iterable[Record], now: float, hourly: float, daily: float
) -> list[Record]:
    """Merges a call's lines by the hour, older ones by the day, and still older ones into one."""
    found: dict[tuple[object, ...], Record] = {}
    for record in records:
        age = now - record.last
        width = _HOUR if age < hourly else _DAY if age < daily else math.inf
        bucket = (width, 0 if width == math.inf else record.last // width, *record.key)
        known = found.setdefault(bucket, record)
        if known is not record:
            known.add(record)
    return list(found.values())
