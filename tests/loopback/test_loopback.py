"""The loopback server, asked by the real SDK over real sockets."""

from __future__ import annotations

import http.client
import importlib
import json
import socket
import struct
import subprocess
import sys
import threading
import time
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

import openai
import pytest

from openai_project_guard.loopback import (
    ADMIN_KEY,
    DEFAULT_KEYS,
    LedgerLine,
    LoopbackAPI,
    LoopbackProject,
    loopback_api,
)

if TYPE_CHECKING:
    from collections.abc import Iterator

KEY_A = "sk-proj-demo-a-not-a-real-key-Aa1a"
KEY_B = "sk-proj-demo-b-not-a-real-key-Bb2b"
LEGACY = "sk-DemoLegacyNotRealCc3c"
KEYS = {KEY_A: "proj_a", KEY_B: "proj_b", LEGACY: ("proj_b", "proj_a")}
SAY_HI: dict[str, Any] = {
    "model": "gpt-4o-mini",
    "messages": [{"role": "user", "content": "hi"}],
}

# A class attribute since the resources became cached properties, a bare annotation before.
has_responses = pytest.mark.skipif(
    not hasattr(openai.OpenAI, "responses") and "responses" not in openai.OpenAI.__annotations__,
    reason="this SDK has no Responses API",
)
has_admin = pytest.mark.skipif(
    "admin_api_key" not in openai.OpenAI.__init__.__annotations__,
    reason="this SDK has no Administration API",
)


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


def client_of(api: LoopbackAPI, key: str = KEY_A, **options: Any) -> openai.OpenAI:
    options = {"max_retries": 0, **options}
    return openai.OpenAI(api_key=key, base_url=api.base_url, **options)


def dial(api: LoopbackAPI) -> socket.socket:
    return socket.create_connection(("127.0.0.1", urlsplit(api.base_url).port or 0), timeout=60)


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
    connection = http.client.HTTPConnection(urlsplit(api.base_url).netloc, timeout=60)
    try:
        connection.request(
            method, path, headers={name.replace("_", "-"): value for name, value in headers.items()}
        )
        answer = connection.getresponse()
        found = {name.lower(): value for name, value in answer.getheaders()}
        return answer.status, found, json.loads(answer.read())
    finally:
        connection.close()


# Who may call, and who pays


def test_a_matching_project_is_billed(api: LoopbackAPI, client: openai.OpenAI) -> None:
    client.chat.completions.create(**SAY_HI)
    (line,) = api.ledger
    assert line == LedgerLine(
        method="POST",
        path="/v1/chat/completions",
        key_hint="sk-proj-…Aa1a",
        project_header="proj_a",
        billed_project="proj_a",
        status=200,
        bytes_received=api.bytes_received,
        stream=False,
    )
    assert line.bytes_received > 200
    assert api.billed == {"proj_a": 1}


def test_another_project_is_refused_in_the_api_s_own_words(api: LoopbackAPI) -> None:
    status, headers, body = raw(api, OpenAI_Project="proj_b")
    assert status == 401
    assert body == {
        "error": {
            "message": "OpenAI-Project header should match project for API key",
            "type": "invalid_request_error",
            "param": None,
            "code": "mismatched_project",
        }
    }
    assert "openai-project" not in headers
    assert headers["x-request-id"].startswith("req_")
    assert api.ledger[0].billed_project is None
    assert api.billed == {}


def test_the_sdk_reports_the_mismatch_as_it_would_for_the_real_api(api: LoopbackAPI) -> None:
    client = client_of(api, KEY_A, project="proj_b")
    with client, pytest.raises(openai.AuthenticationError) as caught:
        client.models.list()
    assert caught.value.code == "mismatched_project"
    assert caught.value.request_id


def test_another_organization_is_refused(api: LoopbackAPI) -> None:
    client = client_of(api, organization="org-elsewhere")
    with client, pytest.raises(openai.AuthenticationError) as caught:
        client.models.list()
    assert caught.value.code == "mismatched_organization"


