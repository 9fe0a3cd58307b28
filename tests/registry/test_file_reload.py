"""Does a running process follow its registry file, whatever happens to the file?"""

from __future__ import annotations

import hashlib
import logging
import os
import threading
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from support import starts_no_thread

from openai_project_guard import RegistryError
from openai_project_guard._registry.file import watch as reload
from openai_project_guard._registry.file.watch import WatchedFile

if TYPE_CHECKING:
    from collections.abc import Callable

NAME = "openai-projects.toml"
CANARY = "sk-proj-CANARYcanary0123456789CANARYcanaryAb3d"
posix = pytest.mark.skipif(os.name != "posix", reason="links and forks of POSIX")


@pytest.fixture(autouse=True)
def _in_an_empty_directory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


@pytest.fixture
def log(caplog: pytest.LogCaptureFixture) -> Callable[[], list[tuple[int, str]]]:
    caplog.set_level(logging.INFO, logger="openai_project_guard")
    return lambda: [(level, text) for name, level, text in caplog.record_tuples]


def content(key: str) -> str:
    fingerprint = "sha256:" + hashlib.sha256(key.encode()).hexdigest()
    return (
        "version = 1\n[projects.bot]\n"
        f'id = "proj_a"\nkeys = [{{ fingerprint = "{fingerprint}" }}]\n'
    )


def write(text: str, name: str = NAME) -> None:
    Path(name).write_text(text, encoding="utf-8")


def rename(text: str) -> None:
    write(text, "new")
    os.replace("new", NAME)


def watched(key: str = "a") -> WatchedFile:
    write(content(key))
    return WatchedFile(NAME)


def has(file: WatchedFile, key: str) -> bool:
    return bool(file.registry.lookup(key))


def busy(
    file: WatchedFile, done: Callable[[], bool], limit: float = 1.0, patience: float = 60.0
) -> bool:
    """Calls follow each other closely until it is done, for a second at most, by their own clock.

    What is begun in that second by another thread may take its time on a busy machine.
    """
    begin = time.monotonic()
    for step in range(round(limit * 100)):
        file.refresh(begin + step / 100)
        if done():
            return True
        time.sleep(0.01)
    end = time.monotonic() + patience
    while not done() and time.monotonic() < end:
        time.sleep(0.01)
    return done()


class Silence:
    """Calls with long silences between them, without the waiting."""

    def __init__(self) -> None:
        self.now = time.monotonic()

    def then_a_call(self, file: WatchedFile, seconds: float = 10.0) -> None:
        self.now += seconds
        file.refresh(self.now)


@pytest.fixture
def silence() -> Silence:
    return Silence()


