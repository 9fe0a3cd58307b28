"""Is a key in any error, verdict, log line, or local variable of a frame of ours?"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
import pickle
import sys
import traceback
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from support import (
    KEYS,
    A,
    B,
    Recorder,
    Server,
    fingerprint,
    frames_holding,
    http,
    python,
    sync_client,
    write_registry,
)

import openai_project_guard as opg
from openai_project_guard._check.call import HeaderSources
from openai_project_guard._keys import redact
from openai_project_guard._state import STATE

pytestmark = pytest.mark.usefixtures("enabled")


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
    """An active registry file; called, it breaks."""
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
    opg.enable(mode, registry=KEYS)
    opg.add_observer(onlooker.look)
    with contextlib.suppress(opg.ProjectGuardError):
        sync_client(Server(), project=A).models.list()
    assert onlooker.lines >= 2  # the log's and the observer's
    assert onlooker.found == []


SECRET = "canaryCANARYcanaryCANARY7777"

KEY = f"sk-proj-{SECRET}"


@pytest.mark.parametrize("before", ["\n", "\t", "\xa0", "x_", "é", "a\n", "proj_", "xy"])
def test_a_key_is_hidden_whatever_is_before_it(before: str, sent: Recorder) -> None:
    wrong = before + KEY
    attempts: list[Any] = [
        lambda: opg.register("proj_b", wrong),
        lambda: opg.enable(project=wrong),
        lambda: opg.enable(wrong),  # type: ignore[arg-type]
        lambda: opg.enable(hosts=[wrong + "/"]),
        lambda: opg.guard(project=wrong).__enter__(),
        lambda: opg.guard(wrong),  # type: ignore[call-overload]
        lambda: opg.add_observer(wrong),  # type: ignore[arg-type]
        lambda: sync_client(sent, project="proj_a").models.list(
            extra_headers={"OpenAI-Project": wrong.encode("ascii", "ignore").decode()}
        ),
    ]
    for attempt in attempts:
        with contextlib.ExitStack() as after:
            after.callback(opg.disable)
            after.enter_context(hides_the_secret())
            attempt()
        opg.enable(registry=KEYS)


@contextlib.contextmanager
def hides_the_secret() -> Iterator[None]:
    with pytest.raises((opg.ConfigurationError, opg.ProjectGuardError)) as refused:
        yield
    assert SECRET not in str(refused.value)
    assert SECRET not in repr(refused.value.__dict__)


def test_a_key_in_the_path_is_not_in_the_verdict(sent: Recorder) -> None:
    with pytest.raises(opg.ProjectMissingError) as refused:
        sync_client(sent).models.retrieve(KEY)
    assert SECRET not in repr(refused.value.verdict)
    assert SECRET.encode() not in pickle.dumps(refused.value)


def test_a_wrong_signature_does_not_keep_the_key_in_a_frame() -> None:
    for attempt in (
        lambda: opg.register(KEY),  # type: ignore[call-arg]
        lambda: opg.enable(registry={"proj_a": KEY}, host="x"),  # type: ignore[call-arg]
        lambda: opg.Registry().lookup(KEY.encode()),  # type: ignore[arg-type]
    ):
        with pytest.raises((TypeError, opg.ConfigurationError)) as failed:
            attempt()
        trace = failed.value.__traceback__
        while trace:
            if trace.tb_frame.f_globals["__name__"].startswith("openai_project_guard."):
                assert SECRET not in repr(trace.tb_frame.f_locals)
            trace = trace.tb_next
    assert opg.Registry().lookup(KEY + "\ud800") == ()


SESSION = "sess-canaryCANARYcanaryCANARY7777canaryCANARY"


@pytest.mark.parametrize("before", ["", "\n", "'", "proj_", "é"])
def test_a_session_key_is_hidden(before: str, sent: Recorder) -> None:
    client = sync_client(sent, project="proj_a")
    with pytest.raises(opg.ProjectMismatchError) as caught:
        client.models.list(
            extra_headers={"OpenAI-Organization": SESSION, "OpenAI-Project": "proj_" + SESSION}
        )
    assert SESSION not in f"{caught.value} {caught.value.verdict}"
    with pytest.raises(opg.ConfigurationError) as refused:
        opg.enable(project=before + SESSION)
    assert SESSION not in str(refused.value)
    assert "sess-…NARY" in str(refused.value)


def test_a_registry_file_with_a_session_key_is_refused(tmp_path: Any) -> None:
    path = tmp_path / "openai-projects.toml"
    path.write_text(
        f'version = 1\n[projects.a]\nid = "proj_a"\nkeys = [{{ fingerprint = "{SESSION}" }}]\n'
    )
    with pytest.raises(opg.RegistryError, match="this is a raw key") as refused:
        opg.enable(registry=path)
    assert SESSION not in str(refused.value)


@pytest.mark.parametrize("register", [opg.register, opg.Registry().register])
@pytest.mark.parametrize("note", ["{}", "the key {} of CI"])
def test_a_note_that_contains_the_key_is_refused(register: Any, note: str) -> None:
    key = "gateway.key.7777"  # of a form that nothing would recognise
    with pytest.raises(opg.ConfigurationError) as refused:
        register(key, "proj_a", note=note.format(key))
    assert str(refused.value) == (
        "This key cannot be registered: its alias, note or organization has a key in it, and a "
        "registry holds no key."
    )
    register(key, "proj_a", note="the key of CI")


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("redis//u:PASSWORD@h/0", "redis//…@h/0"),
        ("//u:p@h", "//…@h"),
        ("redis:/u:p@h/0", "redis:/…@h/0"),
        ("https://u:p/a@s?s@h and a@b", "https://…@h and a@b"),
        ("ops@example.com", "ops@example.com"),
        ("C:/app@2/openai-projects.toml", "C:/app@2/openai-projects.toml"),
        ("https://h/x", "https://h/x"),
    ],
)
def test_user_info_is_hidden(text: str, shown: str) -> None:
    assert redact(text) == shown


@pytest.mark.parametrize("field", ["note", "organization"])
def test_another_key_in_a_field_of_a_key_is_refused(field: str) -> None:
    with pytest.raises(opg.ConfigurationError, match="has a key in it") as refused:
        opg.register(A, "proj_a", **{field: f"of {KEY}"})
    assert SECRET not in str(refused.value)


@pytest.mark.parametrize("variable", ["KEYS", "HOSTS", "UNREGISTERED"])
def test_no_frame_of_an_import_that_fails_has_the_key(variable: str) -> None:
    run = python(
        "import os, traceback\n"
        f"os.environ.update(OPENAI_PROJECT_GUARD='enforce', OPENAI_PROJECT_GUARD_{variable}="
        f"'proj_a=' + {KEY!r})\n"
        "try:\n"
        "    import openai_project_guard\n"
        "except Exception as error:\n"
        "    lines = traceback.TracebackException.from_exception(error, capture_locals=True)\n"
        "    print(''.join(lines.format()))\n"
    )
    assert "ConfigurationError" in run.stdout or "RegistryError" in run.stdout, run.stderr
    assert SECRET not in run.stdout


def test_a_key_in_the_project_variable_is_said_to_come_from_there(
    clean: pytest.MonkeyPatch, sent: Recorder
) -> None:
    clean.setenv("OPENAI_PROJECT_ID", KEY)
    client = sync_client(sent, project=None)
    with pytest.raises(opg.ProjectGuardError) as refused:
        client.models.list()
    assert "comes from OPENAI_PROJECT_ID in the environment" in str(refused.value)
    assert SECRET not in str(refused.value)


FORMLESS = "gw9f83kd02mfn28dkl20dkfi"  # of a form that nothing would recognise


@pytest.mark.parametrize(
    "written",
    ["{}", "Bearer {}", '"{}"', "proj_a,{}", "proj={}", "key:{}", "https://h/{}?x", "<{}>."],
)
@pytest.mark.parametrize("key", [A, "proj_a", FORMLESS])
def test_a_registered_key_in_the_place_of_the_project_is_not_shown(
    key: str, written: str, caplog: pytest.LogCaptureFixture
) -> None:
    opg.enable(registry={"proj_a": [A, FORMLESS]})
    client = sync_client(Server(), api_key=key, project=written.format(FORMLESS))
    with pytest.raises(opg.ProjectGuardError) as refused:
        client.models.list()
    assert FORMLESS not in f"{refused.value} {refused.value.verdict} {caplog.text}"
    assert "…dkfi" in str(refused.value.verdict.actual)


@pytest.mark.parametrize("written", ["proj={}", "key:{}"])
def test_where_a_value_with_a_registered_key_in_it_comes_from_is_still_found(
    written: str, sent: Recorder
) -> None:
    opg.enable(registry={"proj_a": [A, FORMLESS]})
    with pytest.raises(opg.ProjectMismatchError) as refused:
        sync_client(sent, project=written.format(FORMLESS)).models.list()
    assert refused.value.verdict.origin == "project="


@pytest.mark.parametrize("encoding", ["utf-8", "latin-1"])
def test_a_key_that_is_not_ascii_in_the_place_of_the_project_is_not_shown(
    encoding: str, caplog: pytest.LogCaptureFixture
) -> None:
    key = f"é{FORMLESS}"

    def put_in(request: Any) -> None:
        request.headers = http.Headers(
            [
                (b"Host", b"api.openai.com"),
                (b"Authorization", f"Bearer {key}".encode(encoding)),
                (b"OpenAI-Project", key.encode(encoding)),
            ]
        )

    client = sync_client(Server())
    client._client.event_hooks = {"request": [put_in]}
    with pytest.raises(opg.ProjectGuardError) as refused:
        client.models.list()
    assert FORMLESS not in f"{refused.value} {refused.value.verdict} {caplog.text}"
    assert str(refused.value.verdict.actual).endswith("…dkfi")


@pytest.mark.parametrize("outcome", ["blocked", "warned", "allowed"])
@pytest.mark.parametrize(
    ("base_url", "model"),
    [
        ("https://api.openai.com/v1", FORMLESS),
        ("https://api.openai.com/v1", f"ft:{FORMLESS}"),
        (f"https://api.openai.com/{FORMLESS}/v1", "m"),
        (f"https://{FORMLESS}.api.openai.com/v1", "m"),
    ],
)
def test_a_registered_key_in_the_address_is_not_shown(
    base_url: str, model: str, outcome: str, caplog: pytest.LogCaptureFixture
) -> None:
    told: list[opg.Verdict] = []
    said: list[str] = []
    opg.enable("warn" if outcome == "warned" else "enforce", registry={"proj_a": [A, FORMLESS]})
    opg.add_observer(told.append)
    project = "proj_a" if outcome == "allowed" else "proj_b"
    try:
        sync_client(Server(), base_url=base_url, project=project).models.retrieve(model)
    except opg.ProjectMismatchError as refused:
        said.append(str(refused))
    said += [record.getMessage() for record in caplog.records if record.name == opg.__name__]
    (verdict,) = told
    assert verdict.outcome == outcome
    assert "…dkfi" in verdict.host + verdict.path
    assert FORMLESS not in f"{verdict} {said}"


def test_the_digest_of_nothing_is_no_key(sent: Recorder) -> None:
    """As `printf %s "$UNSET" | sha256sum` gives it."""
    opg.enable(registry=write_registry(Path("registry.toml"), a=f"proj_a:{A}", b="proj_b"))
    text = Path("registry.toml").read_text("utf-8")
    nothing = f'keys = [{{ fingerprint = "{fingerprint("")}" }}]'
    Path("registry.toml").write_text(text + nothing, "utf-8")
    opg.enable(registry="registry.toml")
    with pytest.raises(opg.ProjectMissingError) as refused:
        sync_client(sent, project="").models.list()
    assert refused.value.verdict.actual == ""
    assert "an empty OpenAI-Project header" in str(refused.value)


@pytest.mark.parametrize("key", ["gateway.key.7777", "gw+9f83~kd02"])
@pytest.mark.parametrize("path", ["{}", "key={}", "(é{})"])
def test_a_key_of_whatever_characters_is_hidden_in_the_path(
    key: str, path: str, sent: Recorder
) -> None:
    opg.enable(registry={"proj_a": [A, key]})
    with pytest.raises(opg.ProjectMismatchError) as refused:
        sync_client(sent, project="proj_b").models.retrieve(path.format(key))
    shown = path.format(f"…{key[-4:]}")
    assert refused.value.verdict.path == f"/v1/models/{shown}"


@pytest.mark.parametrize("key", [FORMLESS, "nvapi-Nq1VwYS81VP7Hb1DX8pPd5khx-E3pyI_gKpaUnA"])
@pytest.mark.parametrize(
    "mistake",
    [
        lambda key: opg.register("proj_a", key),
        lambda key: opg.enable(registry={key: "proj_a"}),
        lambda key: opg.enable(key),
        lambda key: opg.enable(project=key),
        lambda key: opg.enable(unregistered=key),
        lambda key: opg.enable(scope=key),
        lambda key: opg.enable(on_error=key),
        lambda key: opg.enable(hosts=key),
        lambda key: opg.guard(project=key).__enter__(),
        lambda key: opg.guard(project=[key]),  # type: ignore[arg-type]
        lambda key: opg.guard(mode=key),
        lambda key: opg.guard(key),
        lambda key: opg.add_observer(key),
    ],
)
def test_a_key_of_unknown_form_in_a_wrong_argument_is_not_shown(
    mistake: Callable[[str], object], key: str
) -> None:
    with pytest.raises(opg.ConfigurationError, match=f"…{key[-4:]}") as refused:
        mistake(key)
    assert key[:12] not in str(refused.value)


@pytest.mark.parametrize(
    "name",
    [
        "proj_gw9f83kd02mfn28dkl20dkfi",
        "org-gw9f83kd02mfn28dkl20dkfi",
        "support-bot-production-eu",
        "team-billing-eu-west-1-prod",
        "k8s-prod-eu-central-1-llm-gw",
        "customerSupportAssistant2",
        "gw-9f83kd02mfn28dk",  # short for a key
        "gw9f83kd02mfn28-dkl20dkf-i9",  # of short pieces
        "/etc/gw9f83kd02mfn28dkl20dkfi/openai-projects.toml",
        "redis://h/gw9f83kd02mfn28dkl20dkfi",
    ],
)
def test_a_name_in_a_wrong_argument_is_shown(name: str) -> None:
    with pytest.raises(opg.ConfigurationError) as refused:
        opg.enable(unregistered=name)  # type: ignore[arg-type]
    assert name in str(refused.value)


@pytest.mark.parametrize("misplace", [opg.Mode, partial(getattr, opg), opg.__dict__["__getattr__"]])
def test_a_key_in_the_place_of_a_name_is_not_shown(misplace: Callable[[str], object]) -> None:
    with pytest.raises((ValueError, AttributeError)) as raised:
        misplace(A)
    assert "sk-proj-…AAAA" in str(raised.value)
    assert A not in "".join(traceback.format_exception(raised.value))
    assert A not in repr(vars(raised.value)) + repr(getattr(raised.value, "name", ""))
    assert frames_holding(raised.value, A) == []


def test_where_headers_come_from_is_shown_without_their_values() -> None:
    bearer = {"Authorization": f"Bearer {A}"}
    sources = HeaderSources(True, bearer, bearer, bearer, {"api_key": A})
    assert A not in repr(sources)


def test_what_a_scope_was_given_for_the_users_function_is_in_no_frame_of_ours() -> None:
    """A function that fails may have been called with the key."""
    opg.enable(registry={"proj_a": A})

    @opg.guard(project="proj_a")
    def function(key: str) -> None:
        raise ValueError

    @opg.guard(project="proj_a")
    async def coroutine(key: str) -> None:
        raise ValueError

    @opg.guard(project="proj_a")
    def generator(key: str) -> Any:
        yield 1
        raise ValueError

    @opg.guard(project="proj_a")
    async def async_generator(key: str) -> Any:
        yield 1
        raise ValueError

    async def consume() -> None:
        async for _ in async_generator(A):
            pass

    def submit(is_ended: bool) -> None:
        with opg.guard(), ThreadPoolExecutor(1) as pool:
            if is_ended:
                pool.shutdown()
            pool.submit(function, A).result()

    for call in (
        lambda: function(A),
        lambda: asyncio.run(coroutine(A)),
        lambda: list(generator(A)),
        lambda: asyncio.run(consume()),
        lambda: function(A, A),  # type: ignore[call-arg]
        lambda: asyncio.run(coroutine(A, A)),  # type: ignore[call-arg]
        lambda: list(generator(A, A)),  # type: ignore[call-arg]
        lambda: submit(is_ended=False),
        lambda: submit(is_ended=True),
    ):
        with pytest.raises((ValueError, TypeError, RuntimeError)) as caught:
            call()
        assert frames_holding(caught.value, A) == []
