"""The row about whole programs: calls a second of threads and tasks, guarded and not.

Whole calls of the SDK, `chat.completions.create`, over the mock transport of its HTTP package.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from threading import Barrier, Thread

import stage
from rounds import in_turns
from rows import Row

import openai_project_guard as opg

THREADS, TASKS = 8, 1_000


def throughput(turns: int, calls: int = 25) -> Row:
    """8 threads and 1,000 tasks, over the mock transport."""
    loop = asyncio.new_event_loop()
    made = stage.mocked_client(is_async=False)
    made_async = stage.mocked_client(is_async=True)

    def threads() -> float:
        start = Barrier(THREADS + 1)

        def work() -> None:
            start.wait()
            for _ in range(calls):
                made.chat.completions.create(**stage.QUESTION)

        workers = [Thread(target=work) for _ in range(THREADS)]
        for worker in workers:
            worker.start()
        start.wait()
        began = time.perf_counter()
        for worker in workers:
            worker.join()
        return time.perf_counter() - began

    async def gather() -> float:
        began = time.perf_counter()
        await asyncio.gather(
            *(made_async.chat.completions.create(**stage.QUESTION) for _ in range(TASKS))
        )
        return time.perf_counter() - began

    def tasks() -> float:
        return loop.run_until_complete(gather())

    threads_times = in_turns({"bare": _warm(threads), "guarded": _guarded(threads)}, turns)
    tasks_times = in_turns({"bare": _warm(tasks), "guarded": _guarded(tasks)}, turns)
    loop.run_until_complete(made_async.close())
    loop.close()
    kinds = {f"{THREADS} threads": threads_times, f"{TASKS:,} tasks": tasks_times}
    details = []
    for kind, times in kinds.items():
        number = THREADS * calls if times is threads_times else TASKS
        details += [
            f"{kind}, ms for {number:,} calls: {name}: {times.shown(name, 1e3)}"
            for name in times.rounds
        ]
        details.append(
            f"{kind}: by medians {times.median('bare') / times.median('guarded'):.3f}; the guard "
            f"adds {times.added('guarded') / number * 1e6:.1f} µs to a call"
        )
    return Row(
        "throughput",
        f"throughput of {THREADS} threads, and of {TASKS:,} asyncio tasks, against unguarded",
        "x",
        0.97,
        {kind: times.floor("bare") / times.floor("guarded") for kind, times in kinds.items()},
        details,
        at_least=True,
    )


def _warm(load: Callable[[], float]) -> Callable[[], float]:
    def run() -> float:
        load()
        return load()

    return run


def _guarded(load: Callable[[], float]) -> Callable[[], float]:
    def run() -> float:
        opg.enable(registry={stage.PROJECT: stage.KEY})
        try:
            load()  # the hooks went in just now, and cost the SDK's classes their caches
            return load()
        finally:
            opg.disable()

    return run
