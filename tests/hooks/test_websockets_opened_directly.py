"""Is a WebSocket judged that is opened with `websockets` itself?"""

from __future__ import annotations

import asyncio
import importlib
import importlib.metadata
import logging
import socket
from collections.abc import Callable
from typing import Any

import pytest
from support import (
    KEYS,
    STRANGER,
    WEBSOCKETS,
    A,
    B,
    Listener,
    expect_twice,
    outcomes,
)

import openai_project_guard as opg
from openai_project_guard.loopback import LoopbackAPI, loopback_api

websockets = pytest.importorskip("websockets")
pytest.importorskip("websockets.datastructures")

pytestmark = [
    pytest.mark.usefixtures("enabled"),
    # `websockets.legacy` is on its way out, `beta.realtime` too, and so is a sync `connect()`
    # outside of `with` since websockets 17, which is how the SDK calls it.
    pytest.mark.filterwarnings("ignore::DeprecationWarning"),
]


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
    module = importlib.import_module("websockets.sync.client")
    if not hasattr(module, "reconnect"):
        pytest.skip("websockets before 17 has no sync reconnect")
    for connection in module.reconnect(uri, additional_headers=headers):
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


def by_trio_connect(uri: str, headers: Any) -> None:
    connect = pytest.importorskip("websockets.trio.client").connect
    trio = pytest.importorskip("trio")

    async def run() -> None:
        async with connect(uri, additional_headers=headers) as connection:
            await connection.recv()

    trio.run(run)


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
        by_trio_connect,
        by_the_connect_of_the_package,
        by_the_legacy_connect,
    ],
    ids=lambda opener: opener.__name__,
)


# --- sockets that somebody else opens -------------------------------------------------------------


@OPENERS
@pytest.mark.parametrize("kind", HEADER_KINDS)
def test_a_socket_that_somebody_opens_directly_passes_or_is_refused(
    kind: str, opener: Any, api: LoopbackAPI, listener: Listener
) -> None:
    make = HEADER_KINDS[kind]
    uri = api.websocket_base_url + "/realtime?model=m"
    opener(uri, make(headers_of(A, "proj_a")))
    assert api.billed == {"proj_a": 1}
    refusing = f"ws://127.0.0.1:{listener.port}/v1/realtime"
    with pytest.raises(opg.ProjectMismatchError):
        opener(refusing, make(headers_of(A, "proj_b")))
    with pytest.raises(opg.ProjectMissingError):
        opener(refusing, make(headers_of(A, None)))
    assert listener.saw_no_connection()


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
    assert (verdict.method, verdict.host) == ("GET", "eu.api.openai.com")
    assert verdict.path == "/v1/realtime"


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
        opener(f"ws://127.0.0.1:{listener.port}", headers)
    assert listener.saw_no_connection()


@OPENERS
def test_a_password_in_the_uri_is_a_credential_like_any_other(
    opener: Any, api: LoopbackAPI, verdicts: list[opg.Verdict]
) -> None:
    opg.enable(registry=KEYS, hosts=["127.0.0.1"])
    uri = api.websocket_base_url.replace("//", f"//user:{STRANGER}@")
    with pytest.raises(opg.UnregisteredKeyError) as refused:
        opener(uri, {"OpenAI-Project": "proj_a"})
    assert STRANGER not in str(refused.value)
    with pytest.raises(opg.MalformedHeaderError):
        opener(uri, headers_of(A, "proj_a"))  # websockets sends both
    assert len(verdicts) == 2
    assert api.connections == 0


@pytest.mark.parametrize("user_info", [f"user:{STRANGER}", f":{STRANGER}", "user:one%2Ftwo"])
@pytest.mark.parametrize("is_held", [False, True])
def test_a_password_in_the_uri_is_seen_at_the_handshake_too(
    is_held: bool, held: Any, user_info: str, api: LoopbackAPI, verdicts: list[opg.Verdict]
) -> None:
    opg.enable(registry=KEYS, hosts=["127.0.0.1"], unregistered="allow")
    connect = held if is_held else importlib.import_module("websockets.sync.client").connect
    uri = api.websocket_base_url.replace("//", f"//{user_info}@")
    with pytest.raises(websockets.exceptions.InvalidStatus):  # the API knows Bearer alone
        connect(uri, additional_headers={"OpenAI-Project": "proj_a"})
    assert [(verdict.outcome, verdict.host) for verdict in verdicts] == [("allowed", "127.0.0.1")]
    opg.enable(registry=KEYS, hosts=["127.0.0.1"])
    with pytest.raises(opg.UnregisteredKeyError):
        connect(uri, additional_headers={"OpenAI-Project": "proj_a"})


