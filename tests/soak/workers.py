"""One process of the soak: its threads and tasks that call, and what changes around them.

Every call knows what must become of it in the mode that is set, and what must have been sent.
"""

from __future__ import annotations

import asyncio
import faulthandler
import gc
import logging
import logging.handlers
import os
import random
import signal
import sys
import threading
import time
import tracemalloc
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import openai
from support import fingerprint, http

import openai_project_guard as opg

KEYS = {f"proj_{name}": f"sk-proj-not-a-real-key-of-{name}-{name * 8}" for name in "abr"}
IN_REDIS = "proj_r"
STRANGER = "sk-proj-not-a-real-key-of-nobody-ZZZZ"
PROJECTS = {key: project for project, key in KEYS.items()}
IN_A_FORK = 400  # calls
END = "end"

# --- what each process is told, and what it tells ---------------------------------------------


@dataclass(frozen=True)
class Plan:
    """What a process of the soak is given."""

    folder: Path
    sources: list[str]
    base_url: str
    threads: int
    tasks: int
    number: int
    is_traced: bool

    @property
    def projects(self) -> list[str]:
        return [p for p in KEYS if p != IN_REDIS or len(self.sources) > 1]


@dataclass(frozen=True)
class Sample:
    """What a process says of itself now and then."""

    seconds: float  # since it began
    calls: dict[str, int]
    changes: dict[str, int]
    wrong: list[str]
    size: dict[str, float]


def work(plan: Plan, pipe: Any) -> None:
    """Calls until the other end of the pipe says so or is gone, and sends a sample each 5 s."""
    if plan.is_traced:
        os.nice(5)  # it takes six times as long for each call
        tracemalloc.start()
    soak = Soak(plan)
    with soak.rotated_log(f"process-{plan.number}.log"):
        soak.enable_after_all()
        threads = [threading.Thread(target=soak.guarded, args=(one,)) for one in soak.work()]
        for thread in threads:
            thread.start()
        with suppress(EOFError, ConnectionError):  # the other end is gone
            while not (pipe.poll(5) and pipe.recv() == END):
                pipe.send(soak.sample())
        soak.ends.set()
        for thread in threads:
            thread.join(60)
            if thread.is_alive():
                soak.wrong.append(f"{thread.name} does not end")
        opg.disable()
        with suppress(ConnectionError):
            pipe.send(soak.sample())
        if soak.wrong:
            os._exit(1)  # whatever still hangs


