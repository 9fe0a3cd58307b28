"""Are a request's headers read the same whatever request came before it?"""

from __future__ import annotations

import itertools
from hashlib import sha256

from openai_project_guard._check.headers import HeaderValues, read_headers

KEY, OTHER = b"sk-proj-one", b"sk-proj-two"
HOST = (b"Host", b"host", b"api.openai.com")
BEARER = (b"Authorization", b"authorization", b"Bearer " + KEY)
PROJECT = (b"OpenAI-Project", b"openai-project", b"proj_a")
ORGANIZATION = (b"OpenAI-Organization", b"openai-organization", b"org-a")
API_KEY = (b"api-key", b"api-key", OTHER)


def _digest(key: bytes) -> bytes:
    return sha256(key).digest()


REQUESTS = [
    ([], HeaderValues(None, None, None)),
    ([HOST], HeaderValues(None, None, None)),
    ([HOST, BEARER, PROJECT], HeaderValues(_digest(KEY), b"proj_a", None)),
    ([HOST, PROJECT, BEARER], HeaderValues(_digest(KEY), b"proj_a", None)),
    (
        [HOST, (*BEARER[:2], b"Bearer " + OTHER), (*PROJECT[:2], b"proj_b")],
        HeaderValues(_digest(OTHER), b"proj_b", None),
    ),
    ([HOST, (*BEARER[:2], b"Bearer  "), PROJECT], HeaderValues(None, b"proj_a", None)),
    ([HOST, (*BEARER[:2], b"bearer " + KEY), PROJECT], HeaderValues(_digest(KEY), b"proj_a", None)),
    (
        [HOST, BEARER, PROJECT, (*PROJECT[:2], b"proj_b")],
        HeaderValues(_digest(KEY), b"proj_a\nproj_b", None),
    ),
    (
        [HOST, BEARER, PROJECT, ORGANIZATION],
        HeaderValues(_digest(KEY), b"proj_a", b"org-a"),
    ),
    (
        [HOST, BEARER, PROJECT, API_KEY],
        HeaderValues(_digest(KEY), b"proj_a", None, _digest(OTHER)),
    ),
    (
        [HOST, BEARER, PROJECT, ORGANIZATION, API_KEY],
        HeaderValues(_digest(KEY), b"proj_a", b"org-a", _digest(OTHER)),
    ),
    (
        [HOST, (*BEARER[:2], b"Basic " + KEY), PROJECT],
        HeaderValues(_digest(b"Basic " + KEY), b"proj_a", None),
    ),
    ([HOST, API_KEY, PROJECT], HeaderValues(_digest(OTHER), b"proj_a", None)),
    ([HOST, BEARER], HeaderValues(_digest(KEY), None, None)),
]


def test_each_after_each_other_and_after_itself() -> None:
    for first, second in itertools.product(REQUESTS, repeat=2):
        for headers, expected in (first, second, second, first):
            assert read_headers(headers) == expected