def test_the_own_organization_passes() -> None:
    with loopback_api(KEYS, organization="org-mine") as api:
        status, headers, _ = raw(api, OpenAI_Organization="org-mine")
    assert (status, headers["openai-organization"]) == (200, "org-mine")


def test_an_unknown_key_is_refused_and_not_echoed(api: LoopbackAPI) -> None:
    unknown = "sk-proj-unknown-to-all-Zz9z"
    status, _, body = raw(api, key=unknown)
    assert (status, body["error"]["code"]) == (401, "invalid_api_key")
    assert unknown not in json.dumps(body, ensure_ascii=False)
    assert "sk-proj-…Zz9z" in body["error"]["message"]


def test_no_key_is_refused(api: LoopbackAPI) -> None:
    assert raw(api, key=None)[0] == 401
    assert api.ledger[0].key_hint is None


@pytest.mark.parametrize("headers", [{}, {"OpenAI_Project": ""}, {"OpenAI_Project": "  "}])
def test_without_a_project_the_key_s_own_pays(api: LoopbackAPI, headers: dict[str, str]) -> None:
    status, answered, _ = raw(api, key=KEY_B, **headers)
    assert status == 200
    assert answered["openai-project"] == "proj_b"
    assert answered["openai-organization"] == "org-loopback"
    assert answered["x-request-id"]
    assert api.ledger[0].project_header == ("" if headers else None)
    assert api.billed == {"proj_b": 1}


@pytest.mark.parametrize(
    ("header", "paying"), [("proj_a", "proj_a"), ("proj_b", "proj_b"), (None, "proj_b")]
)
def test_a_legacy_key_pays_for_any_of_its_projects(
    api: LoopbackAPI, header: str | None, paying: str
) -> None:
    with client_of(api, LEGACY, project=header) as client:
        client.models.list()
    assert api.billed == {paying: 1}
    assert api.ledger[0].key_hint == "sk-…Cc3c"


def test_two_project_headers_match_no_project(api: LoopbackAPI) -> None:
    with dial(api) as peer:
        peer.sendall(
            f"GET /v1/models HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {KEY_A}\r\n"
            "OpenAI-Project: proj_a\r\nopenai-project: proj_a\r\nConnection: close\r\n\r\n".encode()
        )
        assert peer.recv(4096).startswith(b"HTTP/1.1 401 ")
    assert api.ledger[0].project_header == "proj_a, proj_a"


def test_a_key_without_a_project_is_a_mistake() -> None:
    no_project: dict[str, tuple[str, ...]] = {KEY_A: ()}
    with pytest.raises(ValueError, match="sk-proj-…Aa1a has no project"), loopback_api(no_project):
        pass


def test_the_default_keys_work() -> None:
    with loopback_api() as api:
        for key in DEFAULT_KEYS:
            assert raw(api, key=key)[0] == 200
        assert api.billed == {"proj_support": 2, "proj_billing": 1, "proj_research": 1}


# What the SDK makes of the answers


def test_chat_completion(client: openai.OpenAI) -> None:
    answer = client.chat.completions.create(**SAY_HI)
    assert answer.choices[0].message.content == "Hello from the loopback API."
    assert answer.choices[0].finish_reason == "stop"
    assert answer.usage is not None
    assert answer.usage.total_tokens == 6


def test_chat_completion_stream(api: LoopbackAPI, client: openai.OpenAI) -> None:
    chunks = list(client.chat.completions.create(**SAY_HI, stream=True))
    words = [chunk.choices[0].delta.content for chunk in chunks]
    assert "".join(word or "" for word in words) == "Hello from the loopback API."
    assert chunks[-1].choices[0].finish_reason == "stop"
    assert api.ledger[0].stream


async def test_chat_completion_stream_async(api: LoopbackAPI) -> None:
    async with openai.AsyncOpenAI(api_key=KEY_A, base_url=api.base_url) as client:
        stream = await client.chat.completions.create(**SAY_HI, stream=True)
        words = [chunk.choices[0].delta.content or "" async for chunk in stream]
    assert "".join(words) == "Hello from the loopback API."


