"""Is every WebSocket of the SDK judged before a TCP connection is opened for it?"""

from __future__ import annotations

import asyncio
import inspect
import warnings
from collections.abc import Callable, Iterator
from typing import Any

import openai
import pytest
from openai._resource import SyncAPIResource
from support import (
    STRANGER,
    VERSION,
    A,
    B,
    Listener,
    expect_twice,
)

import openai_project_guard as opg
from openai_project_guard.loopback import LoopbackAPI

websockets = pytest.importorskip("websockets")
pytest.importorskip("websockets.datastructures")

pytestmark = [
    pytest.mark.usefixtures("enabled"),
    # `websockets.legacy` is on its way out, `beta.realtime` too, and so is a sync `connect()`
    # outside of `with` since websockets 17, which is how the SDK calls it.
    pytest.mark.filterwarnings("ignore::DeprecationWarning"),
]


def leaves_project_off(entry: str) -> bool:
    """Whether the installed SDK leaves the client's project off this socket."""
    since = (3, 36) if entry == "beta.realtime" else (3, 15)
    return since > VERSION


def entries(resource: Any, path: str = "") -> Iterator[str]:
    """The resources of a client that open a WebSocket, by name."""
    if path and hasattr(resource, "connect"):
        yield path
    for name in dir(resource):
        part = None if name.startswith("_") else getattr(resource, name)
        if isinstance(part, SyncAPIResource):
            yield from entries(part, f"{path}.{name}".lstrip("."))


with warnings.catch_warnings():
    warnings.simplefilter("ignore")
    ENTRIES = sorted(entries(openai.OpenAI(api_key="none")))

if not ENTRIES:
    pytest.skip(f"openai {openai.__version__} opens no WebSocket", allow_module_level=True)


def opening(client: Any, entry: str, **options: Any) -> Any:
    """The manager that a resource's `connect()` returns."""
    resource = client
    for name in entry.split("."):
        resource = getattr(resource, name)
    required = {
        name: "dummy"
        for name, parameter in inspect.signature(resource.connect).parameters.items()
        if parameter.default is parameter.empty
    }
    return resource.connect(**required, **options)


class SyncSocket:
    """One way to call: through the sync client."""

    sdk: Any = openai.OpenAI

    @staticmethod
    def open(manager: Any) -> None:
        with manager as connection:
            connection.recv_bytes()  # websockets 13 waits long before it drops what is not read


class AsyncSocket:
    """The same through the async client."""

    sdk: Any = openai.AsyncOpenAI

    @staticmethod
    def open(manager: Any) -> None:
        async def enter() -> None:
            async with manager as connection:
                await connection.recv_bytes()

        asyncio.run(enter())


EITHER = pytest.mark.parametrize("way", [SyncSocket, AsyncSocket])

EACH = pytest.mark.parametrize("entry", ENTRIES)


def client(way: Any, url: str, **options: Any) -> Any:
    # Without the second address `beta.realtime` insists on TLS.
    addresses = {"base_url": url, "websocket_base_url": url.replace("http", "ws", 1)}
    return way.sdk(**{"api_key": A, "max_retries": 0, **addresses, **options})


# --- the sockets of the SDK -----------------------------------------------------------------------


def test_all_sockets_of_this_sdk_are_found() -> None:
    known = {(3, 54): 8, (2, 54): 4, (2, 30): 3, (1, 109): 2, (1, 66): 1}
    newest = max(version for version in known if version <= VERSION)
    assert len(ENTRIES) >= known[newest], ENTRIES


@EACH
@EITHER
def test_a_matching_socket_opens(
    way: Any,
    entry: str,
    api: LoopbackAPI,
    verdicts: list[opg.Verdict],
    request: pytest.FixtureRequest,
) -> None:
    if leaves_project_off(entry):
        pytest.skip(f"openai {openai.__version__} leaves the project off {entry}")
    expect_twice(request, way is AsyncSocket)
    way.open(opening(client(way, api.base_url, project="proj_a"), entry))
    assert api.billed == {"proj_a": 1}
    assert [(v.outcome, v.transport, v.host) for v in verdicts] == [
        ("allowed", "websocket", "127.0.0.1")
    ]
    assert verdicts[0].path == api.ledger[0].path


WRONG: dict[str, tuple[dict[str, Any], dict[str, str], type[opg.ProjectGuardError]]] = {
    "mismatch": ({}, {"OpenAI-Project": "proj_b"}, opg.ProjectMismatchError),
    "missing": ({}, {}, opg.ProjectMissingError),
    "malformed": ({}, {"OpenAI-Project": " proj_a"}, opg.MalformedHeaderError),
    "unregistered": (
        {"api_key": STRANGER},
        {"OpenAI-Project": "proj_a"},
        opg.UnregisteredKeyError,
    ),
}


