"""Does the server start and end without a trace?"""

from __future__ import annotations

import socket
import struct
import subprocess
import sys
import threading
import time
from http.client import HTTPException

import openai
import pytest
from loopback_calls import KEYS, client_of, dial, raw

from openai_project_guard.loopback import LoopbackAPI, loopback_api


def test_it_stops_although_a_client_keeps_its_connection_open() -> None:
    with loopback_api(KEYS) as api:
        peer = dial(api)
        peer.sendall(b"GET /v1/models HTTP/1.1\r\n\r\n")
        assert peer.recv(1)  # an answer, so the connection has its thread
    with peer:
        while peer.recv(1000):
            pass  # until the server has hung up


def test_after_the_block_nobody_listens_and_no_thread_is_left() -> None:
    before = threading.active_count()
    with loopback_api(KEYS) as api:
        client = client_of(api)
        client.models.list()
    with pytest.raises(openai.APIConnectionError):
        client.models.list()
    client.close()
    deadline = time.monotonic() + 60
    while threading.active_count() > before and time.monotonic() < deadline:
        time.sleep(0.005)
    assert threading.active_count() <= before


def test_it_writes_nothing(
    api: LoopbackAPI, client: openai.OpenAI, capfd: pytest.CaptureFixture[str]
) -> None:
    client.models.list()
    raw(api, OpenAI_Project="proj_b")
    with dial(api) as peer:
        peer.sendall(b"nonsense\r\n\r\n")
        peer.recv(1000)
        # An abrupt reset, as a killed client causes.
        peer.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    client.models.list()
    assert capfd.readouterr() == ("", "")


def test_a_mistake_of_its_own_is_logged(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr("openai_project_guard.loopback._http.Handler._answer", lambda *_: 1 / 0)
    with loopback_api() as api, pytest.raises((ConnectionError, HTTPException)):
        raw(api)
    (record,) = caplog.records
    assert (record.name, record.levelname) == ("openai_project_guard.loopback", "ERROR")
    assert record.exc_info
    assert record.exc_info[0] is ZeroDivisionError


def test_importing_it_brings_in_no_sdk() -> None:
    code = (
        "import sys, openai_project_guard.loopback\n"
        "print([name for name in ('openai', 'wrapt', 'pydantic') if name in sys.modules])"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=30
    )
    assert done.stdout.strip() == "[]"


@pytest.mark.parametrize(
    "code",
    [
        "server = loopback_api(); server.__enter__()",
        "import contextlib as c; kept = c.ExitStack(); kept.enter_context(loopback_api())",
        "def run():\n  with loopback_api() as api:\n    yield api\nrunning = run(); next(running)",
    ],
)
def test_a_program_ends_though_its_server_was_not_left(code: str) -> None:
    """As in a notebook, where a `with` block does not reach from one cell to the next."""
    code = f"from openai_project_guard.loopback import loopback_api\n{code}"
    subprocess.run([sys.executable, "-c", code], check=True, timeout=120)
