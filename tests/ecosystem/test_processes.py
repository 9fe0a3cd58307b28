"""Forks, threads, tasks and event loops: the check goes along, and the scope they began in.

What patches or forks the whole process runs in a process of its own.
"""

from __future__ import annotations

import asyncio
import contextvars
import os
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
import redis_server
from support import (
    KEYS,
    A,
    Probe,
    Recorder,
    async_client,
    chat,
    fingerprint,
    http,
    output,
    python,
    sync_client,
)

import openai_project_guard as opg

has_fork = pytest.mark.skipif(not hasattr(os, "fork"), reason="this system has no fork")

# In the program of a process of its own: a guard that is enabled, and calls to prove it.
BENCH = f"""
import openai_project_guard as opg
from support import Probe
opg.enable(registry={KEYS!r})
probe = Probe()
assert probe() == "ab"
"""


def hammer(probe: Probe, wrong: list[str], stop: threading.Event) -> None:
    while not stop.is_set():
        got = probe()
        if got != "ab":
            wrong.append(got)


# --- processes ----------------------------------------------------------------------------------


@has_fork
@pytest.mark.filterwarnings("ignore:This process .* is multi-threaded:DeprecationWarning")
def test_workers_forked_off_are_guarded_as_their_parent() -> None:
    """As gunicorn does: set up before the fork, calls after it."""
    program = f"""{BENCH}
import os
with opg.guard(project="proj_a"):
    for expected in ("a", "a"):
        child = os.fork()
        if not child:
            os._exit(0 if probe() == expected else 1)
        assert os.waitpid(child, 0)[1] == 0
child = os.fork()
if not child:
    assert probe() == "ab"
    opg.register({A!r}, "proj_b")
    opg.disable()
    os._exit(0 if probe() == "ab?" else 1)
assert os.waitpid(child, 0)[1] == 0
assert probe() == "ab"
"""
    output(program)


@pytest.mark.parametrize("method", ["fork", "spawn", "forkserver"])
def test_processes_of_multiprocessing_are_guarded(method: str, tmp_path: Any) -> None:
    import multiprocessing

    if method not in multiprocessing.get_all_start_methods():
        pytest.skip(f"this system cannot {method}")
    # A child that starts afresh is guarded as every process is: by the environment.
    script = tmp_path / "script.py"
    script.write_text(
        "import multiprocessing, openai_project_guard\n"
        "def child(answers):\n"
        "    from support import Probe\n"
        "    answers.put(Probe()())\n"
        "if __name__ == '__main__':\n"
        f"    context = multiprocessing.get_context({method!r})\n"
        "    answers = context.SimpleQueue()\n"
        "    process = context.Process(target=child, args=(answers,))\n"
        "    process.start()\n"
        "    assert answers.get() == 'ab'\n"
        "    process.join()\n"
        "    assert process.exitcode == 0\n"
    )
    keys = ",".join(f"{project}={fingerprint(key)}" for project, key in KEYS.items())
    output(
        f"import os, sys; os.execv(sys.executable, [sys.executable, {str(script)!r}])",
        OPENAI_PROJECT_GUARD="enforce",
        OPENAI_PROJECT_GUARD_KEYS=keys,
    )


@has_fork
def test_forking_while_other_threads_call_and_enable_does_not_deadlock() -> None:
    program = f"""{BENCH}
import faulthandler, os, signal, threading, time, warnings
warnings.simplefilter("ignore", DeprecationWarning)
faulthandler.dump_traceback_later(40, exit=True)
stop, wrong = threading.Event(), []

def call(probe):
    while not stop.is_set():
        got = probe()
        if got != "ab":
            wrong.append(got)

def enable():
    while not stop.is_set():
        opg.enable(registry={KEYS!r})
        opg.register({A!r}, "proj_a")
        opg.add_observer(print); opg.remove_observer(print)

threads = [threading.Thread(target=call, args=(Probe(),)) for _ in range(2)]
threads += [threading.Thread(target=enable) for _ in range(2)]
for thread in threads:
    thread.start()
children = []
for _ in range(6):
    child = os.fork()
    if not child:
        signal.alarm(5)  # a child that hangs is killed, and its status says so
        opg.enable("warn", registry={KEYS!r})
        opg.enable(registry={KEYS!r})
        opg.register({A!r}, "proj_a")
        with opg.guard(project="proj_a"):
            inside = probe()
        opg.disable()
        os._exit(0 if (inside, probe()) == ("a", "ab?") else 1)
    children.append(child)
statuses = [os.waitpid(child, 0)[1] for child in children]
stop.set()
for thread in threads:
    thread.join()
assert not any(statuses), statuses
assert not wrong, wrong
"""
    run = python(program)
    assert run.returncode == 0, run.stderr[-2000:]


