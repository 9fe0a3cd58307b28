"""The row about whole programs: calls a second of threads and tasks, guarded and not.

Whole calls of the SDK, `chat.completions.create`, over the mock transport of its HTTP package.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from threading import Barrier, Thread
from typing import Any

import hot_path
import stage
from rounds import in_turns
from rows import Row

import openai_project_guard as opg
from openai_project_guard._state import STATE

THREADS, TASKS = 8, 1_000


def throughput(turns: int, calls: int = 5) -> Row:
    """8 threads and 1,000 tasks, over the mock transport."""
    loop = asyncio.new_event_loop()
    settings = hot_path.settings_of({stage.PROJECT: stage.KEY})

    def threads(client: Any) -> float:
        start = Barrier(THREADS + 1)

        def work() -> None:
            start.wait()
            for _ in range(calls):
                client.chat.completions.create(**stage.QUESTION)

        workers = [Thread(target=work) for _ in range(THREADS)]
        for worker in workers:
            worker.start()
        start.wait()
        began = time.perf_counter()
        for worker in workers:
            worker.join()
        return time.perf_counter() - began

    async def gather(client: Any) -> float:
        began = time.perf_counter()
        await asyncio.gather(
            *(client.chat.completions.create(**stage.QUESTION) for _ in range(TASKS))
        )
        return time.perf_counter() - began

    def tasks(client: Any) -> float:
        return loop.run_until_complete(gather(client))

    def both(load: Callable[[Any], float], *, is_async: bool) -> dict[str, Callable[[], float]]:
        made = stage.mocked_client(is_async=is_async)
        bare = hot_path.whole_twin(made, is_guarded=False)
        guarded = hot_path.whole_twin(made, is_guarded=True)
        must_refuse(guarded, is_async=is_async)
        return {
            "bare": hot_path.under(None, lambda: load(bare)),
            "guarded": hot_path.under(settings, lambda: load(guarded)),
        }

    def must_refuse(client: Any, *, is_async: bool) -> None:
        """A guard that judged nothing would be fast."""
        STATE.settings = hot_path.settings_of({"proj_of_somebody_else": stage.KEY})
        try:
            answer = client.chat.completions.create(**stage.QUESTION)
            if is_async:
                loop.run_until_complete(answer)
        except opg.ProjectMismatchError:
            return
        raise AssertionError("the guard is not in force: nothing was measured")

    with hot_path.enabled():
        threads_times = in_turns(both(threads, is_async=False), turns * 4)
        tasks_times = in_turns(both(tasks, is_async=True), turns)
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
