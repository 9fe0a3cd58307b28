"""How fast is a large registry?"""

from __future__ import annotations

import hashlib
import json
import time
from typing import TYPE_CHECKING

import pytest
from redis_server import (
    RedisServer,
    needs_redis,
    wait,
)

from openai_project_guard._keys import fingerprint_of
from openai_project_guard._registry.redis import open_source
from openai_project_guard._registry.redis.client import Client
from openai_project_guard._registry.redis.errors import ConflictError
from openai_project_guard._registry.redis.url import parse_url

if TYPE_CHECKING:
    from collections.abc import Callable


pytestmark = needs_redis


def test_a_hundred_thousand_keys_load_in_a_moment(
    server: RedisServer, report: Callable[[str], None]
) -> None:
    made = Client(parse_url(server.url), writing=True)
    made.commit(
        None,
        (
            {f"proj_{number}": f'{{"alias":"team-{number}"}}' for number in range(500)},
            {
                "sha256:" + hashlib.sha256(str(number).encode()).hexdigest(): json.dumps(
                    {
                        f"proj_{number % 500}": {
                            "hint": f"sk-proj-…{number % 10000:04}",
                            "note": "CI",
                        }
                    }
                )
                for number in range(100_000)
            },
        ),
    )
    started = time.perf_counter()
    source = open_source(server.url)
    took = time.perf_counter() - started
    assert len(source.registry) == 100_000
    key = fingerprint_of(hashlib.sha256(b"5").digest())
    revoked = time.monotonic()
    made.commit(made.revision(), ({}, {key: None}))
    wait(lambda: len(source.registry.snapshot.keys) == 99_999)
    reached = time.monotonic() - revoked
    with pytest.raises(ConflictError):
        made.commit("1-stale", ({}, {}))
    made.close()
    report(
        f"redis: 100,000 keys loaded in {took:.2f} s; a revocation was active after "
        f"{reached * 1000:.0f} ms"
    )
