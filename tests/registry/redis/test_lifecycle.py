"""What about forks, and the end of a source or of the process?"""

from __future__ import annotations

import os
import signal
import threading
from typing import TYPE_CHECKING

import pytest
from redis_server import (
    KEY,
    RedisServer,
    add,
    fingerprint,
    needs_redis,
    python,
    wait,
)

from openai_project_guard._registry.redis import open_source

if TYPE_CHECKING:
    pass

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
edit.remove(url, [fingerprint])
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
