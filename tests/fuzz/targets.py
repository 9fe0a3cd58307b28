"""What is fuzzed: for each kind of input a strategy, and a function that must cope with it.

A function gives back all that somebody would be shown. It raises what our errors are, and nothing
else; no password and no key may be in what it shows.
"""

from __future__ import annotations

import json
import os
import tempfile
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any, NamedTuple
from urllib.parse import urlsplit

from hypothesis import strategies as st
from support import B, fresh_guard, http, sync_client

import openai_project_guard as opg
from openai_project_guard._audit.line import line_of, parse
from openai_project_guard._check.headers import (
    HeaderTexts,
    candidate_digests,
    read_credential,
    read_headers,
    read_hint,
)
from openai_project_guard._check.verdict import decide
from openai_project_guard._cli.env_files import read_env_file
from openai_project_guard._errors import ConfigurationError
from openai_project_guard._keys import find_key, hint, redact, validate_key, weakness
from openai_project_guard._registry.model import Place
from openai_project_guard._registry.redis.client import Stored
from openai_project_guard._registry.redis.state import RedisState
from openai_project_guard._registry.redis.url import parse_url
from openai_project_guard._types import Mode, Policy

KEY = "sk-proj-CANARYcanary0123456789CANARYcanaryAb3d"
PASSWORD = "p4ssw0rd-CANARY-canary"
FINGERPRINT = "sha256:" + "0" * 64


def mangled(seeds: list[str], words: list[str]) -> st.SearchStrategy[str]:
    """Texts that look like the seeds: parts doubled, cut out, put elsewhere, or anything put in."""

    @st.composite
    def strategy(draw: st.DrawFn) -> str:
        text = draw(st.sampled_from(seeds))
        for _ in range(draw(st.integers(0, 4))):
            start = draw(st.integers(0, len(text)))
            end = min(start + draw(st.integers(0, 20)), len(text))
            put = draw(st.sampled_from(words) | st.text(max_size=5) | st.just(text[start:end] * 2))
            text = text[:start] + put * draw(st.sampled_from([1, 1, 1, 2, 200])) + text[end:]
        return text

    return strategy()


REGISTRY = f"""version = 1

[projects.support-bot]  # a comment
id = "proj_a"
organization = "org-one"
service_accounts = ["user-svc-01"]
keys = [
  {{ fingerprint = "{FINGERPRINT}", hint = "sk-proj-…Ab3d", note = "CI runner" }},
]
"""
TOML = [KEY, '"', "'", '"""', "[", "]", "{", "}", "=", "\n", ".", "\\u0000", "1e400", "1979-05-27"]
URLS = [
    f"redis://user:{PASSWORD}@host:6379/0?prefix=x&replica=other:6380",
    f"rediss://:{PASSWORD}@[::1]:6379/",
    f"unix:///run/redis.sock?db=2&password={PASSWORD}",
]
ENV = f"""export OPENAI_API_KEY={KEY}
OPENAI_PROJECT_ID="proj_a" # comment
A='${{OPENAI_API_KEY}}'
B=${{MISSING:-${{A}}}}
"""
LINE = '{"version":1,"host":"h","pid":1,"started":"2026-01-01T00:00:00.000Z"}'
COUNT = (
    '{"call_site":"a.py:1 in f","client_site":null,"key_hint":"sk-…Ab3d","project":"proj_a",'
    '"outcome":"warned","reason":"mismatch","host":"h","method":"GET","count":2,'
    '"first":"2026-01-01T00:00:00.000Z","last":"2026-01-01T00:00:00.000Z","expected":["proj_a"]}'
)
BINDING = json.dumps({"proj_a": {"hint": "sk-proj-…Ab3d", "note": "x", "learned": True}})
PROJECT = json.dumps({"alias": "bot", "organization": "org-one", "service_accounts": ["svc"]})
JSON = [KEY, '"', "{", "}", "[", "]", ":", ",", "null", "true", "1e999", "NaN", "\\ud800", "-0"]


def with_file(text: str, name: str, use: Callable[[Path], object]) -> str:
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, name)
        path.write_bytes(text.encode("utf-8", "surrogatepass"))
        try:
            return repr(use(path))
        except ConfigurationError as error:
            return f"{error} {error!r} {error.__dict__}"


def registry_text(text: str) -> str:
    return with_file(text, "openai-projects.toml", lambda path: list(opg.Registry.from_file(path)))


def url(text: str) -> str:
    try:
        found = parse_url(text)
    except ConfigurationError as error:
        return f"{error} {error!r} {error.__dict__}"
    shown = f"{found!r} {found.acl(writing=True)} {found.without_password(text)}"
    if text.count(PASSWORD) == 1 and urlsplit(text).password == PASSWORD:
        return shown
    return shown.replace(PASSWORD, "…")  # it stands where no password does


def env_file(text: str) -> str:
    def read(path: Path) -> object:
        return read_env_file(str(path), {"OPENAI_API_KEY": KEY})

    return with_file(text, ".env", read)


