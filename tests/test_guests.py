"""In other people's classes we are guests: a program and its other tools see no difference."""

from __future__ import annotations

import asyncio
import copy
import dataclasses
import functools
import importlib
import inspect
import logging
import pickle
from collections.abc import Callable, Iterator
from typing import Any

import openai
import pytest
import support
import wrapt
from openai._base_client import AsyncAPIClient, BaseClient, SyncAPIClient
from support import (
    VERSION,
    A,
    B,
    Probe,
    Recorder,
    async_client,
    chat,
    http,
    output,
    python,
    sync_client,
)

import openai_project_guard as opg
from openai_project_guard.loopback import loopback_api

clean = support.clean
probe = support.probe
pytestmark = pytest.mark.usefixtures("clean")

HOOKED: dict[str, Any] = {"_build_request": BaseClient, "_send_single_request": http.Client}
"""The methods on the way of every call that are hooked, and the class of each."""


@pytest.fixture(autouse=True)
def enabled(clean: pytest.MonkeyPatch) -> None:
    opg.enable(registry={"proj_a": A, "proj_b": B})


@pytest.fixture
def verdicts() -> list[opg.Verdict]:
    seen: list[opg.Verdict] = []
    opg.add_observer(seen.append)
    return seen


# --- enable() and disable() leave no trace ------------------------------------------------------

SNAPSHOT = """
import asyncio, importlib
import openai

def classes_and_modules():
    owners = [*openai.OpenAI.__mro__, *openai.AsyncOpenAI.__mro__]
    owners += [*openai.AzureOpenAI.__mro__, *openai.AsyncAzureOpenAI.__mro__]
    for name in ("httpx", "httpx2"):
        try:
            module = importlib.import_module(name)
        except ImportError:
            continue
        owners += [module, *module.Client.__mro__, *module.AsyncClient.__mro__]
    for name in ("sync.client", "asyncio.client", "legacy.client"):
        try:
            module = importlib.import_module("websockets." + name)
        except ImportError:
            continue
        owners += [module, *(v for v in vars(module).values() if isinstance(v, type))]
    return {id(owner): owner for owner in owners if owner is not object}.values()

def snapshot():
    return [(owner, name, value) for owner in owners for name, value in vars(owner).items()]

def changes():
    now = snapshot()
    assert [pair[:2] for pair in now] == [pair[:2] for pair in before], "a name came or went"
    return [f"{old[0].__name__}.{old[1]}" for old, new in zip(before, now) if old[2] is not new[2]]

import warnings
warnings.simplefilter("ignore", DeprecationWarning)
owners = classes_and_modules()
import openai_project_guard as opg
import support
support.Probe()()  # whatever the SDK imports and caches at its first call
before = snapshot()
"""


def test_after_disable_every_class_is_as_it_was() -> None:
    """Also when calls were made in between, and when it was enabled twice."""
    said = output(
        SNAPSHOT
        + """
for mode in "enforce", "inject":
    opg.enable(mode, registry={"proj_a": support.A})
    opg.enable(mode, registry={"proj_a": support.A})
    assert support.Probe()() == asyncio.run(support.Probe().wait()) == "a"
    changed = changes()
    opg.disable()
    assert support.Probe()() == "ab?"
    assert not changes(), changes()
    with opg.guard():
        pass
    opg.disable()
    assert not changes(), changes()
print(*changed)
"""
    ).split()
    assert "BaseClient._build_request" in said
    assert "AsyncClient._send_single_request" in said
    assert [name for name in said if name.endswith(".handshake")]


