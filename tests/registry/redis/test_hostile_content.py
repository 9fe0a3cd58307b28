"""What if somebody wrote rubbish into Redis?"""

from __future__ import annotations

import json
import random
import time
from pathlib import Path
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

from openai_project_guard import RegistryError
from openai_project_guard._keys import digest
from openai_project_guard._registry import stores as edit
from openai_project_guard._registry.model import Place
from openai_project_guard._registry.redis import open_source
from openai_project_guard._registry.redis.client import Stored
from openai_project_guard._registry.redis.state import RedisState

if TYPE_CHECKING:
    from collections.abc import Callable

    from openai_project_guard._registry.source import Source


pytestmark = needs_redis


@pytest.mark.parametrize(
    ("value", "why"),
    [
        ("proj_a", "its value is not JSON"),
        ("\udcff", "its value is not JSON"),
        ("[" * 50_000, "its value is not JSON"),
        ('{"proj_a": {"note": "' + "x" * 100_000 + '"}}', "its value is longer than"),
        ('{"proj_x": {}}'.ljust(65_536), "its project proj_x is not there"),  # and so was read
        ('{"proj_x": {}}'.ljust(65_537), "its value is longer than 65536 bytes"),
        ("[]", "not a JSON object"),
        ("{}", "names no project"),
        ('{"lab": {}}', "not a project id"),
        ('{"proj_a": "x"}', "something else than"),
        ('{"proj_a": {"colour": "red"}}', "something else than"),
        ('{"proj_a": {"hint": 3}}', "its hint: this is a whole number; it must be a string"),
        (json.dumps({"proj_a": {"note": KEY}}), "its note: there is a raw key here"),
        ('{"proj_x": {}}', "its project proj_x is not there"),
    ],
)
def test_a_key_that_is_not_in_order_is_refused_by_name(
    server: RedisServer, log: Callable[[], list[str]], value: str, why: str
) -> None:
    add(server, OTHER)
    server.client().hset(f"{PREFIX}:keys", fingerprint(KEY), value.encode(errors="surrogateescape"))
    source = open_source(server.url)
    assert has(source, OTHER)
    assert not has(source, KEY)
    assert any(fingerprint(KEY) in text and why in text for text in log())
    assert "CANARY" not in "".join(log())
    assert source.status().refused == 1
    add(server, KEY)  # puts it right
    wait(lambda: has(source, KEY))
    assert source.status().refused == 0


def content(projects: dict[str, str], keys: dict[str, str]) -> RedisState:
    stored = Stored(
        "1-x",
        {name.encode(): value.encode() for name, value in projects.items()},
        {name.encode(): value.encode() for name, value in keys.items()},
    )
    return RedisState.of(stored, Place("redis"))


@pytest.mark.parametrize(
    ("name", "value", "why"),
    [
        ("lab", "{}", "not a project id"),
        ("proj_b", '{"id": "proj_b"}', "it has a field beside"),
        ("proj_b", '{"alias": " x"}', "its alias: an alias is a name of one line"),
        ("proj_b", '{"alias": "proj_c"}', "must not look like a project id"),
        ("proj_b", '{"alias": "bot"}', "is that of proj_a"),
        ("proj_b", '{"organization": "x"}', "not an organization id"),
        ("proj_b", '{"service_accounts": "x"}', "its service_accounts is not an array"),
        (
            "proj_b",
            '{"service_accounts": [null]}',
            "its service_accounts: this is null; it must",
        ),
        ("proj_b", '{"service_accounts": ["user-1"]}', "is that of proj_a too"),
    ],
)
def test_a_project_that_is_not_in_order_is_refused_with_its_keys(
    name: str, value: str, why: str
) -> None:
    found = content(
        {"proj_a": '{"alias": "bot", "service_accounts": ["user-1"]}', name: value},
        {fingerprint(KEY): '{"proj_b": {}}', fingerprint(OTHER): '{"proj_a": {}}'},
    )
    assert any(why in problem for problem in found.problems.values())
    assert digest(KEY) not in found.snapshot.keys
    assert digest(OTHER) in found.snapshot.keys
    assert "user-1" in found.snapshot.accounts


def test_a_raw_key_for_a_name_is_not_shown() -> None:
    found = content({}, {KEY: "{}"})
    assert list(found.problems) == ["'sk-proj-…Ab3d'"]


# What if the content is hostile?


@pytest.mark.parametrize("part", ["projects", "keys", "revision"])
def test_a_value_of_another_type_is_an_outage(
    looks: None, server: RedisServer, source: Source, log: Callable[[], list[str]], part: str
) -> None:
    client = server.client()
    name, revision = f"{PREFIX}:{part}", client.get(f"{PREFIX}:revision")
    kept = client.hgetall(name) if part != "revision" else {}
    client.delete(name)
    client.rpush(name, "sk-proj-CANARYcanaryCANARYcanary")
    if part != "revision":
        client.set(f"{PREFIX}:revision", "7-deadbeef")
    wait(lambda: source.status().state == "stale")
    time.sleep(1)  # several attempts
    assert has(source, KEY)
    assert len(log()) == 1
    assert "WRONGTYPE" in log()[0] or "wrong kind" in log()[0]
    with pytest.raises(RegistryError, match="wrong kind"):
        open_source(server.url)
    with pytest.raises(RegistryError, match="wrong kind") as caught:
        add(server, OTHER)
    assert name in str(caught.value)
    assert "?prefix=NAME" in str(caught.value)
    with client.pipeline() as at_once:  # or the keys are read while there are none
        at_once.delete(name)
        if part == "revision":
            at_once.set(name, revision)
        else:
            at_once.hset(name, mapping=kept)
        at_once.execute()
    wait(lambda: source.status().state == "current")
    assert has(source, KEY)


