"""Which URLs are understood, and what does the error say of one that is not?"""

from __future__ import annotations

import traceback
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
    judge,
    needs_redis,
    wait,
)

import openai_project_guard as opg
from openai_project_guard._registry import stores
from openai_project_guard._registry.redis import open_source
from openai_project_guard._registry.redis.client import Client
from openai_project_guard._registry.redis.errors import ServerError
from openai_project_guard._registry.redis.url import parse_url

if TYPE_CHECKING:
    from collections.abc import Callable

    from pytest_mock import MockerFixture

pytestmark = needs_redis


@pytest.mark.parametrize(
    ("option", "nearest"),
    [
        ("prefx=x", "prefix="),
        ("replicas=h:1", "replica="),
        ("sockettimeout=1", "socket_timeout="),
        ("pasword=verysecret", "password="),
        ("a=1", "prefix="),
    ],
)
def test_an_unknown_option_is_an_error_that_names_the_nearest(
    server: RedisServer, option: str, nearest: str
) -> None:
    url = server.url.replace("//", "//:verysecret@") + f"/0?{option}"
    with pytest.raises(opg.ConfigurationError) as caught:
        opg.enable(registry=url)
    assert nearest in str(caught.value)
    assert f"redis://127.0.0.1:{server.port}/0" in str(caught.value)
    assert "TypeError" not in str(caught.value)
    assert "verysecret" not in str(caught.value)
    with pytest.raises(opg.RegistryError, match="did you mean"):
        stores.add(url, "proj_a", fingerprint(KEY))


@pytest.mark.parametrize("option", ["socket_timeout=soon", "db=x"])
def test_a_value_that_is_not_understood_is_an_error(server: RedisServer, option: str) -> None:
    with pytest.raises(opg.RegistryError, match="this URL cannot be used") as caught:
        open_source(f"{server.url.replace('//', '//:verysecret@')}?{option}")
    assert "verysecret" not in str(caught.value)


@pytest.mark.parametrize("replica", ["[other:6380", "other:soon", ":6380", "p:VerySecret@[other"])
def test_a_replica_that_names_no_server_is_an_error_from_the_start(replica: str) -> None:
    with pytest.raises(opg.RegistryError, match="cannot be read: a replica= is not") as caught:
        opg.enable(registry=f"redis://u:VerySecret@host:6379/0?replica={replica}")
    told = "".join(
        traceback.TracebackException.from_exception(caught.value, capture_locals=True).format()
    )
    assert "VerySecret" not in told.partition("openai_project_guard/")[2]


def test_a_url_without_end_is_an_error() -> None:
    with pytest.raises(opg.RegistryError, match="it is longer than 10,000 characters"):
        opg.enable(registry="redis://host/0?" + "&replica=host:1" * 1000)


def test_a_mistyped_url_is_not_taken_for_an_outage(server: RedisServer, fallback: Path) -> None:
    add(server, KEY)
    source = open_source(server.url)
    wait(fallback.exists)
    with pytest.raises(opg.RegistryError, match="did you mean"):
        open_source(f"{server.url}?replca=h:1")
    assert has(source, KEY)


def test_the_librarys_options_are_taken_and_ours_hold(server: RedisServer) -> None:
    add(server, KEY)
    options = "socket_timeout=1&protocol=3&decode_responses=true&health_check_interval=1"
    source = open_source(f"{server.url}?{options}&retry_on_timeout=true&max_connections=1")
    add(server, OTHER)
    wait(lambda: has(source, OTHER))
    assert source.status().state == "current"


def test_a_server_may_take_as_long_as_documented(
    server: RedisServer, mocker: MockerFixture
) -> None:
    import redis

    page = (Path(__file__).parents[3] / "docs" / "fleet-on-redis.md").read_text("utf-8")
    assert "how long the server may be silent: 2 seconds, or 10 for a command" in page
    assert "the same for the connection: 2." in page
    made = mocker.spy(redis.connection.Connection, "__init__")
    names = ("socket_timeout", "socket_connect_timeout")
    stores.add(server.url, "proj_a", fingerprint(KEY))
    assert {tuple(map(call.kwargs.get, names)) for call in made.call_args_list} == {(10, 2)}
    made.reset_mock()
    open_source(server.url)
    assert {tuple(map(call.kwargs.get, names)) for call in made.call_args_list} == {(2, 2)}