# --- threads ------------------------------------------------------------------------------------


def in_thread(fn: Callable[[], Any]) -> Any:
    with ThreadPoolExecutor(1) as pool:
        return pool.submit(fn).result()


def test_a_thread_is_guarded_in_the_scope_of_its_starter(probe: Probe) -> None:
    assert in_thread(probe) == "ab?"
    opg.enable(registry=KEYS)
    assert in_thread(probe) == "ab"
    with opg.guard(project="proj_a"):
        assert in_thread(probe) == "a"
        context = contextvars.copy_context()
        with opg.guard(project="proj_b"):
            assert in_thread(lambda: context.run(probe)) == "a"
    assert in_thread(probe) == "ab"


def test_threads_that_call_while_the_guard_is_set_up_anew_see_one_setting_or_the_other(
    probe: Probe,
) -> None:
    opg.enable(registry=KEYS)
    stop, wrong = threading.Event(), list[str]()
    threads = [threading.Thread(target=hammer, args=(Probe(), wrong, stop)) for _ in range(3)]
    for thread in threads:
        thread.start()
    try:
        for number in range(100):
            opg.enable(registry=KEYS, unregistered="block", hosts=[f"gateway{number}.example.com"])
            with opg.guard(project="proj_b"):
                assert probe() == "b"
    finally:
        stop.set()
        for thread in threads:
            thread.join()
    assert wrong == []


def test_scopes_of_threads_do_not_mix(clean: pytest.MonkeyPatch) -> None:
    opg.enable(registry=KEYS)
    both_in = threading.Barrier(2)

    def pinned(letter: str) -> list[str]:
        mine, got = Probe(), list[str]()
        for _ in range(10):
            with opg.guard(project=f"proj_{letter}"):
                both_in.wait(10)
                got.append(mine())
                both_in.wait(10)
            got.append(mine())
        return got

    with ThreadPoolExecutor(2) as pool:
        a, b = pool.map(pinned, "ab")
    assert a == ["a", "ab"] * 10
    assert b == ["b", "ab"] * 10


# --- tasks --------------------------------------------------------------------------------------


async def test_tasks_and_to_thread_inherit_the_scope_they_start_in(probe: Probe) -> None:
    opg.enable(registry=KEYS)
    with opg.guard(project="proj_a"):
        inside = asyncio.create_task(probe.wait())
        assert await asyncio.to_thread(probe) == "a"
        results = await asyncio.gather(probe.wait(), asyncio.wait_for(probe.wait(), 5))
        assert results == ["a", "a"]
    outside = asyncio.create_task(probe.wait())
    assert (await inside, await outside) == ("a", "ab")


async def test_a_scope_entered_in_a_task_reaches_neither_its_parent_nor_its_sibling(
    probe: Probe,
) -> None:
    opg.enable(registry=KEYS)
    entered, looked = asyncio.Event(), asyncio.Event()

    async def pinned() -> str:
        async with opg.guard(project="proj_a"):
            entered.set()
            await looked.wait()
            return await probe.wait()

    async def sibling() -> str:
        await entered.wait()
        got = await probe.wait()
        looked.set()
        return got

    first, second = asyncio.create_task(pinned()), asyncio.create_task(sibling())
    await entered.wait()
    assert await probe.wait() == "ab"
    assert (await first, await second) == ("a", "ab")


async def test_a_call_under_way_in_one_task_is_not_taken_for_that_of_another(
    clean: pytest.MonkeyPatch,
) -> None:
    """Hundreds at once, right and wrong, that give way to each other before they are sent."""
    opg.enable(registry=KEYS)
    arrived: list[str] = []

    async def answer(request: Any) -> Any:
        arrived.append(request.headers["x-project"] + request.headers["openai-project"])
        await asyncio.sleep(0)
        return http.Response(200, json={"id": "c", "object": "x", "choices": []})

    async def give_way(_: Any) -> None:
        await asyncio.sleep(0.001)

    client = async_client(answer)
    client._client.event_hooks = {"request": [give_way]}

    async def call(number: int) -> bool:
        project = ("proj_a", "proj_b")[number % 2]
        try:
            await chat(client, extra_headers={"OpenAI-Project": project, "X-Project": project})
        except opg.ProjectMismatchError as error:
            return error.verdict.actual == "proj_a"  # it never is
        return True

    passed = await asyncio.gather(*map(call, range(200)))
    assert passed == [True, False] * 100
    assert arrived == ["proj_aproj_a"] * 100


