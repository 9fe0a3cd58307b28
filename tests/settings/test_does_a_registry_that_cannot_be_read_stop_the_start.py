"""`on_error=`: a registry that cannot be read when the guard starts, raised or logged."""

from __future__ import annotations

import logging
import os
import threading
import time
import weakref
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from support import A, B, Probe, starts_no_thread, write_registry

import openai_project_guard as opg
from openai_project_guard._registry import retrying, stores
from openai_project_guard._registry.registry import Registry
from openai_project_guard._state import STATE

pytestmark = pytest.mark.usefixtures("clean")

GUARD = "OPENAI_PROJECT_GUARD"


def until(condition: Callable[[], bool]) -> None:
    """Waits for something that happens by itself; a run that is stuck fails."""
    end = time.monotonic() + 30
    while not condition():
        assert time.monotonic() < end
        time.sleep(0.02)


def errors(caplog: pytest.LogCaptureFixture) -> list[str]:
    return [r.getMessage() for r in caplog.records if r.levelno == logging.ERROR]


@pytest.mark.parametrize("mode", ["enforce", "inject", "warn"])
@pytest.mark.parametrize("said", [None, "raise", "log"])
@pytest.mark.parametrize("by_variable", [True, False])
def test_it_raises_in_enforce_and_inject_and_is_logged_in_warn(
    mode: Any, said: Any, by_variable: bool, clean: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    gone = str(tmp_path / "gone.toml")
    if by_variable and said:
        clean.setenv(GUARD + "_ON_ERROR", said)
    on_error = None if by_variable else said
    if said == "raise" or (said is None and mode != "warn"):
        with pytest.raises(opg.RegistryError, match="there is no such file"):
            opg.enable(mode, registry=gone, on_error=on_error)
        assert not opg.is_enabled()
    else:
        opg.enable(mode, registry=gone, on_error=on_error)
        assert opg.is_enabled()


def test_its_keys_count_as_unregistered_until_it_is_read(
    tmp_path: Path, probe: Probe, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    path = tmp_path / "team.toml"
    opg.enable(registry=path, on_error="log")
    assert probe() == ""
    (said,) = errors(caplog)
    assert said == (
        f"{path}: there is no such file. `openai-project-guard register` makes one, with "
        "`--registry` and this path. Its keys count as unregistered until it can be read; that is "
        "tried again."
    )
    write_registry(path, support=f"proj_a:{A}")
    until(lambda: probe() == "a")
    assert f"{path}: the registry can be read now and is active." in caplog.messages
    write_registry(path, support=f"proj_a:{A}", other=f"proj_b:{B}")  # and is followed from then on
    until(lambda: probe() == "ab")
    assert len(errors(caplog)) == 1


def test_no_key_that_stands_in_it_is_logged(
    tmp_path: Path, probe: Probe, caplog: pytest.LogCaptureFixture
) -> None:
    path = tmp_path / "team.toml"
    path.write_text(f'version = 1\n[projects.a]\nid = "proj_a"\nkeys = ["{A}"]\n', encoding="utf-8")
    opg.enable("warn", registry=path)
    assert probe() == "ab?"
    assert "team.toml, line 4" in errors(caplog)[0]
    assert A not in caplog.text


def test_the_other_registries_are_in_force(tmp_path: Path, probe: Probe) -> None:
    there = write_registry(tmp_path / "there.toml", other=f"proj_b:{B}")
    opg.enable(registry=[tmp_path / "gone.toml", there], on_error="log")
    assert probe() == "b"
    opg.register(A, "proj_a")
    assert probe() == "ab"


def test_an_alias_of_it_passes_for_no_project_until_it_is_read(
    tmp_path: Path, probe: Probe
) -> None:
    path = tmp_path / "team.toml"
    opg.register(B, "proj_b")
    opg.enable(registry=path, project="support", on_error="log")
    assert probe() == ""
    with opg.guard(project="other"):
        assert probe() == ""
    write_registry(path, support=f"proj_a:{A}", other=f"proj_b:{B}")
    until(lambda: probe() == "a")
    assert STATE.settings is not None
    assert STATE.settings.policy.pinned == "proj_a"
    with opg.guard(project="other"):
        assert probe() == "b"


@pytest.mark.parametrize("project", [A, "proj_not one", " support"])
def test_what_can_be_no_alias_of_it_is_refused_at_once(
    project: str, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    unread = tmp_path / "team.toml"
    with pytest.raises(opg.ConfigurationError, match="is neither a project id") as raised:
        opg.enable("warn", registry=unread, project=project)
    opg.enable("warn", registry=unread)
    with pytest.raises(opg.ConfigurationError, match="is neither a project id"):
        opg.guard(project=project).__enter__()
    assert A not in caplog.text + str(raised.value)


def test_an_observer_takes_no_service_down(clean: pytest.MonkeyPatch, probe: Probe) -> None:
    clean.setenv(GUARD, "warn")
    clean.setenv(GUARD + "_REGISTRY", "gone.toml,redis://127.0.0.1:1/0")
    clean.setenv(GUARD + "_PROJECT", "support")
    opg.enable()
    with opg.guard(project="other"):
        assert probe() == "ab?"
    assert probe() == "ab?"


class Shelf:
    """A store of another package that is out of reach for a while."""

    def __init__(self) -> None:
        self.is_there = False
        self.refreshed = 0

    def __call__(self, url: str) -> Any:
        if not self.is_there:
            raise opg.RegistryError("shelf://: out of reach.")
        self.registry = Registry()
        self.registry.register(A, "proj_a")
        return self

    def refresh(self, now: float) -> None:
        self.refreshed += 1


def test_no_call_waits_for_a_store_that_is_out_of_reach(
    monkeypatch: pytest.MonkeyPatch, probe: Probe, caplog: pytest.LogCaptureFixture
) -> None:
    shelf = Shelf()
    monkeypatch.setattr(stores, "_installed", lambda scheme: stores._ReadOnly(shelf))
    monkeypatch.setattr(retrying, "_LONGEST", 0.1)
    opg.enable(registry="shelf://x", on_error="log")
    assert probe() == ""
    shelf.is_there = True  # a thread finds it, without a call
    (source,) = STATE.settings.sources if STATE.settings else ()
    until(lambda: source.is_read)
    assert probe() == "a"
    assert shelf.refreshed
    assert len(errors(caplog)) == 1


def test_what_is_not_used_any_more_is_let_go_of_and_not_tried_again(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    before, started = {*threading.enumerate()}, time.monotonic()
    tried, opens = [], stores.open_source
    monkeypatch.setattr(stores, "open_source", lambda path: (tried.append(path), opens(path)))
    opg.enable("warn", registry=tmp_path / "gone.toml")
    (thread,) = {*threading.enumerate()} - before
    source = weakref.ref(STATE.settings.sources[0]) if STATE.settings else None
    until(lambda: len(tried) > 1)  # by the thread
    age = STATE.settings.sources[0].status().age if STATE.settings else 0.0
    assert 0 < age < time.monotonic() - started
    opg.disable()
    assert source is not None
    until(lambda: source() is None and not thread.is_alive())


def test_attempts_to_reach_a_server_grow_rarer(monkeypatch: pytest.MonkeyPatch) -> None:
    waits: list[float] = []
    here, sleep = threading.current_thread(), time.sleep

    class Late:
        def open(self) -> bool:
            return len(waits) == 8

    def wait(seconds: float) -> None:
        if threading.current_thread() is here:
            waits.append(seconds)
        else:  # of another test's
            sleep(seconds)

    monkeypatch.setattr(time, "sleep", wait)
    retrying._keep_trying(lambda: Late(), 3.0)  # type: ignore[arg-type]
    monkeypatch.undo()
    assert waits == [0.1, 0.2, 0.4, 0.8, 1.6, 3.0, 3.0, 3.0]


def test_where_no_thread_could_be_started_a_later_call_starts_one(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, probe: Probe
) -> None:
    path = tmp_path / "team.toml"
    with monkeypatch.context() as patch:
        patch.setattr("threading.Thread.start", starts_no_thread)
        opg.enable(registry=path, on_error="log")
        assert probe() == ""
    write_registry(path, support=f"proj_a:{A}")
    until(lambda: probe() == "a")


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")
@pytest.mark.filterwarnings("ignore:.*multi-threaded:DeprecationWarning")  # from Python 3.12 on
def test_a_forked_process_finds_it_too(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, probe: Probe
) -> None:
    class Marked(Shelf):
        def __call__(self, url: str) -> Any:
            self.is_there = (tmp_path / "there").exists()
            return super().__call__(url)

    shelf = Marked()
    monkeypatch.setattr(stores, "_installed", lambda scheme: stores._ReadOnly(shelf))
    monkeypatch.setattr(retrying, "_LONGEST", 0.1)
    opg.enable(registry="shelf://x", on_error="log")
    child = os.fork()
    if child == 0:
        try:
            until(lambda: probe() == "a")
        except BaseException:
            os._exit(1)
        os._exit(0)
    (tmp_path / "there").touch()
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
