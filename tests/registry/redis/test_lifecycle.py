"""What about forks, and the end of a source or of the process?"""

from __future__ import annotations

import gc
import logging
import os
import signal
import threading
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from redis_server import (
    KEY,
    OTHER,
    PREFIX,
    RedisServer,
    add,
    fingerprint,
    has,
    needs_redis,
    python,
    wait,
)
from support import starts_no_thread

import openai_project_guard as opg
from openai_project_guard._keys import digest
from openai_project_guard._registry import stores as edit
from openai_project_guard._registry.redis import follower, learning, open_source

if TYPE_CHECKING:
    from openai_project_guard._registry.source import Source

pytestmark = needs_redis


FORK = r"""
import os, sys, time
from openai_project_guard._registry import stores as edit
from openai_project_guard._registry.redis import open_source
url, fingerprint = sys.argv[1:]
source = open_source(url)
def gone(limit=30):
    end = time.monotonic() + limit
    while time.monotonic() < end:
        if not len(source.registry):
            return True
        time.sleep(0.01)
    return False
child = os.fork()
if not child:
    os.write(1, f"child {gone()} {source.status().state}\n".encode())
    os._exit(0)
time.sleep(0.3)
edit.remove(url, fingerprint)
os.write(1, f"parent {gone()} {source.status().state}\n".encode())
os.waitpid(child, 0)
"""


@pytest.mark.skipif(not hasattr(os, "fork"), reason="there is no fork here")
def test_a_forked_child_follows_on_its_own(server: RedisServer) -> None:
    add(server, KEY)
    process = python(FORK, server.url, fingerprint(KEY))
    out, err = process.communicate(timeout=90)
    assert sorted(out.splitlines()) == ["child True current", "parent True current"], err
    assert "Traceback" not in err


FORK_AND_DISABLE = r"""
import os, sys, threading, time
import openai_project_guard as opg
opg.enable(registry=sys.argv[1])
time.sleep(0.5)  # the thread waits for messages
if os.fork():
    sys.exit(os.waitstatus_to_exitcode(os.wait()[1]))
end = time.monotonic() + 10
def until(number):
    while threading.active_count() != number and time.monotonic() < end:
        time.sleep(0.01)
    return threading.active_count()
started = until(2) if sys.argv[2:] else "at once"
opg.disable()
time.sleep(0.2)
os.write(1, f"{started} {until(1)}".encode())
os._exit(0)
"""


@pytest.mark.skipif(not hasattr(os, "fork"), reason="there is no fork here")
@pytest.mark.parametrize("when", [("later",), ()])
def test_a_forked_child_can_let_it_end(server: RedisServer, when: tuple[str, ...]) -> None:
    add(server, KEY)
    out, err = python(FORK_AND_DISABLE, server.url, *when).communicate(timeout=90)
    assert out == ("2 1" if when else "at once 1"), err
    assert "Traceback" not in err
    assert len(server.client().client_list()) == 1


FORK_AND_LOOK = r"""
import os, sys, threading
import openai_project_guard as opg
opg.enable(registry=sys.argv[1])
forking, start, waited_for = threading.get_ident(), threading.Thread.start, []
def start_and_note(thread):
    if threading.get_ident() == forking:
        waited_for.append(thread.name)
    start(thread)
threading.Thread.start = start_and_note
if os.fork():
    sys.exit(os.waitstatus_to_exitcode(os.wait()[1]))
os.write(1, repr(waited_for).encode())
os._exit(0)
"""


@pytest.mark.skipif(not hasattr(os, "fork"), reason="there is no fork here")
def test_a_fork_waits_for_no_thread(server: RedisServer) -> None:
    """With gevent, whoever waits there lets the parent's work be done in the child."""
    add(server, KEY)
    out, err = python(FORK_AND_LOOK, server.url).communicate(timeout=90)
    assert out == "[]", err


END = """
import sys, time, logging
logging.basicConfig(level="INFO", stream=sys.stdout)
from openai_project_guard._registry.redis import open_source
source = open_source(sys.argv[1])
print("ready", flush=True)
sys.stdin.readline()
time.sleep(float(sys.argv[2]))
"""


@pytest.mark.parametrize("state", ["there", "dead", "frozen"])
def test_the_interpreter_ends_at_once_and_in_silence(server: RedisServer, state: str) -> None:
    add(server, KEY)
    url = f"{server.url}?socket_timeout=600"  # what waits for the server waits longer than we do
    processes = [python(END, url, str(number * 0.1)) for number in range(2)]
    for process in processes:
        assert process.stdout.readline() == "ready\n"
    if state == "dead":
        server.kill()
    elif state == "frozen":
        server.signal(signal.SIGSTOP)
    for process in processes:
        process.stdin.write("\n")
        process.stdin.flush()
    for process in processes:
        out, err = process.communicate(timeout=60)
        assert (process.returncode, err) == (0, "")
        assert "Traceback" not in out  # in the log, which is written there