@pytest.mark.parametrize("reason", WRONG)
@EACH
@EITHER
def test_a_wrong_socket_is_refused_before_any_connection(
    way: Any, entry: str, reason: str, listener: Listener
) -> None:
    opg.enable(registry={"proj_a": A, "proj_b": B}, hosts=["127.0.0.1"])
    options, headers, error = WRONG[reason]
    url = f"http://127.0.0.1:{listener.port}/v1"
    manager = opening(client(way, url, **options), entry, extra_headers=headers)
    with pytest.raises(opg.ProjectGuardError) as refused:
        way.open(manager)
    assert type(refused.value) is error
    verdict, lines = refused.value.verdict, str(refused.value).splitlines()
    assert verdict.transport == "websocket"
    assert lines[0].startswith(
        f"A WebSocket to 127.0.0.1{verdict.path} was about to be opened with key "
        f"{verdict.key_hint} and {'no ' if reason == 'missing' else ''}OpenAI-Project "
    )
    if reason == "missing":
        assert verdict.origin == "unset"
        assert lines[2] == (
            "Nothing sets the header on this WebSocket: neither the client nor connect() names a "
            "project."
        )
        assert lines[-1] == (
            "To fix it: pass `project=` to the client, or extra_headers={'OpenAI-Project': ...} to "
            'connect() (expected: proj_a), or use mode="inject", or OPENAI_PROJECT_GUARD=inject, '
            "to have it put in."
        )
    assert listener.saw_no_connection()


@EITHER
def test_a_refused_http_call_opens_no_connection_either(way: Any, listener: Listener) -> None:
    wrong = client(way, f"http://127.0.0.1:{listener.port}/v1", project="proj_b")

    async def call() -> None:
        result = wrong.models.list()
        if way is AsyncSocket:
            await result

    with pytest.raises(opg.ProjectMismatchError):
        asyncio.run(call())
    assert listener.saw_no_connection()


@EACH
@EITHER
def test_a_missing_header_is_put_in(
    way: Any,
    entry: str,
    api: LoopbackAPI,
    verdicts: list[opg.Verdict],
    request: pytest.FixtureRequest,
) -> None:
    expect_twice(request, way is AsyncSocket)
    opg.enable("inject", registry={"proj_b": B})
    way.open(opening(client(way, api.base_url, api_key=B), entry))
    assert [line.project_header for line in api.ledger] == ["proj_b"]
    assert [verdict.outcome for verdict in verdicts] == ["injected"]


@EACH
@EITHER
def test_where_the_sdk_leaves_the_project_off_the_refusal_says_so(
    way: Any, entry: str, api: LoopbackAPI
) -> None:
    if not leaves_project_off(entry):
        pytest.skip(f"openai {openai.__version__} puts the project on {entry}")
    with pytest.raises(opg.ProjectMissingError) as refused:
        way.open(opening(client(way, api.base_url, project="proj_a"), entry))
    text = str(refused.value)
    assert "leaves the client's project off WebSockets" in text
    assert openai.__version__ in text
    assert "extra_headers=" in text
    assert 'mode="inject"' in text
    assert api.connections == 0

    headers = {"OpenAI-Project": "proj_a"}
    way.open(opening(client(way, api.base_url), entry, extra_headers=headers))
    opg.enable("inject", registry={"proj_a": A})
    way.open(opening(client(way, api.base_url, project="proj_a"), entry))
    assert [line.project_header for line in api.ledger] == ["proj_a", "proj_a"]


NOTHING = ["", getattr(openai, "Omit", str)()]


@pytest.mark.parametrize("nothing", NOTHING, ids=["empty", "omit"])
@EACH
@EITHER
def test_a_project_that_connect_takes_out_is_said_to_be_taken_out_there(
    way: Any, entry: str, nothing: Any, api: LoopbackAPI
) -> None:
    with pytest.raises(opg.ProjectMissingError) as refused:
        way.open(
            opening(
                client(way, api.base_url, project="proj_a"),
                entry,
                extra_headers={"openai-project": nothing},
            )
        )
    assert refused.value.verdict.origin == "extra_headers"
    lines = str(refused.value).splitlines()
    assert lines[2] == "`extra_headers` of connect() takes OpenAI-Project out."
    assert lines[-1].startswith(
        "To fix it: give OpenAI-Project a value in the `extra_headers` of connect() "
        "(expected: proj_a)"
    )


@pytest.mark.parametrize("project", ["proj_a", None])
@EACH
@EITHER
def test_a_client_whose_own_headers_take_its_project_out_is_told_so(
    way: Any, entry: str, project: str | None, api: LoopbackAPI
) -> None:
    if leaves_project_off(entry):
        pytest.skip(f"openai {openai.__version__} leaves the project off {entry}")
    headers = {"OpenAI-Project": ""}
    with pytest.raises(opg.ProjectMissingError) as refused:
        way.open(
            opening(client(way, api.base_url, project=project, default_headers=headers), entry)
        )
    assert refused.value.verdict.origin == "default_headers"
    assert "`default_headers` of the client sets OpenAI-Project to nothing." in str(refused.value)


