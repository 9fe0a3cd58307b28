"""Does any call escape? Every public method of the installed SDK, called, sync and async.

Nothing is listed by hand: the methods are found by walking the client, their arguments are made up
from their type hints. What a method sends ends at a recording transport, what it would open ends
before a name is resolved.
"""

from __future__ import annotations

import asyncio
import collections.abc
import functools
import importlib
import inspect
import re
import socket
import types
import typing
import warnings
from collections.abc import AsyncIterator, Callable, Iterator, Mapping
from typing import Any, NamedTuple

import openai
import pydantic
import pytest
from openai._resource import AsyncAPIResource, SyncAPIResource

import openai_project_guard as opg

KEY = "sk-proj-sweep-not-a-real-key-Aa1a"
VIEWS = ("with_raw_response", "with_streaming_response")
VERSION = tuple(int(number) for number in re.findall(r"\d+", openai.__version__)[:3])

# The SDK sends the client's project on a WebSocket since 3.15.0, on that of `beta.realtime` since
# 3.36.0. Where it does not, there is nothing to find right or wrong: the project is missing.
SOCKETS_CARRY_PROJECT = VERSION >= (3, 15)
ALL_SOCKETS_CARRY_PROJECT = VERSION >= (3, 36)

KNOWN = {
    (1, 20, 0): (130, 0),
    (1, 66, 0): (206, 2),
    (1, 109, 1): (300, 4),
    (2, 30, 0): (374, 6),
    (2, 54, 0): (628, 8),
    (3, 54, 0): (844, 16),
}
"""How many methods sent HTTP and opened a WebSocket. A walk that finds far fewer has lost its way.

For a release that is not here, the last one before it counts.
"""


class Left(BaseException):
    """Ends a call where it leaves. No `Exception`: the SDK would retry it, or poll on."""


class Outcome(NamedTuple):
    """What one method did: `http`, `websocket` or nothing, and the error it ended with."""

    sent: str | None
    error: BaseException | None


@pytest.fixture(scope="module")
def unguarded() -> dict[str, Outcome]:
    """What every method does without the guard."""
    with pytest.MonkeyPatch.context() as monkeypatch:
        return sweep(bar_the_way_out(monkeypatch), "proj_a")


@pytest.fixture
def left(monkeypatch: pytest.MonkeyPatch) -> Iterator[list[str]]:
    """What has left the process, up to now."""
    yield bar_the_way_out(monkeypatch)
    opg.disable()


def test_sweep_finds_the_methods_of_the_installed_sdk(
    unguarded: dict[str, Outcome], report: Callable[[str], None]
) -> None:
    found, http, websocket = count(unguarded, is_of_a_resource)
    known = KNOWN[max(version for version in KNOWN if version <= VERSION)]
    assert http >= 0.95 * known[0]
    assert websocket >= 0.95 * known[1]
    for client in ("OpenAI", "AsyncOpenAI"):
        own = {
            name: outcome for name, outcome in unguarded.items() if name.startswith(f"{client}.")
        }
        assert count(own, is_of_a_resource) == (found / 2, http / 2, websocket / 2)
    twins = count(unguarded, lambda name: not is_of_a_resource(name))
    report(
        f"sweep, openai {openai.__version__}: {found} methods, {http} send HTTP, {websocket} open "
        f"a WebSocket; of {twins[0]} raw and streaming twins {sum(twins[1:])} send"
    )


def test_nothing_leaves_with_a_header_that_does_not_fit(
    unguarded: dict[str, Outcome], left: list[str], report: Callable[[str], None]
) -> None:
    opg.enable(registry={"proj_a": KEY})
    outcomes = sweep(left, "proj_b")
    assert_nothing_left(unguarded, outcomes)
    refused = sum(isinstance(outcome.error, opg.ProjectGuardError) for outcome in outcomes.values())
    report(f"sweep, header of another project: {refused} methods refused, none let out")


def test_with_a_header_that_fits_everything_leaves_as_without_the_guard(
    unguarded: dict[str, Outcome], left: list[str]
) -> None:
    opg.enable(registry={"proj_a": KEY})
    outcomes = sweep(left, "proj_a")
    assert outcomes.keys() == unguarded.keys()
    for name, outcome in outcomes.items():
        if unguarded[name].sent == "websocket" and not ALL_SOCKETS_CARRY_PROJECT:
            if isinstance(outcome.error, opg.ProjectMissingError):
                continue
            assert SOCKETS_CARRY_PROJECT, name
        assert outcome.sent == unguarded[name].sent, name


