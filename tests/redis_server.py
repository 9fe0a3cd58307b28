"""A real redis-server for one test: started on a free port, stopped, killed, frozen, restarted."""

from __future__ import annotations

import os
import shutil
import signal
import socket
import subprocess
import time
from contextlib import closing, suppress
from pathlib import Path
from typing import Any

import pytest

BINARY = shutil.which("redis-server") or shutil.which("valkey-server")

needs_redis = pytest.mark.skipif(
    BINARY is None and "CI" not in os.environ,
    reason="there is no redis-server here (Debian: apt-get install redis-server)",
)


class RedisServer:
    """One server; it keeps what it is told on disk, so that it survives its own death.

    Args:
        directory: where it keeps it.
        options: further options of redis-server, name by name.
    """

    def __init__(self, directory: Path, *options: str, tls: bool = False) -> None:
        directory.mkdir(parents=True, exist_ok=True)
        self.port = free_port()
        self._tls = tls
        self.directory = directory
        ports = ["--port", "0", "--tls-port", str(self.port)] if tls else ["--port", str(self.port)]
        self._command = [
            BINARY or "redis-server",
            *("--bind", "127.0.0.1", "--dir", str(directory), "--save", ""),
            *("--appendonly", "yes", "--appendfsync", "always", "--daemonize", "no"),
            *("--unixsocket", str(directory / "redis.sock"), "--repl-diskless-sync-delay", "0"),
            *ports,
            *options,
        ]
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def url(self) -> str:
        return f"{'rediss' if self._tls else 'redis'}://127.0.0.1:{self.port}"

    @property
    def socket_url(self) -> str:
        return f"unix://{self.directory}/redis.sock"

    def start(self) -> RedisServer:
        log = (self.directory / "log").open("ab")
        with log:
            self._process = subprocess.Popen(self._command, stdout=log, stderr=log)
        end = time.monotonic() + 10
        while time.monotonic() < end:
            with suppress(OSError), socket.create_connection(("127.0.0.1", self.port), 0.2) as peer:
                if self._tls:
                    return self
                peer.sendall(b"PING\r\n")
                if b"LOADING" not in peer.recv(1000):
                    return self
            time.sleep(0.01)
        raise RuntimeError((self.directory / "log").read_text())

    def signal(self, number: signal.Signals) -> None:
        assert self._process is not None
        self._process.send_signal(number)

    def kill(self) -> None:
        if self._process is not None:
            self._process.kill()  # also a frozen one
            self._process.wait()
            self._process = None

    def client(self, **options: Any) -> Any:
        import redis

        return redis.Redis(port=self.port, decode_responses=True, **options)


def free_port() -> int:
    with closing(socket.socket()) as listener:
        listener.bind(("127.0.0.1", 0))
        port: int = listener.getsockname()[1]
        return port
