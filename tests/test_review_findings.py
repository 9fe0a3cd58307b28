"""What reviews found: each road past the guard, each leak and each wrong sentence, once."""

from __future__ import annotations

import asyncio
import contextlib
import functools
import pickle
from collections.abc import Iterator
from typing import Any

import openai
import pytest
from support import A, B, Recorder, async_client, clean, http, python, sync_client

import openai_project_guard as opg
from openai_project_guard import _env
from openai_project_guard._keys import redact
from openai_project_guard._registry.redis.url import parse_url

__all__ = ["clean"]

SECRET = "canaryCANARYcanaryCANARY7777"
KEY = f"sk-proj-{SECRET}"


@pytest.fixture
def sent() -> Recorder:
    return Recorder()


@pytest.fixture(autouse=True)
def enabled(clean: Any) -> None:
    opg.enable(registry={"proj_a": A, "proj_b": B})


def test_a_reloaded_sdk_is_not_called_checked() -> None:
    run = python(
        "import importlib, sys, openai, openai_project_guard as g\n"
        f"g.enable(registry={{'proj_a': {A!r}}})\n"
        "assert g.is_enabled()\n"
        "importlib.reload(sys.modules['openai._base_client'])\n"
        "assert not g.is_enabled()\n"
        "g.enable()\n"
        "assert g.is_enabled()\n"
    )
    assert run.returncode == 0, run.stderr
    assert "took the guard's hook off BaseClient._build_request" in run.stderr


@pytest.mark.parametrize("step", ["_send_handling_auth", "_send_single_request", "send"])
def test_an_http_client_with_a_private_step_of_its_own_is_judged(step: str, sent: Recorder) -> None:
    def own(self: Any, request: Any, *_: Any, **__: Any) -> Any:
        response = sent(request)
        response.request = request
        return response

    kind = type("Own", (http.Client,), {step: own})
    client = sync_client(sent, project="proj_b")
    client._client = kind(event_hooks={"request": [lambda _: None]})
    with pytest.raises(opg.ProjectMismatchError):
        client.models.list()
    assert sent.requests == []


@pytest.mark.parametrize("name", ["openai-project-guard-report.py", "report.py"])
def test_a_program_with_a_name_like_ours_is_guarded(name: str, tmp_path: Any) -> None:
    script = tmp_path / name
    script.write_text("import openai_project_guard as g; print(g.is_enabled())", encoding="utf-8")
    run = python(
        f"import runpy, sys; sys.argv = [{str(script)!r}]; runpy.run_path({str(script)!r})",
        OPENAI_PROJECT_GUARD="enforce",
    )
    assert run.stdout.strip() == "True", run.stderr


def hidden_by_a_decorator(fn: Any) -> Any:
    @functools.wraps(fn)
    def wrapper(*args: Any) -> Any:
        return fn(*args)

    return wrapper


class CallableObject:
    def __init__(self, fn: Any) -> None:
        self.fn = fn

    async def __call__(self) -> Any:
        return await self.fn()


@pytest.mark.parametrize("hide", [hidden_by_a_decorator, CallableObject])
def test_guard_holds_in_a_coroutine_that_does_not_look_like_one(hide: Any, sent: Recorder) -> None:
    opg.disable()
    opg.register(A, "proj_a")
    client = async_client(sent, project="proj_b")

    async def call() -> Any:
        return await client.models.list()

    with pytest.raises(opg.ProjectMismatchError):
        asyncio.run(opg.guard(hide(call))())
    assert sent.requests == []


@pytest.mark.parametrize(
    "headers",
    [
        {"Authorization": f"Bearer\t{A}"},
        {"Authorization": f"Token {A}"},
        {"Authorization": f"Bearer {A}, Bearer another"},
        {"Authorization": "Bearer another", "api-key": A},
    ],
)
def test_a_registered_key_in_another_form_is_seen_on_any_host(
    headers: dict[str, str], sent: Recorder
) -> None:
    client = sync_client(sent, base_url="https://gateway.example.com/v1")
    with pytest.raises((opg.MalformedHeaderError, opg.ProjectMissingError)):
        client.models.list(extra_headers=headers)
    assert sent.requests == []


def test_an_azure_client_with_a_registered_key_is_judged(sent: Recorder) -> None:
    client = openai.AzureOpenAI(
        api_key=A,
        api_version="2024-06-01",
        azure_endpoint="https://x.openai.azure.com",
        http_client=http.Client(transport=http.MockTransport(sent)),
    )
    with pytest.raises(opg.ProjectMissingError):
        client.models.list()
    assert sent.requests == []


