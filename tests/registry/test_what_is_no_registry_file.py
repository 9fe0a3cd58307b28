"""What if the registry is no regular file? Neither the start nor a call may wait, or eat memory."""

from __future__ import annotations

import logging
import os
import socket
import stat
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from openai_project_guard import Registry, RegistryError
from openai_project_guard._registry.file.watch import WatchedFile
from openai_project_guard._registry.stores import add, find

pytestmark = pytest.mark.skipif(os.name != "posix", reason="the kinds of files of POSIX")
NAME = "openai-projects.toml"
GOOD = 'version = 1\n[projects.bot]\nid = "proj_a"\n'


@pytest.fixture(autouse=True)
def _in_an_empty_directory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


def a_socket() -> None:
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(NAME)


def a_sparse_file() -> None:
    with open(NAME, "wb") as file:
        file.truncate(6 << 30)


KINDS: dict[str, tuple[Callable[[], object], str]] = {
    "pipe": (lambda: os.mkfifo(NAME), "this is a named pipe, not a regular file"),
    "link to a pipe": (
        lambda: (os.mkfifo("pipe"), os.symlink("pipe", NAME)),
        "this is a named pipe, not a regular file",
    ),
    "device": (lambda: os.symlink("/dev/zero", NAME), "this is a device, not a regular file"),
    "terminal": (lambda: os.symlink("/dev/ptmx", NAME), "this is a device, not a regular file"),
    "directory": (lambda: os.mkdir(NAME), "this is a directory. Name the registry file in it"),
    "socket": (a_socket, "this is a socket, not a regular file"),
    "sparse file": (a_sparse_file, "this is larger than 64 MiB, which no registry is"),
}


def test_what_the_system_says_of_a_path_that_it_cannot_open_is_told() -> None:
    with pytest.raises(RegistryError) as refused:
        Registry.from_file("x" * 5000)
    assert str(refused.value).endswith(": the file cannot be read (File name too long).")


@pytest.mark.parametrize(("make", "problem"), KINDS.values(), ids=KINDS)
def test_enable_says_what_it_is(make: Callable[[], object], problem: str) -> None:
    make()
    script = (
        "import resource; resource.setrlimit(resource.RLIMIT_AS, (4 << 30, 4 << 30))\n"
        "import openai_project_guard as opg\n"
        "try:\n"
        f"    opg.enable(registry={NAME!r})\n"
        "except opg.RegistryError as error:\n"
        "    print(error)\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", script],
        env={**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, sys.path))},
        capture_output=True,
        text=True,
        timeout=600,
        check=False,
    )
    assert (done.stdout, done.stderr) == (f"{NAME}: {problem}.\n", "")


@pytest.mark.parametrize(("make", "problem"), KINDS.values(), ids=KINDS)
def test_in_a_running_process_it_is_logged_and_the_last_good_version_stays(
    make: Callable[[], object], problem: str, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO, logger="openai_project_guard")
    Path(NAME).write_text(GOOD)
    file = WatchedFile(NAME)
    os.unlink(NAME)
    make()
    for silence in (10, 20, 30):
        file.refresh(time.monotonic() + silence)
    assert "bot" in file.registry.snapshot.projects
    assert file.status().state == "stale"
    said = [record.getMessage() for record in caplog.records]
    assert said == [f"{NAME}: {problem}. The last good version stays active."]
    assert file.registry.snapshot.projects["bot"].place.of("svc", "proj_a") == NAME


@pytest.mark.parametrize(("make", "problem"), KINDS.values(), ids=KINDS)
def test_it_is_not_changed(make: Callable[[], object], problem: str) -> None:
    make()
    for action in (find, lambda name: add(name, "proj_a", "sha256:" + "0" * 64)):
        with pytest.raises(RegistryError, match=problem):
            action(NAME)


def test_who_waits_to_write_into_a_pipe_is_not_disturbed() -> None:
    os.mkfifo(NAME)
    writer = subprocess.Popen(["sh", "-c", f"exec 3> {NAME}"])
    try:
        time.sleep(0.1)  # until it waits in open()
        with pytest.raises(RegistryError):
            Registry.from_file(NAME)
        assert writer.poll() is None
    finally:
        writer.kill()
        writer.wait()


def test_a_pipe_that_takes_the_files_place_while_it_is_opened_is_not_waited_for(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    Path(NAME).write_text(GOOD)
    look, errors = os.stat, []

    def look_and_replace(path: object, *args: object, **options: object) -> os.stat_result:
        found = look(path, *args, **options)  # type: ignore[arg-type]
        if str(path).endswith(NAME) and stat.S_ISREG(found.st_mode):
            os.unlink(NAME)
            os.mkfifo(NAME)
        return found

    def read() -> None:
        with pytest.raises(RegistryError) as caught:
            Registry.from_file(NAME)
        errors.append(str(caught.value))

    monkeypatch.setattr(os, "stat", look_and_replace)
    reader = threading.Thread(target=read, daemon=True)
    reader.start()
    reader.join(60)
    is_waiting = reader.is_alive()
    if is_waiting:  # lets it go
        os.close(os.open(NAME, os.O_WRONLY | os.O_NONBLOCK))
        reader.join()
    assert not is_waiting
    assert "this is a named pipe" in errors[0]


@pytest.mark.parametrize("more", [0, 1])
def test_the_largest_file_is_read(more: int) -> None:
    Path(NAME).write_text(GOOD + "#" * ((64 << 20) - len(GOOD) + more))
    if more:
        with pytest.raises(RegistryError, match="this is larger than 64 MiB"):
            Registry.from_file(NAME)
    else:
        assert "bot" in Registry.from_file(NAME).snapshot.projects


def test_a_file_that_grows_while_it_is_read_is_not_read_on(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    Path(NAME).write_text(GOOD)
    monkeypatch.setattr("openai_project_guard._registry.file.place.LARGEST", len(GOOD) - 1)
    monkeypatch.setattr(
        "openai_project_guard._registry.file.place._problem_with", lambda status: None
    )
    with pytest.raises(RegistryError, match="this is larger than"):
        Registry.from_file(NAME)


def test_a_file_is_not_made_larger_than_it_may_be(monkeypatch: pytest.MonkeyPatch) -> None:
    Path(NAME).write_text(GOOD)
    monkeypatch.setattr("openai_project_guard._registry.file.edit.LARGEST", len(GOOD) + 50)
    with pytest.raises(RegistryError, match="the file would be larger than"):
        add(NAME, "proj_a", "sha256:" + "0" * 64)
    assert Path(NAME).read_text() == GOOD
