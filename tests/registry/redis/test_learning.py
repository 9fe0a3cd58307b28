"""Do processes learn together?"""

from __future__ import annotations

import signal
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
from support import Server, sync_client

import openai_project_guard as opg
from openai_project_guard import RegistryError
from openai_project_guard._cli import main
from openai_project_guard._keys import digest, hint
from openai_project_guard._registry import stores as edit
from openai_project_guard._registry.redis import open_source
from openai_project_guard._state import STATE

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from openai_project_guard._registry.source import Source


pytestmark = needs_redis


def projects(source: Source, key: str) -> list[str]:
    return [entry.project for entry in source.registry.lookup(key)]


def test_what_one_process_learns_all_know(server: RedisServer) -> None:
    add(server, KEY)
    first, second = open_source(server.url), open_source(server.url)
    assert first.remember(digest(OTHER), hint(OTHER), "proj_b")
    assert has(first, OTHER)  # at once
    wait(lambda: has(second, OTHER))
    assert second.registry.lookup(OTHER)[0].note == "learned"
    edit.remove(server.url, fingerprint(OTHER))
    wait(lambda: not has(first, OTHER) and not has(second, OTHER))


def test_a_key_that_is_stored_is_not_learned_for_another_project(
    server: RedisServer, source: Source
) -> None:
    assert source.remember(digest(KEY), hint(KEY), "proj_b")  # as if it had come too late
    assert source.remember(digest(OTHER), hint(OTHER), "proj_b")
    wait(lambda: "proj_b" in {entry.project for entry in edit.read(server.url).lookup(OTHER)})
    assert projects(source, KEY) == ["proj_a"]
    assert [entry.project for entry in edit.read(server.url).lookup(KEY)] == ["proj_a"]


@pytest.mark.usefixtures("clean")
def test_what_a_call_teaches_is_kept_in_the_shared_registry_alone(server: RedisServer) -> None:
    add(server, KEY)
    opg.enable(registry=server.url, unregistered="learn")
    sync_client(Server("proj_b"), api_key=OTHER).models.list()
    wait(lambda: [entry.project for entry in edit.read(server.url).lookup(OTHER)] == ["proj_b"])
    assert len(STATE.registered) == 0
    with pytest.raises(opg.ProjectMismatchError):
        sync_client(Server("proj_b"), api_key=OTHER, project="proj_c").models.list()


def test_what_is_learned_leaves_aliases_and_service_accounts_as_they_are(
    server: RedisServer, tmp_path: Path
) -> None:
    known = (
        'version = 1\n[projects.bot]\nid = "proj_a"\nservice_accounts = ["user-1"]\n'
        f'keys = [{{ fingerprint = "{fingerprint(KEY)}" }}]\n'
    )
    (tmp_path / "some.toml").write_text(known, "utf-8")
    assert main(["copy", str(tmp_path / "some.toml"), server.url, "--yes"]) == 0
    source = open_source(server.url)
    server.signal(signal.SIGSTOP)  # so that what is learned is not in the registry yet
    source.remember(digest(OTHER), hint(OTHER), "proj_b")
    server.signal(signal.SIGCONT)
    snapshot = source.registry.snapshot
    assert (has(source, KEY), has(source, OTHER)) == (True, True)
    assert snapshot.projects["bot"].id == "proj_a"
    assert [record.project.id for record in snapshot.accounts["user-1"]] == ["proj_a"]


def test_the_first_to_learn_a_key_has_its_way(server: RedisServer) -> None:
    add(server, KEY)
    first, second = open_source(server.url), open_source(server.url)
    server.signal(signal.SIGSTOP)  # so that each learns without the other's word
    first.remember(digest(OTHER), hint(OTHER), "proj_b")
    second.remember(digest(OTHER), hint(OTHER), "proj_c")
    assert projects(first, OTHER) == ["proj_b"]
    assert projects(second, OTHER) == ["proj_c"]
    server.signal(signal.SIGCONT)
    wait(lambda: projects(first, OTHER) == projects(second, OTHER))
    kept = projects(first, OTHER)
    assert [entry.project for entry in edit.read(server.url).lookup(OTHER)] == kept
    # Nor does it help to learn it again, until an administrator says whose it is.
    assert second.remember(digest(OTHER), hint(OTHER), "proj_d")
    time.sleep(0.5)
    assert projects(first, OTHER) == projects(second, OTHER) == kept
    add(server, OTHER, "proj_e")
    wait(lambda: projects(first, OTHER) == projects(second, OTHER) == ["proj_e"])
    with pytest.raises(RegistryError, match="is registered for the project proj_e already"):
        add(server, OTHER, "proj_f")


def test_what_is_learned_beside_a_replica_waits_for_its_promotion(
    replica: RedisServer, log: Callable[[], list[str]], looks: None
) -> None:
    source = open_source(replica.url)
    assert source.remember(digest(OTHER), hint(OTHER), "proj_b")
    wait(lambda: any("cannot be written" in text for text in log()))
    time.sleep(1)
    assert [text for text in log() if "lost" in text or "in touch" in text] == []
    assert sum("cannot be written" in text for text in log()) == 1
    assert has(source, OTHER)
    replica.client().replicaof("NO", "ONE")
    wait(lambda: replica.client().hexists(f"{PREFIX}:keys", fingerprint(OTHER)))


def test_an_administrators_word_stands_over_what_is_learned(
    server: RedisServer, source: Source
) -> None:
    server.signal(signal.SIGSTOP)
    source.remember(digest(OTHER), hint(OTHER), "proj_b")
    assert has(source, OTHER)
    server.signal(signal.SIGCONT)
    edit.add(server.url, "proj_c", fingerprint(OTHER))
    wait(lambda: [e.project for e in source.registry.lookup(OTHER)] == ["proj_c"])
    assert [e.project for e in edit.read(server.url).lookup(OTHER)] == ["proj_c"]
