"""Where an HTTP client sends in its own way, by tasks or by threads: does a wrong call get out?"""

from __future__ import annotations

import asyncio
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from typing import Any
from unittest import mock

import openai
import pytest
from support import (
    BOTH,
    KEYS,
    A,
    Async,
    Recorder,
    Server,
    Sync,
    http,
    needs_send_request,
    outcomes,
    refused,
    request_of,
    sync_client,
)

import openai_project_guard as opg
from openai_project_guard._state import changing

pytestmark = pytest.mark.usefixtures("clean")


@pytest.fixture(autouse=True)
def enabled(clean: pytest.MonkeyPatch) -> None:
    opg.enable(registry=KEYS)


class RequestOfItsOwn(http.Auth):  # type: ignore[misc]
    """Sends a request that nobody has marked, for another project."""

    def auth_flow(self, request: Any) -> Any:
        headers = {"Authorization": f"Bearer {A}", "OpenAI-Project": "proj_b"}
        yield http.Request(request.method, request.url, headers=headers)


def test_a_request_of_its_own_in_a_task_of_its_own_is_judged() -> None:
    class InATask(http.AsyncClient):  # type: ignore[misc]
        async def send(self, request: Any, **options: Any) -> Any:
            return await asyncio.create_task(super().send(request, **options))

    sent = Recorder()

    async def run() -> None:
        http_client = InATask(auth=RequestOfItsOwn(), transport=http.MockTransport(sent))
        client = openai.AsyncOpenAI(
            api_key=A, project="proj_a", max_retries=0, http_client=http_client
        )
        await client.models.list()

    with pytest.raises((opg.ProjectMismatchError, openai.APIConnectionError)):
        asyncio.run(run())
    assert sent.requests == []


class InAThread(http.Client):  # type: ignore[misc]
    """Sends in a thread of its own."""

    def send(self, request: Any, **options: Any) -> Any:
        with ThreadPoolExecutor(1) as pool:
            return pool.submit(super().send, request, **options).result()


class Unhashable(InAThread):
    """The same, and has no hash."""

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Unhashable)


@pytest.mark.parametrize("kind", [InAThread, Unhashable])
def test_a_request_of_its_own_in_a_thread_of_its_own_is_judged(kind: type[InAThread]) -> None:
    sent = Recorder()
    http_client = kind(auth=RequestOfItsOwn(), transport=http.MockTransport(sent))
    client = openai.OpenAI(api_key=A, project="proj_a", max_retries=0, http_client=http_client)
    with pytest.raises((opg.ProjectMismatchError, openai.APIConnectionError)):
        client.models.list()
    assert sent.requests == []


@pytest.mark.parametrize("step", ["send", "_send_handling_auth", "_send_handling_redirects"])
def test_a_step_that_is_replaced_in_the_class_itself_is_judged_before_it(step: str) -> None:
    sent = Recorder()

    def replaced(_: Any, request: Any, **__: Any) -> Any:
        answer = sent(request)
        answer.request = request
        return answer

    with mock.patch.object(http.Client, step, replaced):
        sync_client(sent, project="proj_a").models.list()
        with pytest.raises(opg.ProjectMismatchError):
            sync_client(sent, project="proj_b").models.list()
    assert len(sent.requests) == 1


@pytest.mark.parametrize("step", ["send", "_send_single_request"])
def test_a_step_that_a_client_answers_by_itself_is_judged_before_it(step: str) -> None:
    """Where neither its class nor the client has another method than httpx gave it."""
    sent = Recorder()

    class Lazy(http.Client):  # type: ignore[misc]
        def __getattribute__(self, name: str) -> Any:
            return replaced if name == step else super().__getattribute__(name)

    def replaced(request: Any, **_: Any) -> Any:
        answer = sent(request)
        answer.request = request
        return answer

    http_client = Lazy(transport=http.MockTransport(sent))
    client = openai.OpenAI(api_key=A, project="proj_a", max_retries=0, http_client=http_client)
    client.models.list()
    with pytest.raises(opg.ProjectMismatchError):
        client.with_options(project="proj_b").models.list()
    assert len(sent.requests) == 1


