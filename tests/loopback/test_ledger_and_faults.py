"""What does the server write down, and does it fail when told to?"""

from __future__ import annotations

import socket
import threading

import openai
import pytest
from loopback_calls import KEY_A, KEYS, SAY_HI, client_of, dial, raw

from openai_project_guard.loopback import ADMIN_KEY, LoopbackAPI, LoopbackProject


def test_connections_are_kept_alive_and_counted(api: LoopbackAPI, client: openai.OpenAI) -> None:
    assert (api.connections, api.bytes_received) == (0, 0)
    for _ in range(3):
        client.models.list()
    with pytest.raises(openai.AuthenticationError):
        client.models.list(extra_headers={"OpenAI-Project": "proj_b"})
    client.chat.completions.create(**SAY_HI)
    assert api.connections == 1
    # Having seen `[DONE]`, most releases of the SDK drop the connection without the last chunk.
    list(client.chat.completions.create(**SAY_HI, stream=True))
    client.models.list()
    assert api.connections <= 2
    assert sum(line.bytes_received for line in api.ledger) == api.bytes_received


def test_half_a_request_counts_as_bytes_but_is_no_call(api: LoopbackAPI) -> None:
    head = f"POST /v1/files HTTP/1.1\r\nAuthorization: Bearer {KEY_A}\r\n".encode()
    for start in (
        head + b"Content-Length: 9\r\n\r\nab",
        head + b"Transfer-Encoding: chunked\r\n\r\n",
    ):
        api.clear()
        with dial(api) as peer:
            peer.sendall(start)
            peer.shutdown(socket.SHUT_WR)
            assert peer.recv(1) == b""
        assert (api.connections, api.bytes_received, api.ledger) == (1, len(start), ())


def test_what_it_gives_is_a_value(api: LoopbackAPI, client: openai.OpenAI) -> None:
    client.models.list()
    for value in (api.ledger[0], LoopbackProject("proj_a")):
        assert value in {value}
        for name in vars(value):
            with pytest.raises(AttributeError):
                setattr(value, name, "changed")


def test_clear_starts_over(api: LoopbackAPI, client: openai.OpenAI) -> None:
    client.models.list()
    before = api.ledger
    api.fail_next(500)
    api.clear()
    assert (api.ledger, api.connections, api.bytes_received, api.billed) == ((), 0, 0, {})
    assert len(before) == 1
    client.models.list()


def test_many_threads_lose_no_line(api: LoopbackAPI, client: openai.OpenAI) -> None:
    def work() -> None:
        for _ in range(20):
            client.models.list()

    threads = [threading.Thread(target=work) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert api.billed == {"proj_a": 160}
    assert api.connections <= 8


def test_no_key_is_shown_anywhere(api: LoopbackAPI) -> None:
    raw(api)
    shown = repr((api, api.ledger, vars(api._server.directory), vars(api._ledger)))
    assert "sk-proj-…Aa1a" in shown
    assert not [key for key in (*KEYS, ADMIN_KEY) if key in shown]


# Faults


def test_fail_next_fails_as_often_as_told(api: LoopbackAPI, client: openai.OpenAI) -> None:
    api.fail_next(500, times=2)
    for _ in range(2):
        with pytest.raises(openai.InternalServerError):
            client.models.list()
    client.models.list()
    assert [line.status for line in api.ledger] == [500, 500, 200]
    assert api.billed == {"proj_a": 1}


def test_fail_next_can_make_the_sdk_retry(api: LoopbackAPI) -> None:
    api.fail_next(429, headers={"retry-after-ms": "1", "retry-after": "0.001"})
    with client_of(api, max_retries=1) as client:
        list(client.chat.completions.create(**SAY_HI, stream=True))
    assert [(line.status, line.stream) for line in api.ledger] == [(429, True), (200, True)]


@pytest.mark.parametrize("status", [200, 399, 600])
def test_fail_next_wants_an_error(api: LoopbackAPI, status: int) -> None:
    with pytest.raises(ValueError, match=f"from 400 to 599, not {status}"):
        api.fail_next(status)


@pytest.mark.parametrize("status", [400, 599])
def test_fail_next_takes_the_first_and_the_last_error(api: LoopbackAPI, status: int) -> None:
    api.fail_next(status)
    assert raw(api)[0] == status


def test_answer_as_names_another_project_until_the_block_ends(api: LoopbackAPI) -> None:
    with api.answer_as("proj_moved"):
        assert raw(api)[1]["openai-project"] == "proj_moved"
    assert raw(api)[1]["openai-project"] == "proj_a"
    assert api.billed == {"proj_a": 2}
