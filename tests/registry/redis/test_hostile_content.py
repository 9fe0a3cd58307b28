"""What if somebody wrote rubbish into Redis?"""

from __future__ import annotations

import json
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

from openai_project_guard._keys import digest
from openai_project_guard._registry.model import Place
from openai_project_guard._registry.redis import open_source
from openai_project_guard._registry.redis.client import Stored
from openai_project_guard._registry.redis.state import State

if TYPE_CHECKING:
    from collections.abc import Callable


pytestmark = needs_redis


@pytest.mark.parametrize(
    ("value", "why"),
    [
        ("proj_a", "its value is not JSON"),
        ("\udcff", "its value is not JSON"),
        ("[" * 50_000, "its value is not JSON"),
        ('{"proj_a": {"note": "' + "x" * 100_000 + '"}}', "its value is longer than"),
        ("[]", "not a JSON object"),
        ("{}", "names no project"),
        ('{"lab": {}}', "not a project id"),
        ('{"proj_a": "x"}', "something else than"),
        ('{"proj_a": {"colour": "red"}}', "something else than"),
        ('{"proj_a": {"hint": 3}}', "its hint: this is a whole number; it must be a string"),
        (json.dumps({"proj_a": {"note": KEY}}), "its note: a raw key stands here"),
        ('{"proj_a": {"learned": 1}}', "neither true nor false"),
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
    assert source.status().faults == 1
    add(server, KEY)  # mends it
    wait(lambda: has(source, KEY))
    assert source.status().faults == 0


def content(projects: dict[str, str], keys: dict[str, str]) -> State:
    stored = Stored(
        "1-x",
        {name.encode(): value.encode() for name, value in projects.items()},
        {name.encode(): value.encode() for name, value in keys.items()},
    )
    return State.of(stored, Place("redis"))


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
    assert any(why in fault for fault in found.faults.values())
    assert digest(KEY) not in found.snapshot.keys
    assert digest(OTHER) in found.snapshot.keys
    assert "user-1" in found.snapshot.accounts


def test_a_raw_key_for_a_name_is_not_shown() -> None:
    found = content({}, {KEY: "{}"})
    assert list(found.faults) == ["'sk-proj-…Ab3d'"]
