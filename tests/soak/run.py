"""Calls from threads, tasks and forks at once while everything around them changes.

`nox -s soak -- --minutes 10`. The registry file is replaced all the time, by broken versions too;
the guard is disabled and enabled again; scopes are entered; Redis is frozen and killed; logs and
audit files are rotated. Every call knows what must become of it. At the end: how many calls, how
many wrong verdicts, and whether memory and descriptors have grown.
"""

from __future__ import annotations

import argparse
import asyncio
import gc
import json
import logging
import logging.handlers
import os
import sys
import tempfile
import threading
import time
import tracemalloc
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

sys.path[:0] = [str(Path(__file__).parents[2]), str(Path(__file__).parents[1])]

import openai  # noqa: E402
from redis_server import COMMAND, RedisServer  # noqa: E402
from soak.workers import IN_REDIS, KEYS, Soak, write_registry  # noqa: E402
from support import fingerprint  # noqa: E402

import openai_project_guard as opg  # noqa: E402
from openai_project_guard.loopback import loopback_api  # noqa: E402

WARM_UP = 0.2
"""The part of the time after which memory must stay where it is."""

# --- figures --------------------------------------------------------------------------------------


def resident() -> float:
    """MB of this process in memory."""
    return int(Path("/proc/self/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE") / 1e6


def descriptors() -> int:
    return len(os.listdir("/proc/self/fd"))


def sample() -> dict[str, float]:
    gc.collect()
    return {
        "traced_mb": tracemalloc.get_traced_memory()[0] / 1e6,
        "resident_mb": resident(),
        "descriptors": descriptors(),
        "threads": threading.active_count(),
    }


@contextmanager
def rotated_log(folder: Path) -> Iterator[None]:
    handler = logging.handlers.RotatingFileHandler(
        folder / "guard.log", maxBytes=20_000, backupCount=2
    )
    logger = logging.getLogger("openai_project_guard")
    logger.addHandler(handler)
    logger.propagate = False
    yield
    logger.removeHandler(handler)
    logger.addHandler(logging.NullHandler())  # of the last counts, at exit
    handler.close()


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


def main() -> int:
    parser = argparse.ArgumentParser(prog="nox -s soak --", description=__doc__)
    parser.add_argument("--minutes", type=float, default=10, help="default: 10")
    parser.add_argument("--threads", type=int, default=3, help="that call; default: 3")
    parser.add_argument("--tasks", type=int, default=8, help="that call; default: 8")
    options = parser.parse_args()
    for name in [name for name in os.environ if name.startswith("OPENAI_")]:
        del os.environ[name]
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        os.environ["OPENAI_PROJECT_GUARD_SNAPSHOT"] = str(folder / "snapshot")
        stack.enter_context(rotated_log(folder))
        soak = Soak(folder, stack.enter_context(redis_with_a_key(folder)))
        api = stack.enter_context(loopback_api({key: project for project, key in KEYS.items()}))
        write_registry(soak.registry, 0, is_broken=False)
        # A scope that is entered while the guard is off takes its settings from here.
        sources = soak.settings("enforce")["registry"]
        os.environ["OPENAI_PROJECT_GUARD_REGISTRY"] = ",".join(sources)
        os.environ["OPENAI_PROJECT_GUARD_HOSTS"] = "127.0.0.1"
        opg.enable(**soak.settings("enforce"))
        samples = run(soak, options, api)
        opg.disable()
    return report(soak, samples)


def run(soak: Soak, options: argparse.Namespace, api: Any) -> list[dict[str, float]]:
    work: list[Callable[[], object]] = [
        *(lambda n=n: soak.threads_work(n, None) for n in range(options.threads)),
        lambda: soak.threads_work(1000, api.base_url),
        lambda: asyncio.run(soak.tasks_work(2000, options.tasks)),
        soak.registry_storm,
        soak.switch_storm,
        soak.forks_work,
        *([soak.outages] if soak.redis else []),
    ]

    def guarded(one: Callable[[], object]) -> None:
        try:
            one()
        except BaseException as error:
            soak.wrong.append(f"a worker ended: {error!r}")
            raise

    threads = [threading.Thread(target=guarded, args=(one,)) for one in work]
    tracemalloc.start()
    for thread in threads:
        thread.start()
    samples = []
    end = time.monotonic() + 60 * options.minutes
    while (left := end - time.monotonic()) > 0 and not soak.ends.wait(min(left, 5)):
        api.clear()  # the server's own memory of what it was asked
        samples.append(sample())
        print(json.dumps({"calls": sum(soak.calls.values()), **samples[-1]}), flush=True)
        if len(soak.wrong) > 20:
            break
    soak.ends.set()
    for thread in threads:
        thread.join(60)
    return samples


def report(soak: Soak, samples: list[dict[str, float]]) -> int:
    settled = samples[int(len(samples) * WARM_UP) :] or samples
    third = max(len(settled) // 3, 1)
    growth = {
        name: round(
            sum(s[name] for s in settled[-third:]) / third
            - sum(s[name] for s in settled[:third]) / third,
            2,
        )
        for name in samples[0]
    }
    for line in soak.wrong[:20]:
        print(line)
    version = ".".join(map(str, sys.version_info[:3]))
    print(f"Python {version}, openai {openai.__version__}, Redis: {bool(soak.redis)}")
    print(f"{sum(soak.calls.values())} calls: {dict(soak.calls)}")
    print(f"{len(soak.wrong)} wrong verdicts; growth from the first third to the last: {growth}")
    is_flat = growth["traced_mb"] < 1 and growth["resident_mb"] < 10 and growth["descriptors"] < 3
    return 0 if is_flat and not soak.wrong else 1


if __name__ == "__main__":
    sys.exit(main())