def test_text_completion(client: openai.OpenAI) -> None:
    asked: dict[str, Any] = {"model": "gpt-3.5-turbo-instruct", "prompt": "hi"}
    plain = client.completions.create(**asked)
    assert plain.choices[0].text == "Hello from the loopback API."
    chunks = client.completions.create(**asked, stream=True)
    assert "".join(chunk.choices[0].text for chunk in chunks) == plain.choices[0].text


@has_responses
def test_response(client: openai.OpenAI) -> None:
    answer = client.responses.create(model="gpt-4o", input="hi")
    assert (answer.output_text, answer.status) == ("Hello from the loopback API.", "completed")
    assert answer.usage is not None
    assert answer.usage.total_tokens == 6


@has_responses
def test_response_stream(client: openai.OpenAI) -> None:
    events = list(client.responses.create(model="gpt-4o", input="hi", stream=True))
    assert events[0].type == "response.created"
    assert events[-1].type == "response.completed"
    assert events[-1].response.output_text == "Hello from the loopback API."
    assert [event.sequence_number for event in events] == list(range(len(events)))


@has_responses
def test_response_stream_helper(client: openai.OpenAI) -> None:
    with client.responses.stream(model="gpt-4o", input="hi") as stream:
        assert stream.get_final_response().output_text == "Hello from the loopback API."


@pytest.mark.parametrize(
    ("given", "vectors"),
    [("hi", 1), (["hi", "ho"], 2), ([1, 2, 3], 1), ([[1, 2], [3]], 2)],
)
def test_embeddings(client: openai.OpenAI, given: Any, vectors: int) -> None:
    for options in ({}, {"encoding_format": "float"}):
        answer = client.embeddings.create(model="text-embedding-3-small", input=given, **options)
        assert [item.embedding for item in answer.data] == [[0.25, -0.5, 1.0]] * vectors


def test_models(client: openai.OpenAI) -> None:
    assert "gpt-4o-mini" in [model.id for model in client.models.list()]
    assert client.models.retrieve("gpt-4o").id == "gpt-4o"


def test_file_pages_are_followed(api: LoopbackAPI, client: openai.OpenAI) -> None:
    first = client.get("/files", cast_to=object, options={"params": {"limit": 20}})
    second = client.get(
        "/files", cast_to=object, options={"params": {"limit": 20, "after": first["last_id"]}}
    )
    assert (len(first["data"]), first["has_more"]) == (20, True)
    assert (len(second["data"]), second["has_more"]) == (5, False)
    api.clear()
    files = list(client.files.list())
    if len(files) == 10:
        pytest.skip("in this SDK, files.list() does not paginate")
    assert [file.id for file in files] == [f"file-loopback-{number:02}" for number in range(1, 26)]
    assert len(api.ledger) == 3


@pytest.mark.parametrize("query", ["limit=0", "limit=some", "limit=10001", "after=nowhere"])
def test_a_bad_cursor_is_refused(api: LoopbackAPI, query: str) -> None:
    status, _, body = raw(api, path=f"/v1/files?{query}")
    assert (status, body["error"]["param"]) == (400, query.partition("=")[0])
    assert api.billed == {}


@pytest.mark.parametrize("method", ["GET", "POST", "PUT", "PATCH", "DELETE"])
def test_any_other_endpoint_gets_a_generic_object(api: LoopbackAPI, method: str) -> None:
    status, _, body = raw(api, method, "/v1/whatever/comes?next=1")
    assert status == 200
    assert (body["id"], body["object"]) == ("loopback", "loopback")
    assert (api.ledger[0].method, api.ledger[0].path) == (method, "/v1/whatever/comes")


def test_any_other_stream_ends(client: openai.OpenAI) -> None:
    stream = client.post(
        "/whatever",
        cast_to=object,
        body={"stream": True},
        stream=True,
        stream_cls=openai.Stream[object],
    )
    assert [event["id"] for event in stream] == ["loopback"]  # type: ignore[index]


