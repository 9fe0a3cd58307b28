"""Who is told what was decided: observers of everything, the log of what is worth a line."""

from __future__ import annotations

import asyncio
import dataclasses
import functools
import logging
import os
import re
import signal
import sys
import threading
import time
from collections.abc import Iterator
from typing import Any, get_args

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
    output,
    sync_client,
)

import openai_project_guard as opg
from openai_project_guard._activation import isolated
from openai_project_guard._check import log as _log
from openai_project_guard._log import log
from openai_project_guard._state import STATE
from openai_project_guard._types import Outcome, Reason
from openai_project_guard.loopback import loopback_api

pytestmark = pytest.mark.usefixtures("clean")

LOGGER = "openai_project_guard"


@pytest.fixture(autouse=True)
def enabled(clean: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG, logger=LOGGER)
    opg.enable("warn", registry={"proj_a": A, "proj_b": B})


class Clock:
    """The log's clock."""

    def __init__(self) -> None:
        self.now = 1000.0

    def monotonic(self) -> float:
        return self.now


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Iterator[Clock]:
    clock = Clock()
    monkeypatch.setattr(_log, "time", clock)
    monkeypatch.setattr(_log, "_since", clock.now)
    yield clock
    _log.take_counts()


def lines(caplog: pytest.LogCaptureFixture) -> list[tuple[str, str]]:
    """What the guard logged, without the places."""
    return [
        (each.levelname, without_places(each.getMessage()))
        for each in caplog.records
        if each.name == LOGGER and not each.getMessage().startswith("Started: ")
    ]


def without_places(message: str) -> str:
    return re.sub(r"; called at .*?(; set by \S+|(?= \(and )|$)", "", message)


def refused(client: Any, **more: Any) -> opg.Verdict:
    with pytest.raises(opg.ProjectGuardError) as error:
        chat(client, **more)
    return error.value.verdict


# --- observers ----------------------------------------------------------------------------------


def test_an_observer_sees_every_outcome_of_a_checked_call() -> None:
    seen: list[opg.Verdict] = []
    opg.add_observer(seen.append)
    sent = Recorder()
    chat(sync_client(sent, project="proj_a"))
    chat(sync_client(sent, project="proj_b"))
    asyncio.run(chat(async_client(sent)))
    opg.enable("inject", registry={"proj_a": A})
    chat(sync_client(sent))
    verdict = refused(sync_client(sent, api_key=STRANGER))
    assert [(each.outcome, each.reason) for each in seen] == [
        ("allowed", None),
        ("warned", "mismatch"),
        ("warned", "missing"),
        ("injected", "missing"),
        ("blocked", "unregistered"),
    ]
    assert seen[-1] == verdict
    assert sent.projects == ["proj_a", "proj_b", None, "proj_a"]


def test_an_observer_is_not_told_of_calls_that_are_not_checked() -> None:
    seen: list[opg.Verdict] = []
    opg.add_observer(seen.append)
    elsewhere = {"api_key": STRANGER, "base_url": "http://localhost:8000/v1"}
    chat(sync_client(Recorder(), **elsewhere))
    with opg.guard(mode="off"):
        chat(sync_client(Recorder(), project="proj_b"))
    opg.disable()
    chat(sync_client(Recorder(), project="proj_b"))
    assert seen == []


def test_an_observer_that_raises_is_logged_and_changes_nothing(
    caplog: pytest.LogCaptureFixture,
) -> None:
    seen: list[opg.Verdict] = []

    def breaks(verdict: opg.Verdict) -> None:
        raise ZeroDivisionError("in the observer")

    opg.add_observer(breaks)
    opg.add_observer(seen.append)
    assert chat(sync_client(Recorder(), project="proj_a")).id == "c"
    assert asyncio.run(chat(async_client(Recorder(), project="proj_a"))).id == "c"
    opg.enable(registry={"proj_a": A})
    assert refused(sync_client(Recorder(), project="proj_b")).reason == "mismatch"
    assert len(seen) == 3
    errors = [each for each in caplog.records if each.levelname == "ERROR"]
    assert len(errors) == 3
    assert "breaks raised an error" in errors[0].getMessage()
    assert errors[0].exc_info is not None
    assert errors[0].exc_info[0] is ZeroDivisionError


