"""Does a change reach every process?"""

from __future__ import annotations

import random
import threading
import time
from typing import TYPE_CHECKING

import pytest
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

from openai_project_guard._registry import stores as edit
from openai_project_guard._registry.redis import open_source

if TYPE_CHECKING:
    from openai_project_guard._registry.source import Source

pytestmark = needs_redis


def test_changes_of_all_kinds_arrive(server: RedisServer, source: Source) -> None:
    add(server, OTHER, "proj_b", alias="lab")
    wait(lambda: has(source, OTHER))
    add(server, OTHER, "lab", organization="org-B", note="new")  # changes a known project
    wait(lambda: source.registry.lookup(OTHER)[0].organization == "org-B")
    assert source.registry.lookup(OTHER)[0].note == "new"
    edit.remove_project(server.url, "lab")
    wait(lambda: not has(source, OTHER))
    assert "lab" not in source.registry.snapshot.projects
    assert has(source, KEY)


def test_a_key_whose_twin_in_capital_letters_is_removed_stays(
    server: RedisServer, source: Source
) -> None:
    client, name = server.client(), f"{PREFIX}:keys"
    capitals = "sha256:" + fingerprint(KEY)[7:].upper()
    client.hset(name, capitals, client.hget(name, fingerprint(KEY)))
    assert edit.add(server.url, "proj_a", fingerprint(KEY), note="new") == "updated"
    wait(lambda: bool(source.registry.lookup(KEY)) and source.registry.lookup(KEY)[0].note == "new")
    assert client.hkeys(name) == [fingerprint(KEY)]


@pytest.mark.parametrize("number", [1000, 1001])
def test_a_change_arrives_whether_or_not_it_is_too_large_for_a_message(
    server: RedisServer, source: Source, number: int
) -> None:
    keys = [fingerprint(f"key {each}") for each in range(number)]
    edit.change(server.url, lambda draft: [draft.add("proj_a", key) for key in keys])
    wait(lambda: len(source.registry) == number + 1)


def test_a_change_that_nobody_told_of_is_found(
    looks: None, server: RedisServer, source: Source
) -> None:
    client = server.client()
    client.hdel(f"{PREFIX}:keys", fingerprint(KEY))  # as after a replica's missed message
    client.set(f"{PREFIX}:revision", "7-deadbeef")
    wait(lambda: not has(source, KEY))


def test_a_change_that_a_fail_over_lost_is_gone_though_another_follows_at_once(
    server: RedisServer, source: Source
) -> None:
    client = server.client()  # a replica's readers stay connected while it follows another server
    number = str(client.get(f"{PREFIX}:revision")).partition("-")[0]
    other = f"{number}-deadbeef"
    client.hdel(f"{PREFIX}:keys", fingerprint(KEY))
    client.set(f"{PREFIX}:revision", other)
    client.publish(f"{PREFIX}:changes", f"{other} {fingerprint('a third key')}")
    add(server, OTHER)
    wait(lambda: has(source, OTHER))
    wait(lambda: not has(source, KEY))


def test_changes_during_the_loading_are_not_lost(server: RedisServer) -> None:
    add(server, KEY)
    stop = threading.Event()
    written: list[str] = []

    def write() -> None:
        while not stop.is_set():
            key = f"key {len(written)}"
            add(server, key)
            written.append(key)

    writer = threading.Thread(target=write)
    writer.start()
    try:
        sources = []
        for _ in range(10):
            sources.append(open_source(server.url))
            time.sleep(random.uniform(0, 0.05))
    finally:
        stop.set()
        writer.join()
    for source in sources:
        wait(lambda source=source: len(source.registry) == len(written) + 1)  # type: ignore[misc]
