"""What does the guard do with an answer: learn a key's project, log drift, explain a 401?"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import threading
import time
from pathlib import Path
from typing import Any

import openai
import pytest
from support import STRANGER, A, Server, async_client, http, sync_client

import openai_project_guard as opg
from openai_project_guard._check import learn as learning
from openai_project_guard._keys import digest, fingerprint_of
from openai_project_guard._state import STATE

pytestmark = pytest.mark.usefixtures("clean")


def learn() -> None:
    opg.enable(registry={"proj_a": A}, unregistered="learn")


def call(server: Any, **options: Any) -> None:
    sync_client(server, api_key=STRANGER, **options).models.list()


def call_async(server: Any, **options: Any) -> None:
    async def run() -> None:
        await async_client(server, api_key=STRANGER, **options).models.list()

    asyncio.run(run())


EACH = pytest.mark.parametrize("send", [call, call_async])


@EACH
def test_a_key_is_learned_from_an_answer_and_judged_from_then_on(
    send: Any, verdicts: list[opg.Verdict], caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO, logger="openai_project_guard")
    learn()
    send(Server("proj_x"))
    assert [(verdict.outcome, verdict.reason) for verdict in verdicts] == [
        ("allowed", "unregistered")
    ]
    assert "Learned from the server: key sk-proj-…ZZZZ belongs to project proj_x." in caplog.text
    assert [entry.note for entry in STATE.registered] == ["learned"]
    send(Server("proj_x"), project="proj_x")
    assert verdicts[-1].reason is None
    refused = Server("proj_x")
    with pytest.raises(opg.ProjectMissingError, match="what was learned from the server's answer"):
        send(refused)
    assert refused.requests == []


@EACH
@pytest.mark.parametrize(
    "server",
    [
        Server("proj_x", status=401),
        Server("proj_x", status=404),
        Server(None),
        Server("x"),
        Server("proj_a b"),
    ],
    ids=["401", "404", "no header", "no id", "malformed id"],
)
def test_nothing_is_learned_from_an_error_or_a_malformed_id(
    server: Server, send: Any, verdicts: list[opg.Verdict]
) -> None:
    learn()
    for _ in range(2):
        with contextlib.suppress(openai.APIStatusError):
            send(server)
    assert {verdict.reason for verdict in verdicts} == {"unregistered"}


@pytest.mark.parametrize("status", [201, 299, 300])
def test_an_answer_teaches_as_long_as_it_is_a_success(status: int) -> None:
    learn()
    with contextlib.suppress(openai.APIStatusError):
        call(Server("proj_x", status=status))
    assert len(STATE.registered) == (status < 300)


def test_a_key_is_learned_in_a_scope_where_the_guard_is_not_enabled(
    clean: pytest.MonkeyPatch, verdicts: list[opg.Verdict]
) -> None:
    clean.setenv("OPENAI_PROJECT_GUARD_UNREGISTERED", "learn")
    with opg.guard():
        call(Server("proj_x"))
        call(Server("proj_x"), project="proj_x")
    assert [verdict.reason for verdict in verdicts] == ["unregistered", None]


def test_nothing_is_learned_from_a_host_that_is_not_openai(verdicts: list[opg.Verdict]) -> None:
    learn()
    call(Server("proj_x"), base_url="https://gateway.example.com/v1")
    call(Server("proj_x"))  # were it learned, this would be refused
    assert [verdict.reason for verdict in verdicts] == ["unregistered"]


def test_a_registered_key_is_never_learned_anew(verdicts: list[opg.Verdict]) -> None:
    learn()
    opg.register(STRANGER, "proj_s")
    call(Server("proj_x"), project="proj_s")
    call(Server("proj_x"), project="proj_s")
    assert [verdict.reason for verdict in verdicts] == [None, "drift", None, "drift"]


def test_a_key_registered_during_its_call_keeps_its_project(verdicts: list[opg.Verdict]) -> None:
    learn()

    class Registers(Server):
        def __call__(self, request: Any) -> Any:
            opg.register(STRANGER, "proj_s")
            return super().__call__(request)

    call(Registers("proj_x"))
    assert [verdict.reason for verdict in verdicts] == ["unregistered"]
    call(Server("proj_s"), project="proj_s")
    assert [verdict.reason for verdict in verdicts] == ["unregistered", None]


def test_two_answers_at_once_that_name_different_projects_teach_one_of_them(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    learn()
    look_up = learning.records_of

    def records_of(*args: Any) -> Any:
        found = look_up(*args)
        time.sleep(0.05)  # the other answer has its turn, if it may
        return found

    monkeypatch.setattr(learning, "records_of", records_of)
    barrier = threading.Barrier(2)

    class Together(Server):
        def __call__(self, request: Any) -> Any:
            barrier.wait()
            return super().__call__(request)

    threads = [
        threading.Thread(target=call, args=(Together(project),)) for project in ("proj_s", "proj_t")
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(STATE.registered.lookup(STRANGER)) == 1


def test_what_was_learned_is_kept_in_the_file(clean: Any, tmp_path: Path) -> None:
    path = tmp_path / "learned.toml"
    clean.setenv("OPENAI_PROJECT_GUARD_LEARNED", str(path))
    learn()
    call(Server("proj_x"))
    deadline = time.monotonic() + 60
    while not path.exists() and time.monotonic() < deadline:
        time.sleep(0.01)
    (entry,) = opg.Registry.from_file(path)
    assert (entry.project, entry.hint, entry.note) == ("proj_x", "sk-proj-…ZZZZ", "learned")
    assert entry.fingerprint == fingerprint_of(digest(STRANGER))
    assert STRANGER not in path.read_text(encoding="utf-8")


def test_a_learned_file_is_read_at_the_next_start(clean: Any, tmp_path: Path) -> None:
    path = tmp_path / "learned.toml"
    path.write_text(
        'version = 1\n[projects.proj_x]\nid = "proj_x"\n'
        f'keys = [{{ fingerprint = "{fingerprint_of(digest(STRANGER))}" }}]\n',
        encoding="utf-8",
    )
    clean.chdir(tmp_path)
    clean.setenv("OPENAI_PROJECT_GUARD_LEARNED", str(path))
    opg.enable()
    call(Server("proj_x"), project="proj_x")
    with pytest.raises(opg.ProjectMismatchError):
        call(Server("proj_x"), project="proj_a")


def test_a_registry_file_does_not_learn_and_so_the_process_does(tmp_path: Path) -> None:
    path = tmp_path / "keys.toml"
    path.write_text("version = 1\n", encoding="utf-8")
    opg.enable(registry=path, unregistered="learn")
    call(Server("proj_x"))
    assert [entry.project for entry in STATE.registered] == ["proj_x"]
    assert path.read_text(encoding="utf-8") == "version = 1\n"


def test_a_file_that_cannot_be_written_is_logged(
    clean: Any, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    (tmp_path / "learned.toml").mkdir()
    learn()
    clean.setenv("OPENAI_PROJECT_GUARD_LEARNED", str(tmp_path / "learned.toml"))
    call(Server("proj_x"))
    deadline = time.monotonic() + 60
    while "could not be kept" not in caplog.text and time.monotonic() < deadline:
        time.sleep(0.01)
    assert f"What was learned could not be kept in {tmp_path / 'learned.toml'}: " in caplog.text


@EACH
def test_drift_is_logged_as_an_error_and_the_answer_returned(
    send: Any, verdicts: list[opg.Verdict], caplog: pytest.LogCaptureFixture
) -> None:
    opg.enable(registry={"proj_s": STRANGER})
    send(Server("proj_elsewhere"), project="proj_s")
    assert [verdict.reason for verdict in verdicts] == [None, "drift"]
    drift = verdicts[-1]
    assert (drift.outcome, drift.expected, drift.actual, drift.answered) == (
        "allowed",
        ("proj_s",),
        "proj_s",
        "proj_elsewhere",
    )
    assert [record.levelno for record in caplog.records] == [logging.ERROR]


def test_a_registered_key_of_any_form_in_the_answer_is_not_shown(
    verdicts: list[opg.Verdict], caplog: pytest.LogCaptureFixture
) -> None:
    key = "Zk4Qm9Tx2Lp7Vb1Nc8Rd5Ws"  # its beginning says nothing
    opg.enable(registry={"proj_s": STRANGER, "proj_gateway": key})
    call(Server(key), project="proj_s")
    assert (verdicts[-1].reason, verdicts[-1].answered) == ("drift", "…d5Ws")
    assert key not in caplog.text


@pytest.mark.parametrize("name", ["OpenAI-Project", "OPENAI-PROJECT"])
def test_drift_is_seen_in_whatever_case_the_answer_names_its_project(
    name: str, verdicts: list[opg.Verdict]
) -> None:
    class Shouting(Server):
        def __call__(self, request: Any) -> Any:
            answer = super().__call__(request)
            answer.headers = http.Headers([(name, "proj_elsewhere")])
            return answer

    opg.enable(registry={"proj_s": STRANGER})
    call(Shouting(), project="proj_s")
    assert [verdict.reason for verdict in verdicts] == [None, "drift"]


@pytest.mark.parametrize("code", ["mismatched_project", "mismatched_organization", "other"])
def test_a_401_of_the_server_is_noted_where_the_guard_allowed_the_call(code: str) -> None:
    def disagrees(_: Any) -> Any:
        return http.Response(401, json={"error": {"message": "no", "code": code}})

    opg.enable(registry={"proj_s": STRANGER})
    for send in (call, call_async):
        with pytest.raises(openai.AuthenticationError) as failed:
            send(disagrees, project="proj_s")
        notes = getattr(failed.value, "__notes__", [])
        assert len(notes) == (code != "other")
        if notes:
            assert "for project proj_s (in the mapping given to enable(" in notes[0]
            assert notes[0].endswith(
                "out of date: correct it in the mapping given to enable(registry=...)."
            )


@pytest.mark.parametrize(
    ("code", "headers"),
    [
        ("mismatched_project", {"OpenAI-Project": "proj_b"}),
        ("mismatched_organization", {"OpenAI-Organization": "org-2"}),
    ],
)
def test_a_401_of_a_call_that_was_sent_with_a_warning_is_not_blamed_on_the_registry(
    code: str, headers: dict[str, str]
) -> None:
    def disagrees(_: Any) -> Any:
        return http.Response(401, json={"error": {"message": "no", "code": code}})

    registry = opg.Registry()
    registry.register(STRANGER, "proj_s", organization="org-1")
    opg.enable("warn", registry=registry)
    for send in (call, call_async):
        with pytest.raises(openai.AuthenticationError) as failed:
            send(disagrees, project="proj_s", default_headers=headers)
        assert getattr(failed.value, "__notes__", []) == []


@EACH
@pytest.mark.parametrize("unregistered", ["learn", "allow"])
def test_warn_mode_logs_a_key_that_it_would_let_pass_whatever_the_setting(
    send: Any, unregistered: Any, verdicts: list[opg.Verdict], caplog: pytest.LogCaptureFixture
) -> None:
    opg.enable("warn", registry={}, unregistered=unregistered)
    refusing = http.Response(401, json={"error": {"message": "no", "code": "other"}})
    with pytest.raises(openai.AuthenticationError):
        send(lambda _: refusing, project="proj_x")
    assert [(v.outcome, v.reason) for v in verdicts] == [("warned", "unregistered")]
    assert "its key is not in any registry that was read" in caplog.text
    assert len(STATE.registered) == 0


@EACH
@pytest.mark.parametrize("unregistered", ["warn", "allow"])
def test_nothing_is_learned_where_that_was_not_asked_for(send: Any, unregistered: Any) -> None:
    opg.enable(unregistered=unregistered)
    send(Server("proj_x"))
    assert len(STATE.registered) == 0


# --- in a scope, and where the guard goes meanwhile -----------------------------------------------


@EACH
def test_drift_is_seen_in_a_scope_where_the_guard_is_not_enabled(
    send: Any, verdicts: list[opg.Verdict]
) -> None:
    opg.register(STRANGER, "proj_s")
    with opg.guard():
        send(Server("proj_elsewhere"), project="proj_s")
    assert [verdict.reason for verdict in verdicts] == [None, "drift"]


@pytest.mark.parametrize("is_enabled", [True, False])
def test_drift_of_a_call_that_was_sent_with_a_warning_shows_no_key_in_its_header(
    is_enabled: bool, verdicts: list[opg.Verdict]
) -> None:
    pasted = "a-key-of-a-gateway-that-looks-like-none"
    opg.register(STRANGER, "proj_s")
    opg.register(pasted, "proj_s")
    if is_enabled:
        opg.enable("warn")
    with opg.guard(mode="warn"):
        call(Server("proj_elsewhere"), project=pasted)
    assert [verdict.reason for verdict in verdicts] == ["mismatch", "drift"]
    assert pasted not in repr(verdicts)


def test_drift_is_told_with_what_was_sent_where_the_guard_goes_during_the_call(
    verdicts: list[opg.Verdict],
) -> None:
    class Disables(Server):
        def __call__(self, request: Any) -> Any:
            opg.disable()
            return super().__call__(request)

    opg.enable(registry={"proj_s": STRANGER})
    call(Disables("proj_elsewhere"), project="proj_s")
    assert [(verdict.reason, verdict.actual) for verdict in verdicts[1:]] == [("drift", "proj_s")]


# --- the note on a 401 ----------------------------------------------------------------------------


def note_on(code: str, **options: Any) -> str:
    def disagrees(_: Any) -> Any:
        return http.Response(401, json={"error": {"message": "no", "code": code}})

    with pytest.raises(openai.AuthenticationError) as failed:
        call(disagrees, project="proj_s", **options)
    (note,) = failed.value.__notes__  # type: ignore[attr-defined]
    return str(note)


OF_A_PROJECT = (
    "The server knows better, so the registry is out of date: correct it in the mapping given to "
    "enable(registry=...)."
)


def test_a_401_for_the_project_speaks_of_that_whatever_the_organization() -> None:
    opg.enable(registry={"proj_s": STRANGER})
    assert note_on("mismatched_project", organization="org-1").endswith(OF_A_PROJECT)


def test_a_401_for_an_organization_that_no_header_named_speaks_of_the_project() -> None:
    opg.enable(registry={"proj_s": STRANGER})
    assert note_on("mismatched_organization").endswith(OF_A_PROJECT)


def test_a_401_for_an_organization_that_the_registry_has_too_says_to_correct_it_there() -> None:
    registry = opg.Registry()
    registry.register(STRANGER, "proj_s", organization="org-1")
    opg.enable(registry=registry)
    assert note_on("mismatched_organization", organization="org-1").endswith(
        "The registry also has org-1 as the project's organization. The server knows better, so "
        "the registry is out of date: correct the organization there."
    )


def test_a_401_shows_no_key_that_stands_in_the_header_of_the_organization() -> None:
    opg.enable(registry={"proj_s": STRANGER, "proj_a": "a-key-that-looks-like-none"})
    note = note_on("mismatched_organization", organization="a-key-that-looks-like-none")
    assert "a-key-that-looks-like-none" not in note


def test_a_401_names_the_key_by_what_the_registry_knows_of_it(tmp_path: Path) -> None:
    path = tmp_path / "keys.toml"
    path.write_text(
        'version = 1\n[projects.s]\nid = "proj_s"\n'
        f'keys = [{{ fingerprint = "{fingerprint_of(digest(STRANGER))}" }}]\n',
        encoding="utf-8",
    )
    opg.enable(registry=path)
    fingerprint = fingerprint_of(digest(STRANGER))
    assert f"openai-project-guard remove {fingerprint[:23]} --registry " in note_on(
        "mismatched_project"
    )