def environment(text: str) -> str:
    """As the value of each variable of ours."""
    shown = ""
    for name in ("", "_KEYS", "_PROJECT", "_UNREGISTERED", "_HOSTS", "_SCOPE", "_OVERRIDE"):
        if "\0" in text:
            continue
        os.environ[f"OPENAI_PROJECT_GUARD{name}"] = text.encode("utf-8", "ignore").decode()
        try:
            with fresh_guard(), suppress(opg.RegistryError):
                opg.enable()
        except ConfigurationError as error:
            shown += f"{error} {error.__dict__}"
        finally:
            del os.environ[f"OPENAI_PROJECT_GUARD{name}"]
    return shown


def headers(pairs: list[tuple[bytes, bytes]]) -> str:
    raw: Any = [(name, name.lower(), value) for name, value in pairs]
    read = read_headers(raw)
    if read.key_digest is None:
        return ""
    candidate_digests(raw)
    texts = HeaderTexts.of(read)
    policy = Policy(Mode.INJECT, "learn", "proj_a")
    verdict = decide(texts.project, texts.organization, (), policy, read_credential(raw))
    return f"{verdict} {read_hint(raw)} {texts.shown()}"


def server_answer(answer: tuple[int, list[tuple[bytes, bytes]], bytes]) -> str:
    status, pairs, body = answer

    def respond(_: Any) -> Any:
        return http.Response(status, headers=pairs, content=body)

    with fresh_guard():
        seen: list[object] = []
        opg.add_observer(seen.append)
        opg.enable(registry={"proj_a": KEY}, unregistered="learn")
        for key in (KEY, B):
            client = sync_client(respond, api_key=key, project="proj_a")
            try:
                client.models.list()
            except Exception as error:  # of the SDK; what it says of a body is not ours to change
                if type(error).__module__.startswith("openai_project_guard"):
                    raise
                seen += getattr(error, "__notes__", ())
    return repr(seen)


def redis_content(content: tuple[dict[bytes, bytes], dict[bytes, bytes]]) -> str:
    projects, keys = content
    state = RedisState.of(Stored("1", projects, keys), Place("redis://h/0"))
    state = state.with_keys("2", dict(list(keys.items())[:1]))
    return repr(state.problems)


def audit_line(text: str) -> str:
    found = parse(text.encode("utf-8", "surrogatepass"))
    if hasattr(found, "count"):
        line_of(found)  # type: ignore[arg-type]
    return repr(found)


def key_text(text: str) -> str:
    with suppress(ConfigurationError):
        validate_key(text)
    weakness(text)
    find_key(text)
    return redact(text) + hint(text)


class Target(NamedTuple):
    """Inputs, what copes with them, and what must not be in what that shows."""

    inputs: st.SearchStrategy[Any]
    run: Callable[[Any], str]
    secrets: tuple[str, ...] = (KEY,)

    def check(self, value: Any) -> None:
        shown = self.run(value)
        assert not any(secret in shown for secret in self.secrets), shown


NAMES = st.sampled_from([b"Authorization", b"api-key", b"OpenAI-Project", b"openai-organization"])
VALUES = (
    mangled([f"Bearer {KEY}", KEY, "proj_a", f"{KEY},{KEY}"], [KEY, " ", "\t", "\x00", "Bearer "])
    .map(lambda text: text.encode("latin-1", "replace"))
    .filter(lambda value: len(value) < 20_000)
) | st.binary(max_size=30)
ANSWERED = st.sampled_from([b"openai-project", b"OpenAI-Project", b"content-type", b"x"])
CLEAN = VALUES.map(lambda value: bytes(b for b in value if 31 < b < 127).strip())
BYTES = mangled([BINDING, PROJECT, FINGERPRINT, "proj_a"], JSON).map(
    lambda text: text.encode("utf-8", "surrogatepass")
) | st.binary(max_size=20)

TARGETS = {
    "registry text": Target(mangled([REGISTRY], TOML), registry_text),
    "URL": Target(
        mangled(URLS, ["@", "/", ":", "//", "?", "&", "[", "]", "%", "redis://", PASSWORD]),
        url,
        (PASSWORD,),
    ),
    "env file": Target(mangled([ENV], [KEY, "${", "}", "'", '"', "\\", "\n", ":-", "="]), env_file),
    "environment": Target(
        mangled(
            [f"proj_a={FINGERPRINT},proj_b={FINGERPRINT}", "enforce", "proj_a", KEY], [KEY, ","]
        ),
        environment,
    ),
    "headers": Target(st.lists(st.tuples(NAMES, VALUES), max_size=5), headers),
    "server answer": Target(
        st.tuples(
            st.sampled_from([200, 201, 204, 301, 400, 401, 403, 404, 500]),
            st.lists(st.tuples(ANSWERED, CLEAN), max_size=3),
            mangled(['{"error":{"code":"mismatched_project","message":"m"}}'], JSON).map(
                lambda text: text.encode("utf-8", "replace")
            ),
        ),
        server_answer,
    ),
    "Redis content": Target(
        st.tuples(
            st.dictionaries(BYTES | st.just(b"proj_a"), BYTES, max_size=3),
            st.dictionaries(BYTES | st.just(FINGERPRINT.encode()), BYTES, max_size=3),
        ),
        redis_content,
    ),
    "audit line": Target(mangled([LINE, COUNT], JSON), audit_line),
    "text with a key": Target(
        mangled([KEY, f"redis://u:{PASSWORD}@h {KEY}", "sk-learn-x"], ["-", "sk-", "a", ":/", "@"]),
        key_text,
    ),
}
