"""What the tests share: keys that are none, clients that record, a guard that is off afterwards.

Its fixtures are there for every test, without an import: see conftest.py.
"""

from __future__ import annotations

import asyncio
import importlib
import inspect
import os
import re
import signal
import socket
import subprocess
import sys
import threading
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager, suppress
from importlib import metadata
from pathlib import Path
from typing import Any, NoReturn

import openai
import pytest
from openai._base_client import BaseClient

import openai_project_guard as opg
from openai_project_guard._check import log
from openai_project_guard._check.call_site import folder_of_paths
from openai_project_guard._registry.model import Snapshot
from openai_project_guard._scope import SCOPE
from openai_project_guard._state import STATE

VERSION = tuple(int(number) for number in re.findall(r"\d+", openai.__version__)[:3])
http: Any = importlib.import_module("httpx2" if VERSION >= (3,) else "httpx")
"""The HTTP library of the installed SDK."""

A = "sk-proj-not-a-real-key-of-project-a-AAAA"
B = "sk-proj-not-a-real-key-of-project-b-BBBB"
STRANGER = "sk-proj-not-a-real-key-of-nobody-ZZZZ"
KEYS = {"proj_a": A, "proj_b": B}

CHUNKS = (
    b'data: {"id":"c","object":"chat.completion.chunk","created":1,"model":"m","choices":[]}\n\n'
    b"data: [DONE]\n\n"
)


# --- a transport that records -------------------------------------------------------------------


class Recorder:
    """A transport's handler: keeps what reaches it, and answers as the API would.

    Args:
        statuses: of the answers to come; 200 when they are used up.
        before: called with each request before it is answered; what it raises, the transport
            raises.
    """

    def __init__(
        self, statuses: Iterable[int] = (), before: Callable[[Any], object] | None = None
    ) -> None:
        self.requests: list[Any] = []
        self._statuses = list(statuses)
        self._before = before

    @property
    def keys(self) -> list[str]:
        """The keys of the requests that arrived."""
        return [request.headers["authorization"][7:] for request in self.requests]

    @property
    def projects(self) -> list[str | None]:
        """The `OpenAI-Project` headers of the requests that arrived."""
        return [request.headers.get("openai-project") for request in self.requests]

    def __call__(self, request: Any) -> Any:
        self.requests.append(request)
        if self._before is not None:
            self._before(request)
        status = self._statuses.pop(0) if self._statuses else 200
        if status != 200:
            soon = {"retry-after-ms": "1"}
            return http.Response(status, json={"error": {"message": "no"}}, headers=soon)
        if request.url.path.endswith("/files"):
            number = request.url.params.get("after", "file-0")[5:]
            page = [{"id": f"file-{int(number) + 1}", "object": "file"}]
            return http.Response(
                200, json={"object": "list", "data": page, "has_more": int(number) < 2}
            )
        if request.url.path.endswith("/models"):
            return http.Response(200, json={"object": "list", "data": []})
        if b'"stream":true' in request.content.replace(b" ", b""):
            return http.Response(200, content=CHUNKS, headers={"content-type": "text/event-stream"})
        return http.Response(
            200,
            json={
                "id": "c",
                "object": "chat.completion",
                "created": 1,
                "model": "m",
                "choices": [],
            },
        )


def sync_client(sent: Callable[[Any], Any], **options: Any) -> openai.OpenAI:
    """A client of the installed SDK over a recording transport; key A unless told otherwise."""
    transport = http.MockTransport(sent)
    return openai.OpenAI(
        http_client=http.Client(transport=transport), **{"api_key": A, "max_retries": 0, **options}
    )


def async_client(sent: Callable[[Any], Any], **options: Any) -> openai.AsyncOpenAI:
    """The same, asynchronous."""
    transport = http.MockTransport(sent)
    return openai.AsyncOpenAI(
        http_client=http.AsyncClient(transport=transport),
        **{"api_key": A, "max_retries": 0, **options},
    )