def test_a_source_that_nobody_wants_any_more_ends(server: RedisServer) -> None:
    add(server, KEY)
    before = threading.enumerate()
    source = open_source(server.url)
    assert set(threading.enumerate()).difference(before)
    del source
    wait(lambda: not set(threading.enumerate()).difference(before))
    wait(lambda: len(server.client().client_list()) == 1)


def threads() -> list[threading.Thread]:
    return [thread for thread in threading.enumerate() if "redis" in thread.name]


def test_after_disable_thread_and_connections_are_gone(server: RedisServer) -> None:
    add(server, KEY)
    wait(lambda: not threads())  # those of earlier tests may still be ending
    opg.enable(registry=server.url)
    assert len(threads()) == 1
    assert len(server.client().client_list()) == 3  # its two, and the one that asks
    opg.disable()
    wait(lambda: not threads())
    wait(lambda: len(server.client().client_list()) == 1)
    gc.collect()
    assert not [thing for thing in gc.get_objects() if type(thing) is follower.Follower]


@pytest.mark.skipif(not Path("/proc/self/fd").exists(), reason="nothing lists the descriptors here")
def test_two_hundred_rounds_of_enable_and_disable_leave_nothing_behind(
    server: RedisServer, fallback: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(follower, "_TICK", 0.01)
    add(server, KEY)

    def descriptors() -> int:
        return len(os.listdir("/proc/self/fd"))

    opg.enable(registry=server.url)
    opg.disable()
    wait(lambda: not threads())
    gc.collect()
    before = descriptors()
    for _ in range(200):
        opg.enable(registry=server.url)
        opg.disable()
    wait(lambda: not threads())
    gc.collect()
    assert descriptors() <= before
    assert len(server.client().client_list()) == 1
    assert not [thing for thing in gc.get_objects() if type(thing) is follower.Follower]


def test_a_log_handler_that_raises_stops_no_thread(server: RedisServer) -> None:
    class Raising(logging.Handler):
        def handle(self, record: logging.LogRecord) -> bool:
            raise RuntimeError(record.getMessage())

    add(server, KEY)
    source = open_source(server.url)
    handler, logger = Raising(), logging.getLogger("openai_project_guard")
    logger.addHandler(handler)
    try:
        server.kill()
        wait(lambda: source.status().state == "stale")
        server.start()
        wait(lambda: source.status().state == "current")
        add(server, OTHER)
        wait(lambda: has(source, OTHER))
    finally:
        logger.removeHandler(handler)


def test_a_log_handler_may_use_the_registry(server: RedisServer, source: Source) -> None:
    """No lock of ours is held while a handler runs."""
    seen: list[bool] = []

    class Asking(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            done = threading.Event()

            def ask() -> None:
                source.remember(digest(record.getMessage()), "…", "proj_b")
                source.status()
                done.set()

            threading.Thread(target=ask).start()
            seen.append(done.wait(20))

    handler, logger = Asking(), logging.getLogger("openai_project_guard")
    logger.addHandler(handler)
    try:
        server.client().hset(f"{PREFIX}:keys", fingerprint(OTHER), "rubbish")
        server.client().set(f"{PREFIX}:revision", "2-x")
        server.client().publish(f"{PREFIX}:changes", f"2-x {fingerprint(OTHER)}")
        wait(lambda: seen)
    finally:
        logger.removeHandler(handler)
    assert all(seen)


def test_a_thread_that_cannot_be_started_is_an_error(
    server: RedisServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    add(server, KEY)
    monkeypatch.setattr(threading.Thread, "start", starts_no_thread)
    with pytest.raises(opg.RegistryError, match="can't start new thread"):
        opg.enable(registry=server.url)
    monkeypatch.undo()
    assert not opg.is_enabled()
    wait(lambda: len(server.client().client_list()) == 1)


def test_what_was_learned_has_a_bound(
    server: RedisServer, source: Source, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(learning, "_MOST", 5)
    server.signal(signal.SIGSTOP)
    taken = [source.remember(digest(f"key {number}"), "…", "proj_a") for number in range(9)]
    assert taken == [True] * 5 + [False] * 4
    server.signal(signal.SIGCONT)
    wait(lambda: len(edit.read(server.url)) == 6)
    wait(lambda: source.remember(digest("one more"), "…", "proj_a"))
