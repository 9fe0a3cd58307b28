"""A loopback server, and a client of it."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from loopback_calls import KEY_A, KEYS, client_of

from openai_project_guard.loopback import LoopbackAPI, loopback_api

if TYPE_CHECKING:
    from collections.abc import Iterator

    import openai


@pytest.fixture(autouse=True)
def _bare_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("API_KEY", "ADMIN_KEY", "PROJECT_ID", "ORG_ID", "BASE_URL", "CUSTOM_HEADERS"):
        monkeypatch.delenv(f"OPENAI_{name}", raising=False)
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")


@pytest.fixture
def api() -> Iterator[LoopbackAPI]:
    with loopback_api(KEYS) as api:
        yield api


@pytest.fixture
def client(api: LoopbackAPI) -> Iterator[openai.OpenAI]:
    with client_of(api, KEY_A, project="proj_a") as client:
        yield client
