"""Does a call follow the registry and stand in the audit, whichever way it takes through the guard?

Most calls take a fast path. Those that an observer is told of, and those in a scope, do not; and a
scope builds on the environment where the guard is not enabled.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import openai
import pytest
from audit.seen import lines
from support import A, B, Recorder, http, outcomes, sync_client, write_registry

import openai_project_guard as opg
from openai_project_guard._check import faults
from openai_project_guard._state import STATE

pytestmark = pytest.mark.usefixtures("clean")


@contextmanager
def plain() -> Iterator[None]:
    opg.enable()
    yield


@contextmanager
def observed() -> Iterator[None]:
    opg.enable()
    opg.add_observer(lambda _: None)
    yield


@contextmanager
def in_a_scope() -> Iterator[None]:
    opg.enable()
    with opg.guard():
        yield


@contextmanager
def in_a_scope_of_its_own() -> Iterator[None]:
    with opg.guard():
        yield


WAYS = pytest.mark.parametrize("way", [plain, observed, in_a_scope, in_a_scope_of_its_own])


@pytest.fixture
def registry(clean: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    """The registry that the environment names: key A is of `proj_a`."""
    path = write_registry(tmp_path / "registry.toml", bot=f"proj_a:{A}")
    clean.setenv("OPENAI_PROJECT_GUARD_REGISTRY", str(path))
    return path


def in_time(holds: Callable[[], bool]) -> bool:
    """Whether it holds at last; a file is looked at once in a while."""
    deadline = time.monotonic() + 30
    while not holds() and time.monotonic() < deadline:
        time.sleep(0.02)
    return holds()


def passes(client: Any) -> bool:
    try:
        client.models.list()
    except opg.ProjectGuardError:
        return False
    return True


@WAYS
def test_it_follows_the_registry_file(way: Any, registry: Path) -> None:
    client = sync_client(Recorder(), project="proj_a")
    with way():
        assert passes(client)
        write_registry(registry.with_name("new"), bot=f"proj_b:{A}")
        os.replace(registry.with_name("new"), registry)
        assert in_time(lambda: not passes(client))


@WAYS
def test_a_registry_that_fails_to_look_is_logged_by_name(
    way: Any, registry: Path, clean: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    clean.setattr(faults, "_logged", set())

    def fail(_: float) -> None:
        raise OSError("the disk is gone")

    with way():
        settings = STATE.active
        assert settings is not None
        for source in settings.sources:
            clean.setattr(source, "refresh", fail)
        assert passes(sync_client(Recorder(), project="proj_a"))
    assert f"The registry of {registry} was not brought up to date." in caplog.text


@WAYS
def test_it_is_counted_once_with_its_client_its_key_and_its_project(
    way: Any, registry: Path, clean: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    clean.setenv("OPENAI_PROJECT_GUARD_AUDIT", str(tmp_path / "audit"))
    with way():
        client = sync_client(Recorder(), project="proj_a")
        for _ in range(3):
            client.models.list()
        settings = STATE.active
    assert settings is not None
    assert settings.audit is not None
    settings.audit.close()
    (line,) = lines(tmp_path / "audit")
    assert line["client_site"].endswith(" in sync_client")
    told = ("outcome", "reason", "project", "key_hint", "host", "method", "count")
    assert [line[name] for name in told] == [
        *("allowed", None, "proj_a", "sk-proj-…AAAA", "api.openai.com", "GET", 3)
    ]


def test_a_call_that_is_sent_by_another_thread_is_counted_with_its_client(tmp_path: Path) -> None:
    class InAThread(http.Client):  # type: ignore[misc]
        def send(self, request: Any, **options: Any) -> Any:
            with ThreadPoolExecutor(1) as pool:
                return pool.submit(super().send, request, **options).result()

    opg.enable(registry={"proj_a": A}, audit=tmp_path)
    transport = http.MockTransport(Recorder())
    openai.OpenAI(
        api_key=A, project="proj_a", http_client=InAThread(transport=transport)
    ).models.list()
    opg.disable()
    (line,) = lines(tmp_path)
    assert line["client_site"].endswith(
        " in test_a_call_that_is_sent_by_another_thread_is_counted_with_its_client"
    )
    assert (line["project"], line["count"]) == ("proj_a", 1)


def test_a_call_that_a_tool_sends_by_another_thread_is_counted_with_its_client(
    clean: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    send = http.Client.send

    def send_elsewhere(self: Any, *args: Any, **kwargs: Any) -> Any:
        with ThreadPoolExecutor(1) as pool:
            return pool.submit(send, self, *args, **kwargs).result()

    clean.setattr(http.Client, "send", send_elsewhere)
    opg.enable(registry={"proj_a": A}, audit=tmp_path)
    sync_client(Recorder(), project="proj_a").models.list()
    opg.disable()
    (line,) = lines(tmp_path)
    assert line["client_site"].endswith(" in sync_client")
    assert (line["project"], line["count"]) == ("proj_a", 1)


@WAYS
def test_a_wrong_one_is_counted_once_with_what_is_wrong(
    way: Any, registry: Path, clean: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    clean.setenv("OPENAI_PROJECT_GUARD_AUDIT", str(tmp_path / "audit"))
    with way():
        assert not passes(sync_client(Recorder(), project="proj_b"))
        settings = STATE.active
    assert settings is not None
    assert settings.audit is not None
    settings.audit.close()
    (line,) = lines(tmp_path / "audit")
    assert [line[name] for name in ("outcome", "reason", "actual", "count")] == [
        *("blocked", "mismatch", "proj_b", 1)
    ]


def test_of_a_key_with_several_projects_the_one_that_was_named_is_counted(tmp_path: Path) -> None:
    registry = opg.Registry()
    for project in ("proj_a", "proj_b", "proj_c"):
        registry.register(A, project)
    opg.enable(registry=registry, audit=tmp_path)
    sync_client(Recorder(), project="proj_b").models.list()
    opg.disable()
    assert [line["project"] for line in lines(tmp_path)] == ["proj_b"]


def test_an_admin_key_is_counted_without_a_project(tmp_path: Path) -> None:
    opg.enable(registry={"proj_b": B}, audit=tmp_path)
    admin = "sk-admin-not-a-real-key-of-an-admin-XXXX"
    sync_client(Recorder(), api_key=admin, project="proj_a").models.list()
    opg.disable()
    (line,) = lines(tmp_path)
    assert (line["key_hint"], line["project"]) == ("sk-admin-…XXXX", None)


@pytest.mark.parametrize("mode", ["enforce", "inject", "warn"])
def test_what_is_off_inside_a_scope_is_neither_told_nor_counted(
    mode: Any, tmp_path: Path, verdicts: list[opg.Verdict]
) -> None:
    opg.enable(mode, registry={"proj_a": A}, audit=tmp_path)
    with opg.guard(mode="off"):
        sync_client(Recorder(), project="proj_b").models.list()
        sync_client(Recorder(), project="proj_a").models.list()
    opg.disable()
    assert outcomes(verdicts) == []
    assert lines(tmp_path) == []
