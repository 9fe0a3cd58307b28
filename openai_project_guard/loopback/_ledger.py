"""What the loopback server writes down, and the faults it was told to commit."""

from __future__ import annotations

import threading
from collections import deque
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping


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


@dataclass(frozen=True)
class Fault:
    """An answer that the next requests get instead of the real one."""

    status: int
    headers: Mapping[str, str] = field(default_factory=dict)


class Ledger:
    """Lines and counters that every connection's thread writes and any thread may read."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._faults: deque[Fault] = deque()
        self._request_count = 0
        self.clear()

    def clear(self) -> None:
        with self._lock:
            self._lines: list[LedgerLine] = []
            self._faults.clear()
            self._connections = 0
            self._bytes_received = 0

    @property
    def lines(self) -> tuple[LedgerLine, ...]:
        with self._lock:
            return tuple(self._lines)

    @property
    def connections(self) -> int:
        return self._connections

    @property
    def bytes_received(self) -> int:
        return self._bytes_received

    def write(self, line: LedgerLine) -> None:
        with self._lock:
            self._lines.append(line)

    def count_connection(self) -> None:
        with self._lock:
            self._connections += 1

    def count_bytes(self, number: int) -> None:
        with self._lock:
            self._bytes_received += number

    def next_request_id(self) -> str:
        with self._lock:
            self._request_count += 1
            return f"req_loopback_{self._request_count}"

    def plan_fault(self, fault: Fault, times: int) -> None:
        with self._lock:
            self._faults.extend([fault] * times)

    def take_fault(self) -> Fault | None:
        with self._lock:
            return self._faults.popleft() if self._faults else None
