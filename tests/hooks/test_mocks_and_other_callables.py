"""Do mocks, partials and callable objects work over and under the hooks, and after them too?"""

from __future__ import annotations

import copy
import functools
import pickle
from collections.abc import Callable
from contextlib import suppress
from types import MappingProxyType, SimpleNamespace
from typing import Any
from unittest import mock

import openai
import pytest
from openai._base_client import BaseClient, SyncAPIClient
from support import A, Async, B, Probe, Sync, http, sync_client

import openai_project_guard as opg
from openai_project_guard._hooks.httpx import HTTP

pytestmark = pytest.mark.usefixtures("clean")

REGISTRY = {"proj_a": A, "proj_b": B}
HOOKED: list[tuple[Any, str]] = [
    (BaseClient, "_build_request"),
    (BaseClient, "_make_status_error_from_response"),
    (http.Client, "_send_single_request"),
    (http.AsyncClient, "_send_single_request"),
]
NOT_HOOKED: list[tuple[Any, str]] = [(openai.OpenAI, "request"), (openai.OpenAI, "post")]
(NOT_HOOKED if hasattr(SyncAPIClient, "_send_request") else HOOKED).append(
    (SyncAPIClient, "request")
)


class CallableObject:
    def __call__(self, *args: Any, **kwargs: Any) -> str:
        return "replaced"


REPLACEMENTS: dict[str, Callable[[], Any]] = {
    "mock": mock.MagicMock,
    "plain mock": mock.Mock,
    "partial": lambda: functools.partial(lambda *_, **__: "replaced"),
    "callable object": CallableObject,
    "function": lambda: lambda *_, **__: "replaced",
    "static method": lambda: staticmethod(lambda *_, **__: "replaced"),
}


@pytest.mark.parametrize("replacement", REPLACEMENTS)
@pytest.mark.parametrize(("owner", "name"), [*HOOKED, *NOT_HOOKED])
def test_a_replacement_that_comes_and_goes_leaves_the_hooks_as_they_were(
    owner: Any, name: str, replacement: str, probe: Probe
) -> None:
    original = vars(owner).get(name)
    opg.enable(registry=REGISTRY)
    with mock.patch.object(owner, name, REPLACEMENTS[replacement]()):
        sync_client(lambda _: None)  # a client that is made meanwhile
        assert opg.is_enabled() == ((owner, name) not in HOOKED)
    assert opg.is_enabled()
    assert probe() == "ab"
    opg.disable()
    assert vars(owner).get(name) is original
    assert probe() == "ab?"


@pytest.mark.parametrize("is_enabled_when_it_ends", [True, False])
@pytest.mark.parametrize("replacement", ["mock", "function"])
@pytest.mark.parametrize(("owner", "name"), HOOKED)
def test_a_replacement_that_outlives_the_guard_piles_up_no_hooks(
    owner: Any, name: str, replacement: str, is_enabled_when_it_ends: bool, probe: Probe
) -> None:
    original = vars(owner).get(name)
    for _ in range(3):
        opg.enable(registry=REGISTRY)
        with mock.patch.object(owner, name, REPLACEMENTS[replacement]()):
            opg.disable()
            if is_enabled_when_it_ends:
                opg.enable(registry=REGISTRY)
    opg.enable(registry=REGISTRY)
    assert opg.is_enabled()
    assert vars(owner)[name].__wrapped__ is original
    assert probe() == "ab"
    opg.disable()
    assert vars(owner).get(name) is original


def test_a_hook_that_a_tool_keeps_as_a_default_is_found(probe: Probe) -> None:
    """So it is not hooked again each time."""

    def tool() -> None:
        kept = vars(http.Client)["_send_single_request"]

        def wrapper(self: Any, request: Any, _kept: Any = kept) -> Any:
            return _kept(self, request)

        def keyword(self: Any, request: Any, *, _kept: Any = wrapper) -> Any:
            return _kept(self, request)

        http.Client._send_single_request = keyword

    original = vars(http.Client)["_send_single_request"]
    try:
        opg.enable(registry=REGISTRY)
        tool()
        stands = vars(http.Client)["_send_single_request"]
        assert opg.is_enabled()
        assert probe() == "ab"
        opg.enable(registry=REGISTRY)
        assert vars(http.Client)["_send_single_request"] is stands
    finally:
        http.Client._send_single_request = original


