"""What the tests of the loopback server share: its keys, and ways to ask it."""

from __future__ import annotations

import http.client
import json
import socket
from typing import Any
from urllib.parse import urlsplit

import openai

from openai_project_guard.loopback import LoopbackAPI

KEY_A = "sk-proj-demo-a-not-a-real-key-Aa1a"
KEY_B = "sk-proj-demo-b-not-a-real-key-Bb2b"
LEGACY = "sk-DemoLegacyNotRealCc3c"
PATIENCE = 120.0  # seconds for an answer on a busy machine
KEYS = {KEY_A: "proj_a", KEY_B: "proj_b", LEGACY: ("proj_b", "proj_a")}
SAY_HI: dict[str, Any] = {
    "model": "gpt-4o-mini",
    "messages": [{"role": "user", "content": "hi"}],
}


def client_of(api: LoopbackAPI, key: str = KEY_A, **options: Any) -> openai.OpenAI:
    options = {"max_retries": 0, **options}
    return openai.OpenAI(api_key=key, base_url=api.base_url, **options)


def dial(api: LoopbackAPI) -> socket.socket:
    return socket.create_connection(
        ("127.0.0.1", urlsplit(api.base_url).port or 0), timeout=PATIENCE
    )


def raw(
    api: LoopbackAPI,
    method: str = "GET",
    path: str = "/v1/models",
    key: str | None = KEY_A,
    **headers: str,
) -> tuple[int, dict[str, str], Any]:
    """One exchange without the SDK: status, headers by lower-case name, JSON."""
    if key:
        headers["Authorization"] = f"Bearer {key}"
    connection = http.client.HTTPConnection(urlsplit(api.base_url).netloc, timeout=PATIENCE)
    try:
        connection.request(
            method, path, headers={name.replace("_", "-"): value for name, value in headers.items()}
        )
        answer = connection.getresponse()
        found = {name.lower(): value for name, value in answer.getheaders()}
        return answer.status, found, json.loads(answer.read())
    finally:
        connection.close()