@EACH
@EITHER
def test_what_extra_headers_of_connect_set_is_found_there(
    way: Any, entry: str, api: LoopbackAPI
) -> None:
    right = client(way, api.base_url, project="proj_a")
    headers = {"Authorization": f"Bearer {STRANGER}", "OpenAI-Project": "proj_b"}
    for header, error in (
        ("OpenAI-Project", opg.ProjectMismatchError),
        ("Authorization", opg.UnregisteredKeyError),
    ):
        opg.enable(registry={"proj_a": A, "proj_b": B}, hosts=["127.0.0.1"])
        with pytest.raises(error) as refused:
            way.open(opening(right, entry, extra_headers={header: headers[header]}))
        assert refused.value.verdict.origin == "extra_headers"
        assert " comes from `extra_headers` of this call." in str(refused.value)


@EACH
@EITHER
def test_a_key_that_extra_headers_of_connect_bring_needs_its_project_there(
    way: Any, entry: str, api: LoopbackAPI
) -> None:
    opg.enable(registry={"proj_a": A, "proj_b": B}, hosts=["127.0.0.1"])
    headers = {"Authorization": f"Bearer {B}"}
    with pytest.raises(opg.ProjectMissingError) as refused:
        way.open(opening(client(way, api.base_url), entry, extra_headers=headers))
    assert "To fix it: pass extra_headers={'OpenAI-Project': ...} to connect()" in str(
        refused.value
    )


@EITHER
def test_websocket_base_url_is_where_it_goes(way: Any, listener: Listener) -> None:
    elsewhere = f"ws://127.0.0.1:{listener.port}/elsewhere"
    stranger = client(
        way, "https://gateway.example.com", api_key=STRANGER, websocket_base_url=elsewhere
    )
    headers = {"OpenAI-Project": "proj_a"}
    opg.enable(registry={"proj_a": A}, hosts=["127.0.0.1"])
    with pytest.raises(opg.UnregisteredKeyError) as refused:
        way.open(opening(stranger, ENTRIES[-1], extra_headers=headers))
    assert refused.value.verdict.host == "127.0.0.1"
    assert refused.value.verdict.path.startswith("/elsewhere/")
    assert listener.saw_no_connection()


def reconnects(way: Any, entry: str) -> bool:
    resource = getattr(client(way, "http://127.0.0.1"), entry)
    return "on_reconnecting" in inspect.signature(resource.connect).parameters


def outlive_a_hang_up(
    way: Any, api: LoopbackAPI, on_reconnecting: Callable[[Any], Any]
) -> type[Exception] | None:
    """Reads a connection until it ends, the server having hung up once; how it ended."""
    manager = opening(
        client(way, api.base_url),
        "realtime",
        extra_headers={"OpenAI-Project": "proj_a"},
        on_reconnecting=on_reconnecting,
        max_retries=2,
        initial_delay=0.01,
    )

    async def read() -> None:
        if way is SyncSocket:
            with manager as connection:
                for number, _ in enumerate(connection):
                    if number:
                        return
                    api._server.hang_up()
        else:
            async with manager as connection:
                number = 0
                async for _ in connection:
                    if number:
                        return
                    number += 1
                    api._server.hang_up()

    try:
        asyncio.run(read())
    except Exception as error:
        return type(error)
    return None


can_reconnect = pytest.mark.skipif(
    not reconnects(SyncSocket, "realtime") if "realtime" in ENTRIES else True,
    reason=f"openai {openai.__version__} does not reconnect by itself",
)


# --- reconnects -----------------------------------------------------------------------------------


@can_reconnect
@EITHER
def test_a_reconnect_of_the_sdk_is_judged_and_passes(
    way: Any, api: LoopbackAPI, verdicts: list[opg.Verdict], request: pytest.FixtureRequest
) -> None:
    expect_twice(request, way is AsyncSocket)
    assert outlive_a_hang_up(way, api, lambda _: None) is None
    assert [verdict.outcome for verdict in verdicts] == ["allowed", "allowed"]
    assert api.billed == {"proj_a": 2}


@can_reconnect
@EITHER
@pytest.mark.parametrize("change", ["registry", "header"])
def test_a_reconnect_that_has_become_wrong_is_refused(
    change: str,
    way: Any,
    api: LoopbackAPI,
    verdicts: list[opg.Verdict],
    request: pytest.FixtureRequest,
) -> None:
    """The SDK takes the refusal for one more failed attempt: what surfaces is that the connection
    was closed. The refusals are in the log, and observers are told of each."""
    expect_twice(request, way is AsyncSocket)
    from websockets.exceptions import ConnectionClosed

    def on_reconnecting(_: Any) -> Any:
        if change == "header":
            return {"extra_headers": {"OpenAI-Project": "proj_b"}}
        opg.enable(registry={"proj_b": A})
        return None

    error = outlive_a_hang_up(way, api, on_reconnecting)
    assert error is not None
    assert issubclass(error, ConnectionClosed)
    assert [(verdict.outcome, verdict.reason) for verdict in verdicts] == [
        ("allowed", None),
        ("blocked", "mismatch"),
        ("blocked", "mismatch"),
    ]
    if change == "header":
        assert verdicts[-1].origin == "extra_headers"
    assert (api.connections, api.billed) == (1, {"proj_a": 1})
