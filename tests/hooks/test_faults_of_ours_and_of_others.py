"""Does a fault of the guard, an observer, a log handler or a thread ever touch an allowed call?"""

from __future__ import annotations

import ast
import importlib
import io
import logging
import re
import sys
import threading
import types
import typing
from collections.abc import Callable, Iterator
from contextlib import nullcontext, suppress
from pathlib import Path
from typing import Any

import openai
import pytest
from support import (
    STRANGER,
    A,
    B,
    Recorder,
    async_client,
    chat,
    frames_holding,
    http,
    starts_no_thread,
    sync_client,
)

import openai_project_guard as opg
from openai_project_guard._check import faults
from openai_project_guard._hooks import sdk, unsendable
from openai_project_guard._registry.model import Snapshot
from openai_project_guard._state import STATE
from openai_project_guard.loopback import loopback_api

pytestmark = pytest.mark.usefixtures("clean")

REGISTRY = {"proj_a": A, "proj_b": B}


class Answering(Recorder):
    """Names the project that the call was billed to."""

    def __init__(self, project: str) -> None:
        super().__init__()
        self.project = project

    def __call__(self, request: Any) -> Any:
        answer = super().__call__(request)
        answer.headers["openai-project"] = self.project
        return answer


# --- log handlers, observers and threads that fail ------------------------------------------------


class Raising(logging.Handler):
    def emit(self, _: logging.LogRecord) -> None:
        raise OSError("the disk is full")


@pytest.fixture
def raising_handler() -> Iterator[None]:
    handler, logger = Raising(), logging.getLogger("openai_project_guard")
    logger.addHandler(handler)
    yield
    logger.removeHandler(handler)


@pytest.mark.usefixtures("raising_handler")
@pytest.mark.parametrize(
    ("mode", "project"), [("warn", "proj_b"), ("inject", None), ("enforce", "proj_a")]
)
def test_a_log_handler_that_raises_changes_nothing(
    mode: Any, project: str | None, capsys: pytest.CaptureFixture[str]
) -> None:
    opg.enable(mode, registry=REGISTRY)
    sent = Answering("proj_other")  # which is drift, and logged too
    assert sync_client(sent, project=project, max_retries=2).models.list().data == []
    assert len(sent.requests) == 1
    assert "a log handler raised an error" in capsys.readouterr().err


def closed() -> Any:
    stream = io.StringIO()
    stream.close()
    return stream


@pytest.mark.usefixtures("raising_handler")
@pytest.mark.parametrize("stderr", [lambda: None, closed], ids=["none", "closed"])
def test_a_log_handler_that_raises_where_there_is_no_stderr_changes_nothing(
    stderr: Callable[[], Any], clean: pytest.MonkeyPatch
) -> None:
    """A program without a console has `None` there, a daemon may have closed it."""
    opg.enable("warn", registry=REGISTRY)
    clean.setattr(sys, "stderr", stderr())
    sent = Recorder()
    sync_client(sent, project="proj_b").models.list()
    assert len(sent.requests) == 1


@pytest.mark.usefixtures("raising_handler")
async def test_a_log_handler_that_raises_changes_nothing_of_an_async_call() -> None:
    opg.enable("warn", registry=REGISTRY)
    sent = Answering("proj_other")
    await chat(async_client(sent, project="proj_b", max_retries=2))
    assert len(sent.requests) == 1


@pytest.mark.usefixtures("raising_handler")
def test_a_log_handler_that_raises_does_not_let_a_wrong_call_through() -> None:
    opg.enable(registry=REGISTRY)
    sent = Recorder()
    with pytest.raises(opg.ProjectMismatchError):
        sync_client(sent, project="proj_b").models.list()
    assert sent.requests == []


def test_a_thread_that_cannot_be_started_while_learning_is_logged(
    clean: pytest.MonkeyPatch, tmp_path: Any, caplog: pytest.LogCaptureFixture
) -> None:
    clean.setenv("OPENAI_PROJECT_GUARD_LEARNED", str(tmp_path / "learned.toml"))
    opg.enable(unregistered="learn", registry={})

    clean.setattr(threading.Thread, "start", starts_no_thread)
    client = sync_client(Answering("proj_a"), api_key=STRANGER, project="proj_a")
    assert client.models.list().data == []
    assert (
        f"What was learned could not be kept in {tmp_path / 'learned.toml'}: can't start new thread"
    ) in caplog.text