@pytest.mark.parametrize("before", ["\n", "\t", "\xa0", "x_", "é", "a\n", "proj_", "xy"])
def test_a_key_is_hidden_whatever_stands_before_it(before: str, sent: Recorder) -> None:
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
        opg.enable(registry={"proj_a": A, "proj_b": B})


@contextlib.contextmanager
def hides_the_secret() -> Iterator[None]:
    with pytest.raises((opg.ConfigurationError, opg.ProjectGuardError)) as refused:
        yield
    assert SECRET not in str(refused.value)
    assert SECRET not in repr(refused.value.__dict__)


def test_a_key_in_the_path_does_not_stand_in_the_verdict(sent: Recorder) -> None:
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


@pytest.mark.parametrize("variable", ["_KEYS", "_HOSTS"])
def test_a_bad_value_stops_the_import_of_a_guard_that_is_off(variable: str) -> None:
    run = python("import openai_project_guard", **{"OPENAI_PROJECT_GUARD" + variable: "a/b"})
    assert run.returncode == 1
    assert "OPENAI_PROJECT_GUARD" + variable in run.stderr.splitlines()[-1]


def test_the_cure_of_a_name_in_the_header_is_the_id(sent: Recorder) -> None:
    with pytest.raises(opg.ProjectMismatchError) as refused:
        sync_client(sent, project="my billing project").models.list()
    assert "register my billing" not in str(refused.value)
    assert "the header takes a project's id, proj_…" in str(refused.value)


def test_errors_bear_the_name_by_which_they_are_imported() -> None:
    for name in opg.__all__:
        value = getattr(opg, name)
        if isinstance(value, type) and issubclass(value, Exception):
            assert value.__module__ == "openai_project_guard"


def test_an_assignment_is_not_a_key() -> None:
    with pytest.raises(opg.ConfigurationError, match="an assignment, not the key alone"):
        opg.register("OPENAI_API_KEY=sk-proj-0123456789", "proj_a")


def test_a_mapping_in_the_mapping_is_refused() -> None:
    with pytest.raises(opg.ConfigurationError, match="is a mapping"):
        opg.enable(registry={"proj_a": {"k": A}})  # type: ignore[dict-item]


def test_of_two_entries_of_a_project_the_one_that_fits_decides(sent: Recorder) -> None:
    registry = opg.Registry()
    registry.register(A, "proj_a", organization="org-1")
    opg.enable(registry=registry)
    opg.register(A, "proj_a")
    sync_client(sent, project="proj_a", organization="org-2").models.list()
    assert len(sent.requests) == 1


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
        "This key cannot be registered: its note or its organization has a key in it, and a "
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


def test_a_call_whose_key_gives_way_to_user_info_is_not_told_as_allowed(sent: Recorder) -> None:
    seen: list[opg.Verdict] = []
    opg.add_observer(seen.append)
    url = "http://user:password@gateway.example.com/v1"
    sync_client(sent, project="proj_a", base_url=url).models.list()
    assert sent.requests[0].headers["authorization"].startswith("Basic ")
    assert seen == []


@pytest.mark.parametrize(
    ("named", "names"),
    [
        ("a.toml,b.toml", ("a.toml", "b.toml")),
        ("redis://:pass,word@h:1/0, b.toml", ("redis://:pass,word@h:1/0", "b.toml")),
        ("a.toml, redis://u:a,b,c@h/0", ("a.toml", "redis://u:a,b,c@h/0")),
        ("redis://h:6379,rediss://u:p@h/0", ("redis://h:6379", "rediss://u:p@h/0")),
    ],
)
def test_a_comma_in_a_password_ends_no_name(
    clean: pytest.MonkeyPatch, named: str, names: tuple[str, ...]
) -> None:
    clean.setenv("OPENAI_PROJECT_GUARD_REGISTRY", named)
    assert _env.registry_names() == names


def test_a_database_that_is_no_number_is_an_error() -> None:
    with pytest.raises(opg.RegistryError, match="not the number of a database, such as /0"):
        parse_url("redis://h:6379/zero")


@pytest.mark.parametrize("beside", ["note", "organization"])
def test_another_key_beside_a_key_is_refused(beside: str) -> None:
    with pytest.raises(opg.ConfigurationError, match="has a key in it") as refused:
        opg.register(A, "proj_a", **{beside: f"of {KEY}"})
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
