"""Do processes learn together?"""

from __future__ import annotations

import signal
import time
from pathlib import Path
from typing import TYPE_CHECKING

from redis_server import (
    KEY,
    OTHER,
    PREFIX,
    RedisServer,
    add,
    fingerprint,
    has,
    needs_redis,
    wait,
)

from openai_project_guard._keys import digest, hint
from openai_project_guard._registry import stores as edit
from openai_project_guard._registry.redis import open_source

if TYPE_CHECKING:
    from collections.abc import Callable


pytestmark = needs_redis


def test_what_one_process_learns_all_know(server: RedisServer) -> None:
    add(server, KEY)
    first, second = open_source(server.url), open_source(server.url)
    assert first.remember(digest(OTHER), hint(OTHER), "proj_b")
    assert has(first, OTHER)  # at once
    wait(lambda: has(second, OTHER))
    assert second.registry.lookup(OTHER)[0].note == "learned"
    edit.remove(server.url, [fingerprint(OTHER)])
    wait(lambda: not has(first, OTHER) and not has(second, OTHER))


def test_a_key_learned_with_two_projects_belongs_to_neither(
    server: RedisServer, log: Callable[[], list[str]]
) -> None:
    add(server, KEY)
    first, second = open_source(server.url), open_source(server.url)
    first.remember(digest(OTHER), hint(OTHER), "proj_b")
    second.remember(digest(OTHER), hint(OTHER), "proj_c")
    wait(lambda: first.status().faults == second.status().faults == 1)
    assert not has(first, OTHER)
    assert not has(second, OTHER)
    said = [text for text in log() if "sk-proj-…Ef5g was learned for the projects proj_" in text]
    assert len(said) == 2  # once in each process
    assert all("belongs to none of them until it is registered" in text for text in said)
    # Nor does it help to learn it again, until somebody registers it.
    assert first.remember(digest(OTHER), hint(OTHER), "proj_b")
    time.sleep(0.5)
    assert not has(first, OTHER)
    add(server, OTHER, "proj_c")
    wait(lambda: has(first, OTHER) and has(second, OTHER))


def test_what_is_learned_beside_a_replica_waits_for_its_promotion(
    tmp_path: Path, server: RedisServer, log: Callable[[], list[str]], looks: None
) -> None:
    replica = RedisServer(tmp_path / "replica", "--replicaof", f"127.0.0.1 {server.port}").start()
    try:
        add(server, KEY)
        wait(lambda: replica.client().hexists(f"{PREFIX}:keys", fingerprint(KEY)))
        source = open_source(replica.url)
        assert source.remember(digest(OTHER), hint(OTHER), "proj_b")
        wait(lambda: any("cannot be written" in text for text in log()))
        time.sleep(1)
        assert [text for text in log() if "lost" in text or "in touch" in text] == []
        assert sum("cannot be written" in text for text in log()) == 1
        assert has(source, OTHER)
        replica.client().replicaof("NO", "ONE")
        wait(lambda: replica.client().hexists(f"{PREFIX}:keys", fingerprint(OTHER)))
    finally:
        replica.kill()


def test_an_administrators_word_stands_over_what_is_learned(server: RedisServer) -> None:
    add(server, KEY)
    source = open_source(server.url)
    server.signal(signal.SIGSTOP)
    source.remember(digest(OTHER), hint(OTHER), "proj_b")
    assert has(source, OTHER)
    server.signal(signal.SIGCONT)
    edit.add(server.url, "proj_c", fingerprint(OTHER))
    wait(lambda: [e.project for e in source.registry.lookup(OTHER)] == ["proj_c"])
    assert [e.project for e in edit.read(server.url).lookup(OTHER)] == ["proj_c"]