async def test_a_cancelled_call_leaves_nothing_behind(clean: pytest.MonkeyPatch) -> None:
    opg.enable(registry=KEYS)
    reached = asyncio.Event()

    async def never(_: Any) -> Any:
        reached.set()
        await asyncio.sleep(60)

    task = asyncio.create_task(chat(async_client(never, project="proj_a")))
    await reached.wait()
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert await Probe().wait() == "ab"


def test_a_sync_call_from_inside_an_async_one_is_judged_by_itself(
    clean: pytest.MonkeyPatch,
) -> None:
    """An `api_key` callable or an event hook may call the SDK with another key."""
    opg.enable(registry=KEYS)
    inner: list[str] = []
    probe = Probe()

    async def ask(_: Any) -> None:
        inner.append(probe())
        inner.append(await probe.wait())

    client = async_client(probe.sent, project="proj_a")
    client._client.event_hooks = {"request": [ask]}
    asyncio.run(chat(client))
    assert inner == ["ab", "ab"]
    with pytest.raises(opg.ProjectMismatchError):
        asyncio.run(chat(client.with_options(project="proj_b")))


@pytest.mark.parametrize("backend", ["asyncio", "trio"])
def test_the_scope_goes_with_tasks_of_anyio(backend: str, probe: Probe) -> None:
    anyio = pytest.importorskip("anyio")
    if backend == "trio":
        pytest.importorskip("trio")
    opg.enable(registry=KEYS)
    got: dict[str, str] = {}

    async def note(name: str) -> None:
        got[name] = await probe.wait()

    async def main() -> None:
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(note, "outside")
            with opg.guard(project="proj_a"):
                tasks.start_soon(note, "inside")
                got["thread"] = await anyio.to_thread.run_sync(probe)
            got["after"] = await probe.wait()

    anyio.run(main, backend=backend)
    assert got == {"outside": "ab", "inside": "a", "thread": "a", "after": "ab"}


# --- gevent -------------------------------------------------------------------------------------


@pytest.mark.parametrize("first", ["gevent", "guard"])
def test_greenlets_are_guarded_each_in_its_scope(first: str) -> None:
    pytest.importorskip("gevent")
    patch = "from gevent import monkey; monkey.patch_all()"
    bench = f"import warnings; warnings.simplefilter('ignore')\n{BENCH}"
    begin = f"{patch}\n{bench}" if first == "gevent" else f"{bench}\n{patch}"
    program = f"""{begin}
import gevent

def pinned(letter):
    mine, got = Probe(), set()
    for _ in range(5):
        with opg.guard(project="proj_" + letter):
            gevent.sleep(0.001)
            got.add(mine())
        gevent.sleep(0)
        got.add(mine())
    return got

def change():
    for _ in range(20):
        opg.enable(registry={KEYS!r})
        gevent.sleep(0)

jobs = [gevent.spawn(pinned, letter) for letter in "abab"] + [gevent.spawn(change)]
gevent.joinall(jobs, timeout=20, raise_error=True)
assert [job.value for job in jobs[:4]] == [{{"a", "ab"}}, {{"b", "ab"}}] * 2, jobs
assert probe() == "ab"
"""
    output(program)


@redis_server.needs_redis
def test_what_waits_in_a_parent_of_gevents_is_not_done_in_its_children(tmp_path: Path) -> None:
    pytest.importorskip("gevent")
    pytest.importorskip("redis")
    server = redis_server.RedisServer(tmp_path).start()
    try:
        redis_server.add(server, A)
        program = f"""
from gevent import monkey; monkey.patch_all()
import logging, os, subprocess, sys
import gevent
import openai_project_guard as opg
from support import Probe

logging.basicConfig(level="ERROR", stream=sys.stdout)
opg.enable(registry={server.url!r})
parent, probe = os.getpid(), Probe()
whose = {{parent: b"the parent\\n"}}
gevent.spawn(lambda: os.write(1, b"done in " + whose.get(os.getpid(), b"a child\\n")))
subprocess.run(["true"])
gevent.sleep(0.1)
if not os.fork():
    gevent.sleep(1)
    os.write(1, probe().encode())
    os._exit(0)
os.wait()
"""
        assert output(program).splitlines() == ["done in the parent", "a"]
    finally:
        server.kill()


def test_a_call_that_is_at_the_transport_ends_well_when_the_guard_is_taken_off(
    probe: Probe,
) -> None:
    opg.enable(registry=KEYS)
    at_transport, go_on = threading.Event(), threading.Event()

    def wait(_: Any) -> None:
        at_transport.set()
        assert go_on.wait(10)

    client = sync_client(Recorder(before=wait), project="proj_a")
    with ThreadPoolExecutor(1) as pool:
        answer = pool.submit(chat, client)
        assert at_transport.wait(10)
        opg.disable()
        go_on.set()
        assert answer.result(10).id == "c"
    assert probe() == "ab?"
