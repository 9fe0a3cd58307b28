"""Every WebSocket is judged before a TCP connection is opened, whichever package opens it.

Against the loopback server, with the installed SDK and the installed release of `websockets`; the
releases from 13 to 17 open a connection in four different ways.
"""

from __future__ import annotations

import asyncio
import importlib
import importlib.metadata
import inspect
import logging
import socket
import warnings
from collections.abc import Callable, Iterator
from typing import Any

import openai
import pytest
from openai._resource import SyncAPIResource
from support import STRANGER, VERSION, A, B, clean

import openai_project_guard as opg
from openai_project_guard.loopback import LoopbackAPI, loopback_api

websockets = pytest.importorskip("websockets")
pytest.importorskip("websockets.datastructures")
WEBSOCKETS = tuple(int(part) for part in importlib.metadata.version("websockets").split(".")[:2])

__all__ = ["clean"]

pytestmark = [
    # `websockets.legacy` is on its way out, `beta.realtime` too, and so is a sync `connect()`
    # outside of `with` since websockets 17, which is how the SDK calls it.
    pytest.mark.filterwarnings("ignore::DeprecationWarning"),
]


def leaves_project_off(entry: str) -> bool:
    """Whether the installed SDK leaves the client's project off this socket."""
    since = (3, 36) if entry == "beta.realtime" else (3, 15)
    return since > VERSION


@pytest.fixture
def verdicts(clean: pytest.MonkeyPatch) -> list[opg.Verdict]:
    seen: list[opg.Verdict] = []
    opg.add_observer(seen.append)
    return seen


def expect_twice(request: pytest.FixtureRequest, is_async: bool) -> None:
    """websockets 13.0 forgets the URI on the way, so that it is judged when `connect` is made."""
    if is_async and WEBSOCKETS == (13, 0):
        request.applymarker(
            pytest.mark.xfail(strict=True, reason="judged when made, and again at the handshake")
        )


@pytest.fixture(autouse=True)
def guarded(verdicts: list[opg.Verdict]) -> None:
    opg.enable(registry={"proj_a": A, "proj_b": B})


@pytest.fixture
def api() -> Iterator[LoopbackAPI]:
    with loopback_api({A: "proj_a", B: "proj_b", STRANGER: "proj_x"}) as server:
        yield server


