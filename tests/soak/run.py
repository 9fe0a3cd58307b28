"""Calls from threads, tasks and forks at once while everything around them changes.

`nox -s soak -- --minutes 10 --calls 1000000`. Several processes call. The registry file is
replaced all the time, by broken versions too; the guard is disabled and enabled again; scopes are
entered; Redis is frozen and killed; logs are rotated, audit files kept. Every call knows what must
become of it. At the end: how many calls, how many wrong verdicts, and whether memory and
descriptors have grown: in one process, which calls less, by tracemalloc too, since that makes a
call take six times as long.
"""

from __future__ import annotations

import argparse
import itertools
import multiprocessing
import os
import signal
import sys
import tempfile
import threading
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from multiprocessing.connection import Connection, wait
from pathlib import Path
from typing import Any

sys.path[:0] = [str(Path(__file__).parents[2]), str(Path(__file__).parents[1])]

import openai  # noqa: E402
from redis_server import COMMAND, RedisServer  # noqa: E402
from soak.workers import END, IN_REDIS, KEYS, Plan, Sample, work, write_registry  # noqa: E402
from support import fingerprint  # noqa: E402

from openai_project_guard.loopback import loopback_api  # noqa: E402

WARM_UP = 60
"""Seconds, or a fifth of the time if that is more, after which memory must stay where it is."""
ALLOWED = {"traced_mb": 1, "blocks": 10_000, "resident_mb": 10, "descriptors": 3, "threads": 3}
"""What a process may grow from the first third to the last."""

# --- what happens meanwhile -----------------------------------------------------------------------


class Surroundings:
    """What all processes share, and what becomes of it meanwhile."""

    def __init__(self, folder: Path, redis: RedisServer | None) -> None:
        self.registry = folder / "openai-projects.toml"
        self.redis = redis
        self.ends = threading.Event()
        self.changes: Counter[str] = Counter()
        write_registry(self.registry, 0, is_broken=False)

    @property
    def sources(self) -> list[str]:
        return [str(self.registry), *([self.redis.url] if self.redis else [])]

    @contextmanager
    def changing(self) -> Iterator[None]:
        storms = [self.registry_storm, *([self.outages] if self.redis else [])]
        threads = [threading.Thread(target=storm) for storm in storms]
        for thread in threads:
            thread.start()
        try:
            yield
        finally:
            self.ends.set()
            for thread in threads:
                thread.join()

    def registry_storm(self) -> None:
        """Replaces the file, by a broken one each fifth time."""
        for number in itertools.count():
            write_registry(self.registry, number, is_broken=number % 5 == 4)
            self.changes["registry files"] += 1
            if self.ends.wait(0.1):
                return

    def outages(self) -> None:
        """Redis is frozen, killed and started again."""
        assert self.redis is not None
        while not self.ends.wait(4):
            self.redis.signal(signal.SIGSTOP)
            self.ends.wait(2)
            self.redis.signal(signal.SIGCONT)
            if self.ends.wait(2):
                break
            self.redis.kill()
            self.ends.wait(1)
            self.redis.start()
            self.changes["Redis outages"] += 2


@contextmanager
def redis_with_a_key(folder: Path) -> Iterator[RedisServer | None]:
    if not COMMAND:
        yield None
        return
    server = RedisServer(folder / "redis").start()
    from openai_project_guard._registry import stores

    stores.add(server.url, IN_REDIS, fingerprint(KEYS[IN_REDIS]), hint="sk-proj-…rrrr")
    try:
        yield server
    finally:
        server.kill()


# --- the run --------------------------------------------------------------------------------------


def main() -> int:
    parser = argparse.ArgumentParser(prog="nox -s soak --", description=__doc__)
    parser.add_argument("--minutes", type=float, default=10, help="at most; default: 10")
    parser.add_argument("--calls", type=int, help="end when so many were made; default: go on")
    parser.add_argument("--processes", type=int, default=2, help="and a traced one; default: 2")
    parser.add_argument("--threads", type=int, default=2, help="of each that call; default: 2")
    parser.add_argument("--tasks", type=int, default=8, help="of each that call; default: 8")
    options = parser.parse_args()
    for name in [name for name in os.environ if name.startswith("OPENAI_")]:
        del os.environ[name]
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        around = Surroundings(folder, stack.enter_context(redis_with_a_key(folder)))
        api = stack.enter_context(loopback_api({key: project for project, key in KEYS.items()}))
        os.environ["OPENAI_PROJECT_GUARD_SNAPSHOT"] = str(folder / "snapshot")
        # A scope that is entered while the guard is off takes its settings from here.
        os.environ["OPENAI_PROJECT_GUARD_REGISTRY"] = ",".join(around.sources)
        os.environ["OPENAI_PROJECT_GUARD_HOSTS"] = "127.0.0.1"
        plans = [
            Plan(
                folder=folder,
                sources=around.sources,
                base_url=api.base_url,
                threads=options.threads,
                tasks=options.tasks,
                number=number,
                is_traced=number == options.processes,
            )
            for number in range(options.processes + 1)
        ]
        started = time.monotonic()
        with around.changing():
            samples, wrong = run(plans, options, api)
        print_versions(around)
        changes = Counter(around.changes)
        for of_one in samples:
            changes.update(of_one[-1].changes)
    return report(samples, wrong, changes, time.monotonic() - started, options.calls)


