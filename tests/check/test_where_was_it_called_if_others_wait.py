"""Whose line is named where a call was handed to a task, a thread or a pool?

What is handed over here is the SDK's alone: no line of the application is on its stack.
"""

from __future__ import annotations

import asyncio
import concurrent.futures
import functools
import gc
import operator
import sys
import threading
import time
import types
from collections.abc import Callable, Generator, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NoReturn

import anyio
import anyio.from_thread
import anyio.to_thread
import call_sites
import openai
import pytest
import support
from call_sites import PATIENCE, aclient, client, installed, until_seen
from support import A, Recorder, chat, http

import openai_project_guard as opg

clean, seen = support.clean, call_sites.seen
pytestmark = pytest.mark.usefixtures("clean")
FILE = str(Path(__file__))
CALL_IT = "def call_it(call, *_):\n    return call()\n"


def line_of(mark: str, function: str, *, is_nearest: bool = False) -> str:
    return call_sites.line_of(mark, function, FILE) + " (nearest known)" * is_nearest


def until_waits(thread: threading.Thread) -> None:
    """Until a thread is in the standard library's `wait()` or `join()`, or its loop is idle."""
    names = ("wait", "join", "_wait_for_tstate_lock", "select")
    while sys._current_frames()[thread.ident or 0].f_code.co_name not in names:
        time.sleep(0.001)


def patient_client() -> openai.OpenAI:
    """Its calls are judged when the main thread waits."""
    hooks = {"request": [lambda _: until_waits(threading.main_thread())]}
    sent = http.Client(transport=http.MockTransport(Recorder()), event_hooks=hooks)
    return openai.OpenAI(api_key=A, project="proj_b", http_client=sent)


@contextmanager
def started_pool() -> Iterator[ThreadPoolExecutor]:
    """A pool whose thread runs already: whoever starts one waits for that."""
    with ThreadPoolExecutor(1) as pool:
        pool.submit(int).result()
        yield pool


@contextmanager
def bystander(one: object = None, other: object = None) -> Iterator[None]:
    """A thread of the application that waits for something else meanwhile."""
    go = threading.Event()

    def stand_by(one: object, other: object) -> None:
        go.wait()

    thread = threading.Thread(target=stand_by, args=(one, other))
    thread.start()
    try:
        until_waits(thread)
        yield
    finally:
        go.set()
        thread.join()


def names_the_pool(verdict: opg.Verdict) -> bool:
    """Whether it is the pool's own line, for want of a better one."""
    site = str(verdict.call_site)
    is_there = str(Path("concurrent", "futures", "thread.py")) in site
    return is_there and site.endswith(" in run (nearest known)")


# --- a thread that waits ------------------------------------------------------------------------


def completed() -> None:
    with started_pool() as pool:
        futures = {pool.submit(patient_client().models.list): "models"}
        list(concurrent.futures.as_completed(futures))  # completed


def waited_for() -> None:
    with started_pool() as pool:
        future = pool.submit(patient_client().models.list)
        concurrent.futures.wait([future])  # waited_for


def mapped() -> None:
    with started_pool() as pool:
        list(pool.map(operator.methodcaller("list"), [patient_client().models]))  # mapped


@pytest.mark.parametrize("way", [completed, waited_for, mapped], ids=lambda way: way.__name__)
def test_whoever_waits_for_a_pool_is_named(
    way: Callable[[], None], seen: list[opg.Verdict]
) -> None:
    way()
    assert [verdict.call_site for verdict in seen] == [
        line_of(way.__name__, way.__name__, is_nearest=True)
    ]


def test_whoever_waits_for_a_thread_is_not_named_where_the_application_calls_in_it(
    seen: list[opg.Verdict],
) -> None:
    go = threading.Event()

    def call() -> None:
        go.wait()
        client().models.list()  # in the thread

    def wait() -> None:
        calls.join()

    calls, waits = threading.Thread(target=call), threading.Thread(target=wait)
    calls.start()
    waits.start()
    until_waits(waits)
    go.set()
    waits.join()
    assert [verdict.call_site for verdict in seen] == [line_of("in the thread", "call")]


def test_whoever_waits_for_one_of_several_threads_is_named(seen: list[opg.Verdict]) -> None:
    go = threading.Event()
    opg.add_observer(lambda _: go.set())
    wait = functools.partial(go.wait, PATIENCE)
    threads = [threading.Thread(target=each) for each in (wait, patient_client().models.list)]
    starts, joins = ([getattr(each, name) for each in threads] for name in ("start", "join"))
    for step in (*starts, *joins):
        step()  # starts and joins
    here = "test_whoever_waits_for_one_of_several_threads_is_named"
    assert seen[0].call_site == line_of("starts and joins", here, is_nearest=True)


