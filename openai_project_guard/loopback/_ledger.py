"""What the loopback server writes down, and the faults that its user asked for."""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass, field
from itertools import count
from threading import Lock
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping


@dataclass(frozen=True)
class LedgerLine:
    """One request, as the server saw it; it holds the key's hint, never the key.

    `billed_project` is `None` when nobody paid: the call was refused or failed, or was made with
    an admin key. `bytes_received` counts head and body; for a WebSocket, the handshake alone.
    """

    method: str
    path: str
    key_hint: str | None
    project_header: str | None
    billed_project: str | None
    status: int
    bytes_received: int
    stream: bool


class Fault(NamedTuple):
    """An answer that a request gets instead of the real one."""

    status: int
    headers: Mapping[str, str]


@dataclass
class Ledger:
    """Lines and counters that every connection's thread writes and any thread may read."""

    lines: list[LedgerLine] = field(default_factory=list)
    faults: deque[Fault] = field(default_factory=deque)  # of the requests to come
    request_numbers: Iterator[int] = field(default_factory=lambda: count(1))
    connections: int = 0
    bytes_received: int = 0
    lock: Lock = field(default_factory=Lock)  # for the numbers

    def clear(self) -> None:
        """Forgets all but the number of the last request."""
        self.lines.clear()
        self.faults.clear()
        with self.lock:
            self.connections = self.bytes_received = 0