def chat(client: Any, **more: Any) -> Any:
    """A chat completion; a coroutine where the client is asynchronous."""
    return client.chat.completions.create(
        model="m", messages=[{"role": "user", "content": "hello"}], **more
    )


# --- each test with the sync client and with the async one --------------------------------------


class Sync:
    """One way to call: through the sync client."""

    sdk: type[Any] = openai.OpenAI
    kind = "Client"

    @classmethod
    def client(
        cls, sent: Any, http_options: Any = None, library: Any = http, **options: Any
    ) -> Any:
        """A client over a transport that records; key A and three retries unless told otherwise."""
        http_options = {"transport": library.MockTransport(sent), **(http_options or {})}
        options = {"max_retries": 3, **options}
        if not {"api_key", "provider", "workload_identity"} & options.keys():
            options["api_key"] = A
        sdk = options.pop("sdk", cls.sdk)
        http_client = options.pop("http_client", None) or getattr(library, cls.kind)(**http_options)
        return sdk(http_client=http_client, **options)

    @staticmethod
    def run(call: Callable[[], Any]) -> Any:
        """What a call comes to."""
        return call()

    @staticmethod
    def function(plain: Callable[..., Any]) -> Callable[..., Any]:
        """A function of the kind that this way's callbacks are."""
        return plain


class Async(Sync):
    """The same through the async client."""

    sdk = openai.AsyncOpenAI
    kind = "AsyncClient"

    @staticmethod
    def run(call: Callable[[], Any]) -> Any:
        async def finish() -> Any:
            value = call()
            if hasattr(value, "__aenter__") and not inspect.isawaitable(value):
                async with value as entered:
                    return entered
            return await value

        return asyncio.run(finish())

    @staticmethod
    def function(plain: Callable[..., Any]) -> Callable[..., Any]:
        async def function(*args: Any, **kwargs: Any) -> Any:
            return plain(*args, **kwargs)

        return function


BOTH = pytest.mark.parametrize("way", [Sync, Async])


def refused(way: Any, call: Callable[[], Any], error: type[opg.ProjectGuardError]) -> opg.Verdict:
    """Makes a call that must be refused, and the refusal must reach the caller unwrapped."""
    with pytest.raises(opg.ProjectGuardError) as caught:
        way.run(call)
    assert type(caught.value) is error
    assert not isinstance(caught.value, openai.APIConnectionError)
    assert caught.value.__cause__ is None
    return caught.value.verdict


def needs_sdk(condition: object, what: str) -> pytest.MarkDecorator:
    """Skips where the installed SDK has no such thing."""
    return pytest.mark.skipif(not condition, reason=f"openai {openai.__version__} has no {what}")


needs_send_request = needs_sdk(hasattr(openai.OpenAI, "_send_request"), "_send_request()")
needs_custom_headers = needs_sdk(VERSION >= (3,), "OPENAI_CUSTOM_HEADERS")
needs_notes = pytest.mark.skipif(sys.version_info < (3, 11), reason="errors have no notes")


# --- a server that names projects, and HTTP clients with event hooks ----------------------------


class Server:
    """A transport's handler: answers with a status and names a project.

    Args:
        project: of every key; none is named without it.
        status: of the answers.
        of: each key's own project.
    """

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
    """The same, asynchronous."""
    client = async_client(server, **options)
    client._client = http.AsyncClient(transport=http.MockTransport(server), event_hooks=hooks)
    return client


WRONG_HEADERS: dict[str, tuple[dict[str, str], type[opg.ProjectGuardError]]] = {
    "header": ({"OpenAI-Project": "proj_b"}, opg.ProjectMismatchError),
    "no header": ({"OpenAI-Project": ""}, opg.ProjectMissingError),
    "key": ({"Authorization": f"Bearer {B}"}, opg.ProjectMismatchError),
    "strange key": ({"Authorization": f"Bearer {STRANGER}"}, opg.UnregisteredKeyError),
}
"""Headers that make a right call wrong, or are wrong to begin with, and the error of each."""


def does_nothing(_: Any) -> None:
    """An event hook: with one, httpx sends in more steps."""


