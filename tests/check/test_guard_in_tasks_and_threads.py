"""Which tasks and threads inherit a `guard`? `probe()` is as in test_guard_scopes.py."""

from __future__ import annotations

import asyncio
import contextvars
import importlib.util
import math
import random
import sys
import threading
from typing import Any

import pytest
from support import (
    Probe,
    in_thread,
)

import openai_project_guard as opg
from openai_project_guard import guard

pytestmark = pytest.mark.usefixtures("registered")


async def test_tasks_and_to_thread_inherit_the_scope(probe: Probe) -> None:
    async with guard(project="proj_a"):
        task = asyncio.create_task(probe.wait())
        assert await asyncio.to_thread(probe) == "a"
    assert await task == "a"
    assert await asyncio.to_thread(probe) == "ab?"


def test_a_thread_inherits_the_scope_in_which_it_was_started(probe: Probe) -> None:
    with guard(project="proj_a"):
        assert in_thread(probe) == "a"
    assert in_thread(probe) == "ab?"
    opg.enable()
    with guard(project="proj_a"):
        assert in_thread(probe) == "a"
    assert in_thread(probe) == "ab"


class _RunIsFixed(threading.Thread):
    """A thread whose `run` is set once, as that of a frozen dataclass."""

    def __setattr__(self, name: str, value: object) -> None:
        if name == "run":
            raise AttributeError(name)
        super().__setattr__(name, value)


class _RunIsAProperty(threading.Thread):
    """A thread that finds out what to run when it is asked."""

    @property
    def run(self) -> Any:
        return super().run


@pytest.mark.parametrize("kind", [_RunIsFixed, _RunIsAProperty])
def test_a_thread_whose_run_cannot_be_replaced_starts_all_the_same(
    kind: type[threading.Thread],
) -> None:
    ran: list[bool] = []
    thread = kind(target=lambda: ran.append(True))
    with guard():
        thread.start()
    thread.join()
    assert ran == [True]


def test_a_thread_run_in_a_copied_context_inherits_it(probe: Probe) -> None:
    with guard(project="proj_a"):
        context = contextvars.copy_context()
    assert in_thread(lambda: context.run(probe)) == "a"


async def test_a_scope_in_a_task_never_reaches_another(probe: Probe) -> None:
    order = random.Random(2)

    async def work(number: int) -> None:
        letter = "ab"[number % 2]
        for _ in range(2):
            async with guard(project=f"proj_{letter}"):
                await asyncio.sleep(order.random() / 500)
                assert await probe.wait() == letter
            await asyncio.sleep(order.random() / 500)
            assert await probe.wait() == "ab?"

    await asyncio.gather(*map(work, range(40)))
    assert await probe.wait() == "ab?"


def _anyio_backends() -> list[Any]:
    backends = []
    for backend in ("asyncio", "trio"):
        there = importlib.util.find_spec(backend) and importlib.util.find_spec("anyio")
        marks = pytest.mark.skipif(not there, reason=f"{backend} is not installed")
        backends.append(pytest.param(backend, marks=marks, id=backend))
    return backends


@pytest.mark.parametrize("backend", _anyio_backends())
def test_anyio_tasks_and_threads_inherit_the_scope_and_keep_their_own(
    backend: str,
    probe: Probe,
) -> None:
    import anyio
    import anyio.to_thread

    seen: dict[str, str] = {}

    async def work(name: str, project: str | None) -> None:
        if project is None:
            await anyio.sleep(0.001)
            seen[name] = await probe.wait()
            return
        async with guard(project=project):
            await anyio.sleep(0.001)
            seen[name] = await probe.wait()

    async def main() -> None:
        async with guard(project="proj_a"):
            async with anyio.create_task_group() as group:
                group.start_soon(work, "inherits", None)
                group.start_soon(work, "its own", "proj_b")
            seen["thread"] = await anyio.to_thread.run_sync(probe)
            seen["around"] = await probe.wait()
        seen["after"] = await probe.wait()

    anyio.run(main, backend=backend)
    assert seen == {
        "inherits": "a",
        "its own": "b",
        "thread": "a",
        "around": "a",
        "after": "ab?",
    }


async def test_one_guard_may_be_entered_by_many_tasks_at_once_and_again(
    probe: Probe,
) -> None:
    shared = guard(project="proj_a")

    async def work() -> None:
        for _ in range(2):
            async with shared:
                await asyncio.sleep(0)
                with shared:
                    await asyncio.sleep(0)
                    assert await probe.wait() == "a"
                assert await probe.wait() == "a"
            await asyncio.sleep(0)
            assert await probe.wait() == "ab?"

    await asyncio.gather(*(work() for _ in range(15)))


def test_one_guard_may_be_entered_by_many_threads_at_once(probe: Probe) -> None:
    shared = guard(project="proj_a")
    together = threading.Barrier(8)
    wrong: list[Any] = []

    def work() -> None:
        own = Probe()
        together.wait()
        for _ in range(5):
            with shared:
                inside = own()
            if (inside, outside := own()) != ("a", "ab?"):
                wrong.append((inside, outside))

    threads = [threading.Thread(target=work) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not wrong
    assert probe() == "ab?"


@pytest.mark.skipif(sys.version_info < (3, 14), reason="there is no InterpreterPoolExecutor")
def test_a_pool_of_interpreters_works_in_a_scope(probe: Probe) -> None:
    pools = importlib.import_module("concurrent.futures")
    with guard(project="proj_a"), pools.InterpreterPoolExecutor(1) as pool:
        assert pool.submit(math.sqrt, 4).result() == 2
        assert probe() == "a"