def test_junk_of_every_kind_is_refused_and_nothing_else(
    server: RedisServer, log: Callable[[], list[str]]
) -> None:
    add(server, KEY)
    chance = random.Random(1)
    client = server.client()
    values = [
        *(chance.randbytes(chance.randrange(200)) for _ in range(300)),
        b"\x00" * 2_000_000,
        b"[" * 60_000,
        b"9" * 60_000,
        b"1e999999999",
        b'{"proj_a":NaN}',
        b'{"proj_a":{"hint":' + b"9" * 50_000 + b"}}",
        f'{{"proj_a":{{"note":"{OTHER}"}}}}'.encode(),
        f'{{"{OTHER}":{{}}}}'.encode(),
        f'{{"proj_{OTHER}":{{}}}}'.encode(),
        f'{{"alias":"{OTHER}"}}'.encode(),
        b'{"service_accounts":[[[]]]}',
    ]
    with client.pipeline() as junk:
        for number, value in enumerate(values):
            name = chance.randbytes(20)
            junk.hset(f"{PREFIX}:keys", name, value)
            junk.hset(f"{PREFIX}:keys", fingerprint(f"junk {number}"), value)
            junk.hset(f"{PREFIX}:projects", name, value)
            junk.hset(f"{PREFIX}:projects", f"proj_junk{number}", value)
        junk.hset(f"{PREFIX}:keys", OTHER, "{}")
        junk.hset(f"{PREFIX}:projects", f"proj_{OTHER}", "{}")
        junk.execute()

    def refusals() -> int:
        return sum("refused" in text for text in log())

    source = open_source(server.url)
    assert [entry.hint for entry in source.registry] == ["sk-proj-…Ab3d"]
    assert source.status().refused > 2 * len(values)
    assert refusals() == 11  # ten of them by name, and how many more there are
    assert "CANARY" not in "".join(log())
    found = edit.find(server.url)
    assert "CANARY" not in repr(found.problems)
    add(server, OTHER, "proj_b")
    wait(lambda: has(source, OTHER))
    assert refusals() == 11  # what was said once is not said again


def test_messages_of_every_kind_harm_nobody(
    server: RedisServer, source: Source, log: Callable[[], list[str]]
) -> None:
    chance = random.Random(2)
    client = server.client()
    for message in (
        b"",
        b" ",
        b"2",
        b"2-x " + b"lab " * 900,
        b"2-x " + b"x " * 1_000_000,
        b"2-x " + fingerprint(KEY).encode() + b" " + OTHER.encode(),
        b"9" * 5_000,
        b"99999999999999999-x",
        b"\xd9\xa3-x",
        "²-x".encode(),
        b"-1-x",
        *(chance.randbytes(300) for _ in range(100)),
    ):
        client.publish(f"{PREFIX}:changes", message)
    add(server, OTHER)
    wait(lambda: has(source, OTHER))
    assert has(source, KEY)
    assert source.status().state == "current"
    assert "CANARY" not in "".join(log())


@pytest.mark.parametrize(
    "revision",
    [
        "9" * 5_000,
        "²-x",
        "",
        KEY,
        "1-x.\n[projects.evil]\nid = 'proj_evil'\n#",
        "\x00\x1b[31m",
        "1 2",
    ],
)
def test_a_revision_that_is_none_is_taken_as_the_first(
    server: RedisServer,
    log: Callable[[], list[str]],
    fallback: Path,
    revision: str,
) -> None:
    add(server, KEY)
    server.client().set(f"{PREFIX}:revision", revision)
    source = open_source(server.url)
    assert has(source, KEY)
    wait(fallback.exists)
    text = fallback.read_text("utf-8")
    server.kill()
    wait(lambda: source.status().state == "stale")
    assert [entry.project for entry in open_source(server.url).registry] == ["proj_a"]
    server.start()
    wait(lambda: source.status().state == "current")
    add(server, OTHER)
    wait(lambda: has(source, OTHER))
    assert "CANARY" not in text + "".join(log())


def test_a_key_that_is_there_in_both_spellings_counts_once() -> None:
    found = content(
        {"proj_a": "{}", "proj_b": "{}"},
        {
            fingerprint(KEY): '{"proj_a":{}}',
            "sha256:" + fingerprint(KEY)[7:].upper(): '{"proj_b":{}}',
        },
    )
    assert len(found.snapshot.records(digest(KEY))) == 1
    assert any("in capital letters too" in problem for problem in found.problems.values())
