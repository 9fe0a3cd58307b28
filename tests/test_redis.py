"""One registry for a fleet: does every process follow Redis, whatever happens to Redis?"""

from __future__ import annotations

import hashlib
import json
import logging
import os
import random
import re
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
import redis_server
from redis_server import (
    ROOT,
    RedisServer,
    add,
    announce,
    fingerprint,
    free_port,
    needs_redis,
    python,
    tomllib,
    wait,
)
from support import http

import openai_project_guard as opg
from openai_project_guard import RegistryError
from openai_project_guard._check import check as _check
from openai_project_guard._check.headers import Destination
from openai_project_guard._hooks.httpx import HTTP
from openai_project_guard._keys import digest, fingerprint_of, hint
from openai_project_guard._registry import stores as edit
from openai_project_guard._registry.model import Place
from openai_project_guard._registry.redis import client as store
from openai_project_guard._registry.redis import follower as follow
from openai_project_guard._registry.redis import open_redis
from openai_project_guard._registry.redis.client import Conflict, Fault, Store
from openai_project_guard._registry.redis.codec import Content, Raw
from openai_project_guard._registry.redis.url import read_address
from openai_project_guard._registry.transfer import Transfer

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from openai_project_guard._registry.changes import Draft
    from openai_project_guard._registry.redis.source import RedisSource

pytest.importorskip("redis", reason="redis-py is not installed")
pytestmark = needs_redis
server, by_url = redis_server.server, redis_server.by_url

KEY = "sk-proj-CANARYcanary0123456789CANARYcanaryAb3d"
OTHER = "sk-proj-CANARYcanary0123456789CANARYcanaryEf5g"
PREFIX = "openai-project-guard"


