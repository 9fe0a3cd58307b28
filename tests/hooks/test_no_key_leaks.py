"""A key stands nowhere: not in errors, logs, reprs, pickles, or tracebacks that show locals."""

from __future__ import annotations

import asyncio
import copy
import logging
import pickle
import traceback
from collections.abc import Callable, Iterator
from types import TracebackType
from typing import Any

import openai
import pytest
import wrapt
from openai._base_client import BaseClient
from support import VERSION, Async, Recorder, Sync, chat, frames_holding, needs_sdk

import openai_project_guard as opg
from openai_project_guard._state import STATE
from openai_project_guard.loopback import loopback_api

CANARY = "sk-proj-canaryCANARYcanaryCANARYcanary-7777"
SECRET = "canaryCANARYcanaryCANARYcanary"


@pytest.fixture(autouse=True)
def off_again(caplog: pytest.LogCaptureFixture) -> Iterator[None]:
    caplog.set_level(logging.DEBUG, logger="openai_project_guard")
    yield
    opg.disable()
    assert SECRET not in caplog.text


def our_locals(error: BaseException) -> str:
    """The locals of every frame of ours that the error, its causes and contexts went through."""
    shown, waiting = "", [error]
    while waiting:
        link = waiting.pop()
        waiting += [more for more in (link.__cause__, link.__context__) if more is not None]
        trace: TracebackType | None = link.__traceback__
        while trace is not None:
            frame = trace.tb_frame
            if frame.f_globals.get("__name__", "").startswith("openai_project_guard."):
                shown += f"{frame.f_code.co_name}: {deep_repr(frame.f_locals)}\n"
            trace = trace.tb_next
    return shown


def deep_repr(values: dict[str, Any]) -> str:
    """The reprs that an error tracker would show, one level into containers."""
    shown = repr(values)
    for value in values.values():
        if isinstance(value, (list, tuple, set)):
            shown += "".join(map(repr, value))
        elif isinstance(value, dict):
            shown += "".join(map(repr, (*value, *value.values())))
    return shown


def assert_safe(error: BaseException) -> None:
    assert SECRET not in str(error)
    assert SECRET not in repr(error)
    assert SECRET not in our_locals(error)
    assert SECRET not in "".join(traceback.format_exception(type(error), error, None))
    assert SECRET not in repr(getattr(error, "__dict__", {}))
    if isinstance(error, opg.ProjectGuardError):
        assert SECRET.encode() not in pickle.dumps(error)
        assert SECRET not in repr(error.verdict)
        assert SECRET not in repr(copy.deepcopy(error).__dict__)


REFUSED: dict[str, dict[str, Any]] = {
    "mismatch": {"project": "proj_b"},
    "missing": {},
    "extra header": {"project": "proj_a", "headers": {"OpenAI-Project": "proj_b"}},
    "key in a header": {"project": "proj_a", "headers": {"OpenAI-Project": CANARY}},
    "key and project swapped": {"project": CANARY},
    "key by header": {
        "project": "proj_b",
        "headers": {"Authorization": f"Bearer {CANARY}"},
        "api_key": "sk-proj-another-key-0000",
    },
}


@pytest.mark.parametrize("way", [Sync, Async])
@pytest.mark.parametrize("case", REFUSED)
@pytest.mark.parametrize("observed", [False, True])
def test_a_refused_call(way: Any, case: str, observed: bool, sent: Recorder) -> None:
    seen: list[Any] = []
    opg.enable(registry={"proj_a": CANARY})
    options = {"api_key": CANARY, **REFUSED[case]}
    headers = options.pop("headers", {})
    client = way.client(sent, **options)
    if observed:
        opg.add_observer(seen.append)
    try:
        with pytest.raises(opg.ProjectGuardError) as refused:
            way.run(lambda: chat(client, extra_headers=headers))
    finally:
        opg.remove_observer(seen.append)
    assert our_locals(refused.value)
    assert_safe(refused.value)
    assert SECRET not in repr(seen)


@pytest.mark.parametrize("way", [Sync, Async])
def test_an_error_of_the_sdk_that_passes_through_our_frames(way: Any) -> None:
    def fail(_: Any) -> Any:
        raise ConnectionResetError("cut off")

    opg.enable(registry={"proj_a": CANARY})
    client = way.client(fail, api_key=CANARY, project="proj_a", max_retries=0)
    headers = {"Authorization": f"Bearer {CANARY}"}
    with pytest.raises((openai.APIConnectionError, ConnectionResetError)) as failed:
        way.run(lambda: chat(client, extra_headers=headers))
    assert our_locals(failed.value)
    assert SECRET not in our_locals(failed.value)


@pytest.mark.parametrize("way", [Sync, Async])
def test_an_error_of_the_sdk_over_a_header_that_cannot_be_sent(way: Any, sent: Recorder) -> None:
    opg.enable(registry={"proj_a": CANARY})
    client = way.client(sent, project="proj_a")
    headers = {"Authorization": f"Bearer {CANARY}", "X-Name": "é"}
    with pytest.raises(UnicodeEncodeError) as failed:
        way.run(lambda: chat(client, extra_headers=headers))
    assert our_locals(failed.value)
    assert SECRET not in our_locals(failed.value)