def test_an_upload_is_accepted(api: LoopbackAPI, client: openai.OpenAI) -> None:
    client.files.create(file=("a.jsonl", b"x" * 100_000), purpose="batch")
    assert api.ledger[0].bytes_received > 100_000


def test_a_chunked_body_is_understood(api: LoopbackAPI) -> None:
    connection = http.client.HTTPConnection(urlsplit(api.base_url).netloc, timeout=60)
    connection.request(
        "POST",
        "/v1/completions",
        body=iter([b'{"model"', b':"chunky"}']),
        headers={"Authorization": f"Bearer {KEY_A}"},
        encode_chunked=True,
    )
    assert json.loads(connection.getresponse().read())["model"] == "chunky"
    connection.close()


# What it counts


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


def test_fail_next_wants_an_error(api: LoopbackAPI) -> None:
    with pytest.raises(ValueError, match="from 400 to 599, not 200"):
        api.fail_next(200)


def test_answer_as_names_another_project_until_the_block_ends(api: LoopbackAPI) -> None:
    with api.answer_as("proj_moved"):
        assert raw(api)[1]["openai-project"] == "proj_moved"
    assert raw(api)[1]["openai-project"] == "proj_a"
    assert api.billed == {"proj_a": 2}


# Administration


def test_administration_needs_an_admin_key(api: LoopbackAPI) -> None:
    path = "/v1/organization/projects"
    assert raw(api, path=path)[0] == 403
    assert raw(api, path=path, key=None)[0] == 401
    assert raw(api, path=path, key=ADMIN_KEY)[0] == 200
    assert [line.billed_project for line in api.ledger] == [None] * 3


def test_an_admin_key_is_for_administration_only(api: LoopbackAPI) -> None:
    assert raw(api, key=ADMIN_KEY)[0] == 403


def test_an_admin_key_may_come_with_any_project(api: LoopbackAPI) -> None:
    path = "/v1/organization/projects"
    status, headers, _ = raw(api, path=path, key=ADMIN_KEY, OpenAI_Project="proj_b")
    assert status == 200
    assert "openai-project" not in headers


def test_another_admin_key_can_be_named() -> None:
    key = "sk-admin-demo-other-Dd4d"
    with loopback_api({key: "any"}) as api:
        _, _, body = raw(api, path="/v1/organization/projects", key=key)
    assert body == {
        "object": "list",
        "data": [],
        "first_id": None,
        "last_id": None,
        "has_more": False,
    }


def test_projects_are_listed_without_the_archived_ones() -> None:
    known = [LoopbackProject("proj_old", archived=True), LoopbackProject("proj_a", "Chat")]
    with loopback_api(KEYS, projects=known) as api:
        path = "/v1/organization/projects"
        active = raw(api, path=path, key=ADMIN_KEY)[2]["data"]
        everything = raw(api, path=f"{path}?include_archived=true", key=ADMIN_KEY)[2]["data"]
    assert [(item["id"], item["name"]) for item in active] == [
        ("proj_a", "Chat"),
        ("proj_b", "proj_b"),
    ]
    assert {item["id"]: item["status"] for item in everything} == {
        "proj_old": "archived",
        "proj_a": "active",
        "proj_b": "active",
    }


def test_a_project_s_keys_are_listed_redacted(api: LoopbackAPI) -> None:
    path = "/v1/organization/projects/proj_a/api_keys"
    _, _, body = raw(api, path=path, key=ADMIN_KEY)
    (item,) = body["data"]
    assert item["redacted_value"] == "sk-proj-****...Aa1a"
    assert item["owner"]["type"] == "user"
    assert KEY_A not in json.dumps(body)


def test_an_unknown_project_has_no_keys_to_list(api: LoopbackAPI) -> None:
    path = "/v1/organization/projects/proj_none/api_keys"
    assert raw(api, path=path, key=ADMIN_KEY)[0] == 404


def test_other_administration_endpoints_answer_too(api: LoopbackAPI) -> None:
    _, _, body = raw(api, path="/v1/organization/users", key=ADMIN_KEY)
    assert body["object"] == "loopback"