# --- faults of ours -------------------------------------------------------------------------------


class Broken(Snapshot):
    """A registry that cannot be asked."""

    @property
    def keys(self) -> Any:
        raise TypeError(f"broken, and {A} is in it")

    @keys.setter
    def keys(self, _: Any) -> None: ...


@pytest.fixture
def broken(clean: pytest.MonkeyPatch) -> opg.Registry:
    clean.setattr(faults, "_logged", set())
    registry = opg.Registry()
    registry.snapshot = Broken()
    return registry


@pytest.mark.parametrize("mode", ["enforce", "inject"])
def test_a_call_that_cannot_be_judged_is_refused(
    mode: Any, broken: opg.Registry, caplog: pytest.LogCaptureFixture
) -> None:
    opg.enable(mode, registry=broken)
    sent = Recorder()
    for _ in range(3):
        with pytest.raises(opg.ProjectGuardError) as caught:
            sync_client(sent, project="proj_a", max_retries=2).models.list()
        assert "cannot be checked, and nothing was sent" in str(caught.value)
        assert A not in str(caught.value)
        assert caught.value.verdict.outcome == "blocked"
        assert frames_holding(caught.value, A) == []
    assert sent.requests == []
    assert len(caplog.records) == 1
    assert A not in caplog.text


FAULT = (
    r"openai-project-guard failed at \S+test_faults_of_ours_and_of_others\.py:\d+ \(keys\) with "
    r"TypeError: broken, and sk-proj-…AAAA is in it\."
)


def test_a_fault_is_named_with_the_place_where_it_arose(
    broken: opg.Registry, caplog: pytest.LogCaptureFixture
) -> None:
    opg.enable(registry=broken)
    with pytest.raises(opg.ProjectGuardError) as caught:
        sync_client(Recorder(), project="proj_a").models.list()
    assert re.fullmatch(
        rf"{FAULT} So this call cannot be checked, and nothing was sent\. Please report it\. To "
        'send such calls meanwhile: mode="warn", or OPENAI_PROJECT_GUARD_OVERRIDE=warn',
        str(caught.value),
    )
    assert caught.value.verdict == opg.Verdict("blocked", None, (), None, "", "", "", "", "http")
    (said,) = caplog.messages
    assert re.fullmatch(rf"{FAULT} The call was refused\. Please report it\.", said)


