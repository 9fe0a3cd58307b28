"""`on_error="log"` with a registry in Redis: the guard starts before its server does."""

from __future__ import annotations

import logging
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from redis_server import KEY, OTHER, RedisServer, add, has, judge, needs_redis, wait

import openai_project_guard as opg
from openai_project_guard._registry import retrying
from openai_project_guard._state import STATE

if TYPE_CHECKING:
    from collections.abc import Callable

pytestmark = needs_redis


@pytest.mark.parametrize("where", ["[::1:6379/0", "h:port/0", "h:6379/first"])
def test_a_url_that_cannot_be_understood_is_named_without_what_is_in_it(where: str) -> None:
    opg.enable("warn", registry=f"redis://default:secret-of-mine@{where}", on_error="log")
    (source,) = STATE.settings.sources if STATE.settings else ()
    assert source.name == "redis://…"
    assert (source.status().state, source.status().keys) == ("stale", 0)


def test_the_registry_is_followed_from_when_the_server_is_there(
    server: RedisServer,
    by_url: Path,
    log: Callable[[], list[str]],
    caplog: pytest.LogCaptureFixture,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(retrying, "_LONGEST", 0.2)
    add(server, KEY)
    server.kill()
    url = f"redis://default:secret-of-mine@127.0.0.1:{server.port}/0"
    opg.enable(registry=url, on_error="log")
    assert isinstance(judge(KEY), opg.UnregisteredKeyError)
    (first, *_) = [r for r in caplog.records if r.levelno == logging.ERROR]
    assert "the registry cannot be loaded: " in first.getMessage()
    assert "Its keys count as unregistered until it can be read" in first.getMessage()
    (source,) = STATE.settings.sources if STATE.settings else ()
    assert source.status().state == "stale"
    server.start()
    wait(lambda: judge(KEY) is None)  # a server without a password takes any
    assert source.status().state == "current"
    add(server, OTHER)
    wait(lambda: judge(OTHER) is None)
    assert has(source, OTHER)
    assert any("the registry can be read now and is active." in text for text in log())
    assert "secret-of-mine" not in caplog.text
    assert KEY not in caplog.text
