"""What if Redis is not there?"""

from __future__ import annotations

import random
import re
import signal
import time
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from ports import free_port
from redis_server import (
    KEY,
    OTHER,
    RedisServer,
    add,
    fingerprint,
    has,
    needs_redis,
    permit,
    rules,
    wait,
)

import openai_project_guard as opg
from openai_project_guard import RegistryError
from openai_project_guard._registry import stores as edit
from openai_project_guard._registry.file.atomic import locked
from openai_project_guard._registry.redis import fallback as fallback_file
from openai_project_guard._registry.redis import follower, open_source
from openai_project_guard._registry.redis.url import parse_url

if TYPE_CHECKING:
    from collections.abc import Callable

    from openai_project_guard._registry.source import Source


pytestmark = needs_redis


def test_kill_and_restart_lose_nothing(
    server: RedisServer, source: Source, log: Callable[[], list[str]]
) -> None:
    for number in range(3):
        server.kill()
        wait(lambda: source.status().state == "stale")
        assert has(source, KEY)
        server.start()
        add(server, f"key {number}")  # before or after it is in touch again
        wait(lambda number=number: has(source, f"key {number}"))  # type: ignore[misc]
        wait(lambda: source.status().state == "current")
    lost = [text for text in log() if "lost" in text]
    assert len(lost) == 3
    assert re.search(r"The last good version, \d+\.\d s old, stays active", lost[0])
    wait(lambda: sum("in touch again" in text for text in log()) == 3)


def test_the_applications_random_numbers_are_left_alone(
    server: RedisServer, log: Callable[[], list[str]]
) -> None:
    add(server, KEY)
    source = open_source(server.url)
    before = random.getstate()
    server.kill()
    wait(lambda: source.status().state == "stale")
    server.start()
    wait(lambda: any("in touch again" in text for text in log()))
    assert random.getstate() == before


def test_an_unreachable_server_at_the_start_is_an_error(by_url: Path) -> None:
    port = free_port()
    with pytest.raises(RegistryError) as caught:
        opg.enable(registry=f"redis://someone:secret@127.0.0.1:{port}/2")
    assert not opg.is_enabled()
    assert f"redis://127.0.0.1:{port}/2" in str(caught.value)
    assert "refused" in str(caught.value)
    assert "secret" not in str(caught.value)


def test_a_frozen_server_at_the_start_is_an_error(server: RedisServer) -> None:
    server.signal(signal.SIGSTOP)
    with pytest.raises(RegistryError, match=r"(?i)time") as caught:
        open_source(server.url)
    assert f"redis://127.0.0.1:{server.port}/0" in str(caught.value)
    server.signal(signal.SIGCONT)


def test_a_frozen_server_is_left_and_found_again(
    server: RedisServer, log: Callable[[], list[str]], looks: None
) -> None:
    add(server, KEY)
    source = open_source(f"{server.url}?socket_timeout=0.5")
    server.signal(signal.SIGSTOP)
    wait(lambda: source.status().state == "stale")
    wait(lambda: source.status().age > 1)
    assert has(source, KEY)
    assert sum("lost" in text for text in log()) == 1  # however often it was tried
    server.signal(signal.SIGCONT)
    edit.remove(server.url, fingerprint(KEY))
    wait(lambda: not has(source, KEY))
    wait(lambda: source.status().state == "current")


def test_a_last_good_version_stands_in_at_the_start(
    server: RedisServer, fallback: Path, log: Callable[[], list[str]]
) -> None:
    add(server, KEY, "proj_a", alias="bot", organization="org-A", note="CI")
    source = open_source(server.url)
    wait(fallback.exists)
    add(server, OTHER, "proj_b")
    wait(lambda: fingerprint(OTHER) in fallback.read_text("utf-8"))
    assert len(opg.Registry.from_file("last.toml")) == 2  # of the same format
    server.kill()
    source = open_source(server.url)
    assert has(source, KEY)
    assert source.registry.lookup(KEY)[0].organization == "org-A"
    # The file is a copy: an entry is corrected in Redis.
    saved = f"redis://127.0.0.1:{server.port}/0 (as saved in last.toml)"
    assert source.registry.lookup(KEY)[0].place == saved
    assert source.status().state == "stale"
    assert any("The last good version, in last.toml, is active" in text for text in log())
    server.start()
    edit.remove(server.url, fingerprint(KEY))
    wait(lambda: not has(source, KEY))
    assert has(source, OTHER)


def test_a_refusal_by_a_last_good_version_says_to_correct_redis_and_not_the_copy(
    server: RedisServer, fallback: Path
) -> None:
    openai = pytest.importorskip("openai")
    add(server, KEY, "proj_a")
    url = f"redis://:secret@127.0.0.1:{server.port}/0"
    server.client().config_set("requirepass", "secret")
    open_source(url)
    wait(fallback.exists)
    server.kill()
    opg.enable(registry=url)
    with pytest.raises(opg.ProjectMismatchError) as caught:
        openai.OpenAI(api_key=KEY, project="proj_b").models.list()
    text = " ".join(str(caught.value).split())
    place = f"redis://127.0.0.1:{server.port}/0 (as saved in last.toml)"
    assert f"for project proj_a, in {place}." in text
    assert f"correct it in {place}" in text
    assert "secret" not in text


def test_a_last_good_version_is_written_by_one_process_at_a_time(
    server: RedisServer, fallback: Path
) -> None:
    add(server, KEY)
    with locked(str(fallback.absolute())):  # as another process of the fleet may
        source = open_source(server.url)
        assert has(source, KEY)
        time.sleep(0.3)
        assert not fallback.exists()
    wait(fallback.exists)


