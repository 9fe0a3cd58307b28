"""Does what belongs to one call reach another that is made within it?

Calls are often made within calls: by tasks that a call starts, by event hooks, log handlers and
HTTP clients that send something of their own.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import Iterator
from typing import Any

import openai
import pytest
from support import (
    KEYS,
    STRANGER,
    A,
    B,
    Server,
    does_nothing,
    hooked,
    hooked_async,
    http,
    needs_notes,
    needs_send_request,
    outcomes,
    request_of,
    sync_client,
)

import openai_project_guard as opg
from openai_project_guard._state import STATE

pytestmark = pytest.mark.usefixtures("clean")


@pytest.fixture
def elsewhere() -> Any:
    """A client for telemetry: over the same package, and not to OpenAI."""
    return http.Client(transport=http.MockTransport(lambda _: http.Response(204)))


# --- an allowed call allows no other --------------------------------------------------------------


def test_a_pinned_task_is_judged_though_another_call_was_allowed() -> None:
    opg.enable(registry=KEYS)
    server = Server()
    tasks: list[asyncio.Task[Any]] = []
    turn = 0

    async def run() -> list[Any]:
        first_in_hook = asyncio.Event()
        second_in_hook = asyncio.Event()

        async def pinned() -> None:
            with opg.guard(project="proj_b"):
                await client.models.list()

        async def plain() -> None:
            await first_in_hook.wait()
            await client.models.list()

        async def hook(_: Any) -> None:
            nonlocal turn
            turn += 1
            if turn == 1:  # workers are started by the first call, in its context
                tasks.extend(map(asyncio.create_task, (pinned(), plain())))
            elif turn == 2:
                first_in_hook.set()
                await second_in_hook.wait()
            else:
                second_in_hook.set()
                await asyncio.sleep(0.05)  # the other is in its own hook meanwhile

        client = hooked_async(server, project="proj_a", hooks={"request": [hook]})
        await client.models.list()
        return await asyncio.gather(*tasks, return_exceptions=True)

    refused, plain = asyncio.run(run())
    assert isinstance(refused, opg.ProjectScopeError)
    assert not isinstance(plain, BaseException)
    assert len(server.requests) == 2


class StandIn:
    """Stands for an HTTP client, and never calls its transport hook."""

    auth = None
    base_url, timeout = "x", 5

    def __init__(self, sent: list[Any]) -> None:
        self.headers: dict[str, str] = {}
        self.event_hooks: dict[str, list[Any]] = {"request": [], "response": []}
        self._sent = sent

    def build_request(self, *args: Any, **options: Any) -> Any:
        return http.Client().build_request(*args, **options)

    def send(self, request: Any, **_: Any) -> Any:
        self._sent.append(request)
        return http.Response(200, json={}, request=request)


@needs_send_request
def test_another_client_with_a_stand_in_is_judged_within_a_call() -> None:
    opg.enable(registry=KEYS)
    sent: list[Any] = []
    inner: Any = sync_client(Server(), project="proj_a")
    inner._client = StandIn(sent)

    def hook(_: Any) -> None:
        inner.project = "proj_b"
        inner.models.list()

    with pytest.raises(opg.ProjectMismatchError):
        hooked(Server(), hooks={"request": [hook]}, project="proj_a").models.list()
    assert sent == []


@needs_send_request
def test_a_direct_send_is_judged_within_a_foreign_request() -> None:
    opg.enable(registry=KEYS, scope="process", hosts=["gateway.example"])
    server, refused = Server(), list[Exception]()
    inner: Any = sync_client(server, project="proj_a")

    class Transport(http.BaseTransport):  # type: ignore[misc]
        def handle_request(self, _: Any) -> Any:
            try:
                inner._send_request(request_of(A, "proj_b"), stream=False)
            except opg.ProjectMismatchError as error:
                refused.append(error)
            return http.Response(200)

    http.Client(transport=Transport()).get("https://gateway.example/x")
    assert len(refused) == 1
    assert server.requests == []


def by_a_response_hook(elsewhere: Any, server: Any) -> openai.OpenAI:
    def tell(_: Any) -> None:
        elsewhere.post("https://metrics.example/x")

    return hooked(server, hooks={"response": [tell]}, project="proj_a")


def by_a_log_handler(elsewhere: Any, server: Any) -> openai.OpenAI:
    class Ships(logging.Handler):
        is_busy = False

        def emit(self, _: logging.LogRecord) -> None:
            if not self.is_busy:
                self.is_busy = True
                elsewhere.post("https://logs.example/push")
                self.is_busy = False

    logging.getLogger(http.__name__).addHandler(Ships())
    return hooked(server, project="proj_a")


def by_a_send_of_its_own(elsewhere: Any, server: Any) -> openai.OpenAI:
    class Sends(http.Client):  # type: ignore[misc]
        def send(self, request: Any, **options: Any) -> Any:
            elsewhere.post("https://tokens.example/x")
            return super().send(request, **options)

    return hooked(server, Sends, project="proj_a")


AFTERWARDS = pytest.mark.parametrize("side_request", [by_a_response_hook, by_a_log_handler])


@pytest.fixture(autouse=True)
def handlers() -> Iterator[None]:
    logger = logging.getLogger(http.__name__)
    before, level = list(logger.handlers), logger.level
    logger.setLevel(logging.INFO)
    yield
    logger.handlers[:] = before
    logger.setLevel(level)


# --- side requests --------------------------------------------------------------------------------


@AFTERWARDS
def test_telemetry_swallows_no_drift(
    side_request: Any, elsewhere: Any, caplog: pytest.LogCaptureFixture
) -> None:
    opg.enable(registry=KEYS)
    side_request(elsewhere, Server("proj_z")).models.list()
    ours = [text for name, _, text in caplog.record_tuples if name == "openai_project_guard"]
    assert len([text for text in ours if "proj_z" in text]) == 1


@pytest.mark.parametrize(
    "side_request", [by_a_response_hook, by_a_log_handler, by_a_send_of_its_own]
)
def test_telemetry_has_observers_told_once(
    side_request: Any, elsewhere: Any, verdicts: list[opg.Verdict]
) -> None:
    opg.enable(registry=KEYS)
    side_request(elsewhere, Server("proj_z")).models.list()
    assert outcomes(verdicts) == [("allowed", None), ("allowed", "drift")]


@AFTERWARDS
def test_telemetry_swallows_no_learning(side_request: Any, elsewhere: Any) -> None:
    opg.enable("warn", unregistered="learn")
    side_request(elsewhere, Server("proj_real")).models.list()
    assert [entry.project for entry in STATE.registered.lookup(A)] == ["proj_real"]


def test_a_call_within_a_response_hook_swallows_no_drift(verdicts: list[opg.Verdict]) -> None:
    opg.enable(registry=KEYS)
    server = Server("proj_z")
    client: Any = None

    def call_again(_: Any) -> None:
        if server.project == "proj_z":
            server.project = "proj_a"
            client.models.list()

    client = hooked(server, hooks={"response": [call_again]}, project="proj_a")
    client.models.list()
    assert outcomes(verdicts).count(("allowed", "drift")) == 1
    assert outcomes(verdicts).count(("allowed", None)) == 2


def run_two_tasks(server: Server) -> list[Any]:
    """Two tasks started within a call, each with a key of its own; both calls run at once."""

    async def answer(request: Any) -> Any:
        await asyncio.sleep(0.01 if request.headers["authorization"].endswith(A) else 0.1)
        return server(request)

    async def run() -> list[Any]:
        tasks: list[asyncio.Task[Any]] = []

        async def call(key: str, project: str) -> None:
            await is_over.wait()
            headers = {"Authorization": f"Bearer {key}", "OpenAI-Project": project}
            await client.models.list(extra_headers=headers)

        async def hook(_: Any) -> None:
            if not tasks:
                tasks.append(asyncio.create_task(call(A, "proj_a")))
                tasks.append(asyncio.create_task(call(B, "proj_b")))

        is_over = asyncio.Event()
        client = hooked_async(answer, hooks={"request": [hook]}, api_key=STRANGER, project="proj_x")
        with contextlib.suppress(openai.APIStatusError):
            await client.models.list()
        is_over.set()
        return await asyncio.gather(*tasks, return_exceptions=True)

    return asyncio.run(run())


# --- tasks that a call starts ---------------------------------------------------------------------


def test_tasks_of_one_call_are_learned_each_for_itself() -> None:
    opg.enable(unregistered="learn", registry={"proj_x": STRANGER})
    run_two_tasks(Server(of={A: "proj_a", B: "proj_b", STRANGER: "proj_x"}))
    learned = STATE.registered
    assert [entry.project for entry in learned.lookup(A)] == ["proj_a"]
    assert [entry.project for entry in learned.lookup(B)] == ["proj_b"]


@needs_notes
def test_tasks_of_one_call_have_each_its_own_note() -> None:
    opg.enable(registry={**KEYS, "proj_x": STRANGER})
    errors = run_two_tasks(Server(status=401))
    for error, project in zip(errors, ("proj_a", "proj_b"), strict=True):
        assert isinstance(error, openai.AuthenticationError)
        (note,) = error.__notes__  # type: ignore[attr-defined]
        assert f"for project {project} (in " in note


def test_tasks_of_one_call_drift_each_for_itself(verdicts: list[opg.Verdict]) -> None:
    opg.enable(registry={**KEYS, "proj_x": STRANGER})
    run_two_tasks(Server("proj_z", of={A: "proj_a", STRANGER: "proj_x"}))
    drifted = [verdict for verdict in verdicts if verdict.reason == "drift"]
    assert [(verdict.expected, verdict.answered) for verdict in drifted] == [
        (("proj_b",), "proj_z")
    ]
    assert drifted[0].key_hint.endswith(B[-4:])


WRONG = {"OpenAI-Project": "proj_b"}


# --- a refusal within a call is caught as the SDK's own error -------------------------------------


def test_a_refusal_in_an_observer_is_an_openai_error() -> None:
    opg.enable(registry=KEYS)
    caught: list[Exception] = []
    client: Any = None

    def observe(verdict: opg.Verdict) -> None:
        if verdict.outcome == "allowed":
            try:
                client.models.list(extra_headers=WRONG)
            except openai.OpenAIError as error:
                caught.append(error)

    opg.add_observer(observe)
    server = Server()
    client = hooked(server, hooks={"request": [does_nothing]}, project="proj_a")
    client.models.list()
    assert [type(error) for error in caught] == [opg.ProjectMismatchError]
    assert len(server.requests) == 1


def test_a_refusal_in_an_event_hook_is_an_openai_error() -> None:
    opg.enable(registry=KEYS)
    server, caught = Server(), list[Exception]()
    is_inside = False
    client: Any = None

    def hook(_: Any) -> None:
        nonlocal is_inside
        if not is_inside:  # the inner call runs this hook, too
            is_inside = True
            try:
                client.models.list(extra_headers=WRONG)
            except openai.OpenAIError as error:
                caught.append(error)

    client = hooked(server, hooks={"request": [hook]}, project="proj_a")
    client.models.list()
    assert [type(error) for error in caught] == [opg.ProjectMismatchError]
    assert len(server.requests) == 1


def test_a_refusal_in_a_task_that_a_call_started_is_an_openai_error() -> None:
    opg.enable(registry=KEYS)
    server = Server()

    async def run() -> Any:
        tasks: list[asyncio.Task[Any]] = []
        is_over = asyncio.Event()

        async def worker() -> Any:
            await is_over.wait()
            try:
                await client.models.list(extra_headers=WRONG)
            except openai.OpenAIError as error:
                return error

        async def hook(_: Any) -> None:
            if not tasks:
                tasks.append(asyncio.create_task(worker()))

        client = hooked_async(server, hooks={"request": [hook]}, project="proj_a")
        await client.models.list()
        is_over.set()
        return await tasks[0]

    assert isinstance(asyncio.run(run()), opg.ProjectMismatchError)
    assert len(server.requests) == 1