def test_a_client_that_has_no_answer_yet_is_tried_again() -> None:
    class Tunnelled(http.Client):  # type: ignore[misc]
        def __getattribute__(self, name: str) -> Any:
            if name == "send":
                raise http.ConnectError("the tunnel is not up yet")
            return super().__getattribute__(name)

    http_client = Tunnelled(transport=http.MockTransport(Recorder()))
    client = openai.OpenAI(api_key=A, project="proj_a", http_client=http_client, max_retries=1)
    with pytest.raises(openai.APIConnectionError):
        client.models.list()


def test_a_client_that_answers_as_its_class_would_is_judged_after_its_event_hooks(
    verdicts: list[opg.Verdict],
) -> None:
    class Logs(http.Client):  # type: ignore[misc]
        def __getattribute__(self, name: str) -> Any:
            return super().__getattribute__(name)

    def put_right(request: Any) -> None:
        request.headers["OpenAI-Project"] = "proj_a"

    sent = Recorder()
    http_client = Logs(transport=http.MockTransport(sent), event_hooks={"request": [put_right]})
    openai.OpenAI(api_key=A, project="proj_b", http_client=http_client).models.list()
    assert outcomes(verdicts) == [("allowed", None)]


def test_a_client_that_sends_its_own_way_is_judged_in_a_scope_where_the_guard_is_not_enabled() -> (
    None
):
    class Own(http.Client):  # type: ignore[misc]
        def send(self, request: Any, **_: Any) -> Any:
            answer = sent(request)
            answer.request = request
            return answer

    opg.disable()
    opg.register(A, "proj_a")
    sent = Recorder()
    client = openai.OpenAI(api_key=A, project="proj_b", max_retries=0, http_client=Own())
    with opg.guard(), pytest.raises(opg.ProjectMismatchError):
        client.models.list()
    assert sent.requests == []


def client_bypassing(way: Any, server: Any, sdk: Any = None, **options: Any) -> Any:
    """A client of the SDK whose HTTP client does not come by the transport hook."""

    def send(_: Any, request: Any, **__: Any) -> Any:
        answer = server(request)
        answer.request = request
        return answer

    own = type("Own", (getattr(http, way.kind),), {"send": way.function(send)})
    options = {"project": "proj_a", "max_retries": 0, **options}
    return way.client(server, http_client=own(), sdk=sdk or way.sdk, **options)


@BOTH
@needs_send_request
def test_the_answer_to_a_client_that_sends_its_own_way_is_checked(
    way: Any, verdicts: list[opg.Verdict]
) -> None:
    client = client_bypassing(way, Server("proj_elsewhere"))
    way.run(lambda: client.get("/models", cast_to=object))
    assert outcomes(verdicts) == [("allowed", None), ("allowed", "drift")]
    assert verdicts[-1].answered == "proj_elsewhere"


@BOTH
def test_a_client_that_sends_its_own_way_is_left_alone_where_no_scope_holds(way: Any) -> None:
    opg.disable()
    server = Server()
    wrong = client_bypassing(way, server, project="proj_b")
    with opg.guard():
        opg.register(A, "proj_a")
        refused(way, lambda: wrong.get("/models", cast_to=object), opg.ProjectMismatchError)
    way.run(lambda: wrong.get("/models", cast_to=object))
    assert len(server.requests) == 1


CALLING = {
    "by position": lambda method, client, request, options: method(client, request, **options),
    "by name": lambda method, client, request, options: method(client, request=request, **options),
    "all by name": lambda method, client, request, options: method(
        self=client, request=request, **options
    ),
}


@BOTH
@needs_send_request
@pytest.mark.parametrize("calling", CALLING)
def test_a_subclass_may_hand_its_request_on_in_any_way(calling: str, way: Any) -> None:
    class Own(way.sdk):  # type: ignore[misc]
        def _send_request(self, request: Any, **options: Any) -> Any:
            return CALLING[calling](way.sdk._send_request, self, request, options)

    server = Server()
    right, wrong = (
        client_bypassing(way, server, Own, project=project) for project in ("proj_a", "proj_b")
    )
    refused(way, lambda: wrong.get("/models", cast_to=object), opg.ProjectMismatchError)
    assert server.requests == []
    way.run(lambda: right.get("/models", cast_to=object))
    assert len(server.requests) == 1


