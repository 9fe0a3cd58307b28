"""Is a call judged as it is sent, after event hooks, auth flows and redirects changed it?"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
from support import (
    BOTH,
    KEYS,
    STRANGER,
    WRONG_HEADERS,
    A,
    B,
    Recorder,
    chat,
    http,
    refused,
    sync_client,
)

import openai_project_guard as opg

pytestmark = pytest.mark.usefixtures("enabled")


RIGHT = {"OpenAI-Project": "proj_a", "Authorization": f"Bearer {A}"}

CHANGES = pytest.mark.parametrize("what", WRONG_HEADERS)


def event_hook(way: Any, headers: dict[str, str]) -> dict[str, Any]:
    hook = way.function(lambda request: request.headers.update(headers))
    return {"event_hooks": {"request": [hook]}}


def auth_flow(way: Any, headers: dict[str, str]) -> dict[str, Any]:
    class Flow(http.Auth):  # type: ignore[misc, name-defined]
        def auth_flow(self, request: Any) -> Iterator[Any]:
            request.headers.update(headers)
            yield request

    return {"auth": Flow()}


def auth_function(way: Any, headers: dict[str, str]) -> dict[str, Any]:
    def change(request: Any) -> Any:
        request.headers.update(headers)
        return request

    return {"auth": change}


def second_step_of_an_auth_flow(way: Any, headers: dict[str, str]) -> dict[str, Any]:
    class Flow(http.Auth):  # type: ignore[misc, name-defined]
        def auth_flow(self, request: Any) -> Iterator[Any]:
            yield http.Request("GET", "https://login.example.com/token")
            request.headers.update(headers)
            yield request

    return {"auth": Flow()}


CHANGERS = pytest.mark.parametrize(
    "changer",
    [event_hook, auth_flow, auth_function, second_step_of_an_auth_flow],
    ids=lambda changer: changer.__name__,
)


def at_openai(sent: Recorder) -> list[Any]:
    return [request for request in sent.requests if request.url.host == "api.openai.com"]


# --- what a user's HTTP client does after the SDK is done -----------------------------------------


@BOTH
@CHANGERS
@CHANGES
def test_what_was_right_and_is_made_wrong_is_refused(
    what: str, changer: Any, way: Any, sent: Recorder
) -> None:
    headers, error = WRONG_HEADERS[what]
    client = way.client(sent, changer(way, headers), project="proj_a")
    refused(way, lambda: chat(client), error)
    refused(way, lambda: chat(client, stream=True), error)
    assert at_openai(sent) == []


@BOTH
@CHANGES
def test_headers_of_a_kind_of_their_own_are_read_as_they_leave(way: Any, what: str) -> None:
    headers, error = WRONG_HEADERS[what]
    given = {name.lower().encode(): value.encode() for name, value in headers.items()}

    class Mine(http.Headers):  # type: ignore[misc, name-defined]
        @property
        def raw(self) -> list[tuple[bytes, bytes]]:  # which is what a transport sends
            return [(name, given.get(name.lower(), value)) for name, value in super().raw]

    def put(request: Any) -> None:
        request.headers = Mine(request.headers)

    sent = Recorder()
    client = way.client(sent, {"event_hooks": {"request": [way.function(put)]}}, project="proj_a")
    refused(way, lambda: chat(client), error)
    assert sent.requests == []


@BOTH
def test_a_refusal_at_the_transport_is_not_retried(way: Any, sent: Recorder) -> None:
    """Before `_send_request` came, the SDK retries whatever its HTTP client raises."""
    attempts: list[str] = []

    def spoil(request: Any) -> None:
        attempts.append(request.url.path)
        request.headers["OpenAI-Project"] = "proj_b"

    hooks = {"request": [way.function(spoil)]}
    client = way.client(sent, {"event_hooks": hooks}, project="proj_a", max_retries=3)
    refused(way, lambda: chat(client), opg.ProjectMismatchError)
    assert len(attempts) == 1


@BOTH
@CHANGERS
@CHANGES
def test_what_was_wrong_and_is_made_right_passes(
    what: str, changer: Any, way: Any, sent: Recorder, verdicts: list[opg.Verdict]
) -> None:
    client = way.client(sent, changer(way, RIGHT), project="proj_a")
    way.run(lambda: chat(client, extra_headers=WRONG_HEADERS[what][0]))
    assert len(at_openai(sent)) == 1
    assert [verdict.outcome for verdict in verdicts] == ["allowed"]


@BOTH
@CHANGERS
def test_a_header_is_put_in_after_everything_else_is_done(
    changer: Any, way: Any, sent: Recorder
) -> None:
    opg.enable("inject", registry=KEYS)
    client = way.client(sent, changer(way, {"Authorization": f"Bearer {B}"}))
    way.run(lambda: chat(client))
    (request,) = at_openai(sent)
    assert request.headers["openai-project"] == "proj_b"


@BOTH
def test_basic_auth_in_place_of_the_key_is_refused(way: Any, sent: Recorder) -> None:
    client = way.client(sent, {"auth": ("user", "password")}, project="proj_a")
    refused(way, lambda: chat(client), opg.UnregisteredKeyError)
    assert sent.requests == []


@BOTH
def test_the_clients_own_auth_is_judged_as_it_leaves(way: Any, sent: Recorder) -> None:
    flow = auth_flow(way, {"OpenAI-Project": "proj_b"})["auth"]
    # The sync client of 3.x asks the method, the async one and older releases the property.
    overrides = {"custom_auth": flow, "_custom_auth": lambda *_: flow}
    wrong = way.client(sent, sdk=type("Own", (way.sdk,), overrides), project="proj_a")
    refused(way, lambda: chat(wrong), opg.ProjectMismatchError)
    assert sent.requests == []


class Redirecting(Recorder):
    """A transport whose first answer sends the call elsewhere."""

    def __init__(self, target: str) -> None:
        super().__init__()
        self.target = target

    def __call__(self, request: Any) -> Any:
        answer = super().__call__(request)
        if len(self.requests) == 1:
            return http.Response(307, headers={"location": self.target})
        return answer


# --- redirects ------------------------------------------------------------------------------------


@BOTH
def test_a_redirect_to_the_same_origin_passes(way: Any) -> None:
    sent = Redirecting("/v1/models")
    client = way.client(sent, {"follow_redirects": True}, project="proj_a")
    way.run(lambda: client.get("/old", cast_to=object))
    assert sent.keys == [A, A]


@BOTH
def test_a_redirect_is_judged_by_itself(way: Any) -> None:
    sent = Redirecting("/v1/models")
    sent._before = lambda _: opg.enable(registry={"proj_b": A})
    client = way.client(sent, {"follow_redirects": True}, project="proj_a")
    refused(way, lambda: client.get("/old", cast_to=object), opg.ProjectMismatchError)
    assert len(sent.requests) == 1


@BOTH
@pytest.mark.parametrize("host", ["elsewhere.example.com", "eu.api.openai.com"])
def test_a_redirect_to_another_origin_leaves_the_key_behind_and_passes(host: str, way: Any) -> None:
    sent = Redirecting(f"https://{host}/v1/models")
    client = way.client(sent, {"follow_redirects": True}, project="proj_a")
    way.run(lambda: client.get("/old", cast_to=object))
    assert ["authorization" in request.headers for request in sent.requests] == [True, False]


@BOTH
@pytest.mark.parametrize("key", [A, STRANGER])
def test_what_another_host_says_after_a_redirect_says_nothing_of_the_key(
    key: str, way: Any, caplog: pytest.LogCaptureFixture
) -> None:
    """It did not get the key. Nothing is learned from it, and it is no drift."""
    opg.enable(registry=KEYS, unregistered="learn")

    def answer(request: Any) -> Any:
        if request.url.host == "elsewhere.example.com":
            return http.Response(200, json={}, headers={"openai-project": "proj_other"})
        return http.Response(307, headers={"location": "https://elsewhere.example.com/v1/models"})

    seen: list[opg.Verdict] = []
    opg.add_observer(seen.append)
    client = way.client(answer, {"follow_redirects": True}, project="proj_a", api_key=key)
    way.run(lambda: client.get("/old", cast_to=object))
    assert "drift" not in [verdict.reason for verdict in seen]
    assert "proj_other" not in caplog.text
    opg.enable(registry=KEYS)
    if key == STRANGER:
        refused(way, lambda: client.get("/old", cast_to=object), opg.UnregisteredKeyError)


@BOTH
@pytest.mark.parametrize("key", [B, STRANGER])
def test_a_redirect_to_another_openai_host_with_a_key_added_again_is_judged(
    key: str, way: Any
) -> None:
    sent = Redirecting("https://eu.api.openai.com/v1/models")

    def add_key(request: Any) -> None:
        if request.url.host == "eu.api.openai.com":
            request.headers["authorization"] = f"Bearer {key}"

    hooks = {"request": [way.function(add_key)]}
    client = way.client(sent, {"follow_redirects": True, "event_hooks": hooks}, project="proj_a")
    error = opg.ProjectMismatchError if key == B else opg.UnregisteredKeyError
    verdict = refused(way, lambda: client.get("/old", cast_to=object), error)
    assert verdict.host == "eu.api.openai.com"
    assert len(sent.requests) == 1


def test_a_call_whose_key_user_info_replaces_is_not_told_as_allowed(sent: Recorder) -> None:
    seen: list[opg.Verdict] = []
    opg.add_observer(seen.append)
    url = "http://user:password@gateway.example.com/v1"
    sync_client(sent, project="proj_a", base_url=url).models.list()
    assert sent.requests[0].headers["authorization"].startswith("Basic ")
    assert seen == []