@pytest.mark.parametrize("way", [Sync, Async])
def test_an_error_that_passes_through_our_frames_over_another_tools_wrapper(
    way: Any, sent: Recorder, monkeypatch: pytest.MonkeyPatch
) -> None:
    def wrapper(wrapped: Any, _: Any, args: Any, kwargs: Any) -> Any:
        return wrapped(*args, **kwargs)

    found = vars(BaseClient)["_build_request"]
    monkeypatch.setattr(BaseClient, "_build_request", wrapt.FunctionWrapper(found, wrapper))
    opg.enable(registry={"proj_a": CANARY})
    client = way.client(sent, project="proj_a")
    headers = {"Authorization": f"Bearer {CANARY}", "X-Name": "é"}
    with pytest.raises(UnicodeEncodeError) as failed:
        way.run(lambda: chat(client, extra_headers=headers))
    assert our_locals(failed.value)
    assert SECRET not in our_locals(failed.value)


class Stop(BaseException):
    """What stops a program, wherever it is: as Ctrl-C does, or a test framework."""


@pytest.fixture
def stops() -> Iterator[None]:
    """An observer stops the program at the next call."""

    def stop(_: opg.Verdict) -> None:
        raise Stop

    opg.add_observer(stop)
    yield
    opg.remove_observer(stop)


@pytest.mark.usefixtures("stops")
@pytest.mark.parametrize("way", [Sync, Async])
@pytest.mark.parametrize("project", ["proj_a", "proj_b", "prój"])
def test_what_stops_the_program_passes_through_our_frames(
    project: str, way: Any, sent: Recorder
) -> None:
    opg.enable(registry={"proj_a": CANARY})
    client = way.client(sent, api_key=CANARY, project=project)
    with pytest.raises(Stop) as stopped:
        way.run(lambda: chat(client))
    assert our_locals(stopped.value)
    assert SECRET not in our_locals(stopped.value)


@pytest.mark.usefixtures("stops")
@needs_sdk(VERSION >= (3,), "WebSocket with the client's project")
@pytest.mark.parametrize("is_async", [False, True])
def test_what_stops_the_program_at_a_websocket_passes_through_our_frames(is_async: bool) -> None:
    opg.enable(registry={"proj_a": CANARY})
    options: Any = {"api_key": CANARY, "project": "proj_b"}

    async def connect_async() -> None:
        await openai.AsyncOpenAI(**options).realtime.connect(model="m").enter()

    def connect() -> None:
        openai.OpenAI(**options).realtime.connect(model="m").enter()

    with pytest.raises(Stop) as stopped:
        asyncio.run(connect_async()) if is_async else connect()
    assert our_locals(stopped.value)
    assert SECRET not in our_locals(stopped.value)


@needs_sdk(VERSION >= (3, 15), "WebSocket with the client's project")
@pytest.mark.parametrize("project", ["proj_a", "proj_b"])
@pytest.mark.parametrize("is_async", [False, True])
def test_a_websocket_that_fails(project: str, is_async: bool) -> None:
    with loopback_api({"sk-proj-the-server-knows-another": "proj_a"}) as api:
        opg.enable(registry={"proj_a": CANARY}, hosts=["127.0.0.1"])
        options: Any = {
            "api_key": CANARY,
            "project": project,
            "base_url": api.base_url,
            "websocket_base_url": api.websocket_base_url,
        }

        def connect() -> None:
            openai.OpenAI(**options).realtime.connect(model="m").enter()

        async def connect_async() -> None:
            await openai.AsyncOpenAI(**options).realtime.connect(model="m").enter()

        with pytest.raises(Exception) as failed:
            asyncio.run(connect_async()) if is_async else connect()
    assert isinstance(failed.value, opg.ProjectMismatchError) == (project == "proj_b")
    assert our_locals(failed.value)
    assert SECRET not in our_locals(failed.value)