@pytest.fixture
def listener() -> Iterator[socket.socket]:
    """A bare TCP socket that stands for the host: it sees every connection, whatever is sent."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        server.setblocking(False)
        yield server


def port(listener: socket.socket) -> int:
    number: int = listener.getsockname()[1]
    return number


def saw_no_connection(listener: socket.socket) -> bool:
    try:
        listener.accept()[0].close()
    except BlockingIOError:
        return True
    return False


# --- the sockets of the SDK ---------------------------------------------------------------------


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


class Sync:
    """One way to call: through the sync client."""

    sdk: Any = openai.OpenAI

    @staticmethod
    def open(manager: Any) -> None:
        with manager as connection:
            connection.recv_bytes()  # websockets 13 waits long before it drops what is not read


class Async:
    """The same through the async client."""

    sdk: Any = openai.AsyncOpenAI

    @staticmethod
    def open(manager: Any) -> None:
        async def enter() -> None:
            async with manager as connection:
                await connection.recv_bytes()

        asyncio.run(enter())


BOTH = pytest.mark.parametrize("way", [Sync, Async])
EACH = pytest.mark.parametrize("entry", ENTRIES)


def client(way: Any, url: str, **options: Any) -> Any:
    # Without the second address `beta.realtime` insists on TLS.
    addresses = {"base_url": url, "websocket_base_url": url.replace("http", "ws", 1)}
    return way.sdk(**{"api_key": A, "max_retries": 0, **addresses, **options})


def test_all_sockets_of_this_sdk_are_found() -> None:
    known = {(3, 54): 8, (2, 54): 4, (2, 30): 3, (1, 109): 2, (1, 66): 1}
    newest = max(version for version in known if version <= VERSION)
    assert len(ENTRIES) >= known[newest], ENTRIES


@EACH
@BOTH
def test_a_matching_socket_opens(
    way: Any,
    entry: str,
    api: LoopbackAPI,
    verdicts: list[opg.Verdict],
    request: pytest.FixtureRequest,
) -> None:
    if leaves_project_off(entry):
        pytest.skip(f"openai {openai.__version__} leaves the project off {entry}")
    expect_twice(request, way is Async)
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
@BOTH
def test_a_wrong_socket_is_refused_before_any_connection(
    way: Any, entry: str, reason: str, listener: socket.socket
) -> None:
    opg.enable(registry={"proj_a": A, "proj_b": B}, hosts=["127.0.0.1"])
    options, headers, error = WRONG[reason]
    url = f"http://127.0.0.1:{port(listener)}/v1"
    manager = opening(client(way, url, **options), entry, extra_headers=headers)
    with pytest.raises(opg.ProjectGuardError) as refused:
        way.open(manager)
    assert type(refused.value) is error
    assert refused.value.verdict.transport == "websocket"
    assert saw_no_connection(listener)


@BOTH
def test_a_refused_http_call_opens_no_connection_either(way: Any, listener: socket.socket) -> None:
    wrong = client(way, f"http://127.0.0.1:{port(listener)}/v1", project="proj_b")

    async def call() -> None:
        result = wrong.models.list()
        if way is Async:
            await result

    with pytest.raises(opg.ProjectMismatchError):
        asyncio.run(call())
    assert saw_no_connection(listener)


@EACH
@BOTH
def test_a_missing_header_is_put_in(
    way: Any,
    entry: str,
    api: LoopbackAPI,
    verdicts: list[opg.Verdict],
    request: pytest.FixtureRequest,
) -> None:
    expect_twice(request, way is Async)
    opg.enable("inject", registry={"proj_b": B})
    way.open(opening(client(way, api.base_url, api_key=B), entry))
    assert [line.project_header for line in api.ledger] == ["proj_b"]
    assert [verdict.outcome for verdict in verdicts] == ["injected"]


@EACH
@BOTH
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


@BOTH
def test_websocket_base_url_is_where_it_goes(way: Any, listener: socket.socket) -> None:
    elsewhere = f"ws://127.0.0.1:{port(listener)}/elsewhere"
    stranger = client(
        way, "https://gateway.example.com", api_key=STRANGER, websocket_base_url=elsewhere
    )
    headers = {"OpenAI-Project": "proj_a"}
    opg.enable(registry={"proj_a": A}, hosts=["127.0.0.1"])
    with pytest.raises(opg.UnregisteredKeyError) as refused:
        way.open(opening(stranger, ENTRIES[-1], extra_headers=headers))
    assert refused.value.verdict.host == "127.0.0.1"
    assert refused.value.verdict.path.startswith("/elsewhere/")
    assert saw_no_connection(listener)


# --- reconnects ---------------------------------------------------------------------------------


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
        if way is Sync:
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
    not reconnects(Sync, "realtime") if "realtime" in ENTRIES else True,
    reason=f"openai {openai.__version__} does not reconnect by itself",
)


@can_reconnect
@BOTH
def test_a_reconnect_of_the_sdk_is_judged_and_passes(
    way: Any, api: LoopbackAPI, verdicts: list[opg.Verdict], request: pytest.FixtureRequest
) -> None:
    expect_twice(request, way is Async)
    assert outlive_a_hang_up(way, api, lambda _: None) is None
    assert [verdict.outcome for verdict in verdicts] == ["allowed", "allowed"]
    assert api.billed == {"proj_a": 2}


@can_reconnect
@BOTH
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
    expect_twice(request, way is Async)
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
    assert (api.connections, api.billed) == (1, {"proj_a": 1})


# --- sockets that somebody else opens -----------------------------------------------------------

HEADER_KINDS: dict[str, Callable[[dict[str, str]], Any]] = {
    "dict": dict,
    "list": lambda headers: list(headers.items()),
    "Headers": lambda headers: websockets.datastructures.Headers(headers),
    "generator": lambda headers: (pair for pair in headers.items()),
}


def headers_of(key: str, project: str | None) -> dict[str, str]:
    headers = {"Authorization": f"Bearer {key}"}
    return headers if project is None else {**headers, "OpenAI-Project": project}


def by_sync_connect(uri: str, headers: Any) -> None:
    from websockets.sync.client import connect

    with connect(uri, additional_headers=headers) as connection:
        connection.recv()


def by_sync_reconnect(uri: str, headers: Any) -> None:
    client = importlib.import_module("websockets.sync.client")
    if not hasattr(client, "reconnect"):
        pytest.skip("websockets before 17 has no sync reconnect")
    for connection in client.reconnect(uri, additional_headers=headers):
        connection.recv()
        return


def awaiting(opener: Callable[[str, Any], Any]) -> Callable[[str, Any], None]:
    def run(uri: str, headers: Any) -> None:
        asyncio.run(opener(uri, headers))

    run.__name__ = opener.__name__
    return run


@awaiting
async def by_awaiting_connect(uri: str, headers: Any) -> None:
    from websockets.asyncio.client import connect

    connection = await connect(uri, additional_headers=headers)
    await connection.recv()
    await connection.close()


@awaiting
async def by_async_with_connect(uri: str, headers: Any) -> None:
    from websockets.asyncio.client import connect

    async with connect(uri, additional_headers=headers) as connection:
        await connection.recv()


@awaiting
async def by_async_for_connect(uri: str, headers: Any) -> None:
    from websockets.asyncio.client import connect

    if not hasattr(connect, "__aiter__"):
        pytest.skip("websockets 13.0 has no async for")
    async for connection in connect(uri, additional_headers=headers):
        await connection.recv()
        return


@awaiting
async def by_the_connect_of_the_package(uri: str, headers: Any) -> None:
    name = "additional_headers" if WEBSOCKETS >= (14,) else "extra_headers"
    async with websockets.connect(uri, **{name: headers}) as connection:
        await connection.recv()


@awaiting
async def by_the_legacy_connect(uri: str, headers: Any) -> None:
    legacy = pytest.importorskip("websockets.legacy.client")
    async with legacy.connect(uri, extra_headers=headers) as connection:
        await connection.recv()


OPENERS = pytest.mark.parametrize(
    "opener",
    [
        by_sync_connect,
        by_sync_reconnect,
        by_awaiting_connect,
        by_async_with_connect,
        by_async_for_connect,
        by_the_connect_of_the_package,
        by_the_legacy_connect,
    ],
    ids=lambda opener: opener.__name__,
)


@OPENERS
@pytest.mark.parametrize("kind", HEADER_KINDS)
def test_a_socket_that_somebody_opens_directly_passes_or_is_refused(
    kind: str, opener: Any, api: LoopbackAPI, listener: socket.socket
) -> None:
    make = HEADER_KINDS[kind]
    uri = api.websocket_base_url + "/realtime?model=m"
    opener(uri, make(headers_of(A, "proj_a")))
    assert api.billed == {"proj_a": 1}
    refusing = f"ws://127.0.0.1:{port(listener)}/v1/realtime"
    with pytest.raises(opg.ProjectMismatchError):
        opener(refusing, make(headers_of(A, "proj_b")))
    with pytest.raises(opg.ProjectMissingError):
        opener(refusing, make(headers_of(A, None)))
    assert saw_no_connection(listener)


@OPENERS
@pytest.mark.parametrize("kind", HEADER_KINDS)
def test_the_header_is_put_into_what_somebody_opens_directly(
    kind: str, opener: Any, api: LoopbackAPI
) -> None:
    opg.enable("inject", registry={"proj_a": A})
    headers = {"X-Kept": "yes", **headers_of(A, None)}
    given = HEADER_KINDS[kind](headers)
    opener(api.websocket_base_url, given)
    opener(api.websocket_base_url, HEADER_KINDS[kind]({**headers, "openai-project": ""}))
    assert [line.project_header for line in api.ledger] == ["proj_a", "proj_a"]
    if kind != "generator":  # what the caller gave is the caller's
        assert "OpenAI-Project" not in dict(given)


@OPENERS
def test_a_socket_to_another_host_is_untouched_and_unseen(
    opener: Any, api: LoopbackAPI, verdicts: list[opg.Verdict]
) -> None:
    opener(api.websocket_base_url, headers_of(STRANGER, None))
    assert api.billed == {"proj_x": 1}
    opener(api.websocket_base_url, headers_of(STRANGER, "proj_x"))
    assert verdicts == []


@OPENERS
def test_a_socket_to_openai_with_an_unknown_key_is_refused(opener: Any) -> None:
    with pytest.raises(opg.UnregisteredKeyError) as refused:
        opener("wss://eu.api.openai.com/v1/realtime?model=m", headers_of(STRANGER, "proj_a"))
    verdict = refused.value.verdict
    assert (verdict.host, verdict.path) == ("eu.api.openai.com", "/v1/realtime")


@OPENERS
def test_observers_are_told_once_of_each_socket(
    opener: Any, api: LoopbackAPI, verdicts: list[opg.Verdict], request: pytest.FixtureRequest
) -> None:
    expect_twice(request, opener in (by_awaiting_connect, by_async_with_connect))
    opener(api.websocket_base_url, headers_of(A, "proj_a"))
    assert len(verdicts) == 1
    with pytest.raises(opg.ProjectGuardError):
        opener(api.websocket_base_url, headers_of(A, "proj_b"))
    assert len(verdicts) == 2


@OPENERS
def test_two_project_headers_on_a_socket_are_malformed(opener: Any, listener: Any) -> None:
    headers = websockets.datastructures.Headers(headers_of(A, "proj_a"))
    headers["openai-project"] = "proj_a"
    with pytest.raises(opg.MalformedHeaderError):
        opener(f"ws://127.0.0.1:{port(listener)}", headers)
    assert saw_no_connection(listener)


@OPENERS
def test_the_servers_word_on_a_socket_is_heard(
    opener: Any,
    api: LoopbackAPI,
    verdicts: list[opg.Verdict],
    caplog: pytest.LogCaptureFixture,
    request: pytest.FixtureRequest,
) -> None:
    if opener is by_the_legacy_connect or (
        opener is by_the_connect_of_the_package and WEBSOCKETS < (14,)
    ):
        request.applymarker(xfail_legacy)
    with api.answer_as("proj_elsewhere"):
        opener(api.websocket_base_url, headers_of(A, "proj_a"))
    assert (verdicts[-1].reason, verdicts[-1].answered) == ("drift", "proj_elsewhere")
    assert verdicts[-1].transport == "websocket"
    assert [r.levelno for r in caplog.records if r.name == "openai_project_guard"] == [
        logging.ERROR
    ]


xfail_legacy = pytest.mark.xfail(
    strict=True, reason="the legacy client is hooked where it is made, not at its handshake"
)


@pytest.mark.parametrize(
    "is_legacy", [False, pytest.param(True, marks=xfail_legacy)], ids=["asyncio", "legacy"]
)
def test_a_reconnect_by_async_for_is_judged(is_legacy: bool, api: LoopbackAPI) -> None:
    name = "legacy" if is_legacy else "asyncio"
    connect = importlib.import_module(f"websockets.{name}.client").connect
    if not hasattr(connect, "__aiter__"):
        pytest.skip("websockets 13.0 has no async for")
    argument = "extra_headers" if is_legacy else "additional_headers"

    async def read() -> None:
        headers = {argument: headers_of(A, "proj_a")}
        async for connection in connect(api.websocket_base_url, **headers):
            await connection.recv()
            if len(api.ledger) > 1:
                return
            opg.enable(registry={"proj_b": A})

    with pytest.raises(opg.ProjectMismatchError):
        asyncio.run(asyncio.wait_for(read(), 5))
    assert len(api.ledger) == 1


@pytest.mark.skipif(WEBSOCKETS < (17,), reason="websockets before 17 has no sync reconnect")
def test_a_sync_reconnect_is_judged(api: LoopbackAPI) -> None:
    from websockets.sync.client import reconnect

    sockets = iter(reconnect(api.websocket_base_url, additional_headers=headers_of(A, "proj_a")))
    next(sockets).recv()
    opg.enable(registry={"proj_b": A})
    with pytest.raises(opg.ProjectMismatchError):
        next(sockets)
    assert len(api.ledger) == 1


# --- whoever got hold of `connect` before the guard was enabled ---------------------------------


@pytest.fixture
def held() -> Any:
    """`websockets.sync.client.connect` as it was before `enable()`."""
    opg.disable()
    from websockets.sync.client import connect

    opg.enable(registry={"proj_a": A, "proj_b": B}, hosts=["::1"])
    return connect


def test_a_connect_held_from_before_sends_no_byte_of_a_wrong_socket(
    held: Any, api: LoopbackAPI, verdicts: list[opg.Verdict]
) -> None:
    with pytest.raises(opg.ProjectMismatchError):
        held(api.websocket_base_url, additional_headers=headers_of(A, "proj_b"))
    assert api.bytes_received == 0
    with held(api.websocket_base_url, additional_headers=headers_of(A, "proj_a")) as connection:
        connection.recv()
    assert [verdict.outcome for verdict in verdicts] == ["blocked", "allowed"]


def test_a_connect_held_from_before_has_its_header_put_in(held: Any, api: LoopbackAPI) -> None:
    headers = headers_of(A, None)
    with (
        opg.guard(mode="inject"),
        held(api.websocket_base_url, additional_headers=headers) as connection,
    ):
        connection.recv()
    assert [line.project_header for line in api.ledger] == ["proj_a"]


def test_a_connect_held_from_before_is_judged_by_its_ipv6_host(held: Any) -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        ours = socket.create_connection(listener.getsockname())
        with ours, pytest.raises(opg.UnregisteredKeyError):
            held(
                "ws://[::1]/v1",
                sock=ours,
                additional_headers=headers_of(STRANGER, "proj_a"),
                open_timeout=0.1,
            )


@pytest.mark.parametrize("is_legacy", [False, True], ids=["asyncio", "legacy"])
def test_an_async_connect_held_from_before_is_judged(is_legacy: bool, api: LoopbackAPI) -> None:
    opg.disable()
    name = "legacy" if is_legacy else "asyncio"
    connect = importlib.import_module(f"websockets.{name}.client").connect
    argument = "extra_headers" if is_legacy else "additional_headers"
    opg.enable(registry={"proj_a": A, "proj_b": B})

    async def enter() -> None:
        async with connect(api.websocket_base_url, **{argument: headers_of(A, "proj_b")}):
            pass

    with pytest.raises(opg.ProjectMismatchError):
        asyncio.run(enter())
    assert api.connections == 0


def test_after_disable_websockets_is_as_it_was(api: LoopbackAPI) -> None:
    opg.disable()
    by_sync_connect(api.websocket_base_url, headers_of(A, None))
    by_async_with_connect(api.websocket_base_url, headers_of(A, None))
    assert len(api.ledger) == 2
    for name in ("sync", "asyncio"):
        module = importlib.import_module(f"websockets.{name}.client")
        for part in (module.connect, vars(module.ClientConnection)["handshake"]):
            assert not type(part).__module__.startswith("wrapt")