def test_an_observer_added_twice_is_told_once_and_one_removed_no_more() -> None:
    seen: list[opg.Verdict] = []
    client = sync_client(Recorder(), project="proj_a")
    for _ in range(2):
        opg.add_observer(seen.append)
    chat(client)
    assert len(seen) == 1
    opg.remove_observer(seen.append)
    chat(client)
    opg.remove_observer(seen.append)  # not there any more: no error
    opg.remove_observer(print)
    assert len(seen) == 1


def test_observers_survive_disable_and_enable() -> None:
    seen: list[opg.Verdict] = []
    opg.add_observer(seen.append)
    opg.disable()
    opg.enable(registry={"proj_a": A})
    chat(sync_client(Recorder(), project="proj_a"))
    assert len(seen) == 1


def test_an_observer_may_remove_itself_and_add_another() -> None:
    seen: list[str] = []

    def second(verdict: opg.Verdict) -> None:
        seen.append("second")

    def once(verdict: opg.Verdict) -> None:
        seen.append("once")
        opg.remove_observer(once)
        opg.add_observer(second)

    opg.add_observer(once)
    client = sync_client(Recorder(), project="proj_a")
    chat(client)
    chat(client)
    assert seen == ["once", "second"]


def test_an_observer_may_itself_make_a_call_of_which_the_others_are_told() -> None:
    seen: list[tuple[str, str]] = []
    client = sync_client(Recorder(), project="proj_a")

    def reports(name: str, verdict: opg.Verdict) -> None:
        seen.append((name, verdict.path))
        if len(seen) < 20:
            client.models.list()

    opg.add_observer(functools.partial(reports, "one"))
    opg.add_observer(functools.partial(reports, "two"))
    for _ in range(2):
        chat(client)
    assert seen == 2 * [
        ("one", "/v1/chat/completions"),
        ("two", "/v1/models"),
        ("two", "/v1/chat/completions"),
        ("one", "/v1/models"),
    ]


async def test_an_observer_is_not_told_of_a_call_in_a_task_that_it_starts() -> None:
    seen: list[str] = []
    tasks: list[asyncio.Task[Any]] = []
    client = async_client(Recorder(), project="proj_a")

    def reports(verdict: opg.Verdict) -> None:
        seen.append(verdict.path)
        if len(seen) < 20:
            tasks.append(asyncio.create_task(chat(client)))

    opg.add_observer(reports)
    await chat(client)
    while tasks:
        await tasks.pop()
    assert seen == ["/v1/chat/completions"]


def test_observers_come_and_go_while_calls_run() -> None:
    always: list[opg.Verdict] = []
    opg.add_observer(always.append)
    errors: list[BaseException] = []
    done = threading.Event()

    def call() -> None:
        client = sync_client(Recorder(), project="proj_a")
        try:
            for _ in range(40):
                client.models.list()
        except BaseException as error:
            errors.append(error)

    def churn() -> None:
        while not done.is_set():
            seen: list[opg.Verdict] = []
            opg.add_observer(seen.append)
            opg.remove_observer(seen.append)

    callers = [threading.Thread(target=call) for _ in range(3)]
    churners = [threading.Thread(target=churn) for _ in range(2)]
    for thread in (*callers, *churners):
        thread.start()
    for thread in callers:
        thread.join()
    done.set()
    for thread in churners:
        thread.join()
    assert not errors
    assert len(always) == 120
    assert STATE.observers == (always.append,)


def test_what_cannot_be_called_is_no_observer() -> None:
    with pytest.raises(opg.ConfigurationError) as error:
        opg.add_observer("print")  # type: ignore[arg-type]
    assert str(error.value) == "An observer is called with each verdict; 'print' cannot be."
    with pytest.raises(opg.ConfigurationError) as error:
        opg.add_observer(A)  # type: ignore[arg-type]
    assert A not in str(error.value)
    assert frames_holding(error.value, A) == []