def request_of(key: str, project: str) -> Any:
    """A request to OpenAI, as the SDK would build it."""
    headers = {"Authorization": f"Bearer {key}", "OpenAI-Project": project}
    return http.Request("GET", "https://api.openai.com/v1/models", headers=headers)


# --- WebSockets and threads ---------------------------------------------------------------------


def _release(package: str) -> tuple[int, ...]:
    try:
        return tuple(int(part) for part in metadata.version(package).split(".")[:2])
    except metadata.PackageNotFoundError:
        return ()


WEBSOCKETS = _release("websockets")
"""The installed release of websockets; empty without one."""


def expect_twice(request: pytest.FixtureRequest, is_async: bool) -> None:
    """websockets 13.0 loses the URI, so that it is judged when `connect` is made."""
    if is_async and WEBSOCKETS == (13, 0):
        request.applymarker(
            pytest.mark.xfail(strict=True, reason="judged when made, and again at the handshake")
        )


def starts_no_thread(_: object) -> NoReturn:
    """In the place of `Thread.start`: the system's limit of threads is reached."""
    raise RuntimeError("can't start new thread")


def in_thread(fn: Callable[[], Any]) -> Any:
    """What a function returns in a thread of its own."""
    results: list[Any] = []
    thread = threading.Thread(target=lambda: results.append(fn()))
    thread.start()
    thread.join()
    return results[0]


class Listener:
    """A bare TCP socket in a host's place: it sees every connection, whatever is sent."""

    def __init__(self, server: socket.socket) -> None:
        self._server = server
        server.setblocking(False)
        self.port: int = server.getsockname()[1]

    def saw_no_connection(self) -> bool:
        """Whether nobody has connected."""
        try:
            self._server.accept()[0].close()
        except BlockingIOError:
            return True
        return False


# --- which calls get through here ---------------------------------------------------------------


class Probe:
    """Says which calls get through where it is called.

    `"ab?"`: everything, so nothing is checked. `"ab"`: what is in order. `"a"`: what is in order
    and of project a, so the scope is pinned to it.
    """

    def __init__(self) -> None:
        self.sent = Recorder()
        whose = {"a": (A, "proj_a"), "b": (B, "proj_b"), "?": (STRANGER, "proj_x")}
        self._sync = {
            letter: sync_client(self.sent, api_key=key, project=project)
            for letter, (key, project) in whose.items()
        }
        self._async = {
            letter: async_client(Recorder(), api_key=key, project=project)
            for letter, (key, project) in whose.items()
        }

    def __call__(self) -> str:
        through = ""
        for letter, client in self._sync.items():
            arrived = len(self.sent.requests)
            try:
                client.models.list()
            except opg.ProjectGuardError:
                assert len(self.sent.requests) == arrived
            else:
                through += letter
        return through

    async def wait(self) -> str:
        """The same through the asynchronous client."""
        through = ""
        for letter, client in self._async.items():
            with suppress(opg.ProjectGuardError):
                await client.models.list()
                through += letter
        return through


# --- a guard that is off, and off again ---------------------------------------------------------


def reset() -> None:
    """Brings the guard to the state of a process that has just imported it."""
    opg.disable()
    STATE.registered.snapshot = Snapshot()
    STATE.scope_settings = None
    STATE.observers = ()
    log.take_counts()
    folder_of_paths.cache_clear()
    SCOPE.set(None)


@contextmanager
def fresh_guard() -> Iterator[None]:
    """A guard that is not set up, before and after."""
    reset()
    try:
        yield
    finally:
        reset()


@pytest.fixture
def clean(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[pytest.MonkeyPatch]:
    """No variable of the SDK or of ours is set, no registry lies around, the guard is off."""
    for name in list(os.environ):
        if name.startswith("OPENAI_"):
            monkeypatch.delenv(name)
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "config"))
    monkeypatch.chdir(tmp_path)
    with fresh_guard():
        yield monkeypatch