def run(
    plans: list[Plan], options: argparse.Namespace, api: Any
) -> tuple[list[list[Sample]], list[str]]:
    """What each process said of itself, and what was wrong."""
    context = multiprocessing.get_context("spawn")
    pipes, processes = [], []
    for plan in plans:
        ours, theirs = context.Pipe()
        process = context.Process(target=work, args=(plan, theirs))
        process.start()
        theirs.close()
        pipes.append(ours)
        processes.append(process)
    samples: list[list[Sample]] = [[] for _ in plans]
    end = time.monotonic() + 60 * options.minutes
    has_ended = False
    while any(not pipe.closed for pipe in pipes):
        for pipe in wait([pipe for pipe in pipes if not pipe.closed], 1):
            assert isinstance(pipe, Connection)
            try:
                samples[pipes.index(pipe)].append(pipe.recv())
            except (EOFError, ConnectionError):  # a process that died says no more
                pipe.close()
                continue
            if pipe is pipes[0]:
                api.clear()  # the server's own memory of what it was asked
                traced = samples[-1][-1].size if samples[-1] else "none yet"
                print(f"{made(samples)} calls; the traced process: {traced}", flush=True)
        is_over = time.monotonic() > end or any(s[-1].wrong for s in samples if s)
        if not has_ended and (is_over or made(samples) >= (options.calls or 1e12)):
            has_ended = True
            for pipe in pipes:
                pipe.send(END)
    wrong = [line for of_one in samples for line in of_one[-1].wrong]
    for number, process in enumerate(processes):
        process.join()
        if process.exitcode and not samples[number][-1].wrong:
            wrong.append(f"process {number} ended with {process.exitcode}")
    return samples, wrong


def made(samples: list[list[Sample]]) -> int:
    return sum(sum(of_one[-1].calls.values()) for of_one in samples if of_one)


def print_versions(around: Surroundings) -> None:
    python = ".".join(map(str, sys.version_info[:3]))
    print(f"Python {python}, openai {openai.__version__}, Redis: {bool(around.redis)}")


def report(
    samples: list[list[Sample]],
    wrong: list[str],
    changes: Counter[str],
    seconds: float,
    wanted: int | None,
) -> int:
    for line in wrong[:20]:
        print(line)
    kinds: Counter[str] = Counter()
    for of_one in samples:
        for kind, number in of_one[-1].calls.items():
            kinds[kind.split()[0]] += number
    print(f"{made(samples)} calls in {seconds:.0f} s: {dict(kinds)}")
    print(f"meanwhile: {dict(changes)}")
    print(f"{len(wrong)} wrong verdicts; growth from the first third to the last:")
    is_flat = True
    for number, of_one in enumerate(samples):
        grown = growth(of_one[:-1])
        is_flat &= all(grown[name] < ALLOWED[name] for name in grown)
        print(f"  process {number}: {grown or 'the run was too short to tell'}")
    is_enough = made(samples) >= (wanted or 0)
    if not is_enough:
        print(f"only {made(samples)} of {wanted} calls in that time")
    return 0 if is_flat and is_enough and not wrong else 1


def growth(samples: list[Sample]) -> dict[str, float]:
    warm_up = max([WARM_UP, *(sample.seconds / 5 for sample in samples)])
    settled = [sample.size for sample in samples if sample.seconds > warm_up]
    third = len(settled) // 3
    if not third:
        return {}
    return {
        name: round(
            sum(size[name] for size in settled[-third:]) / third
            - sum(size[name] for size in settled[:third]) / third,
            2,
        )
        for name in settled[0]
    }


if __name__ == "__main__":
    sys.exit(main())
