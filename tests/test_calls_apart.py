"""What belongs to one call must not reach another, or whoever looks on.

Calls are often made within calls: by tasks that a call starts, by event hooks, log handlers and
HTTP clients that send something by the way.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
import sys
import traceback
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import openai
import pytest
from openai._base_client import SyncAPIClient
from support import (
    STRANGER,
    A,
    B,
    Recorder,
    async_client,
    clean,
    frames_holding,
    http,
    python,
    sync_client,
    write_registry,
)

import openai_project_guard as opg
from openai_project_guard._state import STATE

__all__ = ["clean"]

pytestmark = pytest.mark.usefixtures("clean")

REGISTRY = {"proj_a": A, "proj_b": B}
LEGACY = "sk-not-a-real-key-of-several-projects-LLLL"


class Server:
    """Answers with a status and names a project: the same for all, or each key's own."""

    def __init__(
        self, project: str | None = None, status: int = 200, of: dict[str, str] | None = None
    ) -> None:
        self.project, self.status, self.of = project, status, of or {}
        self.requests: list[Any] = []

    def __call__(self, request: Any) -> Any:
        self.requests.append(request)
        project = self.of.get(request.headers.get("authorization", "")[7:], self.project)
        headers = {"openai-project": project} if project else {}
        error = {"message": "no", "code": "mismatched_project", "type": "x"}
        body = {"object": "list", "data": [], "error": error}
        return http.Response(self.status, json=body, headers=headers)


def hooked(server: Any, kind: Any = None, *, hooks: Any = None, **options: Any) -> openai.OpenAI:
    """A client whose HTTP client has event hooks, or is of a kind of its own."""
    client = sync_client(server, **options)
    client._client = (kind or http.Client)(
        transport=http.MockTransport(server), event_hooks=hooks or {}
    )
    return client


def hooked_async(server: Any, *, hooks: Any, **options: Any) -> openai.AsyncOpenAI:
    client = async_client(server, **options)
    client._client = http.AsyncClient(transport=http.MockTransport(server), event_hooks=hooks)
    return client


def request_of(key: str, project: str) -> Any:
    headers = {"Authorization": f"Bearer {key}", "OpenAI-Project": project}
    return http.Request("GET", "https://api.openai.com/v1/models", headers=headers)


lets_go = pytest.mark.skipif(
    not hasattr(openai.OpenAI, "_send_request"), reason="this SDK has no _send_request()"
)


notes = pytest.mark.skipif(sys.version_info < (3, 11), reason="errors have no notes")


@pytest.fixture
def elsewhere() -> Any:
    """A client for telemetry: over the same package, and not to OpenAI."""
    return http.Client(transport=http.MockTransport(lambda _: http.Response(204)))


@pytest.fixture
def verdicts() -> list[opg.Verdict]:
    seen: list[opg.Verdict] = []
    opg.add_observer(seen.append)
    return seen


def told(verdicts: list[opg.Verdict]) -> list[tuple[str, str | None]]:
    return [(verdict.outcome, verdict.reason) for verdict in verdicts]


# --- the frames that a log handler, an observer or a traceback can look into ----------------------


def frames_now_holding(*secrets: str) -> list[str]:
    """The frames of ours, among those that are running, whose locals show a secret."""
    found = []
    frame: Any = sys._getframe()
    while frame is not None:
        name = frame.f_globals.get("__name__", "")
        if name.startswith("openai_project_guard"):
            shown = repr(frame.f_locals)
            found += [f"{name}.{frame.f_code.co_name}" for s in secrets if s in shown]
        frame = frame.f_back
    return found


class Onlooker(logging.Handler):
    """What takes logs and looks at the stack while it does."""

    def __init__(self, *secrets: str) -> None:
        super().__init__()
        self.secrets, self.lines, self.found = secrets, 0, list[str]()

    def look(self, _: object = None) -> None:
        self.lines += 1
        self.found += frames_now_holding(*self.secrets)

    def emit(self, record: logging.LogRecord) -> None:
        self.look()


@pytest.fixture
def onlooker() -> Iterator[Onlooker]:
    handler = Onlooker(A, B)
    logger = logging.getLogger("openai_project_guard")
    logger.addHandler(handler)
    yield handler
    logger.removeHandler(handler)


@pytest.fixture
def broken_file(monkeypatch: pytest.MonkeyPatch) -> Callable[[], None]:
    """A registry file in force; called, it breaks."""
    path = write_registry(Path("openai-projects.toml"), a=f"proj_a:{A}", b=f"proj_b:{B}")
    opg.enable(registry=path)

    def break_it() -> None:
        path.write_text("version = 1\nbroken[", encoding="utf-8")
        assert STATE.settings is not None
        for source in STATE.settings.sources:
            refresh = source.refresh
            monkeypatch.setattr(source, "refresh", lambda now, on=refresh: on(now + 3600))

    return break_it