def test_a_fallback_file_of_another_registry_is_left_alone(
    server: RedisServer, monkeypatch: pytest.MonkeyPatch, log: Callable[[], list[str]]
) -> None:
    monkeypatch.setenv("OPENAI_PROJECT_GUARD_SNAPSHOT", "mine.toml")
    Path("mine.toml").write_text("version = 1\n")
    add(server, KEY)
    source = open_source(server.url)
    wait(lambda: any("not the last good version of" in text for text in log()))
    assert Path("mine.toml").read_text() == "version = 1\n"
    assert has(source, KEY)
    server.kill()
    with pytest.raises(RegistryError, match="Nor is there a last good version"):
        open_source(server.url)


def test_a_last_good_version_that_cannot_be_kept_is_told_once_and_tried_again(
    looks: None,
    server: RedisServer,
    monkeypatch: pytest.MonkeyPatch,
    log: Callable[[], list[str]],
) -> None:
    monkeypatch.setattr(fallback_file, "_PAUSE", 0.0)
    monkeypatch.setenv("OPENAI_PROJECT_GUARD_SNAPSHOT", "folder/last.toml")
    Path("folder").write_text("")
    tried = []
    write = fallback_file.FallbackFile._write
    monkeypatch.setattr(
        fallback_file.FallbackFile, "_write", lambda *args: (tried.append(1), write(*args))
    )
    add(server, KEY)
    source = open_source(server.url)
    assert has(source, KEY)
    for number in range(3):
        add(server, f"key {number}")
        wait(lambda number=number: len(tried) > number)
    assert sum("The last good version cannot be kept: " in text for text in log()) == 1
    Path("folder").unlink()
    Path("folder").mkdir()
    wait(Path("folder/last.toml").exists)


@pytest.mark.parametrize(
    ("seconds", "spelled"),
    [(0.04, "0.0 s"), (119.4, "119.4 s"), (120, "2 min"), (7199, "120 min"), (7200, "2 h")],
)
def test_an_age_is_told_as_people_say_it(seconds: float, spelled: str) -> None:
    assert follower._spelled(seconds) == spelled


def test_attempts_to_connect_grow_rarer_and_differ(monkeypatch: pytest.MonkeyPatch) -> None:
    following = follower.Follower(parse_url(f"redis://127.0.0.1:{free_port()}"), None)
    waits: list[float] = []

    def wait(seconds: float) -> None:
        waits.append(seconds)
        if len(waits) == 12:
            following.stop()

    monkeypatch.setattr(following, "_wait", wait)
    following._turn = object()
    following._run(following._turn)
    longest = [min(follower._SHORTEST * 2**number, follower._LONGEST) for number in range(12)]
    assert all(most / 2 <= waited <= most for waited, most in zip(waits, longest, strict=True))
    assert len(set(waits)) == 12


def test_a_password_that_is_changed_stops_nobody(
    server: RedisServer, log: Callable[[], list[str]]
) -> None:
    add(server, KEY)
    url = permit(server, "service", rules(server, writing=False))
    source = open_source(url)
    client = server.client()
    client.execute_command("ACL", "SETUSER", "service", "resetpass", ">other")
    client.execute_command("CLIENT", "KILL", "USER", "service")
    wait(lambda: source.status().state == "stale")
    wait(lambda: log())
    assert has(source, KEY)
    assert "secret" not in "".join(log())
    add(server, OTHER)
    client.execute_command("ACL", "SETUSER", "service", ">secret")
    wait(lambda: has(source, OTHER) and source.status().state == "current")
    assert sum("lost" in text for text in log()) == 1


def test_a_server_that_lost_the_registry_takes_it_from_nobody(
    looks: None, server: RedisServer, source: Source, log: Callable[[], list[str]]
) -> None:
    server.client().flushall()
    wait(lambda: source.status().state == "stale")
    assert has(source, KEY)
    wait(lambda: any("has lost the registry" in text for text in log()))
    add(server, OTHER)
    wait(lambda: has(source, OTHER))
    wait(lambda: any("went back from revision" in text for text in log()))


def test_a_promoted_replica_takes_over(
    server: RedisServer, replica: RedisServer, log: Callable[[], list[str]]
) -> None:
    url = f"{server.url}?replica=127.0.0.1:{replica.port}"
    source = open_source(url)
    server.kill()
    wait(lambda: any("in touch again" in text for text in log()))  # it can be read already
    assert has(source, KEY)
    with pytest.raises(RegistryError, match="replica, which accepts no change"):
        edit.add(url, "proj_a", fingerprint(OTHER))
    replica.client().replicaof("NO", "ONE")
    edit.add(url, "proj_a", fingerprint(OTHER))
    wait(lambda: has(source, OTHER))


def test_a_replica_that_is_behind_is_not_believed(
    server: RedisServer, replica: RedisServer, log: Callable[[], list[str]]
) -> None:
    replica.client().replicaof("127.0.0.1", free_port())  # it hears nothing any more
    edit.remove(server.url, fingerprint(KEY))
    source = open_source(f"{server.url}?replica=127.0.0.1:{replica.port}")
    assert not has(source, KEY)
    server.kill()
    wait(lambda: source.status().state == "stale")
    time.sleep(1)
    assert not has(source, KEY)
    assert source.status().state == "stale"
