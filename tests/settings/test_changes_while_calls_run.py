"""What happens to a call while the settings change?"""

from __future__ import annotations

import sys
import threading
from collections.abc import Callable
from contextlib import suppress
from typing import Any

import pytest
from openai._base_client import SyncAPIClient
from support import (
    A,
    B,
    Probe,
    Recorder,
    sync_client,
)

import openai_project_guard as opg
from openai_project_guard._state import STATE

pytestmark = pytest.mark.usefixtures("clean")


def test_enabling_again_replaces_all_settings(probe: Probe) -> None:
    opg.enable("warn", registry={"proj_a": A}, project="proj_a", hosts=["gateway.example.com"])
    opg.enable(registry={"proj_b": B})
    assert probe() == "b"
    assert STATE.settings is not None
    assert not STATE.settings.is_openai("gateway.example.com")


def two_settings() -> tuple[Callable[[], None], Callable[[], None]]:
    """Two settings under which one call fares differently, in each by mode and by registry."""
    one, two = opg.Registry(), opg.Registry()
    one.register(A, "proj_1")
    two.register(A, "proj_2")
    return lambda: opg.enable("enforce", registry=one), lambda: opg.enable("warn", registry=two)


OF_EITHER = {("blocked", "mismatch", ("proj_1",)), ("warned", "mismatch", ("proj_2",))}


def test_a_change_at_any_moment_of_a_call_gives_the_old_verdict_or_the_new() -> None:
    """Line by line through the check: the settings are replaced just before that line runs."""
    first, then = two_settings()
    verdicts: list[Any] = []
    opg.add_observer(lambda each: verdicts.append((each.outcome, each.reason, each.expected)))
    client = sync_client(Recorder(), project="proj_3")
    before = sys.gettrace()

    def call_with_change_at(line: int) -> bool:
        passed = 0

        def trace(frame: Any, event: str, _: Any) -> Any:
            nonlocal passed
            if not frame.f_code.co_filename.endswith(("check.py", "_settings.py", "verdict.py")):
                return trace if event == "call" else None
            if event == "line":
                passed += 1
                if passed == line:
                    then()
            return trace

        first()
        sys.settrace(trace)
        try:
            with suppress(opg.ProjectMismatchError):
                client.models.list()
        finally:
            sys.settrace(before)
        return passed >= line

    line = 1
    while call_with_change_at(line):
        line += 1
    assert line > 20
    assert len(verdicts) == line
    assert set(verdicts) == OF_EITHER


def test_no_call_is_judged_by_a_mix_of_old_and_new_settings() -> None:
    first, then = two_settings()
    verdicts: set[Any] = set()
    opg.add_observer(lambda each: verdicts.add((each.outcome, each.reason, each.expected)))
    first()
    errors: list[BaseException] = []
    done = threading.Event()

    def call() -> None:
        client = sync_client(Recorder(), project="proj_3")
        try:
            for _ in range(60):
                with suppress(opg.ProjectMismatchError):
                    client.models.list()
        except BaseException as error:
            errors.append(error)

    def flip() -> None:
        while not done.is_set():
            then()
            first()

    interval = sys.getswitchinterval()
    sys.setswitchinterval(1e-5)
    try:
        callers = [threading.Thread(target=call) for _ in range(4)]
        flipper = threading.Thread(target=flip)
        for thread in (*callers, flipper):
            thread.start()
        for thread in callers:
            thread.join()
        done.set()
        flipper.join()
    finally:
        sys.setswitchinterval(interval)
    assert not errors
    assert verdicts
    assert verdicts <= OF_EITHER


def test_calls_go_through_or_are_refused_while_the_guard_is_switched_on_and_off() -> None:
    opg.register(B, "proj_b")
    errors: list[BaseException] = []
    done = threading.Event()
    sent = Recorder()

    def call() -> None:
        client = sync_client(sent, project="proj_a")
        while not done.is_set():
            try:
                client.models.list()
            except opg.UnregisteredKeyError:  # noqa: PERF203
                continue
            except BaseException as error:
                # Releases up to 2.30.0 end so what is refused of a call that had begun before.
                is_old = not hasattr(SyncAPIClient, "_send_request")
                if not (is_old and isinstance(error.__cause__, opg.UnregisteredKeyError)):
                    errors.append(error)

    callers = [threading.Thread(target=call) for _ in range(3)]
    for thread in callers:
        thread.start()
    for _ in range(100):
        opg.enable()
        opg.disable()
    done.set()
    for thread in callers:
        thread.join()
    assert not errors