@pytest.mark.parametrize(
    ("owner", "name"),
    [
        (BaseClient, "_build_request"),
        (BaseClient, "_make_status_error_from_response"),
        (http.Client, "_send_single_request"),
        (http.AsyncClient, "_send_single_request"),
    ],
)
def test_a_hooked_method_looks_like_the_original(owner: Any, name: str) -> None:
    hooked = inspect.getattr_static(owner, name)
    opg.disable()
    original = inspect.getattr_static(owner, name)
    assert hooked is not original
    assert inspect.signature(hooked) == inspect.signature(original)
    assert inspect.iscoroutinefunction(hooked) == inspect.iscoroutinefunction(original)
    assert inspect.iscoroutinefunction(hooked) == (owner is http.AsyncClient)
    assert inspect.isfunction(hooked)
    for attribute in ("__name__", "__qualname__", "__module__", "__doc__", "__annotations__"):
        assert getattr(hooked, attribute) == getattr(original, attribute)
    assert inspect.unwrap(hooked) is original
    assert inspect.getsource(hooked) == inspect.getsource(original)


# --- other tools wrap the same places -----------------------------------------------------------


class Tool:
    """Another tool that wraps a method, and puts back what it found.

    What it finds is what `Class.method` gives, or else what stands in the class.
    """

    def __init__(self, owner: Any, name: str, way: str) -> None:
        self.owner, self.name = owner, name
        way, _, from_class = way.partition(" of ")
        self.found = vars(owner)[name] if from_class else getattr(owner, name)
        self.calls = 0
        self.wrapper = WAYS[way](self, self.found)
        setattr(owner, name, self.wrapper)

    def count(self) -> None:
        self.calls += 1

    def remove(self) -> None:
        setattr(self.owner, self.name, self.found)


def _by_wrapt(tool: Tool, found: Any) -> Any:
    def wrapper(wrapped: Any, _: Any, args: Any, kwargs: Any) -> Any:
        tool.count()
        return wrapped(*args, **kwargs)

    return wrapt.FunctionWrapper(found, wrapper)


def _by_functools(tool: Tool, found: Any) -> Any:
    @functools.wraps(found)
    def wrapper(*args: Any, **kwargs: Any) -> Any:
        tool.count()
        return found(*args, **kwargs)

    return wrapper


def _by_closure(tool: Tool, found: Any) -> Any:
    def wrapper(*args: Any, **kwargs: Any) -> Any:
        tool.count()
        return found(*args, **kwargs)

    return wrapper


class _Descriptor:
    def __init__(self, tool: Tool, found: Any) -> None:
        self.tool, self.found = tool, found

    def __get__(self, instance: Any, owner: Any = None) -> Any:
        bound = self.found.__get__(instance, owner)

        def wrapper(*args: Any, **kwargs: Any) -> Any:
            self.tool.count()
            return bound(*args, **kwargs)

        return wrapper


WAYS: dict[str, Callable[[Tool, Any], Any]] = {
    "wrapt": _by_wrapt,
    "functools.wraps": _by_functools,
    "closure": _by_closure,
    "descriptor": _Descriptor,
}
"""Each takes what `Class.method` gives; with ` of __dict__`, what stands in the class."""


@pytest.fixture
def place() -> Iterator[Callable[[str, str], Tool]]:
    """Wraps places, and puts back what stood there before the guard came."""
    opg.disable()
    originals = [(owner, name, vars(owner)[name]) for name, owner in HOOKED.items()]
    yield lambda name, way: Tool(HOOKED[name], name, way)
    for owner, name, original in originals:
        setattr(owner, name, original)


def enable() -> None:
    opg.enable(registry={"proj_a": A, "proj_b": B})


NAMES = pytest.mark.parametrize("name", HOOKED)


EACH_WAY = pytest.mark.parametrize(
    "way", [f"{way}{of}" for of in ("", " of __dict__") for way in WAYS]
)


@NAMES
@EACH_WAY
def test_a_wrapper_put_on_after_ours_survives_disable(
    name: str,
    way: str,
    place: Callable[[str, str], Tool],
    probe: Probe,
    caplog: pytest.LogCaptureFixture,
) -> None:
    enable()
    assert probe() == "ab"
    tool = place(name, way)
    assert probe() == "ab"
    assert tool.calls == 3
    opg.disable()
    assert vars(HOOKED[name])[name] is tool.wrapper
    assert probe() == "ab?"
    assert tool.calls == 6
    assert not opg.is_enabled()
    tool.remove()
    assert probe() == "ab?"