def test_of_a_long_fault_the_beginning_is_said(
    clean: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    clean.setattr(faults, "_logged", set())
    faults.log_fault(ValueError("x" * 1000), "Nothing came of it.")
    (said,) = caplog.messages
    assert said == (
        "openai-project-guard failed at an unknown place with ValueError: "
        f"{'x' * 488}. Nothing came of it. Please report it."
    )


def test_of_faults_without_end_a_hundred_are_said(
    clean: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    clean.setattr(faults, "_logged", set())
    for number in range(150):
        for _ in range(2):
            faults.log_fault(ValueError(str(number)), "Nothing came of it.")
    assert len(caplog.messages) == 100


@pytest.mark.parametrize(
    ("enabled", "scope", "is_sent"),
    [
        ("enforce", "warn", True),
        ("warn", "enforce", False),
        ("inject", None, False),
        (None, "enforce", False),
        (None, "warn", True),
    ],
)
def test_the_mode_that_holds_here_decides_what_a_fault_does(
    enabled: Any, scope: Any, is_sent: bool, broken: opg.Registry
) -> None:
    sent = Recorder()
    opg.register(A, "proj_a")
    if enabled:
        opg.enable(enabled, registry=broken)
    with opg.guard(mode=scope) if scope else nullcontext():
        settings = STATE.settings or STATE.scope_settings
        assert settings is not None
        settings.registries = (broken,)
        with nullcontext() if is_sent else pytest.raises(opg.ProjectGuardError):
            sync_client(sent, project="proj_a").models.list()
    assert len(sent.requests) == is_sent


def test_where_the_guard_goes_meanwhile_a_fault_stops_no_call() -> None:
    class Disables(Snapshot):
        @property
        def keys(self) -> Any:
            opg.disable()
            raise TypeError("broken")

        @keys.setter
        def keys(self, _: Any) -> None: ...

    registry = opg.Registry()
    registry.snapshot = Disables()
    opg.enable(registry=registry)
    sent = Recorder()
    sync_client(sent, project="proj_a").models.list()
    assert len(sent.requests) == 1


def test_in_warn_a_call_that_cannot_be_judged_is_sent(
    broken: opg.Registry, caplog: pytest.LogCaptureFixture
) -> None:
    opg.enable("warn", registry=broken)
    sent = Recorder()
    for _ in range(3):
        sync_client(sent, project="proj_a").models.list()
    assert len(sent.requests) == 3
    assert len(caplog.records) == 1
    assert "sent without a check" in caplog.text


def test_a_fault_over_a_header_that_cannot_be_sent_leaves_the_sdks_own_error(
    clean: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    clean.setattr(faults, "_logged", set())
    clean.setattr(unsendable, "Message", None)
    opg.enable(registry=REGISTRY)
    with pytest.raises(UnicodeEncodeError):
        sync_client(Recorder(), project="proj_é").models.list()
    assert "The SDK's own error was raised." in caplog.text


def test_a_fault_after_a_call_was_sent_is_logged_and_the_answer_returned(
    clean: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    clean.setattr(faults, "_logged", set())
    opg.enable(registry=REGISTRY)

    class Odd:
        def __eq__(self, _: object) -> bool:
            raise ValueError("odd")

        __hash__ = None  # type: ignore[assignment]

    clean.setattr(sdk.HTTP.__class__, "response_project", staticmethod(lambda _: Odd()))
    for _ in range(2):
        assert sync_client(Recorder(), project="proj_a").models.list().data == []
    assert len(caplog.records) == 1
    assert "returned unchecked" in caplog.text


@pytest.mark.parametrize("is_async", [False, True])
async def test_an_error_of_the_server_without_its_request_is_the_sdks_error_all_the_same(
    is_async: bool, clean: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """A stand-in's answer may come with anything in its request's place."""
    clean.setattr(faults, "_logged", set())
    opg.enable(registry=REGISTRY)

    def answer(_: Any, request: Any, **__: Any) -> Any:
        refusal = http.Response(401, json={"error": {"code": "mismatched_project"}})
        refusal.request = types.SimpleNamespace(method=request.method, url=request.url)
        return refusal

    async def answer_async(client: Any, request: Any, **more: Any) -> Any:
        return answer(client, request, **more)

    clean.setattr(http.Client, "send", answer)
    clean.setattr(http.AsyncClient, "send", answer_async)
    with pytest.raises(openai.AuthenticationError):  # noqa: PT012
        if is_async:
            await async_client(Recorder(), project="proj_a").models.list()
        else:
            sync_client(Recorder(), project="proj_a").models.list()
    (said,) = caplog.messages
    assert "The server's error was raised without the guard's note." in said


def test_a_source_that_raises_keeps_its_last_good_registry(
    clean: pytest.MonkeyPatch, tmp_path: Any
) -> None:
    from support import write_registry

    clean.setattr(faults, "_logged", set())
    opg.enable(registry=write_registry(tmp_path / "r.toml", a=f"proj_a:{A}"))
    assert STATE.settings is not None

    def refuse(_: float) -> None:
        raise OSError("gone")

    for source in STATE.settings.sources:
        clean.setattr(source, "refresh", refuse)
    sent = Recorder()
    sync_client(sent, project="proj_a").models.list()
    with pytest.raises(opg.ProjectMismatchError):
        sync_client(sent, project="proj_b").models.list()
    assert len(sent.requests) == 1


# --- hostile text ---------------------------------------------------------------------------------

HOSTILE = "@" + ":/" * 50_000
"""A quadratic pattern takes minutes over it."""


@pytest.mark.parametrize("project", ["proj_a", "proj_b"])
def test_a_hostile_path_does_not_hold_a_call_up(project: str) -> None:
    opg.enable(registry=REGISTRY)
    seen: list[opg.Verdict] = []
    opg.add_observer(seen.append)
    with suppress(opg.ProjectMismatchError, openai.APIConnectionError, http.InvalidURL):
        sync_client(Recorder(), project=project).get("/models/" + HOSTILE[:60_000], cast_to=object)
    assert len(seen) == 1


def test_a_hostile_header_of_an_answer_does_not_hold_a_call_up() -> None:
    opg.enable(registry=REGISTRY)
    assert sync_client(Answering(HOSTILE), project="proj_a").models.list().data == []


def test_a_hostile_header_of_a_call_does_not_hold_it_up() -> None:
    opg.enable(registry=REGISTRY)
    with pytest.raises(opg.ProjectGuardError):
        sync_client(Recorder(), project=HOSTILE).models.list()


# --- headers that hide, or cannot be sent ---------------------------------------------------------


@pytest.mark.parametrize("blank", ["", " ", "Bearer ", "Bearer  "])
def test_a_blank_authorization_hides_no_registered_key(blank: str) -> None:
    opg.enable(registry=REGISTRY)
    sent = Recorder()
    headers = {"api-key": B, "Authorization": blank}
    with pytest.raises((opg.ProjectGuardError, openai.APIConnectionError)) as caught:
        sync_client(sent, project="proj_a", default_headers=headers).models.list()
    assert sent.requests == []
    assert isinstance(caught.value, opg.ProjectMismatchError) or blank.endswith(" ")


def test_two_registered_keys_on_one_call_are_refused() -> None:
    opg.enable(registry=REGISTRY)
    sent = Recorder()
    with pytest.raises(opg.MalformedHeaderError):
        sync_client(sent, project="proj_a", default_headers={"api-key": B}).models.list()
    assert sent.requests == []


ORIGINS = {"argument": "project=", "default": "default_headers", "call": "extra_headers"}


@pytest.mark.parametrize("project", ["proj_é", "proj_—", "proj_ж"])
@pytest.mark.parametrize("where", ORIGINS)
def test_a_project_that_is_not_ascii_is_refused_with_a_word(project: str, where: str) -> None:
    opg.enable(registry=REGISTRY)
    seen: list[opg.Verdict] = []
    opg.add_observer(seen.append)
    header = {"OpenAI-Project": project}
    options: Any = {"project": project} if where == "argument" else {"project": "proj_a"}
    client = sync_client(
        Recorder(), **options, **({"default_headers": header} if where == "default" else {})
    )
    with pytest.raises(opg.MalformedHeaderError) as caught:
        client.models.list(extra_headers=header if where == "call" else None)
    told = [(verdict.reason, verdict.actual, verdict.origin) for verdict in seen]
    assert told == [("malformed", project, ORIGINS[where])]
    assert (seen[0].method, seen[0].host, seen[0].path, seen[0].key_hint) == (
        *("GET", "api.openai.com", "/v1/models", "sk-proj-…AAAA"),
    )
    assert repr(project) in str(caught.value)
    assert "characters that no project id has" in str(caught.value)
    assert frames_holding(caught.value, A) == []


@pytest.mark.parametrize("project", ["proj_a", "proj_b"])
def test_another_header_that_is_not_ascii_is_the_sdks_affair(project: str) -> None:
    opg.enable(registry=REGISTRY)
    with pytest.raises(UnicodeEncodeError):
        sync_client(Recorder(), project=project, default_headers={"x": "é"}).models.list()


def test_a_project_with_half_a_character_is_refused_like_any_that_is_not_ascii() -> None:
    opg.enable(registry=REGISTRY)
    with pytest.raises(opg.MalformedHeaderError):
        sync_client(Recorder(), project="proj_\ud800").models.list()


# --- what tools read off the package --------------------------------------------------------------


def public_things() -> Iterator[Any]:
    """What the public modules name, and the public methods of its classes."""
    modules = ("openai_project_guard", *(f"openai_project_guard.{name}" for name in PUBLIC))
    for name in modules:
        try:
            module = importlib.import_module(name)
        except ImportError:
            continue  # of a package that an extra brings
        for named in getattr(module, "__all__", None) or vars(module):
            thing = getattr(module, named)
            if named.startswith("_") or not callable(thing) or _home(thing) != _home(module):
                continue
            yield thing
            for method in vars(thing) if isinstance(thing, type) else ():
                found = getattr(thing, method)
                if callable(found) and (method == "__init__" or not method.startswith("_")):
                    yield found


PUBLIC = ("loopback", "otel", "prometheus", "pytest_plugin", "structured_log")


def _home(thing: Any) -> str:
    found = getattr(thing, "__module__", None) or thing.__name__
    return str(found).partition(".")[0]


@pytest.mark.parametrize("thing", [*public_things()], ids=lambda thing: thing.__qualname__)
def test_type_hints_can_be_read(thing: Any) -> None:
    assert typing.get_type_hints(thing) is not None


def test_every_module_that_a_freezer_must_find_is_imported_by_name() -> None:
    """PyInstaller reads import statements; a name that is computed, it does not see."""
    root = Path(opg.__file__).parent
    modules = {
        ".".join(path.relative_to(root.parent).with_suffix("").parts).removesuffix(
            ".__init__"
        ): path
        for path in root.rglob("*.py")
    }
    found: set[str] = set()

    def read(*names: str) -> None:
        for name in names:
            if name in found or name not in modules:
                continue
            found.add(name)
            read(name.rpartition(".")[0])
            for node in ast.walk(ast.parse(modules[name].read_text(encoding="utf-8"))):
                if isinstance(node, ast.ImportFrom):
                    read(f"{node.module}", *(f"{node.module}.{of.name}" for of in node.names))
                elif isinstance(node, ast.Import):
                    read(*(of.name for of in node.names))

    read("openai_project_guard")
    rooms = ("_hooks", "_check", "_startup")
    assert {name for name in modules.keys() - found if name.split(".")[1] in rooms} == set()
    entries = ("__main__", "_auto", "_cli", *PUBLIC)  # of other programs
    read(*(name for name in modules if name.split(".")[1:2] and name.split(".")[1] in entries))
    assert modules.keys() - found == set()


# --- websockets that cannot be opened -------------------------------------------------------------


@pytest.mark.parametrize("is_async", [False, True])
@pytest.mark.parametrize("fault", ["uri", "headers", "nothing"])
async def test_no_frame_of_a_socket_that_cannot_be_opened_holds_the_key(
    fault: str, is_async: bool
) -> None:
    name = "websockets.asyncio.client" if is_async else "websockets.sync.client"
    module = pytest.importorskip(name)
    opg.enable(registry=REGISTRY)
    headers: Any = {"Authorization": f"Bearer {A}", "OpenAI-Project": "proj_a"}
    args: tuple[Any, ...] = () if fault == "nothing" else ("ws://127.0.0.1:9/v1/realtime",)
    if fault == "uri":
        args = ("ws://[bad",)
    if fault == "headers":
        headers = [("Authorization", f"Bearer {A}", "three")]

    async def connect() -> None:
        opened = module.connect(*args, additional_headers=headers)
        if is_async:
            await opened

    with pytest.raises(Exception) as caught:
        await connect()
    assert frames_holding(caught.value, A) == []


def test_the_loopback_server_serves_the_tests() -> None:
    with loopback_api({A: "proj_a"}) as api:
        opg.enable(registry=REGISTRY, hosts=["127.0.0.1"])
        client = openai.OpenAI(api_key=A, project="proj_a", base_url=api.base_url)
        assert client.models.list().data is not None
        client.close()


@pytest.mark.skipif(sys.platform == "win32", reason="a current directory cannot be removed there")
def test_a_refusal_is_explained_where_the_current_directory_is_gone(
    clean: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    gone = tmp_path / "gone"
    gone.mkdir()
    clean.chdir(gone)
    gone.rmdir()
    opg.enable()
    with pytest.raises(opg.UnregisteredKeyError) as caught:
        sync_client(Recorder(), project="proj_a").models.list()
    assert "none was named, and neither openai-projects.toml nor " in str(caught.value)
