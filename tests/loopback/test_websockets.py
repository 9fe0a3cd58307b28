"""Can a WebSocket be opened?"""

from __future__ import annotations

import importlib
import json

import openai
import pytest
from loopback_calls import KEY_A, PATIENCE, client_of, raw

from openai_project_guard.loopback import LoopbackAPI


@pytest.mark.parametrize("path", ["realtime", "responses", "live", "live/sideband"])
def test_a_websocket_greets_and_closes(api: LoopbackAPI, path: str) -> None:
    client = importlib.import_module("websockets.sync.client")
    with client.connect(
        f"{api.websocket_base_url}/{path}?model=gpt-realtime",
        additional_headers={"Authorization": f"Bearer {KEY_A}", "OpenAI-Project": "proj_a"},
    ) as peer:
        assert json.loads(peer.recv())["type"] == "session.created"
        assert peer.ping(b"there?").wait(PATIENCE)
        assert peer.ping(b"!" * 125).wait(PATIENCE)  # as long as a ping may be
        peer.send("x" * 70_000)
        peer.send("y" * 300)
        assert peer.ping(b"still there?").wait(PATIENCE)
        assert peer.response.headers["openai-project"] == "proj_a"
    assert peer.close_code == 1000
    (line,) = api.ledger
    assert (line.path, line.status, line.billed_project) == (f"/v1/{path}", 101, "proj_a")
    assert api.bytes_received > 70_000 > line.bytes_received


@pytest.mark.parametrize(
    ("headers", "status"),
    [
        ({"Authorization": f"Bearer {KEY_A}", "OpenAI-Project": "proj_b"}, 401),
        ({"Authorization": "Bearer sk-proj-unknown-to-all-Zz9z"}, 401),
        ({}, 401),
    ],
)
def test_a_websocket_is_refused_before_the_upgrade(
    api: LoopbackAPI, headers: dict[str, str], status: int
) -> None:
    client = importlib.import_module("websockets.sync.client")
    with pytest.raises(importlib.import_module("websockets").InvalidStatus) as caught:
        client.connect(f"{api.websocket_base_url}/realtime", additional_headers=headers)
    assert caught.value.response.status_code == status
    assert api.ledger[0].status == status
    assert api.billed == {}


def test_a_websocket_handshake_needs_its_key(api: LoopbackAPI) -> None:
    assert raw(api, path="/v1/realtime", Upgrade="websocket", Connection="Upgrade")[0] == 400


def test_fail_next_refuses_a_websocket_too(api: LoopbackAPI) -> None:
    api.fail_next(503)
    with pytest.raises(importlib.import_module("websockets").InvalidStatus):
        importlib.import_module("websockets.sync.client").connect(
            f"{api.websocket_base_url}/realtime"
        )


@pytest.mark.skipif(
    "websocket_base_url" not in openai.OpenAI.__init__.__annotations__,
    reason="this SDK has no WebSocket with a base URL of its own",
)
class TestTheSDKsOwnSockets:
    def test_sync(self, api: LoopbackAPI) -> None:
        with client_of(api, websocket_base_url=api.websocket_base_url) as client:
            if not hasattr(client, "realtime"):
                pytest.skip("this SDK has no realtime")
            with client.realtime.connect(model="gpt-realtime") as connection:
                assert connection.recv().type == "session.created"
        assert api.billed == {"proj_a": 1}

    async def test_async(self, api: LoopbackAPI) -> None:
        async with openai.AsyncOpenAI(
            api_key=KEY_A, base_url=api.base_url, websocket_base_url=api.websocket_base_url
        ) as client:
            if not hasattr(client, "realtime"):
                pytest.skip("this SDK has no realtime")
            async with client.realtime.connect(model="gpt-realtime") as connection:
                assert (await connection.recv()).type == "session.created"
        assert api.billed == {"proj_a": 1}