def test_an_observer_without_a_name_is_called_by_its_class(
    caplog: pytest.LogCaptureFixture,
) -> None:
    class Breaks:
        def __call__(self, verdict: opg.Verdict) -> None:
            raise ZeroDivisionError

    opg.add_observer(Breaks())
    chat(sync_client(Recorder(), project="proj_a"))
    (said,) = (each.getMessage() for each in caplog.records if each.levelname == "ERROR")
    assert said == f"The observer {Breaks.__qualname__} raised an error."


# --- the log ------------------------------------------------------------------------------------

WARNED = (
    "sent with a warning: OpenAI-Project is not the project of its key: POST "
    "api.openai.com/v1/chat/completions with OpenAI-Project 'proj_b', key sk-proj-…AAAA, expected "
    "proj_a"
)


def test_a_call_that_is_in_order_is_not_logged(caplog: pytest.LogCaptureFixture) -> None:
    chat(sync_client(Recorder(), project="proj_a"))
    assert lines(caplog) == []


def test_each_outcome_has_its_level(caplog: pytest.LogCaptureFixture) -> None:
    chat(sync_client(Recorder(), project="proj_b"))
    opg.enable("inject", registry={"proj_a": A})
    chat(sync_client(Recorder()))
    refused(sync_client(Recorder(), project="proj_b"))
    assert lines(caplog) == [
        ("WARNING", WARNED),
        (
            "INFO",
            "sent with its project put in: no OpenAI-Project header: POST "
            "api.openai.com/v1/chat/completions, key sk-proj-…AAAA, expected proj_a",
        ),
        ("WARNING", WARNED.replace("sent with a warning", "refused")),
    ]


@pytest.mark.parametrize("reason", get_args(Reason))
def test_every_reason_has_a_line_of_its_own(
    reason: Reason, caplog: pytest.LogCaptureFixture
) -> None:
    outcome: Outcome = "allowed" if reason == "drift" else "warned"
    verdict = opg.Verdict(outcome, reason, ("proj_a",), "proj_b", "sk-…", "GET", "h", "/", "http")
    _log.log_verdict(verdict)
    assert len(caplog.records) == 1


