"""The workers of the soak: those that call, and those that change everything around them."""

from __future__ import annotations

import asyncio
import itertools
import os
import random
import signal
import threading
import time
from collections import Counter
from contextlib import ExitStack, suppress
from pathlib import Path
from typing import Any

import openai
from redis_server import RedisServer
from support import fingerprint, http

import openai_project_guard as opg

KEYS = {f"proj_{name}": f"sk-proj-not-a-real-key-of-{name}-{name * 8}" for name in "abr"}
IN_REDIS = "proj_r"
STRANGER = "sk-proj-not-a-real-key-of-nobody-ZZZZ"


class Soak:
    """What the workers share: whether to go on, what they saw, and how often it was switched."""

    def __init__(self, folder: Path, redis: RedisServer | None) -> None:
        self.folder = folder
        self.redis = redis
        self.registry = folder / "openai-projects.toml"
        self.ends = threading.Event()
        self.calls: Counter[str] = Counter()
        self.wrong: list[str] = []
        self.epoch = 0
        """Odd while the guard is off."""
        self.projects = [p for p in KEYS if p != IN_REDIS or redis]

    def settings(self, mode: str) -> dict[str, Any]:
        sources = [str(self.registry)] + ([self.redis.url] if self.redis else [])
        audit = self.folder / "audit"
        return {"mode": mode, "registry": sources, "audit": audit, "hosts": ["127.0.0.1"]}

    def enable(self, mode: str, *, must_work: bool = False) -> None:
        """A broken file is refused, and what was in force before stays so."""
        try:
            opg.enable(**self.settings(mode))
        except opg.RegistryError:
            if must_work:
                self.enable(mode, must_work=True)

    # --- calls ----------------------------------------------------------------------------------

    def cases(self, chance: random.Random) -> tuple[str, str, type[Exception] | None]:
        """A key, a header, and what must become of a call with them."""
        project = chance.choice(self.projects)
        key = KEYS[project]
        what = chance.random()
        if what < 0.7:
            return key, project, None
        if what < 0.8:
            return key, chance.choice([p for p in self.projects if p != project]), MISMATCH
        if what < 0.9:
            return STRANGER, project, opg.UnregisteredKeyError
        return key, "", opg.ProjectMissingError

    def judge(
        self, kind: str, epoch: int, wanted: Any, got: BaseException | None, case: Any
    ) -> None:
        self.calls[kind] += 1
        if wanted is None:
            is_right = got is None  # also while the guard is switched
        elif epoch % 2 or epoch != self.epoch:
            is_right = got is None or isinstance(got, wanted)
        else:
            # While it is switched from inject to enforce, a missing header may be put in.
            is_right = isinstance(got, wanted) or (
                got is None and wanted is opg.ProjectMissingError
            )
        if not is_right:
            self.wrong.append(f"{kind}: {case} came to {got!r}")

    def threads_work(self, seed: int, base_url: str | None) -> None:
        """Calls of one thread, some in scopes; with a URL through real sockets."""
        chance = random.Random(seed)
        kind = "sockets" if base_url else "threads"
        with ExitStack() as stack:
            clients = {
                key: stack.enter_context(sync_client(key, base_url))
                for key in (*KEYS.values(), STRANGER)
            }
            while not self.ends.is_set():
                key, project, wanted = self.cases(chance)
                epoch = self.epoch
                got = None
                with ExitStack() as scopes:
                    if chance.random() < 0.3 and wanted is not opg.UnregisteredKeyError:
                        scope = opg.guard(project=project or None)
                        with suppress(opg.RegistryError):  # it is off, and the file is broken
                            scopes.enter_context(scope)
                    try:
                        clients[key].get(
                            "/models", cast_to=http.Response, options=with_project(project)
                        )
                    except opg.ProjectGuardError as error:
                        got = error
                    except openai.APIStatusError:
                        pass  # it was sent, and the server saw that it is wrong
                if isinstance(got, opg.ProjectScopeError):
                    got = MISMATCH_SEEN  # the scope is the header's, so the key is another's
                self.judge(kind, epoch, wanted, got, (key[-4:], project))

    async def tasks_work(self, seed: int, number: int) -> None:
        """Calls of several tasks in one loop."""
        clients = {key: async_client(key) for key in (*KEYS.values(), STRANGER)}

        async def work(chance: random.Random) -> None:
            while not self.ends.is_set():
                key, project, wanted = self.cases(chance)
                epoch, got = self.epoch, None
                try:
                    async with opg.guard():
                        await asyncio.sleep(0)
                        await clients[key].get(
                            "/models", cast_to=http.Response, options=with_project(project)
                        )
                except opg.ProjectGuardError as error:
                    got = error
                except opg.RegistryError:
                    continue  # it is off, and the file is broken
                self.judge("tasks", epoch, wanted, got, (key[-4:], project))

        await asyncio.gather(*(work(random.Random(seed + n)) for n in range(number)))
        for client in clients.values():
            await client.close()

    def forks_work(self) -> None:
        """A child now and then, which calls from threads of its own, and must end well."""
        while not self.ends.wait(3):
            child = os.fork()
            if not child:
                os._exit(self.in_child())
            _, status = os.waitpid(child, 0)
            self.calls["forks"] += 1
            self.calls["in forks"] += 400
            if status:
                self.wrong.append(f"a fork ended with {status}")

    def in_child(self) -> int:
        code = 1
        with suppress(BaseException):
            signal.alarm(60)
            self.enable("enforce", must_work=True)
            self.epoch = 0
            self.wrong.clear()
            self.calls.clear()
            ends = threading.Event()
            self.ends = ends
            threads = [
                threading.Thread(target=self.threads_work, args=(seed, None), daemon=True)
                for seed in range(2)
            ]
            for thread in threads:
                thread.start()
            while self.calls["threads"] < 400 and not self.wrong:
                time.sleep(0.01)
            ends.set()
            for thread in threads:
                thread.join(20)
            code = 3 if self.wrong else 0
            for line in self.wrong[:3]:
                os.write(2, f"in a fork: {line}\n".encode())
        return code

    # --- what happens meanwhile -----------------------------------------------------------------

    def registry_storm(self) -> None:
        """Replaces the file, by a broken one each fifth time."""
        for number in itertools.count():
            write_registry(self.registry, number, is_broken=number % 5 == 4)
            if self.ends.wait(0.1):
                return

    def switch_storm(self) -> None:
        """Enforce and inject in turn, and now and then off for a moment."""
        for number in itertools.count():
            if self.ends.wait(0.2):
                break
            if number % 20 == 19:
                self.epoch += 1
                opg.disable()
                time.sleep(0.005)
                self.enable("enforce", must_work=True)
                self.epoch += 1
            else:
                self.enable(("enforce", "inject")[number % 2])
        self.epoch += 1

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


MISMATCH = opg.ProjectMismatchError
MISMATCH_SEEN = MISMATCH.__new__(MISMATCH)


def with_project(project: str) -> Any:
    return {"headers": {"OpenAI-Project": project}}


def answer(_: Any) -> Any:
    return http.Response(200, json={"object": "list", "data": []})


def sync_client(key: str, base_url: str | None = None) -> openai.OpenAI:
    transport = None if base_url else http.MockTransport(answer)
    return openai.OpenAI(
        api_key=key, base_url=base_url, max_retries=0, http_client=http.Client(transport=transport)
    )


def async_client(key: str) -> openai.AsyncOpenAI:
    client = http.AsyncClient(transport=http.MockTransport(answer))
    return openai.AsyncOpenAI(api_key=key, max_retries=0, http_client=client)


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
