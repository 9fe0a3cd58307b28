"""Is a call whose key and project do not agree refused, however they came together?"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import openai
import pytest
from support import BOTH, STRANGER, VERSION, A, B, Recorder, Sync, chat, http

import openai_project_guard as opg

pytestmark = pytest.mark.usefixtures("enabled")

# Rows of "how the header gets its value": what the caller does, and what is wrong with it.
WRONG: dict[str, tuple[Callable[..., tuple[Any, dict[str, Any]]], str]] = {}


def wrong(reason: str) -> Callable[[Any], Any]:
    def add(row: Callable[..., tuple[Any, dict[str, Any]]]) -> Any:
        WRONG[row.__name__] = (row, reason)
        return row

    return add


@wrong("mismatch")
def with_options_key_swap(way: Any, sent: Recorder, _: pytest.MonkeyPatch) -> Any:
    return way.client(sent, project="proj_a").with_options(api_key=B), {}


@wrong("mismatch")
def key_assigned_to_the_client(way: Any, sent: Recorder, _: pytest.MonkeyPatch) -> Any:
    client = way.client(sent, project="proj_a")
    client.api_key = B
    return client, {}


@wrong("mismatch")
def stale_project_variable(way: Any, sent: Recorder, env: pytest.MonkeyPatch) -> Any:
    env.setenv("OPENAI_PROJECT_ID", "proj_b")
    return way.client(sent), {}


@wrong("mismatch")
def project_argument(way: Any, sent: Recorder, _: pytest.MonkeyPatch) -> Any:
    return way.client(sent, project="proj_b"), {}


@wrong("mismatch")
def default_headers(way: Any, sent: Recorder, _: pytest.MonkeyPatch) -> Any:
    headers = {"OpenAI-Project": "proj_b"}
    return way.client(sent, project="proj_a", default_headers=headers), {}


@wrong("mismatch")
def extra_headers(way: Any, sent: Recorder, _: pytest.MonkeyPatch) -> Any:
    return way.client(sent, project="proj_a"), {"OpenAI-Project": "proj_b"}


@wrong("missing")
def extra_headers_empty(way: Any, sent: Recorder, _: pytest.MonkeyPatch) -> Any:
    return way.client(sent, project="proj_a"), {"OpenAI-Project": ""}


@wrong("malformed")
def extra_headers_with_spaces(way: Any, sent: Recorder, _: pytest.MonkeyPatch) -> Any:
    return way.client(sent, project="proj_a"), {"OpenAI-Project": " proj_a "}


@wrong("malformed")
def extra_headers_with_a_line_break(way: Any, sent: Recorder, _: pytest.MonkeyPatch) -> Any:
    return way.client(sent, project="proj_a"), {"OpenAI-Project": "proj_a\r\nX-More: 1"}


@wrong("missing")
def no_project_at_all(way: Any, sent: Recorder, _: pytest.MonkeyPatch) -> Any:
    return way.client(sent), {}


@wrong("unregistered")
def an_unregistered_key(way: Any, sent: Recorder, _: pytest.MonkeyPatch) -> Any:
    return way.client(sent, api_key=STRANGER, project="proj_a"), {}


@wrong("mismatch")
def extra_headers_with_another_key(way: Any, sent: Recorder, _: pytest.MonkeyPatch) -> Any:
    return way.client(sent, project="proj_a"), {"Authorization": f"Bearer {B}"}


if VERSION >= (2,):

    @wrong("missing")
    def extra_headers_omit(way: Any, sent: Recorder, _: pytest.MonkeyPatch) -> Any:
        from openai._types import Omit

        return way.client(sent, project="proj_a"), {"OpenAI-Project": Omit()}


if VERSION >= (3,):

    @wrong("mismatch")
    def custom_headers_variable(way: Any, sent: Recorder, env: pytest.MonkeyPatch) -> Any:
        env.setenv("OPENAI_CUSTOM_HEADERS", "OpenAI-Project: proj_b")
        return way.client(sent, project="proj_a"), {}


STYLES: dict[str, Callable[[Any, dict[str, Any]], Callable[[], Any]]] = {
    "plain": lambda client, headers: lambda: chat(client, extra_headers=headers),
    "stream": lambda client, headers: lambda: chat(client, extra_headers=headers, stream=True),
    "raw": lambda client, headers: (
        lambda: client.chat.completions.with_raw_response.create(
            model="m", messages=[], extra_headers=headers
        )
    ),
    "streaming response": lambda client, headers: (
        lambda: _entered(
            client.chat.completions.with_streaming_response.create(
                model="m", messages=[], extra_headers=headers
            )
        )
    ),
    "pagination": lambda client, headers: lambda: client.files.list(extra_headers=headers),
}


def _entered(manager: Any) -> Any:
    if hasattr(manager, "__aenter__"):
        return manager
    with manager as response:
        return response


@BOTH
@pytest.mark.parametrize("style", STYLES)
@pytest.mark.parametrize("row", WRONG)
def test_it_is_refused_and_nothing_is_sent(
    row: str, style: str, way: Any, sent: Recorder, monkeypatch: pytest.MonkeyPatch
) -> None:
    prepare, reason = WRONG[row]
    client, headers = prepare(way, sent, monkeypatch)
    with pytest.raises(opg.ProjectGuardError) as refused:
        way.run(STYLES[style](client, headers))
    assert refused.value.verdict.reason == reason
    assert refused.value.verdict.outcome == "blocked"
    assert isinstance(refused.value, openai.OpenAIError)
    assert not isinstance(refused.value, openai.APIConnectionError)
    assert sent.requests == []


ERROR_OF_REASON = {
    "mismatch": opg.ProjectMismatchError,
    "missing": opg.ProjectMissingError,
    "malformed": opg.MalformedHeaderError,
    "unregistered": opg.UnregisteredKeyError,
}


@pytest.mark.parametrize("row", WRONG)
def test_each_reason_has_its_error_class(
    row: str, sent: Recorder, monkeypatch: pytest.MonkeyPatch
) -> None:
    prepare, reason = WRONG[row]
    client, headers = prepare(Sync, sent, monkeypatch)
    with pytest.raises(opg.ProjectGuardError) as refused:
        chat(client, extra_headers=headers)
    assert type(refused.value) is ERROR_OF_REASON[reason]


@BOTH
@pytest.mark.parametrize("style", STYLES)
def test_a_matching_call_arrives_as_without_the_guard(style: str, way: Any, sent: Recorder) -> None:
    def headers_sent() -> list[tuple[bytes, bytes]]:
        client = way.client(sent, project="proj_a")
        way.run(STYLES[style](client, {"X-Stainless-Retry-Count": "0"}))
        request = sent.requests.pop()
        assert not sent.requests
        return [pair for pair in request.headers.raw if pair[0].lower() != b"idempotency-key"]

    guarded = headers_sent()
    opg.disable()
    assert headers_sent() == guarded


@BOTH
def test_the_second_page_is_judged_by_itself(way: Any, sent: Recorder) -> None:
    client = way.client(sent, project="proj_a")
    page = way.run(lambda: client.files.list())
    if not page.has_next_page():
        pytest.skip("this SDK does not paginate files")
    client.project = "proj_b"
    with pytest.raises(opg.ProjectMismatchError):
        way.run(lambda: page.get_next_page())
    assert len(sent.requests) == 1


@pytest.mark.parametrize("mistake", ["project", "key"])
def test_the_module_level_client_is_checked(
    mistake: str, sent: Recorder, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(openai, "http_client", http.Client(transport=http.MockTransport(sent)))
    monkeypatch.setattr(openai, "api_key", B if mistake == "key" else A)
    project = "project" if hasattr(openai, "project") else "organization"
    monkeypatch.setattr(openai, project, "proj_b" if mistake == "project" else "proj_a")
    openai._reset_client()  # type: ignore[attr-defined]
    try:
        with pytest.raises(opg.ProjectGuardError):
            openai.chat.completions.create(model="m", messages=[])
        assert sent.requests == []
    finally:
        openai._reset_client()  # type: ignore[attr-defined]


def add_header(client: Any, name: str, value: str) -> None:
    """Has each request of a client carry one more header, beside what the SDK sets."""
    build = client._build_request

    def with_one_more(*args: Any, **kwargs: Any) -> Any:
        request = build(*args, **kwargs)
        request.headers = http.Headers([*request.headers.multi_items(), (name, value)])
        return request

    client._build_request = with_one_more


@BOTH
def test_two_project_headers_are_refused_even_if_both_are_right(way: Any, sent: Recorder) -> None:
    client = way.client(sent, project="proj_a")
    add_header(client, "openai-project", "proj_a")
    with pytest.raises(opg.MalformedHeaderError):
        way.run(lambda: chat(client))
    assert sent.requests == []


@BOTH
def test_two_keys_on_one_call_are_refused(way: Any, sent: Recorder) -> None:
    client = way.client(sent, project="proj_a")
    add_header(client, "authorization", f"Bearer {B}")
    with pytest.raises(opg.MalformedHeaderError, match="more than one key"):
        way.run(lambda: chat(client))
    assert sent.requests == []


@BOTH
def test_two_unregistered_keys_on_one_call_are_refused_even_where_one_may_pass(
    way: Any, sent: Recorder
) -> None:
    opg.enable(unregistered="allow")
    client = way.client(sent, api_key=f"{A}-unregistered", project="proj_a")
    way.run(lambda: chat(client))
    add_header(client, "authorization", f"Bearer {B}-unregistered")
    with pytest.raises(opg.MalformedHeaderError, match="more than one key"):
        way.run(lambda: chat(client))
    assert len(sent.requests) == 1