MANY = 20_000  # values of all threads are looked through


@pytest.mark.parametrize(
    "keep", [list, set, tuple, dict.fromkeys], ids=["list", "set", "tuple", "dict"]
)
@pytest.mark.parametrize("number", [1, MANY - 1000, MANY + 1])
def test_whoever_keeps_the_work_of_a_pool_and_waits_is_named_unless_it_is_very_much(
    keep: Callable[[list[Any]], Any], number: int, seen: list[opg.Verdict]
) -> None:
    """Or each call of a large batch would look through all of it."""
    go = threading.Event()
    opg.add_observer(lambda _: go.set())
    pool = ThreadPoolExecutor(1)
    pool.submit(int).result()
    future = pool.submit(patient_client().models.list)
    kept = keep([*(object() for _ in range(number - 1)), future])
    del pool, future
    go.wait(PATIENCE)  # keeps and waits
    here = "test_whoever_keeps_the_work_of_a_pool_and_waits_is_named_unless_it_is_very_much"
    assert len(kept) == number
    if number <= MANY:
        assert seen[0].call_site == line_of("keeps and waits", here, is_nearest=True)
    else:
        assert names_the_pool(seen[0])


def test_how_much_is_looked_through_is_bounded_in_all_and_not_for_each_list(
    seen: list[opg.Verdict],
) -> None:
    go = threading.Event()
    opg.add_observer(lambda _: go.set())
    pool = ThreadPoolExecutor(1)
    pool.submit(int).result()
    others = [object() for _ in range(MANY // 2 + 1000)]
    futures = [*others, pool.submit(patient_client().models.list)]
    del pool
    go.wait(PATIENCE)
    assert len(others) + len(futures) > MANY > len(futures)
    assert names_the_pool(seen[0])


def test_whoever_hands_work_to_a_pool_just_now_is_named_before_it_waits(
    seen: list[opg.Verdict], tmp_path: Path
) -> None:
    """A framework's batch: its first call is made before the last one is handed over."""
    text = "def batch(pool, call, go):\n    pool.submit(call)\n    go.wait(30)\n"
    batch = installed(tmp_path, "framework", text)["batch"]
    go = threading.Event()
    opg.add_observer(lambda _: go.set())
    with started_pool() as pool:
        batch(pool, patient_client().models.list, go)  # hands over
    here = "test_whoever_hands_work_to_a_pool_just_now_is_named_before_it_waits"
    assert seen[0].call_site == line_of("hands over", here)


def test_whoever_makes_work_for_a_pool_meanwhile_is_named(seen: list[opg.Verdict]) -> None:
    go = threading.Event()
    opg.add_observer(lambda _: go.set())

    def generate() -> Iterator[Any]:
        yield client().models
        go.wait(PATIENCE)  # generates

    with started_pool() as pool:
        list(pool.map(operator.methodcaller("list"), generate()))
    assert seen[0].call_site == line_of("generates", "generate", is_nearest=True)


def test_of_a_call_that_a_pool_makes_before_anybody_waits_the_pool_is_named(
    seen: list[opg.Verdict],
) -> None:
    go = threading.Event()
    with ThreadPoolExecutor(1) as pool:
        pool.submit(go.wait)
        pool.submit(client().models.list)
        go.set()
        until_seen(seen)  # nobody asks for the result
    assert names_the_pool(seen[0])


def test_of_a_pool_that_was_dropped_nobody_else_is_named(seen: list[opg.Verdict]) -> None:
    go = threading.Event()
    pool = ThreadPoolExecutor(1)
    for work in (go.wait, client().models.list):
        pool.submit(work)
    del pool
    gc.collect()
    with bystander():
        go.set()
        until_seen(seen)
    assert names_the_pool(seen[0])


DEEP = 60  # calls; a thread itself, of whatever depth, takes half as many steps


@contextmanager
def idle_threads(number: int) -> Iterator[None]:
    """Threads of the application that wait, each deep in calls."""
    go, are_there = threading.Event(), threading.Barrier(number + 1)

    def descend(depth: int) -> None:
        if depth:
            descend(depth - 1)
        else:
            are_there.wait()
            go.wait()

    threads = [threading.Thread(target=descend, args=(DEEP,)) for _ in range(number)]
    for thread in threads:
        thread.start()
    are_there.wait()
    try:
        yield
    finally:
        go.set()
        for thread in threads:
            thread.join()


def test_the_main_thread_is_named_among_many_that_wait(seen: list[opg.Verdict]) -> None:
    with idle_threads(200), started_pool() as pool:
        pool.submit(patient_client().models.list).result()  # among many
    here = "test_the_main_thread_is_named_among_many_that_wait"
    assert seen[0].call_site == line_of("among many", here, is_nearest=True)


def test_a_wrong_call_takes_no_more_steps_the_more_threads_there_are(
    seen: list[opg.Verdict],
) -> None:
    def steps(threads: int) -> int:
        """How often functions are called, or return, in the thread of the pool."""
        number = 0

        def count(*_: object) -> None:
            nonlocal number
            number += 1

        with idle_threads(threads), started_pool() as pool:
            pool.submit(until_waits, threading.main_thread())  # or more is looked through for it
            pool.submit(sys.setprofile, count)
            pool.submit(client().models.list).result()
            pool.submit(sys.setprofile, None).result()
        return number

    steps(1)  # imports and caches
    few, many = steps(100), steps(300)
    assert many < few + 200 * DEEP  # not even one for each of their frames
    assert len(seen) == 3


class Names:
    """What some class bodies have for their variables: no dict."""

    def __init__(self) -> None:
        self.kept: dict[str, Any] = {}

    def __getitem__(self, name: str) -> Any:
        return self.kept[name]

    def __setitem__(self, name: str, value: Any) -> None:
        self.kept[name] = value

    def keys(self) -> Any:
        return self.kept.keys()


def test_whoever_waits_in_a_class_body_is_named_whatever_its_variables_are_kept_in(
    seen: list[opg.Verdict],
) -> None:
    class Kind(type):
        @classmethod
        def __prepare__(cls, *_: Any, **__: Any) -> Any:
            return Names()

        def __new__(cls, name: str, bases: Any, names: Any) -> Any:
            return super().__new__(cls, name, bases, names.kept)

    with started_pool() as pool:

        class Waiting(metaclass=Kind):
            found = pool.submit(patient_client().models.list).result()  # in a class body

    assert Waiting.found is not None
    assert [verdict.call_site for verdict in seen] == [
        line_of("in a class body", "Waiting", is_nearest=True)
    ]


# --- a task that waits --------------------------------------------------------------------------


async def shielded(times: int) -> None:
    waiting = asyncio.ensure_future(chat(aclient()))
    for _ in range(times):
        waiting = asyncio.shield(waiting)
    await waiting  # shielded


# From Python 3.14 on, shield() keeps the task that waits where one step leads to it.
@pytest.mark.parametrize(("times", "is_found"), [(300, True), (2000, sys.version_info >= (3, 14))])
def test_whoever_waits_for_a_task_is_named_unless_that_is_very_far(
    times: int, is_found: bool, seen: list[opg.Verdict]
) -> None:
    asyncio.run(shielded(times))  # runs shielded
    here = "test_whoever_waits_for_a_task_is_named_unless_that_is_very_far"
    assert seen[0].call_site == (
        line_of("shielded", "shielded")
        if is_found
        else line_of("runs shielded", here, is_nearest=True)
    )


@types.coroutine
def by_a_generator() -> Generator[Any, None, None]:
    yield from asyncio.ensure_future(chat(aclient()))  # by_a_generator


async def past_callbacks_of_the_application() -> None:
    finished = asyncio.ensure_future(asyncio.sleep(0))
    await finished
    task = asyncio.ensure_future(chat(aclient()))
    task.add_done_callback(lambda done: done is None and finished and missing)
    task.add_done_callback({task}.discard)
    await task  # past_callbacks_of_the_application
    missing = None


async def from_a_thread_of_anyio() -> None:
    def work() -> None:
        anyio.from_thread.run(chat, aclient())  # from_a_thread_of_anyio

    await anyio.to_thread.run_sync(work)


async def by_anyio_alone() -> None:
    call = aclient().models.list
    await anyio.to_thread.run_sync(anyio.from_thread.run, call)  # by_anyio_alone


async def by_an_executor() -> None:
    loop = asyncio.get_running_loop()
    await loop.run_in_executor(None, int)  # it is started, and whoever starts one waits for that
    await loop.run_in_executor(None, patient_client().models.list)  # by_an_executor


@pytest.mark.parametrize(
    ("way", "function"),
    [
        (by_a_generator, "by_a_generator"),
        (by_an_executor, "by_an_executor"),
        (past_callbacks_of_the_application, "past_callbacks_of_the_application"),
        (from_a_thread_of_anyio, "work"),
        (by_anyio_alone, "by_anyio_alone"),
    ],
)
def test_whoever_waits_for_a_task_is_named(
    way: Callable[[], Any], function: str, seen: list[opg.Verdict]
) -> None:
    async def run() -> None:
        await way()

    asyncio.run(run())
    assert [verdict.call_site for verdict in seen] == [line_of(way.__name__, function)]


def test_of_a_callback_of_a_loop_whoever_runs_the_loop_is_named(seen: list[opg.Verdict]) -> None:
    async def run() -> None:
        loop = asyncio.get_running_loop()
        done = loop.create_future()
        loop.call_soon(client().models.list)
        loop.call_soon(done.set_result, None)
        await done

    with bystander():
        asyncio.run(run())  # runs the loop
    here = "test_of_a_callback_of_a_loop_whoever_runs_the_loop_is_named"
    assert seen[0].call_site == line_of("runs the loop", here, is_nearest=True)


def test_of_several_threads_that_wait_for_one_loop_the_right_one_is_named(
    seen: list[opg.Verdict],
) -> None:
    loop = asyncio.new_event_loop()
    go, is_over = asyncio.Event(), asyncio.Event()

    async def pause(_: object) -> None:
        await go.wait()

    hooks = {"request": [pause]}
    sent = http.AsyncClient(transport=http.MockTransport(Recorder()), event_hooks=hooks)
    asking = chat(openai.AsyncOpenAI(api_key=A, project="proj_b", http_client=sent))

    def wait_for_the_call(loop: Any) -> None:
        asyncio.run_coroutine_threadsafe(asking, loop).result()  # waits for the call

    def wait_for_others(loop: Any) -> None:
        asyncio.run_coroutine_threadsafe(is_over.wait(), loop).result()

    targets = [wait_for_others, wait_for_the_call, wait_for_others]
    runner, *threads = (
        threading.Thread(target=loop.run_forever),
        *(threading.Thread(target=target, args=(loop,)) for target in targets),
    )
    runner.start()
    for thread in threads:
        thread.start()
        until_waits(thread)
    loop.call_soon_threadsafe(go.set)
    threads[1].join()
    loop.call_soon_threadsafe(is_over.set)
    for thread in threads:
        thread.join()
    loop.call_soon_threadsafe(loop.stop)
    runner.join()
    loop.close()
    here = "wait_for_the_call"
    assert seen[0].call_site == line_of("waits for the call", here, is_nearest=True)


# --- what the application keeps there -----------------------------------------------------------


class LookedError(Exception):
    """Somebody looked at what is the application's."""


class Lazy:
    """Any look at it is the application's code: it might ask a database."""

    def __getattribute__(self, name: str) -> NoReturn:
        raise LookedError(name)

    def __call__(self, *_: object) -> None:
        """It can be a callback."""


class Rows(list[Any]):
    """The same for what is in it."""

    def __iter__(self) -> NoReturn:
        raise LookedError

    def __len__(self) -> NoReturn:
        raise LookedError


class Steps:
    """What is awaited, and no coroutine."""

    def __init__(self, steps: Any) -> None:
        self.steps = steps

    def __await__(self) -> Steps:
        return self

    def __next__(self) -> Any:
        return next(self.steps)

    def __getattr__(self, name: str) -> NoReturn:
        raise LookedError(name)


def test_what_the_threads_of_the_application_keep_is_not_looked_at(
    seen: list[opg.Verdict], tmp_path: Path
) -> None:
    lazy, rows = Lazy(), Rows()
    call_it = installed(tmp_path, "framework", CALL_IT)["call_it"]
    with bystander(lazy, rows), started_pool() as pool:
        pool.submit(call_it, patient_client().models.list, lazy, rows).result()  # lazy in a pool
    here = "test_what_the_threads_of_the_application_keep_is_not_looked_at"
    assert seen[0].call_site == line_of("lazy in a pool", here, is_nearest=True)


async def with_callbacks() -> None:
    asks: Any = aclient()
    asks._platform = "Linux"  # or old releases have it asked in a thread of anyio, which looks
    task = asyncio.ensure_future(chat(asks))
    task.add_done_callback(Lazy())
    await Steps(task.__await__())  # with_callbacks


async def in_a_thread() -> None:
    await asyncio.to_thread(int)  # it is started, and whoever starts one waits for that
    await asyncio.to_thread(patient_client().models.list)  # in_a_thread


async def in_a_thread_of_anyio() -> None:
    await anyio.to_thread.run_sync(int)
    await anyio.to_thread.run_sync(patient_client().models.list)  # in_a_thread_of_anyio


@pytest.mark.parametrize(
    "way", [with_callbacks, in_a_thread, in_a_thread_of_anyio], ids=lambda way: way.__name__
)
def test_what_the_tasks_of_the_application_keep_is_not_looked_at(
    way: Callable[[], Any], seen: list[opg.Verdict]
) -> None:
    lazy, rows = Lazy(), Rows()
    with bystander(lazy, rows):
        asyncio.run(way())
    assert lazy is not rows
    assert seen[0].call_site == line_of(way.__name__, way.__name__)


@contextmanager
def wrong_call_in_a_pool() -> Iterator[threading.Event]:
    """An event that comes when the call was judged, to wait for in the meantime."""
    go = threading.Event()
    opg.add_observer(lambda _: go.set())
    with started_pool() as pool:
        pool.submit(patient_client().models.list)
        yield go


def test_what_a_waiting_function_has_asked_for_stays_there(seen: list[opg.Verdict]) -> None:
    def wait(one: object) -> None:
        two = 2
        mine = locals()
        exec("three = 3")
        with wrong_call_in_a_pool() as go:
            assert go.wait(PATIENCE)
        assert (mine["one"], mine["two"]) == (one, two)
        if sys.version_info < (3, 13):  # where that is so without the guard
            exec("assert three == 3")
            assert locals()["three"] == 3

    wait(1)
    assert len(seen) == 1


def test_what_a_waiting_module_or_class_has_defined_stays_there(
    seen: list[opg.Verdict], tmp_path: Path
) -> None:
    with wrong_call_in_a_pool() as go:
        script = {"go": go, "__name__": "script"}
        exec(
            "one = 1\n"
            "class Waiting:\n"
            "    two = 2\n"
            f"    go.wait({PATIENCE})\n"
            "    three = two + 1\n"
            f"go.wait({PATIENCE})\n"
            "four = one + Waiting.three\n",
            script,
        )
    assert script["four"] == 4
    assert len(seen) == 1


@pytest.mark.parametrize(
    ("watch", "at"), [(sys.setprofile, "call"), (sys.settrace, "call"), (sys.settrace, "line")]
)
def test_a_function_that_is_watched_just_now_keeps_its_variables(
    watch: Callable[[Any], None], at: str, seen: list[opg.Verdict]
) -> None:
    """Before Python 3.13, a frame's variables are written back when a profiler has seen them."""
    judged, is_watched = threading.Event(), threading.Event()
    opg.add_observer(lambda _: judged.set())
    found: list[bool] = []

    def watching(frame: types.FrameType, event: str, _: object) -> Any:
        if frame.f_code is threading.Event.is_set.__code__ and event == at:
            if event == "line":
                del frame  # as one that is written in C has it: without a reference
            is_watched.set()
            judged.wait(PATIENCE)
        return watching

    def work() -> None:
        asked = threading.Event()
        watch(watching)
        try:
            found.append(asked.is_set())
        finally:
            watch(None)

    thread = threading.Thread(target=work)
    thread.start()
    is_watched.wait(PATIENCE)
    with started_pool() as pool:
        pool.submit(patient_client().models.list).result()
    thread.join()
    assert found == [False]
    assert len(seen) == 1


class Odd(asyncio.Future[None]):
    """It has an attribute that asyncio's own would have another meaning for."""

    @property
    def future(self) -> NoReturn:
        raise RuntimeError


def test_what_cannot_be_looked_at_costs_the_line_and_nothing_else(seen: list[opg.Verdict]) -> None:
    async def run() -> None:
        odd = Odd()
        task = asyncio.ensure_future(chat(aclient()))
        task.add_done_callback(lambda _: odd.set_result(None))
        await odd

    asyncio.run(run())  # runs it
    here = "test_what_cannot_be_looked_at_costs_the_line_and_nothing_else"
    assert seen[0].call_site == line_of("runs it", here, is_nearest=True)