@NAMES
@EACH_WAY
def test_enabling_again_under_a_foreign_wrapper_wraps_nothing_twice(
    name: str,
    way: str,
    place: Callable[[str, str], Tool],
    probe: Probe,
    verdicts: list[opg.Verdict],
) -> None:
    original = vars(HOOKED[name])[name]
    enable()
    probe()
    tool = place(name, way)
    assert opg.is_enabled()
    for _ in range(2):
        opg.disable()
        enable()
    assert opg.is_enabled()
    assert vars(HOOKED[name])[name] is tool.wrapper
    verdicts.clear()
    assert probe() == "ab"
    assert tool.calls == 3
    assert len(verdicts) == 3
    tool.remove()
    opg.disable()
    assert vars(HOOKED[name])[name] is original


@NAMES
@EACH_WAY
def test_a_wrapper_put_on_before_ours_is_left_as_it_was(
    name: str,
    way: str,
    place: Callable[[str, str], Tool],
    probe: Probe,
    verdicts: list[opg.Verdict],
) -> None:
    tool = place(name, way)
    enable()
    assert opg.is_enabled()
    assert probe() == "ab"
    assert len(verdicts) == 3
    # A refused call does not come further than the transport hook.
    assert tool.calls == (2 if name == "_send_single_request" else 3)
    opg.disable()
    assert vars(HOOKED[name])[name] is tool.wrapper
    assert probe() == "ab?"


@NAMES
def test_a_tools_removal_that_drops_our_hook_is_noticed_and_mended(
    name: str,
    place: Callable[[str, str], Tool],
    probe: Probe,
    verdicts: list[opg.Verdict],
    caplog: pytest.LogCaptureFixture,
) -> None:
    tool = place(name, "functools.wraps")
    enable()
    assert probe() == "ab"
    assert opg.is_enabled()
    tool.remove()  # it puts back what it found, over ours
    assert not opg.is_enabled()
    assert [record.getMessage() for record in caplog.records if record.levelno > logging.INFO][
        -1
    ] == (
        f"Another package took the guard's hook off {HOOKED[name].__name__}.{name}. "
        "Call enable() again."
    )
    verdicts.clear()
    assert probe() == "ab"  # the hook that is left still holds
    assert len(verdicts) == 3
    enable()
    assert opg.is_enabled()
    verdicts.clear()
    assert probe() == "ab"
    assert len(verdicts) == 3


# --- what a call gives back ---------------------------------------------------------------------

RESULTS: dict[str, Callable[[Any], Any]] = {
    "plain": chat,
    "stream": lambda client: chat(client, stream=True),
    "raw": lambda client: client.chat.completions.with_raw_response.create(model="m", messages=[]),
    "page": lambda client: client.files.list(),
}


def _streamed(client: Any) -> Any:
    return client.chat.completions.with_streaming_response.create(model="m", messages=[])


@pytest.mark.parametrize("style", RESULTS)
def test_results_are_of_the_same_type_as_without_the_guard(style: str) -> None:
    def types() -> list[type]:
        result = RESULTS[style](sync_client(Recorder(), project="proj_a"))
        items = result if style in ("stream", "page") else ()
        return [type(result), *map(type, items)]

    async def async_types() -> list[type]:
        result = RESULTS[style](async_client(Recorder(), project="proj_a"))
        found = [type(result)]
        result = await result
        found.append(type(result))
        if style in ("stream", "page"):
            found += [type(item) async for item in result]
        return found

    guarded = types(), asyncio.run(async_types())
    opg.disable()
    assert (types(), asyncio.run(async_types())) == guarded


def test_a_stream_is_the_sdks_stream() -> None:
    stream = chat(sync_client(Recorder(), project="proj_a"), stream=True)
    assert type(stream) is openai.Stream
    assert [chunk.id for chunk in stream] == ["c"]

    async def main() -> None:
        stream = await chat(async_client(Recorder(), project="proj_a"), stream=True)
        assert type(stream) is openai.AsyncStream
        assert [chunk.id async for chunk in stream] == ["c"]

    asyncio.run(main())


