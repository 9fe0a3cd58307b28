"""The servers of tests that run at once: none is taken for another's."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable

import pytest
import redis_server
from redis_server import RedisServer, needs_redis

ASK = "from ports import free_port; print(*(free_port() for _ in range(200))); input()"


def test_processes_that_ask_at_once_are_given_different_ports() -> None:
    asking = [
        subprocess.Popen(
            [sys.executable, "-c", ASK],
            cwd=redis_server.ROOT / "tests",
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        for _ in range(4)
    ]
    given: list[str] = []
    for process in asking:
        assert process.stdout is not None
        given += process.stdout.readline().split()
    for process in asking:
        process.communicate("\n")

    assert len(given) == 800
    assert len(set(given)) == 800


@needs_redis
def test_a_server_whose_port_is_another_ones_does_not_start(
    start: Callable[..., RedisServer], server: RedisServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(redis_server, "free_port", lambda: server.port)

    with pytest.raises(RuntimeError, match="in use"):
        start()