BAD_SETTINGS: dict[str, Callable[[], object]] = {
    "key for a project id": lambda: opg.enable(registry={CANARY: "proj_a"}),
    "bad id beside a key": lambda: opg.enable(registry={"proj_a": CANARY, "b": CANARY}),
    "key with a newline": lambda: opg.enable(registry={"proj_a": CANARY + "\n"}),
    "key with quotes": lambda: opg.enable(registry={"proj_a": [f'"{CANARY}"']}),
    "key for a path": lambda: opg.enable(registry=CANARY),
    "key for the pinned project": lambda: opg.enable(project=CANARY),
    "key for a mode": lambda: opg.enable(CANARY),  # type: ignore[arg-type]
    "key for a host": lambda: opg.enable(hosts=[CANARY]),
    "key for hosts": lambda: opg.enable(hosts=CANARY),
    "key for unregistered": lambda: opg.enable(unregistered=CANARY),  # type: ignore[arg-type]
    "register under a name": lambda: opg.register(CANARY, "my project"),
    "register the other way round": lambda: opg.register("proj_a", CANARY),
    "register what is no text": lambda: opg.register(CANARY + "\udcff", "proj_a"),
    "register two keys": lambda: opg.register(f"{CANARY} {CANARY}", "proj_a"),
    "register an unfit key": lambda: opg.register(CANARY + " ", "proj_a"),
    "registry under a name": lambda: opg.Registry().register(CANARY, "my project"),
    "registry with bytes": lambda: opg.Registry().register(CANARY.encode(), "proj_a"),  # type: ignore[arg-type]
    "guard a key": lambda: opg.guard(project=CANARY).__enter__(),
    "guard mode": lambda: opg.guard(mode=CANARY),  # type: ignore[call-overload]
}


@pytest.mark.parametrize("case", BAD_SETTINGS)
def test_a_bad_setting(case: str) -> None:
    with pytest.raises(opg.ConfigurationError) as refused:
        BAD_SETTINGS[case]()
    assert_safe(refused.value)


WRONG_PLACES: dict[str, Callable[[str], object]] = {
    "mode": lambda key: opg.enable(key),  # type: ignore[arg-type]
    "unregistered": lambda key: opg.enable(unregistered=key),  # type: ignore[arg-type]
    "host": lambda key: opg.enable(hosts=[f"{key}:443/"]),
    "pinned project": lambda key: opg.enable(project=key),
    "guard": lambda key: opg.guard(project=f"it is {key}").__enter__(),
    "guard mode": lambda key: opg.guard(mode=key),  # type: ignore[call-overload]
    "project": lambda key: opg.register("another-key-of-ours", key),
    "observer": lambda key: opg.add_observer(key),  # type: ignore[arg-type]
    "registry": lambda key: opg.Registry().register("another-key-of-ours", key),
    "a registry of it": lambda key: opg.enable(project=key, registry={"proj_a": key}),
}


@pytest.mark.parametrize("is_enabled", [True, False])
@pytest.mark.parametrize(
    "key", ["the-gateway-key-of-team-7", "gw:of/team+7==", "q7Zr2LmX:v9Kp4TnB8c/W"]
)
@pytest.mark.parametrize("where", WRONG_PLACES)
def test_a_registered_key_of_whatever_form_in_a_wrong_place(
    where: str, key: str, is_enabled: bool
) -> None:
    opg.register(key, "proj_a")
    if is_enabled:
        opg.enable(registry={"proj_a": CANARY})
    with pytest.raises(opg.ConfigurationError) as refused:
        WRONG_PLACES[where](key)
    assert key not in f"{refused.value} {refused.value.args}"
    assert frames_holding(refused.value, key) == []


@pytest.mark.parametrize(
    "variable", ["", "_PROJECT", "_UNREGISTERED", "_HOSTS", "_SCOPE", "_KEYS", "_REGISTRY"]
)
@pytest.mark.parametrize("value", [CANARY, f"proj_a={CANARY}", f"proj_a=sha256:{CANARY}"])
def test_a_key_in_a_variable(variable: str, value: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OPENAI_PROJECT_GUARD" + variable, value)
    with pytest.raises(opg.ConfigurationError) as refused:
        opg.enable()
    assert_safe(refused.value)


def test_a_log_handler_that_looks_at_frames_while_the_guard_starts(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """As an error tracker does that adds the stack to what is logged."""
    monkeypatch.setenv("OPENAI_PROJECT_GUARD_OVERRIDE", "warn")
    seen: list[str] = []

    class Looks(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            for frame, _ in traceback.walk_stack(None):
                if frame.f_globals.get("__name__", "").startswith("openai_project_guard."):
                    seen.append(f"{frame.f_code.co_name}: {deep_repr(frame.f_locals)}")

    handler = Looks()
    logging.getLogger("openai_project_guard").addHandler(handler)
    try:
        for registry in ({"proj_a": CANARY}, {"proj_a": [CANARY]}):
            opg.enable(registry=registry)
            opg.disable()
        opg.register(CANARY, project="proj_a")
    finally:
        logging.getLogger("openai_project_guard").removeHandler(handler)
    assert any(line.startswith("enable: ") for line in seen)
    assert [line for line in seen if SECRET in line] == []


def test_the_registry_and_its_entries() -> None:
    registry = opg.Registry()
    registry.register(CANARY, "proj_a", note="a note")
    opg.enable(registry=registry)
    state = [registry, *registry, registry.lookup(CANARY), STATE.observers]
    assert SECRET not in repr(state)
    assert SECRET not in repr([getattr(registry.snapshot, name) for name in ("keys", "projects")])
    with pytest.raises(opg.ConfigurationError) as refused:
        registry.register(CANARY + "\n", "proj_a")
    assert_safe(refused.value)
