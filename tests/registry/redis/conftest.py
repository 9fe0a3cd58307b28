"""What the tests of the registry in Redis share: a server, and nothing of the machine's own."""

from __future__ import annotations

import logging
import os
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
import redis_server

import openai_project_guard as opg
from openai_project_guard._registry.redis import follower

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

pytest.importorskip("redis", reason="redis-py is not installed")
server, by_url = redis_server.server, redis_server.by_url


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


@pytest.fixture
def looks(monkeypatch: pytest.MonkeyPatch) -> None:
    """Lets the thread look at the revision often."""
    monkeypatch.setattr(follower, "_POLL", 0.2)


@pytest.fixture
def log(caplog: pytest.LogCaptureFixture) -> Callable[[], list[str]]:
    """What has been logged so far."""
    caplog.set_level(logging.INFO, logger="openai_project_guard")
    return lambda: [text for _, _, text in caplog.record_tuples]