@pytest.fixture
def loads(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Every reading of a file is noted here."""
    noted: list[str] = []
    load = reload.load

    def noting(place: Any) -> bytes:
        noted.append(threading.current_thread().name)
        return load(place)

    monkeypatch.setattr(reload, "load", noting)
    return noted


# A file that changes.


def test_a_clock_that_goes_back_does_not_stop_it() -> None:
    """As where one test freezes the time at a date, and others follow."""
    file, now = watched("a"), time.monotonic()
    file.refresh(1_900_000_000.0)
    file.refresh(now)
    write(content("other"))
    assert busy(file, lambda: has(file, "other"))


@pytest.mark.parametrize("change", [write, rename])
def test_a_busy_process_sees_a_change_within_a_second(change: Callable[[str], None]) -> None:
    file = watched("a")
    change(content("b"))
    assert busy(file, lambda: has(file, "b"))
    assert not has(file, "a")


@pytest.mark.parametrize("change", [write, rename])
def test_after_a_silence_the_first_call_sees_the_change(
    change: Callable[[str], None], silence: Silence
) -> None:
    file = watched("a")
    change(content("b"))
    silence.then_a_call(file)
    assert has(file, "b")


@posix
def test_a_swapped_symlink_is_followed_as_in_kubernetes(silence: Silence) -> None:
    for version, key in (("v1", "a"), ("v2", "b")):
        os.mkdir(version)
        write(content(key), f"{version}/{NAME}")
    os.symlink("v1", "..data")
    os.symlink(f"..data/{NAME}", NAME)
    file = WatchedFile(NAME)
    os.symlink("v2", "..data_tmp")
    os.replace("..data_tmp", "..data")
    silence.then_a_call(file)
    assert has(file, "b")


def test_a_change_is_seen_after_a_change_of_directory(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, silence: Silence
) -> None:
    file = watched("a")
    rename(content("b"))
    (tmp_path / "elsewhere").mkdir()
    monkeypatch.chdir("elsewhere")
    silence.then_a_call(file)
    assert has(file, "b")


def test_the_registry_object_stays_and_the_snapshot_is_swapped(silence: Silence) -> None:
    file = watched("a")
    registry, before = file.registry, file.registry.snapshot
    rename(content("b"))
    silence.then_a_call(file)
    assert file.registry is registry
    assert registry.snapshot is not before
    assert hashlib.sha256(b"a").digest() in before.keys


def test_a_wall_clock_that_jumps_back_hides_nothing(
    monkeypatch: pytest.MonkeyPatch, silence: Silence
) -> None:
    file = watched("a")
    monkeypatch.setattr(reload.time, "time", lambda: 0.0)
    write(content("b"))
    os.utime(NAME, (1_000_000, 1_000_000))
    silence.then_a_call(file)
    assert has(file, "b")


def test_two_writes_in_one_tick_of_the_file_system_are_both_seen(
    monkeypatch: pytest.MonkeyPatch, silence: Silence
) -> None:
    status = (time.time_ns(), 1, 2, 3, 4)
    monkeypatch.setattr(WatchedFile, "_status_now", lambda self: status)
    file = watched("a")
    write(content("b"))
    silence.then_a_call(file, 1.4)
    assert has(file, "a")
    silence.then_a_call(file, 0.7)
    assert has(file, "b")
    write(content("c"))  # as if nothing told of this one
    silence.then_a_call(file)
    assert has(file, "b")


# A file that does not.


def test_an_unchanged_file_is_read_at_the_start_and_once_when_it_has_settled(
    loads: list[str], silence: Silence
) -> None:
    write(content("a"))
    just_now = time.time() + 60  # however long this process has to wait for the machine
    os.utime(NAME, (just_now, just_now))
    file = WatchedFile(NAME)
    before = file.registry.snapshot
    for _ in range(40):
        silence.then_a_call(file, 0.3)
    assert len(loads) == 2
    assert file.registry.snapshot is before


def test_an_old_file_is_read_once(loads: list[str], silence: Silence) -> None:
    write(content("a"))
    os.utime(NAME, (1_000_000, 1_000_000))
    file = WatchedFile(NAME)
    for _ in range(40):
        silence.then_a_call(file, 0.3)
    assert len(loads) == 1


def test_between_two_looks_the_system_is_not_asked(
    monkeypatch: pytest.MonkeyPatch, silence: Silence
) -> None:
    file = watched("a")
    silence.then_a_call(file)
    monkeypatch.setattr(WatchedFile, "_look", lambda *_: pytest.fail("looked"))
    for _ in range(20):
        silence.then_a_call(file, 0.01)


# A file that is not in order.


def test_a_file_that_is_wrong_at_the_start_raises() -> None:
    with pytest.raises(RegistryError, match="there is no such file"):
        WatchedFile(NAME)
    write(content("a").replace("proj_a", CANARY))
    with pytest.raises(RegistryError, match=r"line 3: projects\.bot\.id") as caught:
        WatchedFile(NAME)
    trace = caught.value.__traceback__
    while trace:
        assert (
            "CANARY" not in repr(trace.tb_frame.f_locals) or trace.tb_frame.f_globals is globals()
        )
        trace = trace.tb_next


def delete() -> None:
    os.unlink(NAME)


BREAKAGES: dict[str, tuple[Callable[[], object], str]] = {
    "cut off": (lambda: rename(content("b")[:-9]), f"{NAME}, line 4: this is not TOML."),
    "truncated to nothing": (lambda: write(""), f"{NAME}, line 1: version: it is missing; the fil"),
    "invalid": (
        lambda: write(content("b").replace("proj_a", CANARY)),
        f"{NAME}, line 3: projects.bot.id: there is a raw key here.",
    ),
    "deleted": (delete, f"{NAME}: there is no such file."),
}


@pytest.mark.parametrize(("breaks", "words"), BREAKAGES.values(), ids=BREAKAGES)
def test_a_broken_file_is_logged_once_and_the_last_good_version_stays(
    breaks: Callable[[], object],
    words: str,
    silence: Silence,
    log: Callable[[], list[tuple[int, str]]],
) -> None:
    file = watched("a")
    breaks()
    for _ in range(5):
        silence.then_a_call(file)
    assert has(file, "a")
    [(level, text)] = log()
    assert level == logging.ERROR
    assert text.startswith(words)
    assert text.endswith("The last good version stays active.")
    assert "CANARY" not in text
    rename(content("c"))
    for _ in range(5):
        silence.then_a_call(file)
    assert has(file, "c")
    assert log()[1:] == [(logging.INFO, f"{NAME}: the file is in order again and active.")]


def test_every_new_fault_is_logged(
    silence: Silence, log: Callable[[], list[tuple[int, str]]]
) -> None:
    file = watched("a")
    for text in ("version = 2\n", "version = 2\n# the same again", "version = 3\n"):
        rename(text)
        silence.then_a_call(file)
        os.utime(NAME)
        silence.then_a_call(file)
    assert [level for level, _ in log()] == [logging.ERROR] * 3


def test_a_key_of_two_projects_is_one_key_and_two_entries(
    silence: Silence, log: Callable[[], list[tuple[int, str]]]
) -> None:
    file = watched("a")
    shared = content("a") + content("a").partition("\n")[2].replace("bot", "lab").replace(
        "_a", "_b"
    )
    rename(shared)
    silence.then_a_call(file)
    assert file.status().keys == 1
    assert log() == [(logging.INFO, f"{NAME}: reloaded, 1 keys are registered there.")]
    assert repr(file.registry) == "<Registry: 1 key, 2 projects>"
    assert len(file.registry) == len([*file.registry]) == 2


def test_a_file_that_came_back_as_it_was_is_good_again(
    silence: Silence, log: Callable[[], list[tuple[int, str]]]
) -> None:
    file = watched("a")
    delete()
    silence.then_a_call(file)
    write(content("a"))
    silence.then_a_call(file)
    assert has(file, "a")
    assert [level for level, _ in log()] == [logging.ERROR, logging.INFO]


def test_a_file_that_could_not_be_opened_is_tried_again(
    monkeypatch: pytest.MonkeyPatch, silence: Silence, log: Callable[[], list[tuple[int, str]]]
) -> None:
    def refuse(place: Any) -> bytes:
        raise RegistryError("too many open files.")

    file = watched("a")
    rename(content("b"))
    with monkeypatch.context() as patch:
        patch.setattr(reload, "load", refuse)
        silence.then_a_call(file)
    assert has(file, "a")
    silence.then_a_call(file)
    assert has(file, "b")
    assert [level for level, _ in log()] == [logging.ERROR, logging.INFO]


# Threads and processes.


class SlowDisk:
    """Lets the next reading of a file wait until `go` is set."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.reading, self.go = threading.Event(), threading.Event()
        load = reload.load

        def slow(place: Any) -> bytes:
            self.reading.set()
            assert self.go.wait(60)
            return load(place)

        monkeypatch.setattr(reload, "load", slow)


def test_while_calls_come_often_none_waits_for_the_reading(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    file = watched("a")
    disk = SlowDisk(monkeypatch)
    rename(content("b"))
    assert busy(file, disk.reading.is_set)
    assert not busy(file, lambda: has(file, "b"), limit=0.1, patience=0)  # it goes on with the old
    disk.go.set()
    assert busy(file, lambda: has(file, "b"))
    assert busy(file, lambda: all("reload" not in t.name for t in threading.enumerate()))


def test_after_a_silence_all_callers_wait_for_the_one_reading(
    monkeypatch: pytest.MonkeyPatch, loads: list[str]
) -> None:
    file = watched("a")
    disk = SlowDisk(monkeypatch)
    rename(content("b"))
    now = time.monotonic() + 10
    seen: list[bool] = []

    def call() -> None:
        file.refresh(now)
        seen.append(has(file, "b"))

    callers = [threading.Thread(target=call) for _ in range(5)]
    for caller in callers:
        caller.start()
    assert disk.reading.wait(60)
    time.sleep(0.05)
    assert seen == []
    disk.go.set()
    for caller in callers:
        caller.join()
    assert seen == [True] * 5
    assert len(loads) == 2


def test_where_no_thread_can_be_had_the_call_reads_itself(
    monkeypatch: pytest.MonkeyPatch, loads: list[str]
) -> None:
    monkeypatch.setattr(threading.Thread, "start", starts_no_thread)
    file = watched("a")
    rename(content("b"))
    assert busy(file, lambda: has(file, "b"))
    assert loads == ["MainThread", "MainThread"]


def test_a_log_handler_that_makes_a_call_does_not_hang(silence: Silence) -> None:
    file = watched("a")

    class Calling(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            silence.then_a_call(file)

    logger, handler = logging.getLogger("openai_project_guard"), Calling()
    logger.addHandler(handler)
    try:
        delete()
        silence.then_a_call(file)
    finally:
        logger.removeHandler(handler)
    assert has(file, "a")


@posix
@pytest.mark.filterwarnings("ignore:.*multi-threaded:DeprecationWarning")
def test_a_fork_in_the_middle_of_a_reading_does_not_stop_the_child(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    file = watched("a")
    disk = SlowDisk(monkeypatch)
    rename(content("b"))
    assert busy(file, disk.reading.is_set)
    child = os.fork()
    if not child:
        status = 1
        try:
            disk.go.set()
            file.refresh(time.monotonic() + 10)
            status = 0 if has(file, "b") else 2
        finally:
            os._exit(status)
    assert os.waitpid(child, 0)[1] == 0
    disk.go.set()
    assert busy(file, lambda: has(file, "b"))