@OPENERS
def test_the_answer_on_a_socket_is_checked(
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


def test_a_key_is_learned_from_the_answer_on_a_socket(api: LoopbackAPI) -> None:
    opg.enable(registry={"proj_a": A}, hosts=["127.0.0.1"], unregistered="learn")
    connect = pytest.importorskip("websockets.sync.client").connect
    with connect(api.websocket_base_url, additional_headers=headers_of(STRANGER, None)) as socket:
        socket.recv()
    with pytest.raises(opg.ProjectMismatchError) as refused:
        connect(api.websocket_base_url, additional_headers=headers_of(STRANGER, "proj_a"))
    assert refused.value.verdict.expected == ("proj_x",)


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


@pytest.mark.parametrize("name", ["asyncio", "sync"])
def test_a_reconnect_has_the_project_of_then_put_in(name: str, api: LoopbackAPI) -> None:
    """Not that of the first time: the caller has named none."""
    module = importlib.import_module(f"websockets.{name}.client")
    opener = getattr(module, "connect" if name == "asyncio" else "reconnect", None)
    if not hasattr(opener, "__aiter__" if name == "asyncio" else "__iter__"):
        pytest.skip("this release of websockets does not reconnect by itself")
    opg.enable("inject", registry={"proj_a": A})
    # An iterator, which has nothing any more at the second time.
    headers = (pair for pair in headers_of(A, None).items())
    sockets: Any = opener(api.websocket_base_url, additional_headers=headers)

    async def read() -> None:
        async for connection in sockets:
            await connection.recv()
            opg.enable("inject", registry={"proj_b": A})

    def read_sync() -> None:
        for connection in sockets:
            connection.recv()
            opg.enable("inject", registry={"proj_b": A})

    with pytest.raises(websockets.exceptions.InvalidStatus):  # the server knows better
        asyncio.run(read()) if name == "asyncio" else read_sync()
    assert [line.project_header for line in api.ledger] == ["proj_a", "proj_b"]


@OPENERS
def test_after_a_scope_a_socket_opens_as_before_it(opener: Any, api: LoopbackAPI) -> None:
    opg.disable()
    with opg.guard(project="proj_b"):
        pass  # the hooks that it put in stay
    opener(api.websocket_base_url, headers_of(A, None))
    assert api.billed == {"proj_a": 1}


BY_NAME = pytest.mark.parametrize(
    ("name", "argument"),
    [
        ("sync", "additional_headers"),
        ("asyncio", "additional_headers"),
        ("legacy", "extra_headers"),
    ],
)


def open_by_name(name: str, **arguments: Any) -> None:
    connect = pytest.importorskip(f"websockets.{name}.client").connect
    if name == "sync":
        connect(**arguments).close()
        return

    async def run() -> None:
        await (await connect(**arguments)).close()

    asyncio.run(run())


@BY_NAME
def test_a_socket_is_judged_whose_uri_is_given_by_name(
    name: str, argument: str, api: LoopbackAPI, listener: Listener
) -> None:
    open_by_name(name, uri=api.websocket_base_url, **{argument: headers_of(A, "proj_a")})
    assert api.billed == {"proj_a": 1}
    uri = f"ws://127.0.0.1:{listener.port}/v1/realtime"
    with pytest.raises(opg.ProjectMismatchError):
        open_by_name(name, uri=uri, **{argument: headers_of(A, "proj_b")})
    assert listener.saw_no_connection()


@BY_NAME
def test_a_socket_without_a_uri_is_the_error_of_websockets(name: str, argument: str) -> None:
    with pytest.raises(TypeError, match="'uri'"):
        open_by_name(name, **{argument: headers_of(A, "proj_b")})


@pytest.mark.parametrize("name", ["sync", "asyncio"])
def test_a_connection_that_changes_its_headers_is_judged_by_what_it_sends(
    name: str, api: LoopbackAPI
) -> None:
    """A subclass may hand its arguments on by name."""
    base = importlib.import_module(f"websockets.{name}.client").ClientConnection
    agents: list[str] = []

    class Mine(base):  # type: ignore[misc]
        project = ""

        def handshake(self, additional_headers: Any, *more: Any) -> Any:
            names = ("user_agent_header", "timeout")[: len(more)]
            agents.append(more[0])
            return base.handshake(
                self=self,
                additional_headers={**additional_headers, "OpenAI-Project": self.project},
                **dict(zip(names, more, strict=True)),
            )

    def attempt(project: str) -> None:
        Mine.project = project
        open_by_name(
            name,
            uri=api.websocket_base_url,
            additional_headers=headers_of(A, "proj_a"),
            user_agent_header="mine",
            create_connection=Mine,
        )

    attempt("proj_a")
    with pytest.raises(opg.ProjectMismatchError):
        attempt("proj_b")
    assert [line.project_header for line in api.ledger] == ["proj_a"]
    assert agents == ["mine", "mine"]


@pytest.fixture
def held() -> Any:
    """`websockets.sync.client.connect` as it was before `enable()`."""
    opg.disable()
    from websockets.sync.client import connect

    opg.enable(registry={"proj_a": A, "proj_b": B}, hosts=["::1"])
    return connect


# --- a `connect` that was imported before the guard was enabled -----------------------------------


def test_a_connect_held_from_before_sends_no_byte_of_a_wrong_socket(
    held: Any, api: LoopbackAPI, verdicts: list[opg.Verdict]
) -> None:
    with pytest.raises(opg.ProjectMismatchError) as refused:
        held(api.websocket_base_url, additional_headers=headers_of(A, "proj_b"))
    assert refused.value.verdict.method == "GET"
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


# --- however a step is called, whatever a header is -----------------------------------------------


def test_a_header_of_a_websocket_may_be_a_number() -> None:
    connect = pytest.importorskip("websockets.sync.client").connect

    def attempt(api: Any) -> type[Exception] | None:
        url = api.base_url.replace("http", "ws", 1) + "/realtime?model=m"
        headers = {"Authorization": f"Bearer {A}", "OpenAI-Project": "proj_a", "X-Try": 5}
        try:
            with connect(url, additional_headers=headers):
                return None
        except Exception as error:
            return type(error)

    with loopback_api(REGISTRY_OF_SERVER) as api:
        opg.disable()
        unguarded = attempt(api)
        opg.enable(registry=KEYS, hosts=["127.0.0.1"])
        seen: list[opg.Verdict] = []
        opg.add_observer(seen.append)
        assert attempt(api) is unguarded
        assert outcomes(seen) == [("allowed", None)]


REGISTRY_OF_SERVER = {key: project for project, key in KEYS.items()}