@pytest.mark.parametrize("project", ["proj_a", "proj_b"])
def test_no_frame_holds_the_key_while_a_source_logs(
    project: str, broken_file: Callable[[], None], onlooker: Onlooker
) -> None:
    broken_file()
    with contextlib.suppress(opg.ProjectMismatchError):
        sync_client(Server(), project=project).models.list()
    assert onlooker.lines
    assert onlooker.found == []


def test_an_interrupt_in_a_source_shows_no_key(
    broken_file: Callable[[], None], monkeypatch: pytest.MonkeyPatch
) -> None:
    def interrupted(*_: Any) -> None:
        raise KeyboardInterrupt

    broken_file()
    assert STATE.settings is not None
    for source in STATE.settings.sources:
        monkeypatch.setattr(source, "refresh", interrupted)
    with pytest.raises(KeyboardInterrupt) as caught:
        sync_client(Server(), project="proj_a").models.list()
    assert frames_holding(caught.value, A) == []
    shown = traceback.TracebackException.from_exception(caught.value, capture_locals=True)
    ours = os.path.dirname(opg.__file__)
    for frame in shown.stack:
        if frame.filename.startswith(ours):
            assert A not in str(frame.locals), frame


@pytest.mark.parametrize("mode", ["enforce", "warn"])
def test_a_key_pasted_into_the_header_is_in_no_frame(mode: Any, onlooker: Onlooker) -> None:
    opg.enable(mode, registry=REGISTRY)
    opg.add_observer(onlooker.look)
    with contextlib.suppress(opg.ProjectGuardError):
        sync_client(Server(), project=A).models.list()
    assert onlooker.lines >= 2  # the log's and the observer's
    assert onlooker.found == []


# --- what one call passed with lets no other pass -------------------------------------------------


def test_a_pinned_task_does_not_leave_on_another_calls_pass() -> None:
    opg.enable(registry=REGISTRY)
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
                await asyncio.sleep(0.05)  # the other is at the door meanwhile

        client = hooked_async(server, project="proj_a", hooks={"request": [hook]})
        await client.models.list()
        return await asyncio.gather(*tasks, return_exceptions=True)

    refused, plain = asyncio.run(run())
    assert isinstance(refused, opg.ProjectScopeError)
    assert not isinstance(plain, BaseException)
    assert len(server.requests) == 2


class StandIn:
    """Stands for an HTTP client, and never comes by its last door."""

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


@lets_go
def test_another_client_with_a_stand_in_is_judged_within_a_call() -> None:
    opg.enable(registry=REGISTRY)
    sent: list[Any] = []
    inner: Any = sync_client(Server(), project="proj_a")
    inner._client = StandIn(sent)

    def hook(_: Any) -> None:
        inner.project = "proj_b"
        inner.models.list()

    with pytest.raises(opg.ProjectMismatchError):
        hooked(Server(), hooks={"request": [hook]}, project="proj_a").models.list()
    assert sent == []


@lets_go
def test_a_direct_send_is_judged_within_a_foreign_request() -> None:
    opg.enable(registry=REGISTRY, scope="process", hosts=["gateway.example"])
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


# --- what is sent by the way ----------------------------------------------------------------------


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


AFTERWARDS = pytest.mark.parametrize("telling", [by_a_response_hook, by_a_log_handler])


@pytest.fixture(autouse=True)
def handlers() -> Iterator[None]:
    logger = logging.getLogger(http.__name__)
    before, level = list(logger.handlers), logger.level
    logger.setLevel(logging.INFO)
    yield
    logger.handlers[:] = before
    logger.setLevel(level)


@AFTERWARDS
def test_telemetry_swallows_no_drift(
    telling: Any, elsewhere: Any, caplog: pytest.LogCaptureFixture
) -> None:
    opg.enable(registry=REGISTRY)
    telling(elsewhere, Server("proj_z")).models.list()
    ours = [text for name, _, text in caplog.record_tuples if name == "openai_project_guard"]
    assert len([text for text in ours if "proj_z" in text]) == 1


@pytest.mark.parametrize("telling", [by_a_response_hook, by_a_log_handler, by_a_send_of_its_own])
def test_telemetry_has_observers_told_once(
    telling: Any, elsewhere: Any, verdicts: list[opg.Verdict]
) -> None:
    opg.enable(registry=REGISTRY)
    telling(elsewhere, Server("proj_z")).models.list()
    assert told(verdicts) == [("allowed", None), ("allowed", "drift")]


@AFTERWARDS
def test_telemetry_swallows_no_learning(telling: Any, elsewhere: Any) -> None:
    opg.enable("warn", unregistered="learn")
    telling(elsewhere, Server("proj_real")).models.list()
    assert [entry.project for entry in STATE.registered.lookup(A)] == ["proj_real"]