@has_admin
def test_the_sdk_pages_through_projects_and_keys() -> None:
    keys = {
        f"sk-svcacct-demo-{project:02}-{key:02}-Ab{key:02}": f"proj_{project:02}"
        for project in range(45)
        for key in range(3)
    }
    with loopback_api(keys) as api:
        options = {"admin_api_key": ADMIN_KEY, "base_url": api.base_url}
        with openai.OpenAI(**options) as client:
            projects = list(client.admin.organization.projects.list())
            found = list(client.admin.organization.projects.api_keys.list("proj_07", limit=2))
    assert [project.id for project in projects] == [f"proj_{number:02}" for number in range(45)]
    assert [key.redacted_value[-4:] for key in found] == ["Ab00", "Ab01", "Ab02"]
    assert found[0].owner.type == "service_account"
    assert len(api.ledger) == 5


def test_a_full_organization_is_served_quickly() -> None:
    keys = {
        f"sk-proj-demo-{project:04}-{key}-not-real": f"proj_{project:04}"
        for project in range(2_000)
        for key in range(10)
    }
    with loopback_api(keys) as api:
        path, after, count = "/v1/organization/projects?limit=100", "", 0
        more = True
        while more:
            _, _, body = raw(api, path=path + after, key=ADMIN_KEY)
            after, more = f"&after={body['last_id']}", body["has_more"]
            count += len(body["data"])
        assert count == 2_000
        last = raw(api, path="/v1/organization/projects/proj_1999/api_keys", key=ADMIN_KEY)
        assert len(last[2]["data"]) == 10

        def cost(page: str) -> float:
            """Processor time of client and server together, the least of some."""
            found = []
            for _ in range(5):
                began = time.process_time()
                raw(api, path=path + page, key=ADMIN_KEY)
                found.append(time.process_time() - began)
            return min(found)

        assert cost("&after=proj_1899") < 10 * cost("")  # the last page costs what the first does


# WebSockets


@pytest.mark.parametrize("path", ["realtime", "responses", "live", "live/sideband"])
def test_a_websocket_greets_and_closes(api: LoopbackAPI, path: str) -> None:
    client = importlib.import_module("websockets.sync.client")
    with client.connect(
        f"{api.websocket_base_url}/{path}?model=gpt-realtime",
        additional_headers={"Authorization": f"Bearer {KEY_A}", "OpenAI-Project": "proj_a"},
    ) as peer:
        assert json.loads(peer.recv())["type"] == "session.created"
        assert peer.ping(b"there?").wait(60)
        peer.send("x" * 70_000)
        peer.send("y" * 300)
        assert peer.ping(b"still there?").wait(60)
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


# The server itself


def test_it_starts_and_stops_quickly_even_with_open_connections() -> None:
    starts, stops, threads = [], [], []
    for _ in range(5):
        threads.append(time_of_a_connection())
        began = time.perf_counter()
        with loopback_api(KEYS) as api:
            starts.append(time.perf_counter() - began)
            client = client_of(api)
            client.models.list()
            began = time.perf_counter()
        stops.append(time.perf_counter() - began)
        client.close()
    # The best of five beside the best of five of what cannot be done without: a thread, a socket
    # and a connection. Waiting for the client or for a server's usual poll would take a thousand.
    assert min(starts) < 60 * min(threads)
    assert min(stops) < 200 * min(threads)


def time_of_a_connection() -> float:
    began = time.perf_counter()
    with socket.create_server(("127.0.0.1", 0)) as server:
        thread = threading.Thread(target=lambda: server.accept()[0].close())
        thread.start()
        socket.create_connection(server.getsockname()).close()
        thread.join()
    return time.perf_counter() - began


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


def test_importing_it_brings_in_no_sdk() -> None:
    code = (
        "import sys, openai_project_guard.loopback\n"
        "print([name for name in ('openai', 'wrapt', 'pydantic') if name in sys.modules])"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=600
    )
    assert done.stdout.strip() == "[]"
