"""What the tests of the registry in Redis share: servers, and nothing of the machine's own."""

from __future__ import annotations

import logging
import os
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
import redis_server
from redis_server import RedisServer

import openai_project_guard as opg
from openai_project_guard._check.log import take_counts
from openai_project_guard._registry.redis import follower, open_source

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from openai_project_guard._registry.source import Source

pytest.importorskip("redis", reason="redis-py is not installed")
by_url = redis_server.by_url


@pytest.fixture(autouse=True)
def _calm(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[None]:
    """Nobody else's registry; and no look that would find what the messages should have told."""
    monkeypatch.chdir(tmp_path)
    for name in [name for name in os.environ if name.startswith("OPENAI")]:
        monkeypatch.delenv(name)
    monkeypatch.setattr(follower, "_POLL", 3600.0)
    monkeypatch.setattr(follower, "_LONGEST", 0.3)
    yield
    opg.disable()
    take_counts()  # or they are logged in a later test, a minute on


@pytest.fixture
def start(tmp_path: Path) -> Iterator[Callable[..., RedisServer]]:
    """Starts a server; takes what `RedisServer` takes but for the directory."""
    servers: list[RedisServer] = []

    def start(*options: str, tls: bool = False) -> RedisServer:
        directory = tmp_path / f"redis{len(servers) or ''}"
        servers.append(RedisServer(directory, *options, tls=tls))
        return servers[-1].start()

    yield start
    # What an error's traceback still holds would log the loss of its server into the next test.
    for following in list(follower._followers):
        following.stop()
    for server in servers:
        server.kill()


@pytest.fixture
def server(start: Callable[..., RedisServer]) -> RedisServer:
    """A server that holds nothing yet."""
    return start()


@pytest.fixture
def source(server: RedisServer) -> Source:
    """The server's registry, which has `KEY` of proj_a."""
    redis_server.add(server, redis_server.KEY)
    return open_source(server.url)


@pytest.fixture
def replica(server: RedisServer, start: Callable[..., RedisServer]) -> RedisServer:
    """A replica of the server; both have `KEY` of proj_a."""
    replica = start("--replicaof", f"127.0.0.1 {server.port}")
    redis_server.add(server, redis_server.KEY)
    redis_server.wait(lambda: replica.client().exists(f"{redis_server.PREFIX}:keys"))
    return replica


@pytest.fixture
def fallback(monkeypatch: pytest.MonkeyPatch) -> Path:
    """The file that the last good version is kept in."""
    monkeypatch.setenv("OPENAI_PROJECT_GUARD_SNAPSHOT", "last.toml")
    return Path("last.toml")


@pytest.fixture
def looks(monkeypatch: pytest.MonkeyPatch) -> None:
    """Lets the thread look at the revision often."""
    monkeypatch.setattr(follower, "_POLL", 0.2)


@pytest.fixture
def log(caplog: pytest.LogCaptureFixture) -> Callable[[], list[str]]:
    """What has been logged so far."""
    caplog.set_level(logging.INFO, logger="openai_project_guard")
    return lambda: [text for _, _, text in caplog.record_tuples]