@BOTH
@needs_send_request
def test_a_request_that_a_subclass_makes_anew_is_judged_too(way: Any) -> None:
    """It is one that nobody has marked."""

    class Own(way.sdk):  # type: ignore[misc]
        def _send_request(self, request: Any, **options: Any) -> Any:
            del request
            return super()._send_request(request_of(A, "proj_b"), **options)

    server = Server()
    client = client_bypassing(way, server, Own)
    refused(way, lambda: client.get("/models", cast_to=object), opg.ProjectMismatchError)
    assert server.requests == []


def test_a_request_outside_of_every_scope_bears_nothing_of_the_guard() -> None:
    opg.disable()
    sent = Recorder()
    with opg.guard():
        pass  # its hooks stay
    sync_client(sent, project="proj_b").models.list()
    (request,) = sent.requests
    assert not [name for name in request.extensions if "guard" in name]


@pytest.mark.parametrize("step", ["send", "_send_handling_auth"])
def test_a_step_that_a_tool_wraps_still_comes_by_the_transport_hook(step: str) -> None:
    """So what an event hook puts right is not refused too early."""
    found = vars(http.Client)[step]

    def wrapper(self: Any, *args: Any, **kwargs: Any) -> Any:
        return found(self, *args, **kwargs)

    def put_right(request: Any) -> None:
        request.headers["OpenAI-Project"] = "proj_a"

    sent = Recorder()
    http_client = http.Client(
        transport=http.MockTransport(sent), event_hooks={"request": [put_right]}
    )
    client = openai.OpenAI(api_key=A, project="proj_b", max_retries=0, http_client=http_client)
    with mock.patch.object(http.Client, step, wrapper):
        client.models.list()
    assert sent.projects == ["proj_a"]


def test_a_job_that_starts_itself_again_holds_one_scope() -> None:
    from openai_project_guard._scope import SCOPE

    deepest = 0

    async def job(left: int) -> None:
        nonlocal deepest
        with opg.guard(project="proj_a"):
            step, depth = SCOPE.get(), 0
            while step is not None:
                step, depth = step.outer, depth + 1
            deepest = max(deepest, depth)
            if left:
                tasks.append(asyncio.create_task(job(left - 1)))

    tasks: list[asyncio.Task[None]] = []

    async def run() -> None:
        await job(200)
        while tasks:
            await tasks.pop()

    asyncio.run(run())
    assert 0 < deepest <= 3


def test_a_call_that_the_guard_leaves_meanwhile_puts_no_hook_in() -> None:
    """Such a client's last method of the SDK is hooked at its first call."""
    names = ("_send_request", "_prepare_request")
    sent = Recorder()

    class Leaving(dict[str, Any]):
        def __setitem__(self, name: str, value: Any) -> None:
            opg.disable()
            super().__setitem__(name, value)

    class LeavingTheGuard(http.Client):  # type: ignore[misc]
        def build_request(self, *args: Any, **options: Any) -> Any:
            request = super().build_request(*args, **options)
            request.extensions = Leaving(request.extensions)
            return request

        def send(self, request: Any, **options: Any) -> Any:
            return super().send(request, **options)

    http_client = LeavingTheGuard(transport=http.MockTransport(sent))
    client = openai.OpenAI(api_key=A, project="proj_a", max_retries=0, http_client=http_client)
    opg.disable()
    before = [vars(openai._base_client.SyncAPIClient).get(name) for name in names]
    opg.enable(registry=KEYS)
    client.models.list()
    assert not opg.is_enabled()
    assert [vars(openai._base_client.SyncAPIClient).get(name) for name in names] == before


def test_a_client_that_cannot_be_hashed_sends_what_is_none_of_the_guards_business() -> None:
    class Comparable(http.Client):  # type: ignore[misc]
        def __eq__(self, other: object) -> bool:
            return isinstance(other, Comparable)

    sent = Recorder()
    with Comparable(transport=http.MockTransport(sent)) as client:
        client.get("https://example.com")
    assert len(sent.requests) == 1