def test_raw_and_streamed_responses_are_the_sdks() -> None:
    from openai._legacy_response import LegacyAPIResponse
    from openai._response import APIResponse, AsyncAPIResponse

    raw = RESULTS["raw"](sync_client(Recorder(), project="proj_a"))
    assert type(raw) is LegacyAPIResponse
    assert raw.parse().id == "c"
    with _streamed(sync_client(Recorder(), project="proj_a")) as response:
        assert type(response) is APIResponse
        assert b'"id"' in response.read()

    async def main() -> None:
        async with _streamed(async_client(Recorder(), project="proj_a")) as response:
            assert type(response) is AsyncAPIResponse
            assert b'"id"' in await response.read()

    asyncio.run(main())


def test_every_page_is_judged_and_comes(verdicts: list[opg.Verdict]) -> None:
    sent = Recorder()
    files = [file.id for file in sync_client(sent, project="proj_a").files.list()]

    async def main() -> list[str]:
        client = async_client(sent, project="proj_a")
        return [file.id async for file in client.files.list()]

    assert asyncio.run(main()) == files
    assert files[0] == "file-1"
    assert len(verdicts) == len(sent.requests) == 2 * len(files)
    if VERSION >= (1, 60):
        assert files == ["file-1", "file-2", "file-3"]


def test_a_legacy_httpx_client_is_judged_as_well(verdicts: list[opg.Verdict]) -> None:
    httpx = pytest.importorskip("httpx", reason="httpx is not installed")
    if VERSION < (3,):
        pytest.skip("httpx is this SDK's own HTTP library")
    arrived: list[Any] = []

    def answer(request: Any) -> Any:
        arrived.append(request)
        return httpx.Response(200, json={"object": "list", "data": []})

    client = openai.OpenAI(
        api_key=A,
        project="proj_a",
        http_client=httpx.Client(transport=httpx.MockTransport(answer)),
    )
    client.models.list()
    with pytest.raises(opg.ProjectMismatchError):
        client.with_options(api_key=B).models.list()
    assert len(arrived) == 1
    assert len(verdicts) == 2


# --- retries ------------------------------------------------------------------------------------


def both(run: Callable[..., Any]) -> Any:
    """Runs a test with the sync and with the async client."""

    @pytest.mark.parametrize("make", [sync_client, async_client])
    @functools.wraps(run)
    def test(make: Any, *args: Any, **kwargs: Any) -> None:
        def call(client: Any, **more: Any) -> Any:
            result = chat(client, **more)
            if make is sync_client:
                return result

            async def finish() -> Any:
                return await result

            return asyncio.run(finish())

        run(make, call, *args, **kwargs)

    parameters = list(inspect.signature(run).parameters.values())
    test.__signature__ = inspect.Signature(  # type: ignore[attr-defined]
        [p for p in parameters if p.name != "call"]
    )
    return test


@both
def test_a_500_is_retried_as_always_and_each_attempt_is_judged(
    make: Any, call: Any, verdicts: list[opg.Verdict]
) -> None:
    sent = Recorder([500, 503])
    assert call(make(sent, project="proj_a", max_retries=2)).id == "c"
    assert len(sent.requests) == len(verdicts) == 3
    assert {verdict.outcome for verdict in verdicts} == {"allowed"}


@both
def test_a_500_without_retries_left_is_the_sdks_error(
    make: Any, call: Any, verdicts: list[opg.Verdict]
) -> None:
    sent = Recorder([500, 500])
    with pytest.raises(openai.InternalServerError):
        call(make(sent, project="proj_a", max_retries=1))
    assert len(sent.requests) == len(verdicts) == 2


