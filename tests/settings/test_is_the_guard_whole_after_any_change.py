"""Switching the guard on, over and off: audit, other libraries' hooks, threads and forks."""

from __future__ import annotations

import os
import sys
import threading
from pathlib import Path
from typing import Any

import openai
import pytest
from openai._base_client import AsyncAPIClient, SyncAPIClient
from support import A, B, Probe, output

import openai_project_guard as opg
from openai_project_guard import _hooks
from openai_project_guard._activation import isolated
from openai_project_guard._state import STATE, changing

pytestmark = pytest.mark.usefixtures("clean")

BOTH = {"proj_a": A, "proj_b": B}
GUARD = "OPENAI_PROJECT_GUARD"


def audit() -> Any:
    return STATE.settings.audit if STATE.settings else None


# --- the audit ----------------------------------------------------------------------------------


def test_the_audit_goes_on_while_its_folder_is_the_same(
    clean: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    opg.enable(registry=BOTH)
    assert audit() is None
    opg.enable(registry=BOTH, audit=tmp_path / "one")
    first = audit()
    assert (tmp_path / "one").is_dir()
    clean.setenv(GUARD + "_AUDIT", str(tmp_path / "one"))
    opg.enable("warn", registry=BOTH)
    assert audit() is first
    assert not first._is_closed
    opg.enable(registry=BOTH, audit=str(tmp_path / "two"))  # the argument beats the variable
    second = audit()
    assert second is not first
    assert first._is_closed
    opg.disable()
    assert second._is_closed
    opg.enable(registry=BOTH)
    assert audit() is not first
    assert not audit()._is_closed
    clean.delenv(GUARD + "_AUDIT")
    third = audit()
    opg.enable(registry=BOTH)
    assert audit() is None
    assert third._is_closed


def test_a_scope_keeps_an_audit_where_the_guard_is_not_enabled(
    clean: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    clean.setenv(GUARD + "_AUDIT", str(tmp_path / "audit"))
    with opg.guard():
        assert STATE.scope_settings is not None
        assert STATE.scope_settings.audit is not None
        assert (tmp_path / "audit").is_dir()


def test_a_guard_of_ones_own_leaves_the_audit_open(tmp_path: Path) -> None:
    opg.enable(registry=BOTH, audit=tmp_path / "audit")
    before = audit()
    with isolated():
        opg.disable()
        opg.enable(registry=BOTH, audit=tmp_path / "other")
        inside = audit()
    assert inside._is_closed
    assert audit() is before
    assert not before._is_closed


def test_a_mistake_opens_no_audit(tmp_path: Path) -> None:
    with pytest.raises(opg.ConfigurationError):
        opg.enable(registry=BOTH, project="no such", audit=tmp_path / "audit")
    assert not (tmp_path / "audit").exists()


# --- the hooks of other libraries ---------------------------------------------------------------


def test_the_scope_of_the_sdk_takes_the_other_libraries_hooks_off(probe: Probe) -> None:
    adapters = pytest.importorskip("requests.adapters")
    pools = pytest.importorskip("urllib3.connectionpool")
    places = {adapters.HTTPAdapter: "send", pools.HTTPConnectionPool: "urlopen"}
    before = {place: vars(place)[name] for place, name in places.items()}
    opg.enable(registry=BOTH)
    sdk_alone = set(_hooks.reached())
    opg.enable(registry=BOTH, scope="process")
    assert all(vars(place)[name] is not before[place] for place, name in places.items())
    with opg.guard():  # which needs hooks too, and leaves those
        assert all(vars(place)[name] is not before[place] for place, name in places.items())
    opg.enable(registry=BOTH, scope="sdk")
    assert {place: vars(place)[name] for place, name in places.items()} == before
    assert sdk_alone <= set(_hooks.reached())
    assert opg.is_enabled()
    assert probe() == "ab"
    opg.enable(registry=BOTH, scope="process")
    assert all(vars(place)[name] is not before[place] for place, name in places.items())


# --- threads and forks --------------------------------------------------------------------------


def in_threads(*tasks: Any) -> None:
    """Runs them at once; an error in any fails the test."""
    failed: list[BaseException] = []

    def run(task: Any) -> None:
        try:
            start.wait()
            task()
        except BaseException as error:
            failed.append(error)

    start = threading.Barrier(len(tasks))
    threads = [threading.Thread(target=run, args=(task,)) for task in tasks]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(600)
        assert not thread.is_alive()
    if failed:
        raise failed[0]


def places() -> dict[Any, dict[str, object]]:
    bases = (SyncAPIClient, AsyncAPIClient, openai.OpenAI, openai.AsyncOpenAI, threading.Thread)
    return {owner: dict(vars(owner)) for owner in bases}


def test_the_guard_is_never_enabled_without_its_hooks(tmp_path: Path) -> None:
    opg.disable()
    before = places()
    switch = sys.getswitchinterval()
    sys.setswitchinterval(1e-5)

    def enable(scope: Any, folder: str) -> None:
        for _ in range(30):
            opg.enable(registry=BOTH, scope=scope, audit=tmp_path / folder)

    def disable() -> None:
        for _ in range(60):
            opg.disable()

    def look() -> None:
        for _ in range(200):
            with changing:
                if STATE.settings is not None:
                    assert _hooks.is_installed()
                    assert not _hooks.unreached()
                    assert STATE.settings.audit is STATE.audit
                    assert STATE.audit is not None
                    assert not STATE.audit._is_closed

    try:
        in_threads(
            lambda: enable("sdk", "one"),
            lambda: enable("process", "one"),
            lambda: enable("sdk", "two"),
            disable,
            look,
        )
    finally:
        sys.setswitchinterval(switch)
    opg.disable()
    assert places() == before
    assert not opg.is_enabled()
    assert STATE.audit is None


def test_no_lock_is_held_while_a_registry_is_read(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """Another thread may change the state meanwhile."""
    from openai_project_guard import _sources

    done = threading.Event()

    def read(address: Any) -> Any:
        other = threading.Thread(target=lambda: (opg.register(B, "proj_b"), opg.disable()))
        other.start()
        other.join(600)
        assert not other.is_alive()
        done.set()
        raise opg.RegistryError("gone.toml: read.")

    monkeypatch.setattr(_sources, "open_source", read)
    with pytest.raises(opg.RegistryError, match="read"):
        opg.enable(registry="gone.toml")
    assert done.is_set()
    done.clear()
    monkeypatch.setenv(GUARD + "_REGISTRY", "gone.toml")
    with pytest.raises(opg.RegistryError, match="read"), opg.guard():
        pass
    assert done.is_set()


FORKING = """
import os, threading
import openai
import openai_project_guard as opg
from openai_project_guard import _hooks
from support import A, B

both, stopped = {"proj_a": A, "proj_b": B}, threading.Event()
opg.enable(registry=both)  # what it imports: a child that is forked amid an import waits for ever
opg.disable()

def change():
    while not stopped.is_set():
        opg.enable(registry=both)
        opg.disable()

thread = threading.Thread(target=change)
thread.start()
try:
    for _ in range(10):
        child = os.fork()
        if child == 0:
            try:
                opg.enable(registry=both)
                good = opg.is_enabled() and not _hooks.unreached()
                opg.disable()
                os._exit(0 if good else 1)
            except BaseException:
                os._exit(2)
        assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
finally:
    stopped.set()
    thread.join()
print("whole")
"""


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")
def test_a_child_forked_in_the_midst_of_a_change_can_change_too() -> None:
    """In a process of its own: what measures coverage has a lock that a fork may find held."""
    assert output(FORKING, PYTHONWARNINGS="ignore") == "whole"