def test_with_the_header_put_in_everything_leaves_as_without_the_guard(
    unguarded: dict[str, Outcome], left: list[str]
) -> None:
    verdicts: list[opg.Verdict] = []
    opg.add_observer(verdicts.append)
    try:
        opg.enable("inject", registry={"proj_a": KEY})
        outcomes = sweep(left, None)
    finally:
        opg.remove_observer(verdicts.append)
    assert sent_by(outcomes) == sent_by(unguarded)
    assert {verdict.outcome for verdict in verdicts} == {"injected"}


def test_sweep_notices_a_guard_that_is_off(unguarded: dict[str, Outcome], left: list[str]) -> None:
    opg.disable()
    with pytest.raises(AssertionError, match="let out"):
        assert_nothing_left(unguarded, sweep(left, "proj_b"))


def assert_nothing_left(unguarded: dict[str, Outcome], outcomes: dict[str, Outcome]) -> None:
    escaped = sent_by(outcomes)
    assert not escaped, f"let out: {escaped}"
    assert outcomes.keys() == unguarded.keys()
    for name, how in sent_by(unguarded).items():
        refusals: tuple[type[Exception], ...] = (opg.ProjectMismatchError,)
        if how == "websocket" and not SOCKETS_CARRY_PROJECT:
            refusals = (opg.ProjectMissingError,)
        elif how == "websocket" and not ALL_SOCKETS_CARRY_PROJECT:
            refusals += (opg.ProjectMissingError,)
        assert isinstance(outcomes[name].error, refusals), (name, outcomes[name].error)


def sent_by(outcomes: dict[str, Outcome]) -> dict[str, str]:
    return {name: outcome.sent for name, outcome in outcomes.items() if outcome.sent}


def count(outcomes: dict[str, Outcome], wanted: Callable[[str], bool]) -> tuple[int, int, int]:
    """How many methods, of them how many send HTTP, and how many open a WebSocket."""
    sent = [outcome.sent for name, outcome in outcomes.items() if wanted(name)]
    return len(sent), sent.count("http"), sent.count("websocket")


def is_of_a_resource(name: str) -> bool:
    """Not one of the client's own, and not a raw or streaming twin."""
    return name.count(".") > 1 and not any(f".{view}." in name for view in VIEWS)