@both
def test_a_refused_call_is_not_retried(make: Any, call: Any, verdicts: list[opg.Verdict]) -> None:
    sent = Recorder()
    caught: Exception | None = None
    try:
        call(make(sent, project="proj_b", max_retries=5))
    except openai.APIConnectionError:
        pytest.fail("it came wrapped")
    except openai.OpenAIError as error:
        caught = error
    assert type(caught) is opg.ProjectMismatchError
    assert caught.__cause__ is None
    assert sent.requests == []
    assert len(verdicts) == 1


@both
def test_the_attempt_after_a_500_is_judged_by_the_key_it_carries(
    make: Any, call: Any, verdicts: list[opg.Verdict]
) -> None:
    sent = Recorder([500], before=lambda _: setattr(client, "api_key", B))
    client = make(sent, project="proj_a", max_retries=5)
    with pytest.raises(opg.ProjectMismatchError) as refused:
        call(client)
    assert refused.value.verdict.key_hint == "sk-proj-…BBBB"
    assert sent.keys == [A]
    assert [verdict.outcome for verdict in verdicts] == ["allowed", "blocked"]


@pytest.mark.skipif(
    "Callable" not in str(inspect.signature(openai.OpenAI.__init__).parameters["api_key"]),
    reason="this SDK takes no callable for a key",
)
@both
def test_a_key_callable_that_rotates_between_attempts_is_judged_key_by_key(
    make: Any, call: Any, verdicts: list[opg.Verdict]
) -> None:
    keys = iter([A, A, B])

    async def later() -> str:
        return next(keys)

    sent = Recorder([500, 500])
    provider = later if make is async_client else lambda: next(keys)
    client = make(sent, api_key=provider, project="proj_a", max_retries=5)
    with pytest.raises(opg.ProjectMismatchError) as refused:
        call(client)
    assert refused.value.verdict.key_hint == "sk-proj-…BBBB"
    assert sent.keys == [A, A]
    assert [verdict.outcome for verdict in verdicts] == ["allowed", "allowed", "blocked"]


@both
def test_timeouts_and_broken_connections_are_the_sdks_errors(
    make: Any, call: Any, verdicts: list[opg.Verdict], monkeypatch: pytest.MonkeyPatch
) -> None:
    delay = "_calculate_retry_timeout"
    monkeypatch.setattr(openai._base_client.BaseClient, delay, lambda *_, **__: 0.001)
    for raised, expected in (
        (http.ReadTimeout("late"), openai.APITimeoutError),
        (http.ConnectError("gone"), openai.APIConnectionError),
    ):

        def fail(_: Any, raised: Exception = raised) -> None:
            raise raised

        verdicts.clear()
        sent = Recorder(before=fail)
        with pytest.raises(openai.APIConnectionError) as error:
            call(make(sent, project="proj_a", max_retries=1))
        assert type(error.value) is expected
        assert error.value.__cause__ is raised
        assert len(sent.requests) == len(verdicts) == 2


async def test_an_async_call_is_cancelled_as_always(verdicts: list[opg.Verdict]) -> None:
    arrived = asyncio.Event()

    async def hang(_: Any) -> Any:
        arrived.set()
        await asyncio.sleep(60)

    client = async_client(hang, project="proj_a", max_retries=5)
    task = asyncio.create_task(chat(client))
    await arrived.wait()
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    with pytest.raises(asyncio.TimeoutError):
        await asyncio.wait_for(chat(client), 0.01)
    assert len(verdicts) == 2
    with pytest.raises(opg.ProjectMismatchError):
        await chat(async_client(Recorder(), project="proj_b"))


def test_on_a_real_socket_a_refused_call_opens_no_connection() -> None:
    with loopback_api({A: "proj_a", B: "proj_b"}) as api:
        options = {"base_url": api.base_url, "max_retries": 5}
        wrong = {"api_key": B, "project": "proj_a", **options}
        with openai.OpenAI(**wrong) as client, pytest.raises(opg.ProjectMismatchError):
            chat(client)

        async def main() -> None:
            async with openai.AsyncOpenAI(**wrong) as client:
                with pytest.raises(opg.ProjectMismatchError):
                    await chat(client, stream=True)
            async with openai.AsyncOpenAI(api_key=B, project="proj_b", **options) as client:
                stream = await chat(client, stream=True)
                assert [chunk async for chunk in stream]

        assert (api.connections, api.bytes_received) == (0, 0)
        with openai.OpenAI(api_key=A, project="proj_a", **options) as client:
            api.fail_next(500, times=2, headers={"retry-after-ms": "1"})
            chat(client)
        asyncio.run(main())
        assert api.billed == {"proj_a": 1, "proj_b": 1}