class Soak:
    """What the threads of a process share: whether to go on, what they saw, the mode."""

    def __init__(self, plan: Plan) -> None:
        self.plan = plan
        self.began = time.monotonic()
        self.ends = threading.Event()
        self.calls: Counter[str] = Counter()
        self.changes: Counter[str] = Counter()
        self.wrong: list[str] = []
        self.modes: tuple[str, ...] = ("enforce",)
        """Those that may be in force now; a new tuple with each change."""

    def work(self) -> list[Callable[[], object]]:
        plan = self.plan
        first = 100 * plan.number
        return [
            *(
                lambda n=n: self.threads_work(f"threads {n}", first + n)
                for n in range(plan.threads)
            ),
            partial(self.threads_work, "sockets 0", first + 50, plan.base_url),
            lambda: asyncio.run(self.tasks_work(first + 60)),
            self.switch_storm,
            self.forks_work,
        ]

    def guarded(self, one: Callable[[], object]) -> None:
        try:
            one()
        except BaseException as error:
            self.wrong.append(f"process {self.plan.number}: a worker ended: {error!r}")
            faulthandler.dump_traceback()
            raise

    def sample(self) -> Sample:
        gc.collect()
        resident = int(Path("/proc/self/statm").read_text().split()[1])
        size = {
            "blocks": float(sys.getallocatedblocks()),
            "resident_mb": resident * os.sysconf("SC_PAGE_SIZE") / 1e6,
            "descriptors": float(len(os.listdir("/proc/self/fd"))),
            "threads": float(threading.active_count()),
        }
        if self.plan.is_traced:
            size["traced_mb"] = tracemalloc.get_traced_memory()[0] / 1e6
        seconds = time.monotonic() - self.began
        return Sample(seconds, dict(self.calls), dict(self.changes), self.wrong[:20], size)

    @contextmanager
    def rotated_log(self, name: str) -> Iterator[None]:
        changes = self.changes

        class Handler(logging.handlers.RotatingFileHandler):
            def doRollover(self) -> None:  # noqa: N802
                changes["log files begun"] += 1
                super().doRollover()

        handler = Handler(self.plan.folder / name, maxBytes=20_000, backupCount=2)
        logger = logging.getLogger("openai_project_guard")
        logger.addHandler(handler)
        logger.setLevel(logging.INFO)
        logger.propagate = False
        yield
        logger.removeHandler(handler)
        logger.addHandler(logging.NullHandler())  # of the last counts, at exit
        handler.close()

    # --- calls ----------------------------------------------------------------------------------

    def case(self, chance: random.Random) -> tuple[str, str]:
        """A key and a header: seven of ten fit, one each is another's, unregistered, empty."""
        project = chance.choice(self.plan.projects)
        what = chance.random()
        if what < 0.7:
            return KEYS[project], project
        if what < 0.8:
            return KEYS[project], chance.choice([p for p in self.plan.projects if p != project])
        if what < 0.9:
            return STRANGER, project
        return KEYS[project], ""

    def threads_work(self, kind: str, seed: int, base_url: str | None = None) -> None:
        """Calls of one thread, some in scopes; with a URL through real sockets."""
        chance = random.Random(seed)
        with ExitStack() as stack:
            clients = {
                key: stack.enter_context(sync_client(key, base_url))
                for key in (*KEYS.values(), STRANGER)
            }
            while not self.ends.is_set():
                key, project = self.case(chance)
                before = self.modes
                with ExitStack() as scopes:
                    if chance.random() < 0.3 and key != STRANGER:
                        scope = opg.guard(project=project or None)
                        with suppress(opg.RegistryError):  # it is off, and the file is broken
                            scopes.enter_context(scope)
                    try:
                        got: Any = clients[key].get("/models", **raw(project))
                    except (opg.ProjectGuardError, openai.APIStatusError) as error:
                        got = error
                self.judge(kind, before, key, project, got)

    async def tasks_work(self, seed: int) -> None:
        """Calls of several tasks in one loop, those of the first through real sockets."""
        urls = [self.plan.base_url] + [None] * (self.plan.tasks - 1)
        clients = {
            (key, url): async_client(key, url)
            for key in (*KEYS.values(), STRANGER)
            for url in urls[:2]
        }

        async def work(number: int) -> None:
            chance = random.Random(seed + number)
            while not self.ends.is_set():
                key, project = self.case(chance)
                before = self.modes
                try:
                    async with opg.guard():
                        await asyncio.sleep(0)
                        client = clients[key, urls[number]]
                        got: Any = await client.get("/models", **raw(project))
                except (opg.ProjectGuardError, openai.APIStatusError) as error:
                    got = error
                except opg.RegistryError:
                    continue  # it is off, and the file is broken
                self.judge(f"tasks {number}", before, key, project, got)

        await asyncio.gather(*(work(number) for number in range(self.plan.tasks)))
        for client in clients.values():
            await client.close()

    def judge(self, kind: str, before: tuple[str, ...], key: str, project: str, got: Any) -> None:
        """Whether the call became what it must in one of the modes that it may have had."""
        self.calls[kind] += 1  # by this thread alone
        modes = before if before is self.modes else ("enforce", "inject", "off")
        if not any(is_right(mode, key, project, got) for mode in modes):
            self.wrong.append(f"{kind}, {modes}: {key[-4:]} with {project!r} came to {got!r}")

    # --- what happens meanwhile -----------------------------------------------------------------

    def enable(self, mode: str) -> bool:
        """Whether it was; a broken file is refused, and what was in force before stays so."""
        plan = self.plan
        try:
            opg.enable(
                mode=mode,
                registry=plan.sources,
                audit=plan.folder / "audit",
                hosts=["127.0.0.1"],
            )
        except opg.RegistryError:
            return False
        return True

    def enable_after_all(self) -> None:
        while not self.enable("enforce"):
            time.sleep(0.01)  # the file is broken for a moment

    def switch_storm(self) -> None:
        """Enforce and inject in turn, and now and then off for a moment."""
        mode, number = "enforce", 0
        while not self.ends.wait(0.2):
            number += 1
            if number % 20 == 0:
                self.modes = (mode, "off", "enforce")
                opg.disable()
                time.sleep(0.005)
                self.enable_after_all()
                mode = "enforce"
                self.changes["switched off and on"] += 1
            else:
                new = ("enforce", "inject")[number % 2]
                self.modes = (mode, new)
                if self.enable(new):
                    mode = new
                    self.changes["enabled again"] += 1
                else:
                    self.changes["refused a broken file"] += 1
            self.modes = (mode,)

    def forks_work(self) -> None:
        """A child now and then, which calls from threads of its own, and must end well."""
        while not self.ends.wait(3):
            child = os.fork()
            if not child:
                os._exit(self.in_child())
            _, status = os.waitpid(child, 0)
            self.changes["forks"] += 1
            self.calls["forks"] += IN_A_FORK
            if status:
                self.wrong.append(f"a fork ended with {status}")

    def in_child(self) -> int:
        code = 1
        with suppress(BaseException):
            signal.alarm(60)
            faulthandler.dump_traceback_later(40)  # where it hangs, if it does
            tracemalloc.stop()
            # A thread that wrote to the parent's log may have held the lock of the file's buffer,
            # which no fork lets go of: https://github.com/python/cpython/issues/50970.
            logging.getLogger("openai_project_guard").handlers.clear()
            with self.rotated_log(f"fork-{os.getpid()}.log"):
                code = self.calls_in_child()
        return code

    def calls_in_child(self) -> int:
        self.enable_after_all()
        self.modes = ("enforce",)
        self.wrong.clear()
        self.calls.clear()
        self.ends = threading.Event()
        threads = [
            threading.Thread(target=self.threads_work, args=(f"{n}", n), daemon=True)
            for n in range(2)
        ]
        for thread in threads:
            thread.start()
        while sum(self.calls.values()) < IN_A_FORK and not self.wrong:
            time.sleep(0.01)
        self.ends.set()
        for thread in threads:
            thread.join(20)
        for line in self.wrong[:3]:
            os.write(2, f"in a fork: {line}\n".encode())
        return 3 if self.wrong else 0