@pytest.mark.parametrize("held_as", ["default", "cell", "attribute"])
def test_a_lazy_object_in_a_wrapper_may_stand_for_nothing(held_as: str, probe: Probe) -> None:
    """As those of Flask do, outside of a request."""

    class Lazy:
        @property
        def __class__(self) -> Any:
            raise RuntimeError("Working outside of application context.")

    lazy, original = Lazy(), vars(http.Client)["_send_single_request"]

    def of_default(self: Any, request: Any, _lazy: Any = lazy) -> Any:
        return original(self, request)

    def of_cell(self: Any, request: Any) -> Any:
        return original(self, request) if lazy is not None else None

    def of_attribute(self: Any, request: Any) -> Any:
        return original(self, request)

    of_attribute.lazy = lazy  # type: ignore[attr-defined]
    wrapper = {"default": of_default, "cell": of_cell, "attribute": of_attribute}[held_as]
    with mock.patch.object(http.Client, "_send_single_request", wrapper):
        opg.enable(registry=REGISTRY)
        assert opg.is_enabled()
        assert probe() == "ab"
        opg.disable()


@pytest.mark.parametrize("replacement", REPLACEMENTS)
@pytest.mark.parametrize(("owner", "name"), HOOKED)
def test_a_replacement_may_stand_under_the_hook(
    owner: Any, name: str, replacement: str, probe: Probe
) -> None:
    with mock.patch.object(owner, name, REPLACEMENTS[replacement]()) as stands:
        stands = vars(owner)[name]
        opg.enable(registry=REGISTRY)
        assert opg.is_enabled()
        opg.disable()
        assert vars(owner)[name] is stands
    opg.enable(registry=REGISTRY)
    assert opg.is_enabled()
    assert probe() == "ab"


def test_a_mock_under_the_hook_is_called_as_it_would_be_without() -> None:
    answer = http.Response(200, json={"object": "list", "data": []})
    answer.request = http.Request("GET", "https://api.openai.com/v1/models")
    with mock.patch.object(http.Client, "_send_single_request", mock.Mock(return_value=answer)):
        opg.enable(registry=REGISTRY)
        sync_client(lambda _: None, project="proj_a").models.list()
        stands: Any = vars(http.Client)["_send_single_request"].__wrapped__
        (call,) = stands.call_args_list
        assert [type(argument) for argument in call.args] == [http.Request]  # a mock does not bind
        opg.disable()


@pytest.mark.parametrize("way", ["wraps", "side_effect"])
def test_a_wrapping_mock_does_not_hide_the_hook(way: str) -> None:
    opg.enable(registry=REGISTRY)
    hook: Any = vars(http.Client)["_send_single_request"]
    with mock.patch.object(http.Client, "_send_single_request", mock.Mock(**{way: hook})):
        assert opg.is_enabled()


@pytest.mark.parametrize(("owner", "name"), [*HOOKED, (openai.OpenAI, "request")])
def test_a_hooked_method_is_itself_each_time_and_can_be_copied_and_pickled(
    owner: Any, name: str
) -> None:
    opg.enable(registry=REGISTRY)
    found = getattr(owner, name)
    assert getattr(owner, name) is found
    assert copy.copy(found) is found
    assert copy.deepcopy(found) is found
    assert pickle.loads(pickle.dumps(found)) is found
    bound = getattr(owner.__new__(owner), name)
    assert bound.__func__ is found
    assert bound.__self__.__class__ is owner


HEADERS: dict[str, Any] = {
    "dict": {"openai-project": "proj_a", "content-type": "application/json"},
    "no value": {"openai-project": None},
    "bytes": {b"openai-project": b"proj_a"},
    "list": [("openai-project", "proj_a")],
    "none": None,
    "mock": mock.MagicMock(),
    "plain mock": mock.Mock(),
    "text": "openai-project: proj_a",
}


