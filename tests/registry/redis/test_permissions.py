"""Who may do what, and what is never shown?"""

from __future__ import annotations

import re
import socket
import subprocess
import threading
import time
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from redis_server import (
    KEY,
    OTHER,
    ROOT,
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
from openai_project_guard._cli import main
from openai_project_guard._keys import digest, hint
from openai_project_guard._registry import stores as edit
from openai_project_guard._registry.redis import open_source
from openai_project_guard._registry.redis.url import parse_url

if TYPE_CHECKING:
    from collections.abc import Callable


pytestmark = needs_redis
PAGE = (ROOT / "docs" / "fleet-on-redis.md").read_text("utf-8")


def test_a_service_reads_and_subscribes_and_no_more(
    server: RedisServer, log: Callable[[], list[str]], looks: None
) -> None:
    url = permit(server, "service", rules(server, writing=False))
    administrator = permit(server, "administrator", rules(server, writing=True))
    edit.add(administrator, "proj_a", fingerprint(KEY))
    source = open_source(url)
    assert has(source, KEY)
    edit.add(administrator, "proj_b", fingerprint(OTHER))
    wait(lambda: has(source, OTHER))
    time.sleep(1)  # several looks at the revision
    assert source.status().state == "current"
    assert server.client().execute_command("ACL", "LOG") == []
    with pytest.raises(RegistryError) as caught:
        edit.remove(url, fingerprint(KEY))
    assert "secret" not in str(caught.value)
    edit.remove_project(administrator, "proj_b")
    wait(lambda: not has(source, OTHER))
    assert has(open_source(administrator), KEY)  # as `list`, `check` and `doctor` do


def test_a_service_that_may_not_write_keeps_what_it_learns_in_memory(
    server: RedisServer, log: Callable[[], list[str]]
) -> None:
    add(server, KEY)
    source = open_source(permit(server, "service", rules(server, writing=False)))
    assert source.remember(digest(OTHER), hint(OTHER), "proj_b")
    wait(lambda: any("what is learned cannot be written" in text for text in log()))
    assert has(source, OTHER)
    assert not source.remember(digest("a third"), "…", "proj_b")
    assert source.status().state == "current"


def test_a_service_that_may_write_shares_what_it_learns(server: RedisServer) -> None:
    add(server, KEY)
    source = open_source(permit(server, "learner", rules(server, writing=True)))
    other = open_source(permit(server, "service", rules(server, writing=False)))
    source.remember(digest(OTHER), hint(OTHER), "proj_b")
    wait(lambda: has(other, OTHER))
    assert source.status().state == "current"


@pytest.mark.parametrize("login", [":wrong@", "nobody:wrong@", ""])
def test_a_wrong_password_is_an_error(start: Callable[..., RedisServer], login: str) -> None:
    server = start("--requirepass", "secret")
    with pytest.raises(RegistryError, match="check user and password") as caught:
        open_source(server.url.replace("//", f"//{login}"))
    assert "wrong" not in str(caught.value).replace("WRONGPASS", "")
    url = server.url.replace("//", "//:secret@")
    edit.add(url, "proj_a", fingerprint(KEY))
    assert has(open_source(url), KEY)


def test_tls(tmp_path: Path, start: Callable[..., RedisServer]) -> None:
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
    server = start(*options, tls=True)
    with pytest.raises(RegistryError, match=r"(?i)certificate"):
        open_source(server.url)
    with pytest.raises(RegistryError):
        open_source(server.url.replace("rediss", "redis"))
    url = f"{server.url}?ssl_ca_certs={certificate}"
    edit.add(url, "proj_a", fingerprint(KEY))
    before = threading.enumerate()
    sources = [open_source(url)]
    edit.add(url, "proj_a", fingerprint(OTHER))
    wait(lambda: has(sources[0], OTHER))
    sources.clear()  # CPython's ssl forgets to close a socket whose peer dies in the handshake
    wait(lambda: not set(threading.enumerate()).difference(before))


@pytest.mark.parametrize("options", ["", "?prefix=team", "/2", "/2?prefix=team"])
def test_the_rules_in_an_acl_file_are_just_what_is_needed(
    tmp_path: Path,
    start: Callable[..., RedisServer],
    log: Callable[[], list[str]],
    looks: None,
    options: str,
) -> None:
    url = parse_url(f"redis://h{options}")
    commands = {"service": url.acl(writing=False), "administrator": url.acl(writing=True)}
    users = {name: said.partition(">PASSWORD ")[2] for name, said in commands.items()}
    acl = tmp_path / "users.acl"
    acl.write_text(
        "user default off\n"
        + "".join(f"user {name} on >secret {rules}\n" for name, rules in users.items())
    )
    server = start("--aclfile", str(acl))
    service, administrator = (
        f"redis://{name}:secret@127.0.0.1:{server.port}{options}" for name in users
    )
    for number in range(3):  # a new registry, a project of its own, a key of a known project
        edit.add(administrator, f"proj_{min(number, 1)}", fingerprint(f"key {number}"))
    source = open_source(service)
    assert len(source.registry) == 3
    edit.add(administrator, "proj_0", fingerprint(KEY))
    wait(lambda: has(source, KEY))
    edit.remove(administrator, fingerprint(KEY))
    wait(lambda: not has(source, KEY))
    learner = open_source(administrator)
    learner.remember(digest(OTHER), hint(OTHER), "proj_0")
    wait(lambda: has(source, OTHER))
    with pytest.raises(RegistryError) as caught:
        edit.add(service, "proj_0", fingerprint(KEY))
    assert "no permissions to run the 'watch' command" in str(caught.value)
    assert commands["administrator"] in str(caught.value)
    assert "secret" not in str(caught.value)
    assert len(edit.read(service)) == 4
    time.sleep(0.5)  # some looks at the revision
    assert source.status().state == learner.status().state == "current"
    assert [text for text in log() if ": reloaded, at" not in text] == []


@pytest.mark.parametrize("right", ["+get", "+hgetall", "+multi", "+exec", "+subscribe", "%R~"])
def test_a_service_that_lacks_a_right_is_told_which(server: RedisServer, right: str) -> None:
    add(server, KEY)
    given = " ".join(r for r in rules(server, writing=False).split() if not r.startswith(right))
    with pytest.raises(RegistryError, match=r"(?i)permission") as caught:
        open_source(permit(server, "service", given))
    assert right.strip("+%R~") in str(caught.value)
    command = f"ACL SETUSER service on >PASSWORD {rules(server, writing=False)}"
    assert str(caught.value).splitlines()[-1].strip() == command


@pytest.mark.parametrize("right", ["+select", "+get"])
@pytest.mark.parametrize("replica", [False, True])
def test_a_user_who_lacks_a_right_in_another_database_is_told_which(
    server: RedisServer, right: str, replica: bool
) -> None:
    path = f"/2?replica=localhost:{server.port}" if replica else "/2"
    url = parse_url(f"redis://h{path}")
    for user, writing in (("service", False), ("administrator", True)):
        rules = url.acl(writing=writing).partition(">PASSWORD ")[2]
        given = " ".join(rule for rule in rules.split() if rule != right)
        place = permit(server, user, given) + path
        with pytest.raises(RegistryError, match=rf"no permissions to run the '{right[1:]}'") as no:
            edit.add(place, "proj_0", fingerprint(KEY)) if writing else open_source(place)
        assert str(no.value).splitlines()[-1].strip() == url.acl(writing=writing)


@pytest.mark.parametrize("command", ["list", "check", "doctor", "register", "remove"])
def test_the_command_that_gives_the_rights_can_be_pasted(
    server: RedisServer,
    command: str,
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    """It is alone on its line, whole, and ends where it ends, however narrow the terminal is."""
    add(server, KEY)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("COLUMNS", "40")
    monkeypatch.setenv("OPENAI_API_KEY", KEY)
    is_writing = command in ("register", "remove")
    lacking = "+watch" if is_writing else "+hgetall"
    needed = rules(server, writing=is_writing)
    given = " ".join(rule for rule in needed.split() if rule != lacking)
    user = "administrator" if is_writing else "service"
    monkeypatch.setenv("OPENAI_PROJECT_GUARD_REGISTRY", permit(server, user, given))
    more = {
        "register": ["proj_b", "--key-env", "OPENAI_API_KEY", "--also", "--weak"],
        "remove": [fingerprint(KEY)],
    }
    assert main([command, *more.get(command, [])]) != 0
    printed = capsys.readouterr()
    lines = [line.strip() for line in (printed.out + printed.err).splitlines()]
    (pasted,) = {line for line in lines if "SETUSER" in line}
    assert pasted == f"ACL SETUSER {user} on >PASSWORD {needed}"
    server.client().execute_command(*pasted.replace("PASSWORD", "secret").split())
    if command in ("list", "remove"):
        assert main([command, *more.get(command, [])]) == 0


def test_the_documented_rules_are_those_that_hold() -> None:
    url = parse_url("redis://h")
    said = re.findall(r"(?m)^ACL SETUSER .+$", PAGE)
    assert said == [url.acl(writing=False), url.acl(writing=True)]


def test_no_key_reaches_redis(
    server: RedisServer, by_url: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import openai

    from openai_project_guard.loopback import loopback_api

    monkeypatch.setenv("OPENAI_PROJECT_GUARD_HOSTS", "127.0.0.1")
    add(server, KEY, note="CI")
    with (
        socket.create_connection(("127.0.0.1", server.port), timeout=30) as monitor,
        loopback_api({KEY: "proj_a", OTHER: "proj_b"}) as api,
    ):
        monitor.sendall(b"MONITOR\r\n")
        seen = monitor.recv(5)
        assert seen == b"+OK\r\n"
        opg.enable(registry=server.url, unregistered="learn")
        for key, project in ((KEY, "proj_a"), (OTHER, "proj_b")):
            with openai.OpenAI(api_key=key, project=project, base_url=api.base_url) as client:
                client.models.list()
        while b'"PUBLISH"' not in seen:
            seen += monitor.recv(65536)

    def kept() -> bytes:
        return b"".join(path.read_bytes() for path in server.directory.rglob("*.aof"))

    wait(lambda: fingerprint(OTHER).encode() in kept())
    assert fingerprint(OTHER).encode() in seen
    assert b"CANARY" not in seen
    assert b"CANARY" not in kept()