@pytest.fixture(autouse=True)
def _calm(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[None]:
    """Nobody else's registry; and no look that would find what the messages should have told."""
    monkeypatch.chdir(tmp_path)
    for name in [name for name in os.environ if name.startswith("OPENAI")]:
        monkeypatch.delenv(name)
    monkeypatch.setattr(follow, "_LOOK", 3600.0)
    monkeypatch.setattr(follow, "_LONGEST", 0.3)
    yield
    opg.disable()


@pytest.fixture
def looks(monkeypatch: pytest.MonkeyPatch) -> None:
    """Lets the thread look at the revision often."""
    monkeypatch.setattr(follow, "_LOOK", 0.2)


@pytest.fixture
def log(caplog: pytest.LogCaptureFixture) -> Callable[[], list[str]]:
    caplog.set_level(logging.INFO, logger="openai_project_guard")
    return lambda: [text for _, _, text in caplog.record_tuples]


def has(source: RedisSource, key: str) -> bool:
    return bool(source.registry.lookup(key))


def judge(key: str, project: str = "proj_a") -> BaseException | None:
    request = http.Request(
        "GET",
        "https://api.openai.com/v1/models",
        headers={"Authorization": f"Bearer {key}", "OpenAI-Project": project},
    )
    return _check.refusal(_check.Call(), request, HTTP)


# Is Redis a registry like any other?


def test_a_url_names_a_registry(server: RedisServer, by_url: Path) -> None:
    add(server, KEY)
    opg.enable(registry=server.url)
    assert judge(KEY) is None
    assert isinstance(judge(KEY, "proj_b"), opg.ProjectMismatchError)
    assert isinstance(judge(OTHER), opg.UnregisteredKeyError)
    refused = str(judge(KEY, "proj_b"))
    assert f"in redis://127.0.0.1:{server.port}/0" in refused


def test_a_file_and_a_url_hold_together(
    server: RedisServer, by_url: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    add(server, KEY)
    edit.add("some.toml", "proj_b", fingerprint(OTHER))
    names = ["some.toml", server.socket_url]
    monkeypatch.setenv("OPENAI_PROJECT_GUARD_REGISTRY", ",".join(names))
    opg.enable()
    assert judge(KEY) is None
    assert judge(OTHER, "proj_b") is None
    monkeypatch.delenv("OPENAI_PROJECT_GUARD_REGISTRY")
    opg.enable(registry=names)
    assert judge(KEY) is None
    assert judge(OTHER, "proj_b") is None


def test_two_prefixes_are_two_registries(server: RedisServer) -> None:
    edit.add(f"{server.url}?prefix=test", "proj_a", fingerprint(KEY))
    with pytest.raises(RegistryError, match="no registry under the prefix openai-project-guard"):
        open_redis(server.url)
    source = open_redis(f"{server.url}?prefix=test")
    assert [entry.place for entry in source.registry] == [f"{server.url}/0?prefix=test"]


def test_everything_that_is_registered_can_be_read(server: RedisServer) -> None:
    add(server, KEY, "proj_a", alias="bot", organization="org-A", note="CI runner")
    add(server, OTHER, "bot")
    add(server, OTHER, "proj_b", also=True)
    source = open_redis(server.url)
    entries = {(entry.hint, entry.project): entry for entry in source.registry}
    entry = entries["sk-proj-…Ab3d", "proj_a"]
    assert (entry.alias, entry.organization, entry.note) == ("bot", "org-A", "CI runner")
    assert ("sk-proj-…Ef5g", "proj_a") in entries
    assert ("sk-proj-…Ef5g", "proj_b") in entries
    everything = str(server.client().hgetall(f"{PREFIX}:keys"))
    assert "CANARY" not in everything


def test_another_package_adds_a_source(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from http.server import BaseHTTPRequestHandler, HTTPServer

    keys = {KEY: "proj_a"}

    class Answer(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(200)
            self.end_headers()
            self.wfile.write(json.dumps(keys).encode())

        def log_message(self, *_: object) -> None: ...

    blocks = re.findall(r"```\w+\n(.*?)```", (ROOT / "README.md").read_text("utf-8"), re.DOTALL)
    (code,) = [block for block in blocks if "class Vault" in block]
    (entry_point,) = [block for block in blocks if "openai_project_guard.sources" in block]
    found = tomllib.loads(entry_point)["project"]["entry-points"]
    folder = announce(tmp_path, monkeypatch, found)
    (folder / "some_vault.py").write_text(code)
    with HTTPServer(("127.0.0.1", 0), Answer) as vault:
        threading.Thread(target=vault.serve_forever, daemon=True).start()
        opg.enable(registry=f"vault://127.0.0.1:{vault.server_port}/")
        assert judge(KEY) is None
        assert judge(OTHER) is not None
        keys[OTHER] = "proj_a"
        wait(lambda: judge(OTHER) is None)
        vault.shutdown()
    assert judge(KEY) is None
    with pytest.raises(RegistryError, match="cannot be read"):
        opg.enable(registry=f"vault://127.0.0.1:{free_port()}/")


def test_without_redis_py_the_error_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "redis", None)
    with pytest.raises(RegistryError, match=r'pip install "openai-project-guard\[redis\]"'):
        open_redis("redis://127.0.0.1")


def test_a_registry_file_needs_nothing_of_this() -> None:
    code = f"""
import sys
sys.modules["redis"] = None  # as where it is not installed
import openai_project_guard as opg
opg.enable()  # the file by its default name
assert len(opg.Registry.from_file("openai-projects.toml")) == 1
assert not [name for name in sys.modules if name.startswith("{store.__package__}")]
"""
    edit.add("openai-projects.toml", "proj_a", fingerprint(KEY))
    out, err = python(code).communicate(timeout=60)
    assert (out, err) == ("", "")


# Does a change reach every process?


def test_changes_of_all_kinds_arrive(server: RedisServer) -> None:
    add(server, KEY)
    source = open_redis(server.url)
    add(server, OTHER, "proj_b", alias="lab")
    wait(lambda: has(source, OTHER))
    add(server, OTHER, "lab", organization="org-B", note="new")  # changes a known project
    wait(lambda: source.registry.lookup(OTHER)[0].organization == "org-B")
    assert source.registry.lookup(OTHER)[0].note == "new"
    edit.remove_project(server.url, "lab")
    wait(lambda: not has(source, OTHER))
    assert "lab" not in source.registry.snapshot.projects
    assert has(source, KEY)


def test_a_change_too_large_for_a_message_arrives(server: RedisServer) -> None:
    add(server, KEY)
    source = open_redis(server.url)
    edit.change(
        server.url,
        lambda draft: [draft.add("proj_a", fingerprint(f"key {number}")) for number in range(1500)],
    )
    wait(lambda: len(source.registry) == 1501)


def test_a_change_that_nobody_told_of_is_found(
    server: RedisServer, monkeypatch: pytest.MonkeyPatch, looks: None
) -> None:
    add(server, KEY)
    source = open_redis(server.url)
    client = server.client()
    client.hdel(f"{PREFIX}:keys", fingerprint(KEY))  # as after a replica's missed message
    client.set(f"{PREFIX}:revision", "7-deadbeef")
    wait(lambda: not has(source, KEY))
    client.hset(f"{PREFIX}:keys", fingerprint(KEY), '{"proj_a":{}}')  # not even the revision
    monkeypatch.setattr(follow, "_WHOLE", 0.2)
    source = open_redis(server.url)
    client.hdel(f"{PREFIX}:keys", fingerprint(KEY))
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
            sources.append(open_redis(server.url))
            time.sleep(random.uniform(0, 0.05))
    finally:
        stop.set()
        writer.join()
    for source in sources:
        wait(lambda source=source: len(source.registry) == len(written) + 1)  # type: ignore[misc]


# What if Redis is not there?


def test_kill_and_restart_lose_nothing(server: RedisServer, log: Callable[[], list[str]]) -> None:
    add(server, KEY)
    source = open_redis(server.url)
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
    assert re.search(r"The last good snapshot, \d+\.\d s old, stays in force", lost[0])
    wait(lambda: sum("in touch again" in text for text in log()) == 3)


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
        open_redis(server.url)
    assert f"redis://127.0.0.1:{server.port}/0" in str(caught.value)
    server.signal(signal.SIGCONT)


def test_a_frozen_server_is_left_and_found_again(
    server: RedisServer, log: Callable[[], list[str]], looks: None
) -> None:
    add(server, KEY)
    source = open_redis(f"{server.url}?socket_timeout=0.5")
    server.signal(signal.SIGSTOP)
    wait(lambda: source.status().state == "stale")
    wait(lambda: source.status().age > 1)
    assert has(source, KEY)
    assert sum("lost" in text for text in log()) == 1  # however often it was tried
    server.signal(signal.SIGCONT)
    edit.remove(server.url, [fingerprint(KEY)])
    wait(lambda: not has(source, KEY))
    wait(lambda: source.status().state == "current")


def test_a_last_good_snapshot_stands_in_at_the_start(
    server: RedisServer, monkeypatch: pytest.MonkeyPatch, log: Callable[[], list[str]]
) -> None:
    monkeypatch.setenv("OPENAI_PROJECT_GUARD_SNAPSHOT", "last.toml")
    add(server, KEY, "proj_a", alias="bot", organization="org-A", note="CI")
    source = open_redis(server.url)
    wait(lambda: Path("last.toml").exists())
    add(server, OTHER, "proj_b")
    wait(lambda: fingerprint(OTHER) in Path("last.toml").read_text("utf-8"))
    assert len(opg.Registry.from_file("last.toml")) == 2  # of the same format
    server.kill()
    source = open_redis(server.url)
    assert has(source, KEY)
    assert source.registry.lookup(KEY)[0].organization == "org-A"
    assert source.registry.lookup(KEY)[0].place.startswith("last.toml, line ")
    assert source.status().state == "stale"
    assert any("The last good snapshot, last.toml, is in force" in text for text in log())
    server.start()
    edit.remove(server.url, [fingerprint(KEY)])
    wait(lambda: not has(source, KEY))
    assert has(source, OTHER)


def test_a_snapshot_file_of_another_registry_is_left_alone(
    server: RedisServer, monkeypatch: pytest.MonkeyPatch, log: Callable[[], list[str]]
) -> None:
    monkeypatch.setenv("OPENAI_PROJECT_GUARD_SNAPSHOT", "mine.toml")
    Path("mine.toml").write_text("version = 1\n")
    add(server, KEY)
    source = open_redis(server.url)
    wait(lambda: any("not a snapshot of" in text for text in log()))
    assert Path("mine.toml").read_text() == "version = 1\n"
    assert has(source, KEY)
    server.kill()
    with pytest.raises(RegistryError, match="Nor is there a last good snapshot"):
        open_redis(server.url)


def test_attempts_to_connect_grow_rarer_and_differ() -> None:
    class Stopped:
        """The end of the process, after some attempts."""

        def __init__(self) -> None:
            self.waits: list[float] = []

        def is_set(self) -> bool:
            return len(self.waits) >= 12

        def wait(self, seconds: float) -> None:
            self.waits.append(seconds)

    stopped: Any = Stopped()
    follower = follow.Follower(read_address(f"redis://127.0.0.1:{free_port()}"), None)
    follower._stopped = stopped
    follower._run()
    longest = [min(follow._SHORTEST * 2**number, follow._LONGEST) for number in range(12)]
    assert all(
        most / 2 <= waited <= most for waited, most in zip(stopped.waits, longest, strict=True)
    )
    assert len(set(stopped.waits)) == 12


def test_a_password_that_is_changed_stops_nobody(
    server: RedisServer, log: Callable[[], list[str]]
) -> None:
    add(server, KEY)
    url = permit(server, "service", SERVICE)
    source = open_redis(url)
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
    server: RedisServer, log: Callable[[], list[str]], looks: None
) -> None:
    add(server, KEY)
    source = open_redis(server.url)
    server.client().flushall()
    wait(lambda: source.status().state == "stale")
    assert has(source, KEY)
    wait(lambda: any("has lost the registry" in text for text in log()))
    add(server, OTHER)
    wait(lambda: has(source, OTHER))
    wait(lambda: any("went back from revision" in text for text in log()))


def test_a_promoted_replica_takes_over(
    tmp_path: Path, server: RedisServer, log: Callable[[], list[str]]
) -> None:
    replica = RedisServer(tmp_path / "replica", "--replicaof", f"127.0.0.1 {server.port}").start()
    try:
        url = f"{server.url}?replica=127.0.0.1:{replica.port}"
        add(server, KEY)
        wait(lambda: replica.client().hexists(f"{PREFIX}:keys", fingerprint(KEY)))
        source = open_redis(url)
        server.kill()
        wait(lambda: any("in touch again" in text for text in log()))  # it can be read already
        assert has(source, KEY)
        with pytest.raises(RegistryError, match="replica, which accepts no change"):
            edit.add(url, "proj_a", fingerprint(OTHER))
        replica.client().replicaof("NO", "ONE")
        edit.add(url, "proj_a", fingerprint(OTHER))
        wait(lambda: has(source, OTHER))
    finally:
        replica.kill()


def test_a_replica_that_is_behind_is_not_believed(
    tmp_path: Path, server: RedisServer, log: Callable[[], list[str]]
) -> None:
    replica = RedisServer(tmp_path / "replica", "--replicaof", f"127.0.0.1 {server.port}").start()
    try:
        add(server, KEY)
        wait(lambda: replica.client().hexists(f"{PREFIX}:keys", fingerprint(KEY)))
        replica.client().replicaof("127.0.0.1", free_port())  # it hears nothing any more
        edit.remove(server.url, [fingerprint(KEY)])
        source = open_redis(f"{server.url}?replica=127.0.0.1:{replica.port}")
        assert not has(source, KEY)
        server.kill()
        wait(lambda: source.status().state == "stale")
        time.sleep(1)
        assert not has(source, KEY)
        assert source.status().state == "stale"
    finally:
        replica.kill()


# Who may do what?

README = (ROOT / "README.md").read_text("utf-8")
RULES = dict(re.findall(r"(?m)^ACL SETUSER (\w+) on >PASSWORD (.+)$", README))
SERVICE, ADMINISTRATOR = RULES["service"], RULES["administrator"]


def permit(server: RedisServer, name: str, rules: str) -> str:
    server.client().execute_command("ACL", "SETUSER", name, "on", ">secret", *rules.split())
    return server.url.replace("//", f"//{name}:secret@")


def test_a_service_reads_and_subscribes_and_no_more(
    server: RedisServer, log: Callable[[], list[str]], looks: None
) -> None:
    url = permit(server, "service", SERVICE)
    administrator = permit(server, "administrator", ADMINISTRATOR)
    edit.add(administrator, "proj_a", fingerprint(KEY))
    source = open_redis(url)
    assert has(source, KEY)
    edit.add(administrator, "proj_b", fingerprint(OTHER))
    wait(lambda: has(source, OTHER))
    time.sleep(1)  # several looks at the revision
    assert source.status().state == "current"
    with pytest.raises(RegistryError) as caught:
        edit.remove(url, [fingerprint(KEY)])
    assert "secret" not in str(caught.value)
    edit.remove_project(administrator, "proj_b")
    wait(lambda: not has(source, OTHER))
    assert has(open_redis(administrator), KEY)  # as `list`, `check` and `doctor` do


def test_a_service_that_may_not_write_keeps_what_it_learns_in_memory(
    server: RedisServer, log: Callable[[], list[str]]
) -> None:
    add(server, KEY)
    source = open_redis(permit(server, "service", SERVICE))
    assert source.remember(digest(OTHER), hint(OTHER), "proj_b")
    wait(lambda: any("what is learned cannot be written" in text for text in log()))
    assert has(source, OTHER)
    assert not source.remember(digest("a third"), "…", "proj_b")
    assert source.status().state == "current"


def test_a_service_that_may_write_shares_what_it_learns(server: RedisServer) -> None:
    add(server, KEY)
    source = open_redis(permit(server, "learner", ADMINISTRATOR))
    other = open_redis(permit(server, "service", SERVICE))
    source.remember(digest(OTHER), hint(OTHER), "proj_b")
    wait(lambda: has(other, OTHER))
    assert source.status().state == "current"


@pytest.mark.parametrize("login", [":wrong@", "nobody:wrong@", ""])
def test_a_wrong_password_is_an_error(tmp_path: Path, login: str) -> None:
    server = RedisServer(tmp_path / "redis", "--requirepass", "secret").start()
    try:
        with pytest.raises(RegistryError, match="check user and password") as caught:
            open_redis(server.url.replace("//", f"//{login}"))
        assert "wrong" not in str(caught.value).replace("WRONGPASS", "")
        url = server.url.replace("//", "//:secret@")
        edit.add(url, "proj_a", fingerprint(KEY))
        assert has(open_redis(url), KEY)
    finally:
        server.kill()


def test_tls(tmp_path: Path) -> None:
    certificate, key = str(tmp_path / "cert.pem"), str(tmp_path / "key.pem")
    subprocess.run(
        [
            *("openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2"),
            *("-keyout", key, "-out", certificate, "-subj", "/CN=localhost"),
            *("-addext", "subjectAltName=IP:127.0.0.1"),
        ],
        check=True,
        capture_output=True,
    )
    options = ["--tls-cert-file", certificate, "--tls-key-file", key, "--tls-auth-clients", "no"]
    server = RedisServer(tmp_path / "redis", *options, tls=True).start()
    try:
        with pytest.raises(RegistryError, match=r"(?i)certificate"):
            open_redis(server.url)
        with pytest.raises(RegistryError):
            open_redis(server.url.replace("rediss", "redis"))
        url = f"{server.url}?ssl_ca_certs={certificate}"
        edit.add(url, "proj_a", fingerprint(KEY))
        before = threading.enumerate()
        sources = [open_redis(url)]
        edit.add(url, "proj_a", fingerprint(OTHER))
        wait(lambda: has(sources[0], OTHER))
        sources.clear()  # CPython's ssl forgets to close a socket whose peer dies in the handshake
        wait(lambda: not set(threading.enumerate()).difference(before))
    finally:
        server.kill()


def test_no_key_reaches_redis(
    server: RedisServer, by_url: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import openai

    from openai_project_guard.loopback import loopback_api

    monkeypatch.setenv("OPENAI_PROJECT_GUARD_HOSTS", "127.0.0.1")
    add(server, KEY, note="CI")
    with (
        server.client().monitor() as monitor,
        loopback_api({KEY: "proj_a", OTHER: "proj_b"}) as api,
    ):
        opg.enable(registry=server.url, unregistered="learn")
        for key, project in ((KEY, "proj_a"), (OTHER, "proj_b")):
            with openai.OpenAI(api_key=key, project=project, base_url=api.base_url) as client:
                client.models.list()
        seen = ""
        while "PUBLISH" not in seen:
            seen += monitor.next_command()["command"]

    def kept() -> bytes:
        return b"".join(path.read_bytes() for path in server.directory.rglob("*.aof"))

    wait(lambda: fingerprint(OTHER).encode() in kept())
    assert fingerprint(OTHER) in seen
    assert "CANARY" not in seen
    assert b"CANARY" not in kept()


# What if somebody wrote rubbish?


@pytest.mark.parametrize(
    ("value", "why"),
    [
        ("proj_a", "its value is not JSON"),
        ("\udcff", "its value is not JSON"),
        ("[" * 100_000, "its value is not JSON"),
        ("[]", "not a JSON object"),
        ("{}", "names no project"),
        ('{"lab": {}}', "not a project id"),
        ('{"proj_a": "x"}', "something else than"),
        ('{"proj_a": {"colour": "red"}}', "something else than"),
        ('{"proj_a": {"hint": 3}}', "its hint is not text"),
        (json.dumps({"proj_a": {"note": KEY}}), "its note holds a raw key"),
        ('{"proj_a": {"learned": 1}}', "neither true nor false"),
        ('{"proj_x": {}}', "its project proj_x is not there"),
    ],
)
def test_a_key_that_is_not_in_order_is_refused_by_name(
    server: RedisServer, log: Callable[[], list[str]], value: str, why: str
) -> None:
    add(server, OTHER)
    server.client().hset(f"{PREFIX}:keys", fingerprint(KEY), value.encode(errors="surrogateescape"))
    source = open_redis(server.url)
    assert has(source, OTHER)
    assert not has(source, KEY)
    assert any(fingerprint(KEY) in text and why in text for text in log())
    assert "CANARY" not in "".join(log())
    assert source.status().faults == 1
    add(server, KEY)  # mends it
    wait(lambda: has(source, KEY))
    assert source.status().faults == 0


def content(projects: dict[str, str], keys: dict[str, str]) -> Content:
    raw = Raw(
        "1-x",
        {name.encode(): value.encode() for name, value in projects.items()},
        {name.encode(): value.encode() for name, value in keys.items()},
    )
    return Content.of(raw, Place("redis"))


@pytest.mark.parametrize(
    ("name", "value", "why"),
    [
        ("lab", "{}", "not a project id"),
        ("proj_b", '{"id": "proj_b"}', "it has a field beside"),
        ("proj_b", '{"alias": " x"}', "alias is not a name"),
        ("proj_b", '{"alias": "proj_c"}', "looks like a project id"),
        ("proj_b", '{"alias": "bot"}', "is that of proj_a"),
        ("proj_b", '{"organization": "x"}', "not an organization id"),
        ("proj_b", '{"service_accounts": "x"}', "not a list of ids"),
        ("proj_b", '{"service_accounts": ["user-1"]}', "stands under proj_a too"),
    ],
)
def test_a_project_that_is_not_in_order_is_refused_with_its_keys(
    name: str, value: str, why: str
) -> None:
    found = content(
        {"proj_a": '{"alias": "bot", "service_accounts": ["user-1"]}', name: value},
        {fingerprint(KEY): '{"proj_b": {}}', fingerprint(OTHER): '{"proj_a": {}}'},
    )
    assert any(why in fault for fault in found.faults.values())
    assert digest(KEY) not in found.snapshot.keys
    assert digest(OTHER) in found.snapshot.keys
    assert "user-1" in found.snapshot.accounts


def test_a_raw_key_for_a_name_is_not_shown() -> None:
    found = content({}, {KEY: "{}"})
    assert list(found.faults) == ["'sk-proj-…Ab3d'"]


# What about forks and the end of the process?

FORK = r"""
import os, sys, time
from openai_project_guard._registry import stores as edit
from openai_project_guard._registry.redis import open_redis
url, fingerprint = sys.argv[1:]
source = open_redis(url)
def gone(limit=30):
    end = time.monotonic() + limit
    while time.monotonic() < end:
        if not len(source.registry):
            return True
        time.sleep(0.01)
    return False
child = os.fork()
if not child:
    os.write(1, f"child {gone()} {source.status().state}\n".encode())
    os._exit(0)
time.sleep(0.3)
edit.remove(url, [fingerprint])
os.write(1, f"parent {gone()} {source.status().state}\n".encode())
os.waitpid(child, 0)
"""


@pytest.mark.skipif(not hasattr(os, "fork"), reason="there is no fork here")
def test_a_forked_child_follows_on_its_own(server: RedisServer) -> None:
    add(server, KEY)
    process = python(FORK, server.url, fingerprint(KEY))
    out, err = process.communicate(timeout=90)
    assert sorted(out.splitlines()) == ["child True current", "parent True current"], err
    assert "Traceback" not in err


END = """
import sys, time, logging
logging.basicConfig(level="INFO", stream=sys.stdout)
from openai_project_guard._registry.redis import open_redis
source = open_redis(sys.argv[1])
print("ready", flush=True)
sys.stdin.readline()
time.sleep(float(sys.argv[2]))
"""


@pytest.mark.parametrize("state", ["there", "dead", "frozen"])
def test_the_interpreter_ends_at_once_and_in_silence(server: RedisServer, state: str) -> None:
    add(server, KEY)
    url = f"{server.url}?socket_timeout=600"  # what waits for the server waits longer than we do
    processes = [python(END, url, str(number * 0.1)) for number in range(2)]
    for process in processes:
        assert process.stdout.readline() == "ready\n"
    if state == "dead":
        server.kill()
    elif state == "frozen":
        server.signal(signal.SIGSTOP)
    for process in processes:
        process.stdin.write("\n")
        process.stdin.flush()
    for process in processes:
        out, err = process.communicate(timeout=60)
        assert (process.returncode, err) == (0, "")
        assert "Traceback" not in out  # in the log, which is written there


def test_a_source_that_nobody_wants_any_more_ends(server: RedisServer) -> None:
    add(server, KEY)
    before = threading.enumerate()
    source = open_redis(server.url)
    assert set(threading.enumerate()).difference(before)
    del source
    wait(lambda: not set(threading.enumerate()).difference(before))
    wait(lambda: len(server.client().client_list()) == 1)


# Do administrators get in each other's way?


def test_two_administrators_at_once_lose_nothing(server: RedisServer) -> None:
    add(server, KEY)
    keys = [[f"key {number} of {name}" for number in range(25)] for name in range(4)]

    def work(mine: list[str]) -> None:
        for key in mine:
            add(server, key)

    threads = [threading.Thread(target=work, args=(mine,)) for mine in keys]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    registry = edit.read(server.url)
    assert len(registry) == 101


def test_a_step_that_has_become_impossible_is_an_error(server: RedisServer) -> None:
    add(server, KEY)

    def step(draft: Draft) -> None:
        draft.add("proj_b", fingerprint(OTHER))
        if draft.stored.version == before:  # the first time
            add(server, OTHER, "proj_c")

    before = edit.find(server.url).version
    with pytest.raises(RegistryError, match="is registered for the project proj_c already"):
        edit.change(server.url, step)
    assert [entry.project for entry in edit.read(server.url).lookup(OTHER)] == ["proj_c"]


def test_a_large_registry_is_read_while_others_change_it(server: RedisServer) -> None:
    count, stop = 20_000, threading.Event()
    made = Store(read_address(server.url), writing=True)
    keys: dict[str, str | None] = {
        fingerprint(f"key {number}"): '{"proj_a":{}}' for number in range(count)
    }
    made.commit(None, projects={"proj_a": "{}"}, keys=keys)

    def write() -> None:
        while not stop.is_set():
            made.commit(made.revision(), projects={}, keys={fingerprint(KEY): None})

    writer = threading.Thread(target=write)
    writer.start()
    try:
        assert len(edit.read(server.url)) == count
        assert len(open_redis(server.url).registry) == count
    finally:
        stop.set()
        writer.join()
        made.close()


def test_what_does_not_fit_is_refused_and_nothing_is_written(server: RedisServer) -> None:
    add(server, KEY, "proj_a", alias="bot")
    revision = server.client().get(f"{PREFIX}:revision")
    for arguments, why in [
        (("lab", fingerprint(OTHER)), "neither a project id"),
        (("proj_b", fingerprint(KEY)), "for the project bot already"),
    ]:
        with pytest.raises(RegistryError, match=why):
            edit.add(server.url, *arguments)
    for more, why in [
        ({"alias": "bot"}, "belongs to proj_a already"),
        ({"alias": "proj_x"}, "looks like a project id"),
        ({"organization": "x"}, "not an organization id"),
        ({"note": KEY}, "holds a raw key"),
        ({"hint": OTHER}, "raw key"),
    ]:
        with pytest.raises(RegistryError, match=why) as caught:
            edit.add(server.url, "proj_b", fingerprint(OTHER), **more)  # type: ignore[arg-type]
        assert "CANARY" not in str(caught.value)
    with pytest.raises(RegistryError, match="to change the alias"):
        edit.add(server.url, "proj_a", fingerprint(KEY), alias="robot")
    with pytest.raises(RegistryError, match="no such project"):
        edit.remove_project(server.url, "proj_z")
    with pytest.raises(RegistryError, match="no registry under the prefix"):
        edit.remove(f"{server.url}?prefix=x", [fingerprint(KEY)])
    assert edit.remove(server.url, [fingerprint(OTHER)]) == 0
    assert edit.add(server.url, "bot", fingerprint(KEY)) == "unchanged"
    assert server.client().get(f"{PREFIX}:revision") == revision
    assert edit.add(server.url, "bot", fingerprint(KEY), note="x") == "updated"


def test_a_change_without_an_answer_is_not_taken_for_somebody_elses(server: RedisServer) -> None:
    add(server, KEY)
    url = f"{server.url}?socket_timeout=0.3"
    server.client().execute_command("CLIENT", "PAUSE", "60000", "WRITE")  # it reads on
    with pytest.raises(RegistryError, match="whether the change was written is not known"):
        edit.add(url, "proj_a", fingerprint(OTHER))
    made = Store(read_address(url))
    with pytest.raises(Fault, match="not known"):
        made.commit(made.revision(), projects={}, keys={fingerprint(KEY): None})
    made.close()
    server.client().execute_command("CLIENT", "UNPAUSE")
    wait(lambda: edit.add(server.url, "proj_a", fingerprint(OTHER)) == "unchanged")


def test_an_entry_that_is_not_in_order_can_be_removed(server: RedisServer) -> None:
    add(server, KEY)
    server.client().hset(f"{PREFIX}:keys", fingerprint(OTHER), "rubbish")
    assert edit.remove(server.url, [fingerprint(OTHER)]) == 1
    assert server.client().hlen(f"{PREFIX}:keys") == 1


FILE = f"""\
version = 1

# ours
[projects.bot]
id = "proj_a"  # the first
organization = "org-A"
keys = [
  {{ fingerprint = "{fingerprint(KEY)}", hint = "sk-proj-…Ab3d", note = "CI" }},  # the runner
]
"""


def command(name: str, *arguments: str) -> int:
    import argparse
    from importlib import import_module

    module = import_module(f"openai_project_guard._cli.commands.{name}")
    parser = argparse.ArgumentParser()
    module.add_arguments(parser)
    status: int = module.run(parser.parse_args(arguments))
    return status


def test_copy_to_redis_and_back(
    server: RedisServer, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("OPENAI_PROJECT_GUARD_REGISTRY", server.url)
    Path("some.toml").write_text(FILE, "utf-8")
    assert command("copy", "some.toml", "--dry-run") == 1
    assert "+ key sk-proj-…Ab3d (CI) of proj_a" in capsys.readouterr().out
    assert server.client().keys() == []
    with pytest.raises(opg.ConfigurationError, match="Pass --yes"):
        command("copy", "some.toml")
    assert command("copy", "some.toml", "--yes") == 0
    assert command("copy", "some.toml") == 0
    assert "No difference" in capsys.readouterr().out
    source = open_redis(server.url)
    assert source.registry.lookup(KEY)[0].alias == "bot"
    assert command("copy", server.url, "new.toml", "--yes") == 0
    assert len(opg.Registry.from_file("new.toml")) == 1
    add(server, OTHER, "bot")
    add(server, "third", "proj_b")
    assert command("copy", server.url, "some.toml", "--dry-run", "--json") == 1
    out = capsys.readouterr().out
    said = json.loads(out[out.index("{") :])
    assert [step["change"] for step in said["difference"]] == ["+", "+", "+"]
    assert command("copy", server.url, "some.toml", "--yes") == 0
    text = Path("some.toml").read_text("utf-8")
    assert "# ours" in text
    assert "# the first" in text
    assert "# the runner" in text
    assert len(opg.Registry.from_file("some.toml")) == 3
    edit.remove_project(server.url, "proj_b")
    edit.remove(server.url, [fingerprint(OTHER)])
    assert command("copy", server.url, "some.toml", "--yes") == 0
    assert Path("some.toml").read_text("utf-8") == FILE
    add(server, OTHER, "bot")
    assert command("copy", "some.toml", "--yes") == 0
    wait(lambda: not has(source, OTHER) and has(source, KEY))


def test_copy_does_not_overwrite_what_it_has_not_shown(server: RedisServer) -> None:
    Path("some.toml").write_text(FILE, "utf-8")
    copy = Transfer("some.toml", server.url)
    add(server, OTHER)
    with pytest.raises(RegistryError, match="somebody else has changed the registry meanwhile"):
        copy.carry_out()
    assert len(edit.read(server.url)) == 1


def test_service_accounts_survive_a_copy(server: RedisServer) -> None:
    accounts = 'service_accounts = ["user-1", "user-2"]\nkeys'
    Path("some.toml").write_text(FILE.replace("keys", accounts, 1), "utf-8")
    assert command("copy", "some.toml", server.url, "--yes") == 0
    assert set(open_redis(server.url).registry.snapshot.accounts) == {"user-1", "user-2"}
    assert command("copy", server.url, "new.toml", "--yes") == 0
    assert set(opg.Registry.from_file("new.toml").snapshot.accounts) == {"user-1", "user-2"}
    Path("old.toml").write_text(FILE, "utf-8")
    assert command("copy", server.url, "old.toml", "--yes") == 0
    assert Path("old.toml").read_text("utf-8") == FILE.replace(
        'id = "proj_a"  # the first\n',
        'id = "proj_a"  # the first\nservice_accounts = ["user-1", "user-2"]\n',
    )


def test_copy_says_which_target_it_needs(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OPENAI_PROJECT_GUARD_REGISTRY", "redis://a,redis://b")
    with pytest.raises(opg.ConfigurationError, match=r"names several .*is meant: TARGET"):
        command("copy", "some.toml")


# Do processes learn together?

CALL = Destination("POST", "api.openai.com", "/v1/responses", "http")


def test_what_one_process_learns_all_know(server: RedisServer) -> None:
    add(server, KEY)
    first, second = open_redis(server.url), open_redis(server.url)
    assert first.remember(digest(OTHER), hint(OTHER), "proj_b", CALL)
    assert has(first, OTHER)  # at once
    wait(lambda: has(second, OTHER))
    assert second.registry.lookup(OTHER)[0].note == "learned"
    edit.remove(server.url, [fingerprint(OTHER)])
    wait(lambda: not has(first, OTHER) and not has(second, OTHER))


def test_a_key_learned_with_two_projects_belongs_to_neither(
    server: RedisServer, log: Callable[[], list[str]]
) -> None:
    verdicts: list[opg.Verdict] = []
    opg.add_observer(verdicts.append)
    try:
        add(server, KEY)
        first, second = open_redis(server.url), open_redis(server.url)
        first.remember(digest(OTHER), hint(OTHER), "proj_b", CALL)
        second.remember(digest(OTHER), hint(OTHER), "proj_c", CALL)
        wait(lambda: verdicts)
        wait(lambda: not has(first, OTHER) and not has(second, OTHER))
    finally:
        opg.remove_observer(verdicts.append)
    verdict = verdicts[0]
    assert len(verdicts) == 1
    assert verdict.reason == "drift"
    assert {*verdict.expected, verdict.actual} == {"proj_b", "proj_c"}
    assert (verdict.method, verdict.path) == ("POST", "/v1/responses")
    assert any("belongs to none of them now" in text for text in log())
    # Nor does it help to learn it again, until somebody registers it.
    assert first.remember(digest(OTHER), hint(OTHER), "proj_b", CALL)
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
        source = open_redis(replica.url)
        assert source.remember(digest(OTHER), hint(OTHER), "proj_b", CALL)
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
    source = open_redis(server.url)
    server.signal(signal.SIGSTOP)
    source.remember(digest(OTHER), hint(OTHER), "proj_b", CALL)
    assert has(source, OTHER)
    server.signal(signal.SIGCONT)
    edit.add(server.url, "proj_c", fingerprint(OTHER))
    wait(lambda: [e.project for e in source.registry.lookup(OTHER)] == ["proj_c"])
    assert [e.project for e in edit.read(server.url).lookup(OTHER)] == ["proj_c"]


# How fast is it?


def test_a_hundred_thousand_keys_load_in_a_moment(
    server: RedisServer, report: Callable[[str], None]
) -> None:
    made = Store(read_address(server.url), writing=True)
    made.commit(
        None,
        projects={f"proj_{number}": f'{{"alias":"team-{number}"}}' for number in range(500)},
        keys={
            "sha256:" + hashlib.sha256(str(number).encode()).hexdigest(): json.dumps(
                {f"proj_{number % 500}": {"hint": f"sk-proj-…{number % 10000:04}", "note": "CI"}}
            )
            for number in range(100_000)
        },
    )
    started = time.perf_counter()
    source = open_redis(server.url)
    took = time.perf_counter() - started
    assert len(source.registry) == 100_000
    key = fingerprint_of(hashlib.sha256(b"5").digest())
    revoked = time.monotonic()
    made.commit(made.revision(), projects={}, keys={key: None})
    wait(lambda: len(source.registry.snapshot.keys) == 99_999)
    reached = time.monotonic() - revoked
    with pytest.raises(Conflict):
        made.commit("1-stale", projects={}, keys={})
    made.close()
    report(
        f"redis: 100,000 keys loaded in {took:.2f} s; a revocation was in force after "
        f"{reached * 1000:.0f} ms"
    )