def test_a_url_in_capitals(
    server: RedisServer, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    url = f"REDIS://127.0.0.1:{server.port}"
    assert stores.add(url, "proj_a", fingerprint(KEY)) == "added"
    monkeypatch.setenv("OPENAI_PROJECT_GUARD_REGISTRY", url)
    opg.enable()
    assert judge(KEY) is None
    assert isinstance(judge(KEY, "proj_b"), opg.ProjectMismatchError)
    assert stores.describe(url).name == f"redis://127.0.0.1:{server.port}/0"
    stores.add(f"UNIX://{server.directory}/redis.sock", "proj_b", fingerprint(OTHER))
    wait(lambda: judge(OTHER, "proj_b") is None)


@pytest.mark.parametrize("login", ["the first one's", "its own"])
def test_a_replica_with_a_password(
    start: Callable[..., RedisServer], log: Callable[[], list[str]], login: str
) -> None:
    own = "OtherSecret" if login == "its own" else "FirstSecret"
    server = start("--requirepass", "FirstSecret")
    replica = start(
        *("--replicaof", f"127.0.0.1 {server.port}"),
        *("--masterauth", "FirstSecret", "--requirepass", own),
    )
    place = f"127.0.0.1:{replica.port}"
    url = server.url.replace("//", "//:FirstSecret@") + (
        f"?replica={':OtherSecret@' * (login == 'its own')}{place}"
    )
    stores.add(url, "proj_a", fingerprint(KEY))
    wait(lambda: replica.client(password=own).exists("openai-project-guard:revision"))
    source = open_source(url)
    server.kill()
    wait(lambda: any("in touch again" in text for text in log()))
    assert has(source, KEY)
    replica.kill()
    wait(lambda: source.status().state == "stale")
    with pytest.raises(opg.RegistryError) as caught:
        open_source(url)
    said = "".join([*log(), str(caught.value), repr(parse_url(url)), source.name])
    assert "Secret" not in said
    assert f"redis://127.0.0.1:{server.port}/0" in said


@pytest.mark.parametrize(
    "url", ["redis://", "redis://h:port", "redis://h/zero", "unix://", "unix:[///s"]
)
def test_what_is_no_url_is_an_error(url: str) -> None:
    with pytest.raises(opg.RegistryError, match="cannot be read"):
        parse_url(url)


def test_another_database_is_another_registry(server: RedisServer) -> None:
    stores.add(f"{server.url}/3", "proj_a", fingerprint(KEY))
    assert has(open_source(f"{server.url}/3"), KEY)
    with pytest.raises(opg.RegistryError, match="no registry under the prefix"):
        open_source(server.url)


def test_no_server_at_all_shows_no_password() -> None:
    urls = [f"127.0.0.1:{free_port()}" for _ in range(2)]
    with pytest.raises(opg.RegistryError, match="refused") as caught:
        open_source(f"redis://u:VerySecret@{urls[0]}?replica=v:VerySecret2@{urls[1]}")
    assert "VerySecret" not in str(caught.value)


@pytest.mark.parametrize("trouble", ["?prefx=x", "?socket_timeout=soon", "", ":port"])
def test_no_frame_of_an_error_has_the_password(trouble: str) -> None:
    url = f"redis://user:VerySecret@127.0.0.1:{free_port()}{trouble}"
    try:
        Client(parse_url(url))
    except (ServerError, opg.RegistryError) as error:
        del url
        traced = traceback.TracebackException.from_exception(error, capture_locals=True)
        ours = [frame for frame in traced.stack if "openai_project_guard" in frame.filename]
        assert ours
        assert "VerySecret" not in "".join(str(frame.locals) for frame in ours)
    else:
        pytest.fail("there is no server")


def test_a_database_that_is_no_number_is_an_error() -> None:
    with pytest.raises(opg.RegistryError, match="not the number of a database, such as /0"):
        parse_url("redis://h:6379/zero")


def test_no_servers_password_is_shown() -> None:
    url = parse_url("redis://one:first-secret@a?replica=two:second%2Fsecret@b&replica=c:1")
    text = "first-secret was refused by a, second%2Fsecret (second/secret) by b"
    assert url.without_password(text) == "… was refused by a, … (…) by b"
    assert "secret" not in f"{url!r} {url.name}"