# --- errors and verdicts are plain values -------------------------------------------------------


def refusal() -> opg.ProjectGuardError:
    with pytest.raises(opg.ProjectMismatchError) as refused:
        chat(sync_client(Recorder(), project="proj_b"))
    return refused.value


@pytest.mark.parametrize(
    "again", [copy.copy, copy.deepcopy, lambda error: pickle.loads(pickle.dumps(error))]
)
def test_an_error_can_be_pickled_and_copied(again: Callable[[Any], Any]) -> None:
    error = refusal()
    twin = again(error)
    assert type(twin) is type(error)
    assert twin.args == error.args
    assert str(twin) == str(error)
    assert twin.verdict == error.verdict
    assert A.encode() not in pickle.dumps(error)


@pytest.mark.parametrize("kind", [opg.ProjectGuardError, *opg.ProjectGuardError.__subclasses__()])
def test_an_error_can_be_made_again_of_its_args(kind: type[opg.ProjectGuardError]) -> None:
    error = kind("Nothing was sent.", refusal().verdict)
    again = kind(*error.args)  # as task queues do, whose messages hold text alone
    assert (type(again), str(again), again.args) == (kind, str(error), error.args)
    assert again.verdict is None
    twin = pickle.loads(pickle.dumps(again))
    assert (type(twin), str(twin), twin.verdict) == (kind, str(error), None)


def test_an_error_says_that_trying_again_is_of_no_use() -> None:
    assert refusal().status_code == openai.BadRequestError.status_code
    assert not isinstance(refusal(), openai.APIError)  # no server answered


def test_what_was_put_on_an_error_is_pickled_with_it() -> None:
    error = refusal()
    error.__notes__ = ["seen in the night run"]  # type: ignore[attr-defined]
    twin = pickle.loads(pickle.dumps(error))
    assert twin.__notes__ == ["seen in the night run"]


def test_a_verdict_is_a_value() -> None:
    verdict = refusal().verdict
    assert dataclasses.asdict(verdict) == {
        "outcome": "blocked",
        "reason": "mismatch",
        "expected": ("proj_a",),
        "actual": "proj_b",
        "key_hint": "sk-proj-…AAAA",
        "method": "POST",
        "host": "api.openai.com",
        "path": "/v1/chat/completions",
        "transport": "http",
        "call_site": None,
        "client_site": None,
        "origin": None,
        "answered": None,
    }
    with pytest.raises(dataclasses.FrozenInstanceError):
        verdict.outcome = "allowed"  # type: ignore[misc]
    assert not hasattr(verdict, "__dict__")
    for twin in (
        pickle.loads(pickle.dumps(verdict)),
        copy.copy(verdict),
        copy.deepcopy(verdict),
        dataclasses.replace(verdict),
    ):
        assert twin == verdict
        assert hash(twin) == hash(verdict)
    assert {verdict: 1}[refusal().verdict] == 1


# --- imports ------------------------------------------------------------------------------------


def test_the_import_is_light_while_the_guard_is_off() -> None:
    run = python("import openai_project_guard", "-X", "importtime", OPENAI_PROJECT_GUARD="off")
    assert run.returncode == 0
    imported = {line.rpartition("|")[2].strip() for line in run.stderr.splitlines()}
    assert "openai_project_guard" in imported
    for heavy in ("openai", "wrapt", "pydantic", "httpx", "httpx2", "websockets", "asyncio"):
        assert not [name for name in imported if name == heavy or name.startswith(heavy + ".")]


