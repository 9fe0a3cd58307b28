"""Ports for the servers of tests that run side by side."""

from __future__ import annotations

import secrets
import socket

# Below those that a system gives to connections: one of them could come while a server is down.
_NUMBERS = range(10_000, 30_000)
_kept: list[socket.socket] = []  # until this process ends: what they hold is given to nobody else


def free_port() -> int:
    """A port that nobody listens on, and that no other test of any process is given meanwhile."""
    while True:
        number = secrets.choice(_NUMBERS)
        mark = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)  # it leaves TCP's port free
        try:
            mark.bind(("127.0.0.1", number))
            with socket.socket() as listener:
                listener.bind(("127.0.0.1", number))
        except OSError:
            mark.close()
            continue
        _kept.append(mark)
        return number