def test_a_call_within_a_response_hook_swallows_no_drift(verdicts: list[opg.Verdict]) -> None:
    opg.enable(registry=REGISTRY)
    server = Server("proj_z")
    client: Any = None

    def call_again(_: Any) -> None:
        if server.project == "proj_z":
            server.project = "proj_a"
            client.models.list()

    client = hooked(server, hooks={"response": [call_again]}, project="proj_a")
    client.models.list()
    assert told(verdicts).count(("allowed", "drift")) == 1
    assert told(verdicts).count(("allowed", None)) == 2


# --- tasks that a call starts ---------------------------------------------------------------------


def run_two_tasks(server: Server) -> list[Any]:
    """Two tasks started within a call, each with a key of its own; both are under way at once."""

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


def test_tasks_of_one_call_are_learned_each_for_itself() -> None:
    opg.enable(unregistered="learn", registry={"proj_x": STRANGER})
    run_two_tasks(Server(of={A: "proj_a", B: "proj_b", STRANGER: "proj_x"}))
    learned = STATE.registered
    assert [entry.project for entry in learned.lookup(A)] == ["proj_a"]
    assert [entry.project for entry in learned.lookup(B)] == ["proj_b"]


@notes
def test_tasks_of_one_call_have_each_its_own_note() -> None:
    opg.enable(registry={**REGISTRY, "proj_x": STRANGER})
    errors = run_two_tasks(Server(status=401))
    for error, project in zip(errors, ("proj_a", "proj_b"), strict=True):
        assert isinstance(error, openai.AuthenticationError)
        (note,) = error.__notes__  # type: ignore[attr-defined]
        assert f"for project {project} (in " in note


def test_tasks_of_one_call_drift_each_for_itself(verdicts: list[opg.Verdict]) -> None:
    opg.enable(registry={**REGISTRY, "proj_x": STRANGER})
    run_two_tasks(Server("proj_z", of={A: "proj_a", STRANGER: "proj_x"}))
    drifted = [verdict for verdict in verdicts if verdict.reason == "drift"]
    assert [(verdict.expected, verdict.answered) for verdict in drifted] == [
        (("proj_b",), "proj_z")
    ]
    assert drifted[0].key_hint.endswith(B[-4:])


# --- a refusal within a call is caught as the SDK's own error -------------------------------------


def harmless(_: Any) -> None:
    pass


WRONG = {"OpenAI-Project": "proj_b"}


def test_a_refusal_in_an_observer_is_an_openai_error() -> None:
    opg.enable(registry=REGISTRY)
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
    client = hooked(server, hooks={"request": [harmless]}, project="proj_a")
    client.models.list()
    assert [type(error) for error in caught] == [opg.ProjectMismatchError]
    assert len(server.requests) == 1


def test_a_refusal_in_an_event_hook_is_an_openai_error() -> None:
    opg.enable(registry=REGISTRY)
    server, caught = Server(), list[Exception]()
    is_inside = False
    client: Any = None

    def hook(_: Any) -> None:
        nonlocal is_inside
        if not is_inside:  # the call within comes by here, too
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
    opg.enable(registry=REGISTRY)
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


# --- a last door that is not come by, or from elsewhere -------------------------------------------