def bar_the_way_out(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Nothing gets out, sync or async, whoever sends it; what has tried is returned."""
    sent: list[str] = []

    def connect(*args: Any, **kwargs: Any) -> Any:
        sent.append("websocket")
        raise Left

    # What `socket.create_connection` and asyncio's loop both do first, and what they end in.
    monkeypatch.setattr(socket, "getaddrinfo", connect)
    monkeypatch.setattr(socket.socket, "connect", connect)
    monkeypatch.setattr(socket.socket, "connect_ex", connect)
    for name in ("API_KEY", "PROJECT_ID", "ORG_ID", "BASE_URL", "CUSTOM_HEADERS"):
        monkeypatch.delenv(f"OPENAI_{name}", raising=False)
    for scheme in ("http", "https", "all"):
        monkeypatch.delenv(f"{scheme}_proxy", raising=False)
        monkeypatch.delenv(f"{scheme}_proxy".upper(), raising=False)
    return sent


def sweep(left: list[str], project: str | None) -> dict[str, Outcome]:
    """Calls everything, by a sync and an async client with this project."""

    def record(request: Any) -> Any:
        left.append("http")
        raise Left

    # The SDK's own HTTP library: httpx2 since 3.0, httpx before.
    base = next(owner for owner in openai.DefaultHttpxClient.__mro__ if owner.__name__ == "Client")
    httpx = importlib.import_module(base.__module__.partition(".")[0])
    given = {"api_key": KEY, "project": project, "admin_api_key": KEY, "webhook_secret": "dummy"}
    taken = inspect.signature(openai.OpenAI).parameters
    given = {name: value for name, value in given.items() if name in taken}

    def client() -> Any:
        http_client = httpx.Client(transport=httpx.MockTransport(record))
        return openai.OpenAI(**given, http_client=http_client)

    def async_client() -> Any:
        http_client = httpx.AsyncClient(transport=httpx.MockTransport(record))
        return openai.AsyncOpenAI(**given, http_client=http_client)

    async def call_async() -> dict[str, Outcome]:
        return {
            f"AsyncOpenAI.{name}": await drive(method, left)
            for name, method in methods(async_client, AsyncAPIResource)
        }

    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)
        outcomes = {
            f"OpenAI.{name}": run(drive(method, left))
            for name, method in methods(client, SyncAPIResource)
        }
        return outcomes | asyncio.run(call_async())


def methods(
    client: Callable[[], Any], resource: type, reached: Any = None, path: str = ""
) -> Iterator[tuple[str, Any]]:
    """Every public method that can be reached from a client, its raw and streaming twins too."""
    reached = reached or client()
    for name in dir(reached):
        found = None if name.startswith("_") else getattr(reached, name)
        if isinstance(found, resource):
            yield from methods(client, resource, found, f"{path}{name}.")
        elif path and name in VIEWS:
            for twin, method in vars(found).items():
                if not twin.startswith("_"):
                    yield f"{path}{name}.{twin}", method
        elif inspect.ismethod(found):  # one of the client's own may close it
            yield path + name, found if path else getattr(client(), name)


async def drive(method: Any, left: list[str]) -> Outcome:
    """Calls a method with one set of arguments after the other until something happens.

    No `await` is reached for a sync method, so `run()` can drive it without a loop.
    """
    first = None
    for arguments in attempts(inspect.unwrap(method), inspect.signature(method)):
        left.clear()
        error = None
        try:
            result = method(**arguments)
            if inspect.isawaitable(result):
                result = await result
            await use(result, left)
        except BaseException as caught:
            error = innermost(caught)
        if left or isinstance(error, opg.ProjectGuardError):
            return Outcome(left[0] if left else None, error)
        first = first or error
    return Outcome(None, first)


async def use(result: Any, left: list[str]) -> None:
    """Takes the step at which a helper sends that did not do so when called."""
    if left:
        return
    if hasattr(result, "__aenter__"):
        async with result:
            return
    if hasattr(result, "__enter__"):
        with result:
            return
    if isinstance(result, AsyncIterator):
        await anext(result, None)
    if isinstance(result, Iterator):
        next(result, None)


def run(coroutine: Any) -> Any:
    try:
        coroutine.send(None)
    except StopIteration as end:
        return end.value
    raise AssertionError("a method of the sync client awaits")


def innermost(error: BaseException) -> BaseException:
    while hasattr(error, "exceptions"):  # a helper that sends from a task group
        error = error.exceptions[0]
    return error


def attempts(function: Any, signature: inspect.Signature) -> Iterator[dict[str, Any]]:
    """The required arguments; all of them; the required ones and one more.

    The SDK checks at run time which of its overloads is meant, so "required" may not be enough.
    """
    hints = hints_of(getattr(function, "__func__", function))
    every, required = {}, {}
    for name, parameter in signature.parameters.items():
        if parameter.kind in (parameter.VAR_POSITIONAL, parameter.VAR_KEYWORD):
            continue
        every[name] = hints.get(name, str)
        if parameter.default is parameter.empty:
            required[name] = every[name]
    made_up = {name: dummy(hint) for name, hint in every.items()}
    yield {name: made_up[name] for name in required}
    yield made_up
    for more in every.keys() - required:
        yield {name: made_up[name] for name in (*required, more)}


@functools.cache
def hints_of(function: Any) -> dict[str, Any]:
    return typing.get_type_hints(function)


class Answer(pydantic.BaseModel):
    """For methods that ask what type the answer shall be parsed into."""


def dummy(hint: Any) -> Any:
    """Something of this type, or at least like it."""
    origin, inner = typing.get_origin(hint), typing.get_args(hint)
    if origin is typing.Annotated:
        return dummy(inner[0])
    if origin in (typing.Union, types.UnionType):
        names = {getattr(member, "__name__", ""): member for member in inner}
        for absent in ("NoneType", "NotGiven", "Omit"):
            names.pop(absent, None)
        return b"dummy" if bytes in inner else dummy(next(iter(names.values())))
    if origin is typing.Literal:
        return inner[0]
    if origin is type or hint is type:
        return Answer
    if origin is collections.abc.Callable:
        return lambda *args, **kwargs: None
    for simple in (bool, int, float, bytes):
        if hint is simple:
            return simple(1)
    if hint is object or typing.is_typeddict(hint):
        return {}
    if isinstance(hint, type) and issubclass(hint, pydantic.BaseModel):
        fields = hint.model_fields.items()
        return hint.model_construct(**{name: "dummy" for name, f in fields if f.is_required()})
    if isinstance(origin, type) and issubclass(origin, Mapping):
        return {}
    if inner and origin is not None:
        return [dummy(inner[0])]
    return "dummy"