def test_drift_is_an_error_in_the_log() -> None:
    caught: list[logging.LogRecord] = []

    class Keeps(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            caught.append(record)

    handler = Keeps()
    logging.getLogger(LOGGER).addHandler(handler)
    try:
        with loopback_api({A: "proj_a"}) as api, api.answer_as("proj_moved"):
            client = openai.OpenAI(api_key=A, project="proj_a", base_url=api.base_url)
            with client:
                chat(client)
    finally:
        logging.getLogger(LOGGER).removeHandler(handler)
    assert [(each.levelname, without_places(each.getMessage())) for each in caught] == [
        (
            "ERROR",
            "project drift: the server answered as proj_moved, the registry says proj_a: POST "
            "127.0.0.1/v1/chat/completions with OpenAI-Project 'proj_a', key sk-proj-…AAAA",
        )
    ]


def test_the_first_of_identical_verdicts_is_logged_at_once_and_the_rest_counted_once_a_minute(
    clock: Clock, caplog: pytest.LogCaptureFixture
) -> None:
    client = sync_client(Recorder(), project="proj_b")
    chat(client)
    assert lines(caplog) == [("WARNING", WARNED)]
    for _ in range(9):
        clock.now += 1
        chat(client)
    assert len(lines(caplog)) == 1
    clock.now += 60
    chat(client)
    assert lines(caplog)[1:] == [("WARNING", f"{WARNED} (and 9 more)")]
    chat(client)
    clock.now += 60
    chat(client)
    assert lines(caplog)[2:] == [("WARNING", f"{WARNED} (and 2 more)")]


def test_nothing_is_logged_again_until_the_minute_is_over(
    clock: Clock, caplog: pytest.LogCaptureFixture
) -> None:
    client = sync_client(Recorder(), project="proj_b")
    for seconds, logged in ((0, 1), (59.9, 1), (0.1, 2), (59.9, 2), (0.1, 3)):
        clock.now += seconds
        chat(client)
        assert len(lines(caplog)) == logged
    assert [text.partition(" (and ")[2] for _, text in lines(caplog)] == ["", "1 more)", "2 more)"]


def test_after_a_quiet_minute_it_is_a_first_time_again(
    clock: Clock, caplog: pytest.LogCaptureFixture
) -> None:
    client = sync_client(Recorder(), project="proj_b")
    for _ in range(2):
        chat(client)
        clock.now += 60
    assert lines(caplog) == [("WARNING", WARNED)] * 2


def test_another_verdict_is_logged_at_once(clock: Clock, caplog: pytest.LogCaptureFixture) -> None:
    client = sync_client(Recorder(), project="proj_b")
    for _ in range(3):
        chat(client)
        client.models.list()
    assert [text.partition(" with OpenAI")[0] for _, text in lines(caplog)] == [
        f"{WARNED.partition('POST')[0]}POST api.openai.com/v1/chat/completions",
        f"{WARNED.partition('POST')[0]}GET api.openai.com/v1/models",
    ]


def test_what_is_still_counted_is_logged_when_the_process_ends() -> None:
    said = output(
        """
import logging, sys
logging.basicConfig(stream=sys.stdout, format="%(levelname)s %(message)s")
import openai_project_guard as opg, support
opg.enable("warn", registry=support.KEYS)
client = support.sync_client(support.Recorder(), project="proj_b")
for _ in range(4):
    support.chat(client)
"""
    )
    said = without_places(said)
    assert said.splitlines() == [
        f"WARNING {WARNED}",
        f"WARNING {WARNED} (and 3 more)",
    ]


def test_no_key_is_in_any_line(caplog: pytest.LogCaptureFixture) -> None:
    sent = Recorder()
    for project in (A, f"proj_a\r\nx: {B}", f"{STRANGER} "):
        chat(sync_client(sent, project="proj_a"), extra_headers={"OpenAI-Project": project})
    sync_client(sent, project="proj_b").models.retrieve(B)
    opg.enable(registry={"proj_a": A})
    verdict = refused(sync_client(sent, api_key=STRANGER), extra_headers={"OpenAI-Project": B})
    assert verdict.key_hint == "sk-proj-…ZZZZ"
    said = "\n".join(text for _, text in lines(caplog))
    assert said.count("sk-proj-…") >= 5
    for key in (A, B, STRANGER):
        assert key not in said
        assert key not in repr(verdict)


def test_ten_thousand_distinct_paths_take_bounded_memory(
    clock: Clock, caplog: pytest.LogCaptureFixture
) -> None:
    """Paths hold ids. Each is a first time and has its line; none is kept for ever."""
    seen: list[opg.Verdict] = []
    opg.add_observer(seen.append)
    sync_client(Recorder(), project="proj_b").models.retrieve("m-0")
    logging.getLogger(LOGGER).setLevel(logging.ERROR)
    most = 0
    for number in range(10_000):
        each = dataclasses.replace(seen[0], path=f"/v1/models/m-{number // 2}")
        _log.log_verdict(each)
        most = max(most, len(_log._counts))
    assert 10 < most <= 1000


def test_under_load_from_many_threads_no_verdict_is_lost_from_the_counts(
    clock: Clock, caplog: pytest.LogCaptureFixture
) -> None:
    def call() -> None:
        client = sync_client(Recorder(), project="proj_b")
        for _ in range(20):
            client.models.list()

    threads = [threading.Thread(target=call) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    _log.flush()
    said = [text for _, text in lines(caplog)]
    assert len(said) == 2
    assert re.search(r"\(and (\d+) more\)$", said[1]).group(1) == "79"  # type: ignore[union-attr]


# --- what a line says -----------------------------------------------------------------------------


def test_a_line_says_where_it_was_called_and_where_the_wrong_value_comes_from(
    caplog: pytest.LogCaptureFixture,
) -> None:
    opg.enable(registry={"proj_a": A})
    refused(sync_client(Recorder(), api_key=STRANGER, project="proj_a"))
    refused(sync_client(Recorder()))
    unregistered, missing = (
        record.getMessage() for record in caplog.records if record.levelname == "WARNING"
    )
    call = r"POST api\.openai\.com/v1/chat/completions"
    sites = r"called at .*:\d+ in chat; the client was built at .*:\d+ in sync_client"
    assert re.fullmatch(
        rf"refused: its key is not in any registry that was read: {call} with OpenAI-Project "
        rf"'proj_a', key sk-proj-…ZZZZ, expected no registered project; {sites}; set by api_key=",
        unregistered,
    )
    assert re.fullmatch(
        rf"refused: no OpenAI-Project header: {call}, key sk-proj-…AAAA, expected proj_a; {sites}",
        missing,
    )


@pytest.mark.parametrize("filename", ["<string>", "relative.py"])
def test_a_record_is_of_the_file_that_calls_whatever_its_name(
    filename: str, caplog: pytest.LogCaptureFixture
) -> None:
    code = compile("\nclient.models.list()\n", filename, "exec")
    exec(code, {"client": sync_client(Recorder(), project="proj_b"), "__name__": "__main__"})
    (record,) = (each for each in caplog.records if each.levelname == "WARNING")
    path = filename if filename == "<string>" else os.path.abspath(filename)
    assert (record.pathname, record.lineno, record.funcName) == (path, 2, "<module>")


def test_a_line_of_a_key_with_several_projects_names_each(caplog: pytest.LogCaptureFixture) -> None:
    registry = opg.Registry()
    registry.register(A, "proj_a")
    registry.register(A, "proj_b")
    opg.enable(registry=registry)
    refused(sync_client(Recorder(), project="proj_c"))
    with opg.guard(project="proj_a"):
        refused(sync_client(Recorder(), project="proj_c"))
    of_key, of_scope = (text for level, text in lines(caplog) if level == "WARNING")
    assert of_key.endswith(", key sk-proj-…AAAA, expected proj_a or proj_b")
    assert of_scope.endswith(
        ", key sk-proj-…AAAA, expected proj_a; its key is registered for proj_a or proj_b"
    )


@pytest.mark.parametrize("is_told", [True, False])
def test_a_log_handler_that_raises_is_told_of_as_logging_tells_of_it(
    is_told: bool, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def fail(_: logging.LogRecord) -> bool:
        raise OSError("the disk is full")

    monkeypatch.setattr(logging, "raiseExceptions", is_told)
    logger = logging.getLogger(LOGGER)
    logger.addFilter(fail)
    try:
        chat(sync_client(Recorder(), project="proj_b"))
        log(logging.ERROR, "No %s.", "matter")
    finally:
        logger.removeFilter(fail)
    said = "openai-project-guard: a log handler raised an error.\n" * 2
    assert capsys.readouterr().err == (said if is_told else "")


def test_what_nobody_reads_is_not_made(caplog: pytest.LogCaptureFixture) -> None:
    logging.getLogger(LOGGER).setLevel(logging.ERROR)
    chat(sync_client(Recorder(), project="proj_b"))
    assert lines(caplog) == []


# --- what is counted ------------------------------------------------------------------------------


@pytest.mark.parametrize("kinds", [499, 500])
def test_many_kinds_of_verdicts_at_once_are_each_a_first_time_again(
    kinds: int, clock: Clock, caplog: pytest.LogCaptureFixture
) -> None:
    verdict = opg.Verdict("warned", "missing", ("proj_a",), None, "sk-…", "GET", "h", "/", "http")
    for _ in range(2):
        for number in range(kinds):
            _log.log_verdict(dataclasses.replace(verdict, path=f"/{number}"))
    caplog.clear()
    clock.now += 60
    for number in range(kinds):
        _log.log_verdict(dataclasses.replace(verdict, path=f"/{number}"))
    said = [record.getMessage().endswith(" (and 1 more)") for record in caplog.records]
    assert said == [True] * kinds + [False] * (kinds if kinds == 500 else 0)


def timers() -> list[Any]:
    """The threads that log what is counted; one of an earlier test may still be ending."""
    return [each for each in threading.enumerate() if each.name == "openai-project-guard-log"]


def waiting_timers() -> list[Any]:
    return [timer for timer in timers() if not timer.finished.is_set()]


def test_one_thread_waits_while_there_are_counts_and_keeps_no_process_from_ending() -> None:
    client = sync_client(Recorder(), project="proj_b")
    for _ in range(2):
        for _ in range(3):
            client.models.list()
        assert [timer.daemon for timer in waiting_timers()] == [True]
        _log.flush()
        deadline = time.monotonic() + 30
        while timers() and time.monotonic() < deadline:
            time.sleep(0.01)
        assert timers() == []


def test_what_was_logged_after_its_minute_is_not_logged_again_at_the_end(
    clock: Clock, caplog: pytest.LogCaptureFixture
) -> None:
    client = sync_client(Recorder(), project="proj_b")
    for _ in range(3):
        chat(client)
    clock.now += 60
    client.models.list()
    _log.flush()
    assert [text.partition(" (and ")[2] for _, text in lines(caplog)] == ["", "2 more)", ""]


def test_what_waits_is_kept_by_a_guard_that_is_isolated_meanwhile(
    clock: Clock, caplog: pytest.LogCaptureFixture
) -> None:
    client = sync_client(Recorder(), project="proj_b")

    def call(times: int) -> None:
        for _ in range(times):
            client.models.list()

    call(3)
    with isolated():
        call(2)
        for _ in range(2):
            chat(client)
    call(1)
    _log.flush()
    counts = [text.partition(" (and ")[2] for _, text in lines(caplog)]
    assert counts == ["", "", "", "3 more)"]


@pytest.mark.skipif(sys.platform == "win32", reason="no such signal")
def test_a_sigterm_is_the_applications_again_when_the_counts_are_logged() -> None:
    client = sync_client(Recorder(), project="proj_b")
    for _ in range(2):
        client.models.list()
    assert signal.getsignal(signal.SIGTERM) is not signal.SIG_DFL
    _log.flush()
    assert signal.getsignal(signal.SIGTERM) is signal.SIG_DFL


def test_disabling_logs_the_counts_and_leaves_neither_thread_nor_handler(
    caplog: pytest.LogCaptureFixture,
) -> None:
    before = signal.getsignal(signal.SIGTERM)
    client = sync_client(Recorder(), project="proj_b")
    for _ in range(3):
        client.models.list()
    (timer,) = waiting_timers()
    opg.disable()
    assert [text.partition(" (and ")[2] for _, text in lines(caplog)] == ["", "2 more)"]
    assert signal.getsignal(signal.SIGTERM) is before
    timer.join(30)
    assert not timer.is_alive()


@pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork here")
def test_a_forked_child_logs_none_of_its_parents_counts() -> None:
    said = output(
        """
import logging, os, sys
logging.basicConfig(stream=sys.stdout, format="%(process)d %(message)s")
import openai_project_guard as opg, support
opg.enable("warn", registry=support.KEYS)
client = support.sync_client(support.Recorder(), project="proj_b")
for _ in range(3):
    client.models.list()
sys.stdout.flush()
child = os.fork()
if child:
    os.waitpid(child, 0)
    print("parent", os.getpid())
"""
    )
    (parent,) = re.findall(r"^parent (\d+)$", said, re.MULTILINE)
    counts = [line for line in said.splitlines() if line.endswith(" more)")]
    assert [line.partition(" ")[0] for line in counts] == [parent]
