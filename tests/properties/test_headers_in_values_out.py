"""Whatever bytes a call's headers hold, in any number and any case: what is read of them?"""

from __future__ import annotations

from collections.abc import Callable
from hashlib import sha256
from typing import Any

from hypothesis import example, given, settings
from hypothesis import strategies as st
from support import http

from openai_project_guard._check.headers import (
    HeaderTexts,
    candidate_digests,
    read_credential,
    read_headers,
    read_hint,
)

NAMES = [b"authorization", b"api-key", b"openai-project", b"openai-organization"]
FOREIGN = [b"host", b"user-agent", b"openai-projects", b"x-openai-project", b"proxy-authorization"]
KEYS = st.sampled_from([b"sk-proj-one-ABCDEFGH", b"sk-admin-two-ABCDEFGH", b"ek_three"])
SCHEMES = st.sampled_from([b"Bearer ", b"bearer ", b"BEARER  ", b"Bearer\t", b"Basic ", b""])
ANYTHING = st.binary(max_size=20)
VALUES = {
    b"authorization": st.tuples(SCHEMES, KEYS).map(b"".join) | ANYTHING | st.just(b"Bearer "),
    b"api-key": KEYS | ANYTHING,
    b"openai-project": st.just(b"proj_a") | ANYTHING,
    b"openai-organization": st.just(b"org-a") | ANYTHING,
}
SPELLINGS: list[Callable[[bytes], bytes]] = [bytes, bytes.upper, bytes.title]
Pairs = list[tuple[bytes, bytes]]
ONE: Pairs = [(b"Authorization", b"Bearer sk-proj-one-ABCDEFGH"), (b"OpenAI-Project", b"proj_a")]
ORGANIZATION: Pairs = [(b"OpenAI-Organization", b"org-a")]


@st.composite
def headers(draw: st.DrawFn) -> Pairs:
    names = draw(st.lists(st.sampled_from([*NAMES, *NAMES, *FOREIGN]), max_size=8))
    spell = st.sampled_from(SPELLINGS)
    return [(draw(spell)(name), draw(VALUES.get(name, ANYTHING))) for name in names]


def raw(pairs: Pairs) -> Any:
    return [(name, name.lower(), value) for name, value in pairs]


def values(pairs: Pairs, name: bytes) -> list[bytes]:
    return [value for known, value in pairs if known.lower() == name]


def key_of(authorization: bytes) -> bytes:
    """What stands behind `Bearer`, in any case; of another scheme, all of it."""
    if authorization.startswith(b"Bearer "):
        return authorization[7:].strip()
    words = authorization.split(None, 1)
    if len(words) == 2 and words[0].lower() == b"bearer":
        return words[1].strip()
    return authorization if words else b""


def digest(key: bytes) -> bytes | None:
    return sha256(key).digest() if key else None


@settings(max_examples=500, deadline=None, derandomize=True, database=None)
@given(st.lists(headers(), min_size=1, max_size=3))
@example([[(b"Authorization", b"sk-proj-alone-ABCDEFGH")]])
@example([[(b"Authorization", b"Bearer "), (b"Authorization", b"")]])
@example([[(b"Authorization", b"Bearer "), (b"api-key", b"sk-proj-one-ABCDEFGH")]])
@example([[*ONE, (b"Authorization", b"Bearer sk-proj-two-ABCDEFGH")]])
@example([[*ONE, (b"OpenAI-Project", b"proj_b")]])
@example([[*ONE, *ORGANIZATION, (b"Authorization", b"Bearer sk-proj-two-ABCDEFGH")]])
@example([[*ONE, *ORGANIZATION, (b"OpenAI-Project", b"proj_b")]])
@example([[*ONE, *ORGANIZATION, *ORGANIZATION]])
def test_the_same_is_read_whatever_came_before(calls: list[Pairs]) -> None:
    for pairs in [*calls, *calls]:  # the names of the last call are remembered
        read = read_headers(raw(pairs))
        assert read.project == joined(values(pairs, b"openai-project"))
        assert read.organization == joined(values(pairs, b"openai-organization"))
        authorization = joined(values(pairs, b"authorization"))
        api_key = joined(values(pairs, b"api-key")) or b""
        key = api_key if authorization is None else key_of(authorization)
        assert read.key_digest == digest(key or api_key)
        assert read.second_digest == (digest(api_key) if key and api_key != key else None)


def joined(found: list[bytes]) -> bytes | None:
    return b"\n".join(found) if found else None


@settings(max_examples=200, deadline=None, derandomize=True, database=None)
@given(headers())
def test_the_http_library_keeps_them_as_they_are_read(pairs: Pairs) -> None:
    kept = http.Headers(pairs)
    assert read_headers(kept._list) == read_headers(raw(pairs))


@settings(max_examples=300, deadline=None, derandomize=True, database=None)
@given(headers())
def test_no_key_is_overlooked_nor_shown(pairs: Pairs) -> None:
    read = read_headers(raw(pairs))
    if read.key_digest is None:
        return
    shown = read_hint(raw(pairs)) + repr(HeaderTexts.of(read).shown())
    # Every key that a credential names whole is a candidate, whatever stands beside it.
    words = {word for n in NAMES[:2] for value in values(pairs, n) for word in value.split()}
    for key in (b"sk-proj-one-ABCDEFGH", b"sk-admin-two-ABCDEFGH"):
        if key in words:
            assert sha256(key).digest() in candidate_digests(raw(pairs))
        assert key.decode() not in shown


@settings(max_examples=300, deadline=None, derandomize=True, database=None)
@given(st.lists(KEYS, min_size=1, max_size=3), st.sampled_from([b"authorization", b"api-key"]))
def test_the_kind_of_credential_is_that_of_its_only_key(keys: list[bytes], name: bytes) -> None:
    scheme = b"Bearer " if name == b"authorization" else b""
    kind = read_credential(raw([(name, scheme + key) for key in keys]))
    if len(keys) > 1:
        assert kind == "malformed"
    else:
        assert kind == {b"sk-p": "key", b"sk-a": "admin", b"ek_t": "ephemeral"}[keys[0][:4]]


def test_keys_in_a_list_are_candidates_each() -> None:
    one, two = b"sk-proj-one-ABCDEFGH", b"sk-proj-two-ABCDEFGH"
    for between in (b",", b", ", b" "):
        found = candidate_digests(raw([(b"Authorization", b"Bearer " + one + between + two)]))
        assert {sha256(one).digest(), sha256(two).digest()} <= set(found)


def test_the_hint_is_that_of_the_key_and_not_of_a_blank_header() -> None:
    api_key = (b"api-key", b"sk-proj-one-0123456789Ab3d")
    for blank in (b"", b"  "):
        assert read_hint(raw([(b"Authorization", blank), api_key])) == "sk-proj-…Ab3d"
    assert read_hint(raw([(b"Authorization", b"")])) == "…"