@pytest.mark.parametrize("place", ["send", "_send_single_request"])
@pytest.mark.parametrize("headers", HEADERS)
def test_a_stand_ins_answer_may_have_headers_of_any_kind(
    headers: str, place: str, clean: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    class Answer:
        status_code = 200

        def __init__(self, request: Any) -> None:
            self.headers, self.request = HEADERS[headers], request

    clean.setattr(http.Client, place, lambda _, request, **__: Answer(request))
    opg.enable(registry=REGISTRY)
    client = sync_client(lambda _: None, project="proj_a")
    with pytest.raises(Exception) as caught:  # the SDK cannot read such an answer
        client.models.list()
    frames = [frame.name for frame in caught.traceback]
    assert not isinstance(caught.value, opg.ProjectGuardError)
    assert "check_response" not in frames
    assert caplog.records == []  # neither a fault of ours nor a drift


@pytest.mark.parametrize(
    "headers",
    [
        {"OpenAI-Project": "proj_b"},
        {b"openai-project": b"proj_b"},
        [("date", "today"), ("openai-project", "proj_b")],
        MappingProxyType({"openai-project": "proj_b"}),
    ],
    ids=["dict", "bytes", "list", "other class"],
)
def test_a_stand_ins_answer_that_names_another_project_is_told_of(
    headers: Any, clean: pytest.MonkeyPatch
) -> None:
    class Answer:
        status_code = 200

        def __init__(self, request: Any) -> None:
            self.headers, self.request = headers, request

    clean.setattr(http.Client, "_send_single_request", lambda _, request, **__: Answer(request))
    opg.enable(registry=REGISTRY)
    seen: list[opg.Verdict] = []
    opg.add_observer(seen.append)
    with suppress(Exception):  # the SDK cannot read such an answer
        sync_client(lambda _: None, project="proj_a").models.list()
    assert [(verdict.reason, verdict.answered) for verdict in seen] == [
        (None, None),
        ("drift", "proj_b"),
    ]


def test_headers_are_read_from_what_httpx_documents_where_its_own_list_is_gone() -> None:
    request = http.Request(
        "GET",
        "https://api.openai.com/v1/models",
        headers=[("Authorization", f"Bearer {A}"), ("OpenAI-Project", "proj_a"), ("x", "1")],
    )
    for module in ("httpx", "httpx2", "another"):
        kind = type("Headers", (), {"__module__": module, "raw": request.headers.raw})
        read = HTTP.headers(SimpleNamespace(headers=kind()))
        assert read == [tuple(header) for header in HTTP.headers(request)]
        assert (b"OpenAI-Project", b"openai-project", b"proj_a") in read


@pytest.mark.parametrize("module", ["httpx", "httpx2"])
def test_where_it_is_there_it_is_taken_as_it_is(module: str) -> None:
    kept = [(b"A", b"a", b"1")]
    kind = type("Headers", (), {"__module__": module, "_list": kept})
    assert HTTP.headers(SimpleNamespace(headers=kind())) is kept


@pytest.mark.parametrize("mode", ["enforce", "inject", "warn"])
@pytest.mark.parametrize("kind", [mock.Mock, mock.MagicMock, mock.create_autospec])
@pytest.mark.parametrize("way", [Sync, Async])
def test_a_client_over_a_mock_of_an_http_client_works_as_without_the_guard(
    way: Any, kind: Any, mode: Any, caplog: pytest.LogCaptureFixture
) -> None:
    answer = http.Response(
        200, json={"object": "list", "data": []}, request=http.Request("GET", "http://x")
    )
    mocked = kind(spec=http.Client if way is Sync else http.AsyncClient)
    mocked.send.return_value = answer
    client = way.client(lambda _: None, project="proj_a", http_client=mocked)
    opg.enable(mode, registry=REGISTRY)
    for _ in range(2):
        assert way.run(client.models.list).data == []
    assert mocked.send.call_count == 2
    assert [record.getMessage() for record in caplog.records] == []