def test_a_stand_in_that_cannot_be_remembered_sends_what_is_right() -> None:
    class StandIn:
        __slots__ = ("build_request",)

        def send(self, request: Any, **_: Any) -> Any:
            answer = sent(request)
            answer.request = request
            return answer

    sent = Recorder()
    stand_in = StandIn()
    for project in ("proj_a", "proj_b"):
        client = sync_client(Recorder(), project=project)
        stand_in.build_request = client._client.build_request
        client._client = stand_in
        if project == "proj_a":
            client.models.list()
        else:
            with pytest.raises(opg.ProjectMismatchError):
                client.models.list()
    assert len(sent.requests) == 1


class Own(http.Client):  # type: ignore[misc]
    """Sends in its own way."""

    def send(self, request: Any, **options: Any) -> Any:
        return super().send(request, **options)


class OwnAsync(http.AsyncClient):  # type: ignore[misc]
    """The same, asynchronous."""

    async def send(self, request: Any, **options: Any) -> Any:
        return await super().send(request, **options)


@pytest.mark.parametrize("way", [http.Client, http.AsyncClient, Own, OwnAsync])
def test_a_call_does_not_wait_while_another_thread_changes_the_guard(way: type[Any]) -> None:
    sent = Recorder()
    is_async = issubclass(way, http.AsyncClient)
    client = (openai.AsyncOpenAI if is_async else openai.OpenAI)(
        api_key=A,
        project="proj_a",
        max_retries=0,
        http_client=way(transport=http.MockTransport(sent)),
    )

    def call() -> None:
        answer = client.models.list()
        if is_async:
            asyncio.run(ended(answer))

    async def ended(answer: Any) -> None:
        await answer

    call()  # the first hooks what sends in its own way
    with ThreadPoolExecutor(1) as pool, changing:
        pool.submit(call).result(timeout=120)
    assert len(sent.requests) == 2


def assert_only_right_calls_get_to(sent: Recorder, way: Any) -> None:
    right, wrong = (way.client(sent, project=project) for project in ("proj_a", "proj_b"))
    way.run(lambda: right.models.list())
    with pytest.raises(opg.ProjectMismatchError):
        way.run(lambda: wrong.models.list())
    assert len(sent.requests) == 1


@pytest.mark.parametrize("again", ["at first", "enabled again", "scope entered"])
@pytest.mark.parametrize("step", ["send", "_send_handling_auth", "_send_handling_redirects"])
@BOTH
def test_a_step_that_was_replaced_before_the_guard_came_is_judged_before_it(
    way: Any, step: str, again: str, clean: pytest.MonkeyPatch
) -> None:
    """As it is where the step is replaced afterwards."""
    sent = Recorder()

    def answer(_: Any, request: Any, **__: Any) -> Any:
        response = sent(request)
        response.request = request
        return response

    if again == "at first":
        opg.disable()
    clean.setattr(getattr(http, way.kind), step, way.function(answer))
    if again == "scope entered":
        with opg.guard(project="proj_b"):
            pass
    else:
        opg.enable(registry=KEYS)
    assert_only_right_calls_get_to(sent, way)


@BOTH
@pytest.mark.parametrize("is_mock", [True, False])
def test_an_object_in_place_of_a_step_before_the_guard_came_is_judged_before_it(
    is_mock: bool, way: Any, clean: pytest.MonkeyPatch
) -> None:
    sent = Recorder()

    def answer(request: Any, **_: Any) -> Any:
        response = sent(request)
        response.request = request
        return response

    class Sends:
        __call__ = staticmethod(way.function(answer))

    opg.disable()
    mocked = (mock.AsyncMock if way is Async else mock.Mock)(side_effect=answer)
    clean.setattr(getattr(http, way.kind), "send", mocked if is_mock else Sends())
    opg.enable(registry=KEYS)
    assert_only_right_calls_get_to(sent, way)


@BOTH
def test_a_wrapper_that_was_there_before_the_guard_leaves_a_call_to_be_mended_inside_it(
    way: Any, clean: pytest.MonkeyPatch
) -> None:
    """A tracing tool wraps `send()`, and an event hook further in puts the project right."""
    opg.disable()
    kind = getattr(http, way.kind)
    original = kind.send

    def traced(self: Any, request: Any, **options: Any) -> Any:
        return original(self, request, **options)

    clean.setattr(kind, "send", traced)
    opg.enable(registry=KEYS)

    def mend(request: Any) -> None:
        request.headers["OpenAI-Project"] = "proj_a"

    sent = Recorder()
    hooks = {"event_hooks": {"request": [way.function(mend)]}}
    client = way.client(sent, hooks, project="proj_b")
    way.run(lambda: client.models.list())
    assert sent.projects == ["proj_a"]