def is_right(mode: str, key: str, project: str, got: Any) -> bool:
    """Whether a call may come to this: an error, or the answer to what was sent."""
    if mode == "off":
        return not isinstance(got, opg.UnsupportedSDKError)
    if key == STRANGER:
        return isinstance(got, opg.UnregisteredKeyError)
    own = PROJECTS[key]
    if project not in ("", own):  # in a scope of the header's project, the key is another's
        return isinstance(got, (opg.ProjectMismatchError, opg.ProjectScopeError))
    if project == "" and mode == "enforce":
        return isinstance(got, opg.ProjectMissingError)
    return isinstance(got, http.Response) and got.request.headers["openai-project"] == own


# --- clients --------------------------------------------------------------------------------------


def raw(project: str) -> Any:
    """The SDK's cheapest call: no model is made of the answer."""
    return {"cast_to": http.Response, "options": {"headers": {"OpenAI-Project": project}}}


def answer(_: Any) -> Any:
    return http.Response(200, content=b'{"object": "list", "data": []}', headers=JSON)


JSON = {"content-type": "application/json"}
HANGS = 300  # seconds; a traced process on a busy machine takes over 60 s for a connection


def sync_client(key: str, base_url: str | None = None) -> openai.OpenAI:
    transport = None if base_url else http.MockTransport(answer)
    return openai.OpenAI(
        api_key=key,
        base_url=base_url,
        max_retries=0,
        timeout=HANGS,
        http_client=http.Client(transport=transport),
    )


def async_client(key: str, base_url: str | None = None) -> openai.AsyncOpenAI:
    transport = None if base_url else http.MockTransport(answer)
    client = http.AsyncClient(transport=transport)
    return openai.AsyncOpenAI(
        api_key=key, base_url=base_url, max_retries=0, timeout=HANGS, http_client=client
    )


def write_registry(path: Path, number: int, *, is_broken: bool) -> None:
    lines = ["version = 1", *(f"# {number}" for _ in range(number % 3))]
    for project in ("proj_a", "proj_b", f"proj_{number % 7}"):
        key = KEYS.get(project, f"sk-of-{project}-{number % 50}")
        lines += [f"[projects.the_{project}]", f'id = "{project}"']
        lines.append(f'keys = [{{ fingerprint = "{fingerprint(key)}" }}]')
    if is_broken:
        lines = [*lines[:2], "[projects."]
    new = path.with_suffix(".new")
    new.write_text("\n".join(lines) + "\n", "utf-8")
    new.replace(path)