@pytest.fixture
def probe(clean: pytest.MonkeyPatch) -> Probe:
    """Which calls get through here."""
    return Probe()


@pytest.fixture
def enabled(clean: pytest.MonkeyPatch) -> None:
    """The guard is enabled with the keys A and B, and the SDK retries without a delay."""
    clean.setattr(BaseClient, "_calculate_retry_timeout", lambda *_, **__: 0)
    opg.enable(registry=KEYS)


@pytest.fixture
def registered(clean: pytest.MonkeyPatch) -> None:
    """The keys A and B are registered, and the guard is not enabled."""
    opg.register(A, "proj_a")
    opg.register(B, "proj_b")


@pytest.fixture
def verdicts(clean: pytest.MonkeyPatch) -> list[opg.Verdict]:
    """What the observers were told."""
    seen: list[opg.Verdict] = []
    opg.add_observer(seen.append)
    return seen


def outcomes(verdicts: list[opg.Verdict]) -> list[tuple[str, str | None]]:
    """Outcome and reason of each."""
    return [(verdict.outcome, verdict.reason) for verdict in verdicts]


@pytest.fixture
def sent() -> Recorder:
    """What was sent."""
    return Recorder()


@pytest.fixture
def listener() -> Iterator[Listener]:
    """A TCP socket that sees every connection."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        yield Listener(server)


# --- registry files and fresh processes ---------------------------------------------------------


def write_registry(path: Path, **projects: str) -> Path:
    """A registry file with one key for each project: `alias="project id:key"`."""
    lines = ["version = 1"]
    for alias, value in projects.items():
        project, _, key = value.partition(":")
        lines += [f"[projects.{alias}]", f'id = "{project}"']
        if key:
            lines += [f'keys = [{{ fingerprint = "{fingerprint(key)}" }}]']
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("\n".join(lines) + "\n", encoding="utf-8")
    return path


def fingerprint(key: str) -> str:
    """The fingerprint of a key, as a registry has it."""
    from hashlib import sha256

    return "sha256:" + sha256(key.encode()).hexdigest()


def python(code: str, *options: str, **environment: str) -> subprocess.CompletedProcess[str]:
    """Runs code in a fresh process in which the package and this module can be imported.

    Args:
        code: the program.
        options: of the interpreter.
        environment: further variables; none of the SDK's and ours is handed down.
    """
    inherited = {name: v for name, v in os.environ.items() if not name.startswith("OPENAI_")}
    places = [Path(opg.__file__).parents[1], Path(__file__).parent]
    process = subprocess.Popen(
        [sys.executable, "-X", "faulthandler", *options, "-c", code],
        env={**inherited, "PYTHONPATH": os.pathsep.join(map(str, places)), **environment},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    try:
        out, err = process.communicate(timeout=300)
    except subprocess.TimeoutExpired:  # it hangs, however busy the machine is: it shows where
        process.send_signal(signal.SIGABRT)
        pytest.fail("{}\n{}".format(*process.communicate()))
    return subprocess.CompletedProcess(process.args, process.returncode, out, err)


def output(code: str, **environment: str) -> str:
    """What a program prints; it must end well."""
    run = python(code, **environment)
    assert run.returncode == 0, run.stderr
    return run.stdout.strip()


def frames_holding(error: BaseException, *secrets: str) -> list[str]:
    """The frames of ours, in an error and in those it hangs on to, whose locals show a secret."""
    found: list[str] = []
    waiting: list[BaseException | None] = [error]
    seen: set[int] = set()
    while waiting:
        link = waiting.pop()
        if link is None or id(link) in seen:
            continue
        seen.add(id(link))
        waiting += [link.__cause__, link.__context__]
        step = link.__traceback__
        while step is not None:
            frame = step.tb_frame
            if frame.f_globals.get("__name__", "").startswith("openai_project_guard"):
                shown = repr(frame.f_locals)
                found += [
                    f"{frame.f_globals['__name__']}.{frame.f_code.co_name}"
                    for secret in secrets
                    if secret in shown
                ]
            step = step.tb_next
    return found