def call_by(own: Any, way: Any, server: Any, project: str | None) -> None:
    """A call by an HTTP client that sends in its own way."""
    http_client = own(transport=http.MockTransport(server))
    client = way.client(server, http_client=http_client, project=project, max_retries=0)
    way.run(lambda: client.get("/models", cast_to=object))


OWN_WAYS = pytest.mark.parametrize(("way", "own"), [(Sync, Own), (Async, OwnAsync)])


@OWN_WAYS
@pytest.mark.parametrize(
    ("project", "changed"), [("proj_a", {"proj_b": A}), ("proj_a", {}), ("proj_b", KEYS)]
)
def test_what_changes_while_a_client_of_its_own_way_waits_is_judged_by(
    project: str, changed: Any, way: Any, own: Any
) -> None:
    """A client that limits its rate waits in `send()`: the registry may change meanwhile."""

    class Waits(own):  # type: ignore[misc]
        def send(self, request: Any, **options: Any) -> Any:
            opg.enable(registry=changed)
            return super().send(request, **options)

    sent = Recorder()
    opg.enable("warn", registry=KEYS)
    with pytest.raises(opg.ProjectGuardError):
        call_by(Waits, way, sent, project)
    assert sent.requests == []


@OWN_WAYS
def test_a_scope_inside_a_clients_own_way_holds(way: Any, own: Any) -> None:
    pinned = opg.guard(mode="enforce", project="proj_b")
    sent = Recorder()
    for mode, project in (("warn", "proj_b"), ("enforce", "proj_a")):
        opg.enable(mode, registry=KEYS)
        with pytest.raises(opg.ProjectScopeError):
            call_by(type("Pinned", (own,), {"send": pinned(own.send)}), way, sent, project)
    assert sent.requests == []


def tried_again(send: Any, is_async: bool) -> Any:
    """A `send()` that takes a refusal for a failure of the network."""

    def again(*args: Any, **options: Any) -> Any:
        with suppress(opg.ProjectGuardError):
            return send(*args, **options)
        return send(*args, **options)

    async def again_async(*args: Any, **options: Any) -> Any:
        with suppress(opg.ProjectGuardError):
            return await send(*args, **options)
        return await send(*args, **options)

    return again_async if is_async else again


@OWN_WAYS
@pytest.mark.parametrize(
    ("mode", "project", "before"),
    [
        ("enforce", "proj_a", opg.guard(project="proj_b")),
        ("warn", "proj_b", opg.guard(mode="enforce")),
    ],
)
def test_what_is_refused_inside_a_clients_own_way_is_refused_at_the_next_try(
    mode: Any, project: str | None, before: Any, way: Any, own: Any
) -> None:
    opg.enable(mode, registry=KEYS)
    again = before(tried_again(own.send, way is Async))
    sent = Recorder()
    with pytest.raises(opg.ProjectGuardError):
        call_by(type("Again", (own,), {"send": again}), way, sent, project)
    assert sent.requests == []


@OWN_WAYS
@pytest.mark.parametrize("mode", ["warn", "inject"])
def test_a_client_that_sends_its_own_way_gets_one_verdict_a_call(
    mode: str, way: Any, own: Any, verdicts: list[opg.Verdict]
) -> None:
    opg.enable(mode, registry=KEYS)
    for project in ("proj_a", "proj_b", None):
        with suppress(opg.ProjectGuardError):
            call_by(own, way, Recorder(), project)
    assert len(verdicts) == 3


@OWN_WAYS
def test_the_answer_to_a_client_of_its_own_way_drifts_once_a_call(
    way: Any, own: Any, verdicts: list[opg.Verdict]
) -> None:
    for _ in range(2):
        call_by(own, way, Server("proj_elsewhere"), "proj_a")
    assert outcomes(verdicts) == 2 * [("allowed", None), ("allowed", "drift")]