def test_a_wrong_call_that_is_sent_from_another_thread_is_refused(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    opg.enable(registry=REGISTRY)
    send = http.Client.send

    def send_elsewhere(self: Any, *args: Any, **kwargs: Any) -> Any:
        with ThreadPoolExecutor(1) as pool:
            return pool.submit(send, self, *args, **kwargs).result()

    monkeypatch.setattr(http.Client, "send", send_elsewhere)
    server = Server()
    with pytest.raises(opg.ProjectMismatchError):
        hooked(server, hooks={"request": [harmless]}, project="proj_b").models.list()
    assert server.requests == []


def test_a_wrong_call_is_refused_where_a_tool_took_off_the_last_hook() -> None:
    run = python(  # for what the tool did to the class cannot quite be undone
        "from support import *\n"
        "opg.enable(registry=KEYS)\n"
        "name, sent = '_send_single_request', Recorder()\n"
        "setattr(http.Client, name, vars(http.Client)[name].__wrapped__)\n"
        "client = sync_client(sent, project='proj_b')\n"
        "client._client.event_hooks = {'request': [lambda _: None]}\n"
        "try:\n"
        "    client.models.list()\n"
        "except opg.ProjectMismatchError:\n"
        "    print('refused', len(sent.requests))\n"
    )
    assert run.stdout.strip() == "refused 0", run.stderr


# --- one key in two registries --------------------------------------------------------------------


@pytest.fixture
def in_two() -> Callable[..., None]:
    """Puts a key into two registries in force."""

    def register(mode: Any, key: str, first: str, second: str) -> None:
        registry = opg.Registry()
        registry.register(key, first)
        opg.enable(mode, registry=registry)
        opg.register(key, second)

    return register


def test_the_same_project_in_two_registries_is_put_in(
    in_two: Any, verdicts: list[opg.Verdict]
) -> None:
    in_two("inject", A, "proj_a", "proj_a")
    sent = Recorder()
    sync_client(sent).models.list()
    assert sent.projects == ["proj_a"]
    assert [(verdict.outcome, verdict.expected) for verdict in verdicts] == [
        ("injected", ("proj_a",))
    ]


def test_the_same_project_in_two_registries_is_expected_once(in_two: Any) -> None:
    in_two("enforce", A, "proj_a", "proj_a")
    with pytest.raises(opg.ProjectMissingError) as caught:
        sync_client(Server()).models.list()
    assert caught.value.verdict.expected == ("proj_a",)


def test_inject_says_why_it_puts_in_none_of_several() -> None:
    registry = opg.Registry()
    registry.register(LEGACY, "proj_a")
    registry.register(LEGACY, "proj_b")
    opg.enable("inject", registry=registry)
    with pytest.raises(opg.ProjectMissingError) as caught:
        sync_client(Server(), api_key=LEGACY).models.list()
    text = " ".join(str(caught.value).split())
    assert (
        "(expected: proj_a or proj_b): the registry has this key for several projects, so "
        'mode="inject" has none to put in'
    ) in text
    assert 'or use mode="inject"' not in text


@pytest.mark.parametrize("observed", [False, True])
def test_either_project_of_a_key_in_two_registries_is_no_drift(
    observed: bool, in_two: Any, caplog: pytest.LogCaptureFixture
) -> None:
    in_two("enforce", LEGACY, "proj_a", "proj_b")
    seen: list[opg.Verdict] = []
    if observed:
        opg.add_observer(seen.append)
    sync_client(Server("proj_b"), api_key=LEGACY, project="proj_a").models.list()
    assert told(seen) == ([("allowed", None)] if observed else [])
    assert "drift" not in caplog.text
    assert not [r for r in caplog.records if r.levelno >= logging.WARNING]


@notes
@pytest.mark.parametrize("observed", [False, True])
def test_the_note_on_a_401_names_both_projects(observed: bool, in_two: Any) -> None:
    in_two("enforce", LEGACY, "proj_a", "proj_b")
    if observed:
        opg.add_observer(lambda _: None)
    with pytest.raises(openai.AuthenticationError) as caught:
        sync_client(Server(status=401), api_key=LEGACY, project="proj_a").models.list()
    (note,) = caught.value.__notes__  # type: ignore[attr-defined]
    assert "proj_a (in " in note
    assert " or proj_b (in " in note


# --- however a step is called, whatever a header is -----------------------------------------------


def test_a_request_may_be_handed_on_by_keyword() -> None:
    opg.enable(registry=REGISTRY)

    class ByKeyword(http.Client):  # type: ignore[misc]
        def _send_single_request(self, request: Any) -> Any:
            return super()._send_single_request(request=request)

    server = Server()
    hooked(server, ByKeyword, project="proj_a").models.list()
    assert len(server.requests) == 1
    with pytest.raises(opg.ProjectMismatchError):
        hooked(server, ByKeyword, project="proj_b").models.list()
    assert len(server.requests) == 1


@lets_go
def test_an_sdk_client_may_hand_on_its_request_by_keyword() -> None:
    opg.enable(registry=REGISTRY)
    server = Server()
    client: Any = sync_client(server, project="proj_a")
    send: Any = SyncAPIClient._send_request  # type: ignore[attr-defined,unused-ignore]
    send(client, request=request_of(A, "proj_a"), stream=False)
    with pytest.raises(opg.ProjectMismatchError):
        send(client, request=request_of(A, "proj_b"), stream=False)
    assert len(server.requests) == 1


def test_a_header_of_a_websocket_may_be_a_number() -> None:
    connect = pytest.importorskip("websockets.sync.client").connect
    from openai_project_guard.loopback import loopback_api

    def attempt(api: Any) -> type[Exception] | None:
        url = api.base_url.replace("http", "ws", 1) + "/realtime?model=m"
        headers = {"Authorization": f"Bearer {A}", "OpenAI-Project": "proj_a", "X-Try": 5}
        try:
            with connect(url, additional_headers=headers):
                return None
        except Exception as error:
            return type(error)

    with loopback_api(REGISTRY_OF_SERVER) as api:
        unguarded = attempt(api)
        opg.enable(registry=REGISTRY, hosts=["127.0.0.1"])
        seen: list[opg.Verdict] = []
        opg.add_observer(seen.append)
        assert attempt(api) is unguarded
        assert told(seen) == [("allowed", None)]


REGISTRY_OF_SERVER = {key: project for project, key in REGISTRY.items()}