def test_enabled_by_the_environment_it_imports_no_sdk_and_waits_for_it() -> None:
    said = output(
        """
import sys
import openai_project_guard as opg
assert opg.is_enabled()
assert not {"openai", "pydantic", "httpx", "httpx2", "websockets"} & set(sys.modules)
from openai import AsyncOpenAI
assert opg.is_enabled()
import asyncio, support
assert support.Probe()() == ""
assert asyncio.run(support.Probe().wait()) == ""
client = support.async_client(support.Recorder(), project="proj_a")
assert type(client) is AsyncOpenAI
try:
    asyncio.run(support.chat(client))
except opg.UnregisteredKeyError as error:
    print(error.verdict.reason)
""",
        OPENAI_PROJECT_GUARD="enforce",
    )
    assert said == "unregistered"


def test_the_sdk_may_be_imported_first() -> None:
    said = output(
        """
import openai
client = openai.OpenAI(api_key="sk-proj-not-a-real-key", project="proj_a")
import openai_project_guard as opg
try:
    client.models.list()
except opg.UnregisteredKeyError as error:
    print(error.verdict.reason)
""",
        OPENAI_PROJECT_GUARD="1",
    )
    assert said == "unregistered"


# --- an SDK whose places are gone ---------------------------------------------------------------


@pytest.fixture
def take_away(place: Any, monkeypatch: pytest.MonkeyPatch) -> Callable[[Any, str], None]:
    """Deletes a method of the SDK until the test ends."""
    return monkeypatch.delattr


CLASSES = (BaseClient, SyncAPIClient, AsyncAPIClient, openai.OpenAI, http.Client, http.AsyncClient)


@pytest.mark.parametrize(
    ("owner", "name"),
    [
        (BaseClient, "_build_request"),
        (BaseClient, "_make_status_error_from_response"),
        (http.Client, "_send_single_request"),
        (http.AsyncClient, "_send_single_request"),
    ],
)
def test_an_sdk_without_a_method_that_must_be_hooked_is_refused_and_left_alone(
    owner: Any, name: str, take_away: Callable[[Any, str], None]
) -> None:
    take_away(owner, name)
    before = [dict(vars(each)) for each in CLASSES]
    package = importlib.import_module(owner.__module__.partition(".")[0])
    for _ in range(2):
        with pytest.raises(opg.UnsupportedSDKError) as refused:
            enable()
        assert str(refused.value) == (
            f"{package.__name__} {package.__version__} has no {owner.__name__}.{name}, where the "
            "guard must look at a call before it is sent. Upgrade openai-project-guard, or use a "
            f"release of {package.__name__} that it supports; its README lists them."
        )
        assert not opg.is_enabled()
        assert [dict(vars(each)) for each in CLASSES] == before
    with pytest.raises(opg.UnsupportedSDKError), opg.guard():
        pytest.fail("the scope was entered")


def test_an_enable_that_fails_does_not_weaken_a_guard_that_is_enabled(
    place: Any, probe: Probe, monkeypatch: pytest.MonkeyPatch
) -> None:
    enable()
    assert probe() == "ab"
    with monkeypatch.context() as doctored:
        doctored.delattr(http.AsyncClient, "_send_single_request")
        with pytest.raises(opg.UnsupportedSDKError):
            opg.enable("warn")
    assert (opg.is_enabled(), probe()) == (True, "ab")


def test_enabled_by_the_environment_importing_an_unsupported_sdk_fails_again_and_again() -> None:
    said = output(
        """
import sys, wrapt
import openai_project_guard as opg

@wrapt.when_imported("openai._base_client")
def doctor(module):
    del module.BaseClient._build_request

for attempt in 1, 2, 3:
    try:
        if attempt == 3:
            from openai import OpenAI
        else:
            import openai
    except opg.UnsupportedSDKError as error:
        print(str(error).partition(" has ")[2].partition(",")[0])
    assert "openai" not in sys.modules
""",
        OPENAI_PROJECT_GUARD="enforce",
    )
    assert said.splitlines() == ["no BaseClient._build_request"] * 3
