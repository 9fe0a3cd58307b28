"""Does everything that is said of a wrong call name the application's own lines?"""

from __future__ import annotations

import _thread
import asyncio
import contextlib
import copy
import copyreg
import dis
import functools
import gc
import inspect
import logging
import os
import pickle
import re
import sys
import sysconfig
import threading
import time
import weakref
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import anyio
import anyio.to_thread
import call_sites
import openai
import pytest
import support
from call_sites import aclient, client, installed, module_at, until_seen
from support import VERSION, A, B, Recorder, async_client, chat, http, output, sync_client

import openai_project_guard as opg
from openai_project_guard._hooks import client_site

clean = support.clean
pytestmark = pytest.mark.usefixtures("clean")
FILE = str(Path(__file__))


seen = call_sites.seen


def line_of(mark: str, function: str) -> str:
    return call_sites.line_of(mark, function, FILE)


# --- the line that calls ------------------------------------------------------------------------


def plainly() -> None:
    client().models.list()  # plainly


def streaming() -> None:
    ask = client().chat.completions.create
    list(ask(model="m", messages=[], stream=True))  # streaming


def raw() -> None:
    client().models.with_raw_response.list()  # raw


def in_a_lambda() -> None:
    (lambda: client().models.list())()  # in_a_lambda


def in_a_comprehension() -> None:
    [each.models.list() for each in [client()]]  # in_a_comprehension


def partially() -> None:
    ask = functools.partial(client().models.list)
    ask()  # partially


def through_the_standard_library() -> None:
    with contextlib.ExitStack() as stack:
        stack.callback(client().models.list)
        stack.close()  # through_the_standard_library


def over_pages() -> None:
    pages = client().files.list()
    for _ in pages:  # over_pages
        pass


async def awaiting() -> None:
    await aclient().models.list()  # awaiting


async def over_pages_async() -> None:
    async for _ in aclient().files.list():  # over_pages_async
        pass


async def raw_async() -> None:
    await aclient().models.with_raw_response.list()  # raw_async


async def in_a_task() -> None:
    async def work() -> None:
        await aclient().models.list()  # in_a_task

    await asyncio.create_task(work())


async def gathered() -> None:
    async def work() -> None:
        await aclient().models.list()  # gathered

    await asyncio.gather(work())


async def in_a_thread_of_a_loop() -> None:
    def work() -> None:
        client().models.list()  # in_a_thread_of_a_loop

    await asyncio.to_thread(work)


def in_a_thread() -> None:
    def work() -> None:
        client().models.list()  # in_a_thread

    thread = threading.Thread(target=work)
    thread.start()
    thread.join()


def in_a_pool() -> None:
    def work() -> None:
        client().models.list()  # in_a_pool

    with ThreadPoolExecutor(1) as pool:
        pool.submit(work).result()


@opg.guard(mode="warn")
def decorated() -> None:
    client().models.list()  # decorated


def batches(client: Any) -> Any:
    return (getattr(client, "vector_stores", None) or client.beta.vector_stores).file_batches


def answer_a_batch(request: Any) -> Any:
    counts = dict.fromkeys(("in_progress", "completed", "failed", "cancelled", "total"), 0)
    batch = {"id": "b", "vector_store_id": "v", "status": "completed", "file_counts": counts}
    return http.Response(200, json={**batch, "created_at": 1, "object": "o"})


def polling() -> None:
    found = batches(sync_client(answer_a_batch, project="proj_b"))
    found.create_and_poll("v", file_ids=["f"])  # polling


async def polling_async() -> None:
    found = batches(async_client(answer_a_batch, project="proj_b"))
    await found.create_and_poll("v", file_ids=["f"])  # polling_async


def in_a_pool_of_the_sdk() -> None:
    found = batches(sync_client(answer_a_batch, project="proj_b"))
    found.upload_and_poll("v", files=[b"x"])  # in_a_pool_of_the_sdk


async def in_tasks_of_the_sdk() -> None:
    found = batches(async_client(answer_a_batch, project="proj_b"))
    await found.upload_and_poll("v", files=[b"x"])  # in_tasks_of_the_sdk


# What these hand over is the SDK's alone: no line of the application is on its stack.


async def gathered_directly() -> None:
    await asyncio.gather(chat(aclient()), chat(aclient()))  # gathered_directly


async def in_a_task_directly() -> None:
    await asyncio.create_task(chat(aclient()))  # in_a_task_directly


async def in_time() -> None:
    await asyncio.wait_for(chat(aclient()), 60)  # in_time


async def shielded() -> None:
    await asyncio.shield(chat(aclient()))  # shielded


async def waited_for() -> None:
    await asyncio.wait([asyncio.create_task(chat(aclient()))])  # waited_for


async def as_completed() -> None:
    for each in asyncio.as_completed([chat(aclient())]):
        await each  # as_completed


async def in_a_task_group() -> None:
    async with asyncio.TaskGroup() as group:  # type: ignore[attr-defined]  # in_a_task_group
        group.create_task(chat(aclient()))


async def in_a_task_group_of_anyio() -> None:
    async with anyio.create_task_group() as group:  # in_a_task_group_of_anyio
        group.start_soon(chat, aclient())


async def to_a_thread_directly() -> None:
    await asyncio.to_thread(client().models.list)  # to_a_thread_directly


async def to_a_thread_of_anyio() -> None:
    await anyio.to_thread.run_sync(client().models.list)  # to_a_thread_of_anyio


def run_directly() -> None:
    asyncio.run(chat(aclient()))  # run_directly


def until_main_waits(_: object) -> None:
    main = threading.main_thread().ident or 0
    while sys._current_frames()[main].f_globals["__name__"] != "threading":
        time.sleep(0.001)


def patient_client() -> openai.OpenAI:
    hooks = {"request": [until_main_waits]}
    sent = http.Client(transport=http.MockTransport(Recorder()), event_hooks=hooks)
    return openai.OpenAI(api_key=A, project="proj_b", http_client=sent)


def in_a_pool_directly() -> None:
    with ThreadPoolExecutor(1) as pool:
        pool.submit(patient_client().models.list).result()  # in_a_pool_directly


def in_a_thread_directly() -> None:
    thread = threading.Thread(target=patient_client().models.list)
    for step in (thread.start, thread.join):
        step()  # in_a_thread_directly


def in_another_loop() -> None:
    async def wait(request: object) -> None:
        until_main_waits(request)

    sent = http.AsyncClient(
        transport=http.MockTransport(Recorder()), event_hooks={"request": [wait]}
    )
    asking = chat(openai.AsyncOpenAI(api_key=A, project="proj_b", http_client=sent))
    loop = asyncio.new_event_loop()
    thread = threading.Thread(target=loop.run_forever)
    thread.start()
    asyncio.run_coroutine_threadsafe(asking, loop).result()  # in_another_loop
    loop.call_soon_threadsafe(loop.stop)
    thread.join()
    loop.close()


def on_a_websocket() -> None:
    with suppress(opg.ProjectGuardError):
        realtime(client()).connect(model="m").__enter__()  # on_a_websocket


async def on_a_websocket_async() -> None:
    with suppress(opg.ProjectGuardError):
        async with realtime(aclient()).connect(model="m"):  # on_a_websocket_async
            pass


def realtime(client: Any) -> Any:
    return getattr(client, "realtime", None) or client.beta.realtime


INNER = {
    "in_a_lambda": "<lambda>",
    "in_a_task": "work",
    "gathered": "work",
    "in_a_thread_of_a_loop": "work",
    "in_a_thread": "work",
    "in_a_pool": "work",
    "in_a_comprehension": "in_a_comprehension" if sys.version_info >= (3, 12) else "<listcomp>",
}
WAYS: list[Callable[[], Any]] = [
    *(plainly, streaming, raw, in_a_lambda, in_a_comprehension, partially),
    *(through_the_standard_library, over_pages, awaiting, over_pages_async, raw_async),
    *(in_a_task, gathered, in_a_thread_of_a_loop, in_a_thread, in_a_pool, decorated),
    *(polling, polling_async, in_a_pool_of_the_sdk, in_tasks_of_the_sdk),
    *(gathered_directly, in_a_task_directly, in_time, shielded, waited_for, as_completed),
    *(in_a_task_group, in_a_task_group_of_anyio, to_a_thread_directly, to_a_thread_of_anyio),
    *(run_directly, in_a_pool_directly, in_a_thread_directly, in_another_loop),
    *(on_a_websocket, on_a_websocket_async),
]
NEAREST = {"in_a_pool_directly", "in_a_thread_directly", "in_another_loop"}
"""Here the line is the one that waits: the call may have been handed over on another."""
NEEDS: dict[str, tuple[bool, str]] = {
    **dict.fromkeys(
        ("polling", "polling_async", "in_a_pool_of_the_sdk", "in_tasks_of_the_sdk"),
        (VERSION >= (1, 50), "this SDK has no such helper"),
    ),
    **dict.fromkeys(
        ("on_a_websocket", "on_a_websocket_async"),
        (VERSION >= (1, 66), "this SDK opens no WebSocket"),
    ),
    "in_a_task_group": (sys.version_info >= (3, 11), "this Python has none"),
}


@pytest.mark.parametrize("way", WAYS, ids=lambda way: way.__name__)
def test_the_call_site_is_the_applications_line(
    way: Callable[[], Any], seen: list[opg.Verdict]
) -> None:
    is_possible, why_not = NEEDS.get(way.__name__, (True, ""))
    if not is_possible:
        pytest.skip(why_not)
    if "websocket" in way.__name__:
        opg.enable(registry={"proj_a": A})
    result = way()
    if inspect.iscoroutine(result):
        asyncio.run(result)
    name = way.__name__
    assert seen
    if name.startswith("over_pages") and len(seen) == 1:
        pytest.skip("this SDK does not go on by itself here")
    site = line_of(name, INNER.get(name, name)) + " (nearest known)" * (name in NEAREST)
    calls = seen[1:] if name.startswith("over_pages") else seen
    assert {verdict.call_site for verdict in calls} == {site}


@pytest.mark.parametrize(
    "filename",
    ["<string>", "<ipython-input-3-0a1b2c>", "/p/sk-learn-1.5.2/lib/Model_v2/train.py"],
)
def test_a_line_of_executed_code_is_named_as_python_names_it(
    filename: str, seen: list[opg.Verdict]
) -> None:
    code = compile("\nclient.models.list()\n", filename, "exec")
    exec(code, {"client": client(), "__name__": "__main__"})
    assert seen[0].call_site == f"{filename}:2 in <module>"


@pytest.mark.skipif(VERSION < (1, 50), reason="this SDK has no such helper")
def test_a_stream_helper_is_called_where_it_is_entered(seen: list[opg.Verdict]) -> None:
    beta = client().chat.completions
    stream = getattr(beta, "stream", None) or client().beta.chat.completions.stream
    with stream(model="m", messages=[]) as events:  # stream helper
        list(events)
    assert seen[0].call_site == line_of(
        "stream helper", "test_a_stream_helper_is_called_where_it_is_entered"
    )


@pytest.mark.parametrize("globals_of_it", [{}, {"__name__": None}, {"__name__": 1, "__file__": 2}])
def test_a_line_is_named_whatever_globals_it_was_executed_with(
    globals_of_it: dict[str, Any], seen: list[opg.Verdict]
) -> None:
    code = compile("client.models.list()", "<string>", "exec")
    exec(code, {"client": client(), **globals_of_it})
    assert seen[0].call_site == "<string>:1 in <module>"


ASK = """
def ask(call, *args):
    return call(*args)
"""


@pytest.mark.parametrize("packages", ["site-packages", "dist-packages"])
def test_of_installed_code_alone_the_innermost_outside_the_sdk_is_named(
    packages: str, seen: list[opg.Verdict], tmp_path: Path
) -> None:
    ask = module_at(tmp_path / packages / "framework.py", "framework", ASK)["ask"]
    ask(client().models.list)  # calls the framework
    here = "test_of_installed_code_alone_the_innermost_outside_the_sdk_is_named"
    assert seen[0].call_site == line_of("calls the framework", here)
    _thread.start_new_thread(ask, (ask, client().models.list))
    until_seen(seen, 2)
    assert seen[1].call_site == f"{Path(packages, 'framework.py')}:3 in ask"


def test_of_a_thread_that_nobody_waits_for_what_runs_there_is_the_nearest_that_is_known(
    seen: list[opg.Verdict], tmp_path: Path
) -> None:
    text = "def ask(call, go):\n    go.wait()\n    return call()\n"
    go = threading.Event()
    ask = installed(tmp_path, "framework", text)["ask"]
    thread = threading.Thread(target=ask, args=(client().models.list, go))
    thread.start()
    go.set()
    until_seen(seen)
    thread.join()
    assert seen[0].call_site == f"{Path('site-packages', 'framework.py')}:3 in ask (nearest known)"


BETWEEN = (
    *("openai", "openai_project_guard", "wrapt", "anyio", "sniffio", "trio"),
    *("httpx", "httpx2", "httpx_aiohttp", "httpcore", "httpcore2", "h11", "h2"),
    *("websockets", "requests", "urllib3", "aiohttp"),
)


@pytest.mark.parametrize("library", BETWEEN)
def test_what_is_between_a_framework_and_the_network_is_not_named(
    library: str, seen: list[opg.Verdict], tmp_path: Path
) -> None:
    framework = installed(tmp_path, "framework", ASK)["ask"]
    between = installed(tmp_path, f"{library}.client", ASK)["ask"]
    _thread.start_new_thread(framework, (between, client().models.list))
    until_seen(seen)
    assert seen[0].call_site == f"{Path('site-packages', 'framework.py')}:3 in ask"


def test_a_script_that_comes_with_a_package_is_not_the_application(
    seen: list[opg.Verdict], tmp_path: Path
) -> None:
    framework = installed(tmp_path, "framework", ASK)["ask"]
    script = module_at(Path(sysconfig.get_path("scripts"), "serve"), "__main__", ASK)["ask"]
    _thread.start_new_thread(script, (framework, client().models.list))
    until_seen(seen)
    assert seen[0].call_site == f"{Path('site-packages', 'framework.py')}:3 in ask"


def test_code_that_a_package_generates_is_the_packages(
    seen: list[opg.Verdict], tmp_path: Path
) -> None:
    """As dataclasses do, and whatever makes its functions from a signature."""
    framework = installed(tmp_path, "framework", ASK)
    exec(compile(ASK, "<string>", "exec"), generated := {**framework})
    _thread.start_new_thread(generated["ask"], (framework["ask"], client().models.list))
    until_seen(seen)
    assert seen[0].call_site == f"{Path('site-packages', 'framework.py')}:3 in ask"


def test_in_a_frozen_program_the_standard_library_is_not_the_application(
    seen: list[opg.Verdict],
) -> None:
    """There every file has a relative name."""
    program = module_at(Path("program.py"), "program", ASK)["ask"]
    library = module_at(Path("contextlib.py"), "contextlib", ASK)["ask"]
    program(library, client().models.list)
    assert seen[0].call_site == "program.py:3 in ask"


@pytest.mark.parametrize("loop", ["asyncio.events", "asyncio.runners", "uvloop", "trio._core._run"])
def test_whoever_runs_a_loop_is_the_nearest_that_is_known_of_what_runs_in_it(
    loop: str, seen: list[opg.Verdict], tmp_path: Path
) -> None:
    installed(tmp_path, loop, ASK)["ask"](client().models.list)  # runs a loop
    here = "test_whoever_runs_a_loop_is_the_nearest_that_is_known_of_what_runs_in_it"
    assert seen[0].call_site == line_of("runs a loop", here) + " (nearest known)"


def test_a_call_that_only_the_sdk_makes_has_no_line(seen: list[opg.Verdict]) -> None:
    _thread.start_new_thread(client().models.list, ())
    until_seen(seen)
    assert seen[0].reason == "mismatch"
    assert seen[0].call_site is None


def test_of_what_runs_as_the_process_ends_the_innermost_is_named(
    tmp_path: Path, clean: pytest.MonkeyPatch
) -> None:
    """There is no other line on the stack, and nobody waits."""
    said = output(
        f"""
import atexit, contextlib, pathlib
import openai_project_guard as opg, call_sites, support
opg.enable("warn", registry=support.KEYS)
opg.add_observer(lambda verdict: print(verdict.call_site))
stack = contextlib.ExitStack()
stack.callback(call_sites.client().models.list)
atexit.register(stack.close)
ask = call_sites.installed(pathlib.Path({str(tmp_path)!r}), "framework", {ASK!r})["ask"]
atexit.register(ask, call_sites.client().models.list)
"""
    )
    framework, standard = said.splitlines()
    assert framework == f"{Path('site-packages', 'framework.py')}:3 in ask"
    assert standard.startswith(str(Path(contextlib.__file__)))
    assert standard.endswith(" (nearest known)")


def test_a_path_below_the_current_directory_is_said_from_there(
    seen: list[opg.Verdict], clean: pytest.MonkeyPatch
) -> None:
    clean.chdir(Path(FILE).parent)
    plainly()
    assert seen[0].call_site == line_of("plainly", "plainly").replace(FILE, Path(FILE).name)


def test_a_line_keeps_its_name_when_the_directory_changes(
    seen: list[opg.Verdict], clean: pytest.MonkeyPatch
) -> None:
    for folder in (Path(FILE).parent, Path(FILE).anchor):
        clean.chdir(folder)
        plainly()
    assert seen[0].call_site == seen[1].call_site


@pytest.mark.skipif(sys.platform == "win32", reason="a directory in use cannot be removed")
def test_where_the_directory_was_removed_every_path_is_said_in_full(
    seen: list[opg.Verdict], clean: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    gone = tmp_path / "gone"
    gone.mkdir()
    clean.chdir(gone)
    gone.rmdir()
    plainly()
    assert seen[0].call_site == line_of("plainly", "plainly")


def test_below_the_root_every_path_is_said_in_full(
    seen: list[opg.Verdict], clean: pytest.MonkeyPatch
) -> None:
    clean.chdir(Path(FILE).anchor)
    plainly()
    assert seen[0].call_site == line_of("plainly", "plainly")


# --- the line on which the client was built -------------------------------------------------------


class Tenant(openai.OpenAI):
    def __init__(self, **options: Any) -> None:
        options.setdefault("api_key", A)
        super().__init__(**options)


def over(sent: Recorder) -> Any:
    return http.Client(transport=http.MockTransport(sent))


def test_a_client_names_each_step_in_which_it_was_built(seen: list[opg.Verdict]) -> None:
    here = "test_a_client_names_each_step_in_which_it_was_built"
    sent = over(Recorder())
    first = openai.OpenAI(api_key=A, project="proj_b", http_client=sent)  # built
    second = first.with_options(timeout=3)  # derived
    third = second.copy(timeout=4)  # copied
    for each in (first, second, third):
        each.models.list()
    built, derived, copied = (line_of(mark, here) for mark in ("built", "derived", "copied"))
    assert [verdict.client_site for verdict in seen] == [
        built,
        f"{built}, then with_options at {derived}",
        f"{built}, then with_options at {derived}, then copy at {copied}",
    ]


def test_a_step_is_called_by_the_name_on_its_line(seen: list[opg.Verdict]) -> None:
    """Both names are one method; where neither is there, it is `with_options()`."""
    here = "test_a_step_is_called_by_the_name_on_its_line"
    headers = {"a": "b"}
    client().with_options(default_headers=headers.copy()).models.list()  # named
    derive = client().copy
    derive(timeout=1).models.list()  # unnamed
    steps = [str(verdict.client_site).partition(", then ")[2] for verdict in seen]
    assert steps == [
        f"with_options at {line_of('named', here)}",
        f"with_options at {line_of('unnamed', here)}",
    ]


def test_a_client_that_is_derived_for_each_call_is_looked_for_once(
    seen: list[opg.Verdict], clean: pytest.MonkeyPatch
) -> None:
    here = "test_a_client_that_is_derived_for_each_call_is_looked_for_once"
    looked_at: list[str] = []
    instructions = dis.get_instructions

    def look(code: Any, **options: Any) -> Any:
        looked_at.append(code.co_name)
        return instructions(code, **options)

    clean.setattr(dis, "get_instructions", look)
    first = client()
    for _ in range(3):
        first.copy(timeout=1).models.list()  # for each call
    assert str(seen[2].client_site).endswith(f", then copy at {line_of('for each call', here)}")
    assert looked_at.count(here) == 1


def test_of_a_long_chain_of_clients_the_first_and_the_last_steps_are_named(
    seen: list[opg.Verdict],
) -> None:
    here = "test_of_a_long_chain_of_clients_the_first_and_the_last_steps_are_named"
    derived = client().with_options(timeout=1)  # second
    for seconds in range(20):
        derived = derived.with_options(timeout=seconds)  # others
        if seconds >= 16:
            derived.models.list()
    for verdict in seen:
        first, *others = str(verdict.client_site).split(", then ")
        assert first.endswith(" in sync_client")
        assert others == [f"with_options at {line_of('others', here)}"] * 7


def test_a_subclass_is_built_where_it_is_called(seen: list[opg.Verdict]) -> None:
    here = "test_a_subclass_is_built_where_it_is_called"
    tenant = Tenant(project="proj_b", http_client=over(Recorder()))  # tenant
    tenant.with_options(timeout=3).models.list()  # of tenant
    assert seen[0].client_site == (
        f"{line_of('tenant', here)}, then with_options at {line_of('of tenant', here)}"
    )


class Two(Tenant):
    """Makes a client beside itself."""

    def __init__(self, **options: Any) -> None:
        super().__init__(**options)
        sent = over(Recorder())
        self.other = openai.OpenAI(api_key=A, project="proj_b", http_client=sent)  # beside


def test_a_client_that_another_makes_beside_itself_is_built_there(seen: list[opg.Verdict]) -> None:
    Two(http_client=over(Recorder())).with_options(timeout=3).other.models.list()
    assert seen[0].client_site == line_of("beside", "__init__")


def test_a_function_that_is_called_like_a_constructor_is_none(seen: list[opg.Verdict]) -> None:
    def __init__() -> openai.OpenAI:  # noqa: N807
        return Tenant(project="proj_b", http_client=over(Recorder()))  # like a constructor

    __init__().models.list()
    assert seen[0].client_site == line_of("like a constructor", "__init__")


NOT_SEEN = "a place not seen (before the guard was enabled, or by copy.copy() or pickle)"


def test_a_client_from_before_the_guard_says_so(clean: pytest.MonkeyPatch) -> None:
    old = client()
    opg.enable(registry={"proj_a": A})
    with pytest.raises(opg.ProjectMismatchError) as refused:
        old.models.list()
    assert refused.value.verdict.client_site == NOT_SEEN
    assert f"; the client was built at {NOT_SEEN}." in str(refused.value)
    with pytest.raises(opg.ProjectMismatchError) as refused:
        old.with_options(timeout=1).models.list()
    assert str(refused.value.verdict.client_site).startswith(f"{NOT_SEEN}, then with_options at ")


def test_a_client_that_is_built_between_two_scopes_is_known_in_the_second(
    clean: pytest.MonkeyPatch,
) -> None:
    here = "test_a_client_that_is_built_between_two_scopes_is_known_in_the_second"
    opg.register(A, "proj_a")
    with opg.guard():
        pass
    between = Tenant(project="proj_b", http_client=over(Recorder()))  # between
    with opg.guard(), pytest.raises(opg.ProjectMismatchError) as refused:
        between.models.list()
    assert refused.value.verdict.client_site == line_of("between", here)


def test_a_client_of_the_sdks_base_class_is_built_where_that_is_called(
    clean: pytest.MonkeyPatch,
) -> None:
    opg.enable(registry={"proj_a": A})
    options: dict[str, Any] = {"max_retries": 0, "timeout": 1, "_strict_response_validation": True}
    url = "https://api.openai.com/v1"
    base = openai._base_client.SyncAPIClient
    bare = base(version="0", base_url=url, http_client=over(Recorder()), **options)  # bare
    assert str(client_site.site_of(bare)) == line_of(
        "bare", "test_a_client_of_the_sdks_base_class_is_built_where_that_is_called"
    )


def test_a_client_that_cannot_be_noted_is_built_all_the_same(clean: pytest.MonkeyPatch) -> None:
    opg.enable(registry={"proj_a": A})
    clean.setattr(client_site, "_site", None)
    with pytest.raises(opg.ProjectMismatchError) as refused:
        client().models.list()
    assert refused.value.verdict.client_site == NOT_SEEN


class Pickled(Tenant):
    """The SDK's clients cannot be pickled: an application says how its own is made again."""

    def __reduce__(self) -> Any:
        return tenant_again, ()


class Restored(Pickled):
    def __reduce__(self) -> Any:
        return copyreg.__newobj__, (Restored,), {}  # type: ignore[attr-defined]

    def __setstate__(self, state: dict[str, Any]) -> None:
        vars(self).update(vars(client()))


def tenant_again() -> Tenant:
    return Tenant(project="proj_b", http_client=over(Recorder()))  # again


needs_resources_of_its_own = pytest.mark.skipif(
    not hasattr(openai.OpenAI, "models"), reason="a copy's resources go on using the first client"
)


@needs_resources_of_its_own
def test_a_client_that_is_unpickled_is_built_where_that_makes_it(seen: list[opg.Verdict]) -> None:
    for kind in (Pickled, Restored):
        pickle.loads(
            pickle.dumps(kind(project="proj_b", http_client=over(Recorder())))
        ).models.list()
    assert [verdict.client_site for verdict in seen] == [
        line_of("again", "tenant_again"),
        NOT_SEEN,
    ]


@needs_resources_of_its_own
def test_a_copied_client_is_not_taken_for_the_first(
    seen: list[opg.Verdict], caplog: pytest.LogCaptureFixture
) -> None:
    copy.copy(client()).models.list()
    assert seen[0].client_site == NOT_SEEN
    assert f"; the client was built at {NOT_SEEN};" in caplog.text


def test_the_module_level_client_is_built_where_it_is_first_used(clean: pytest.MonkeyPatch) -> None:
    said = output(
        """
import openai, support
import openai_project_guard as opg
opg.enable("warn", registry=support.KEYS)
opg.add_observer(lambda verdict: print(verdict.call_site, verdict.client_site, sep="; "))
openai.api_key, openai.project = support.A, "proj_b"
openai.http_client = support.http.Client(transport=support.http.MockTransport(support.Recorder()))
openai.models.list()
"""
    )
    assert said == "<string>:8 in <module>; <string>:8 in <module>"


def test_nothing_of_ours_is_kept_on_a_client_or_keeps_it(clean: pytest.MonkeyPatch) -> None:
    before = vars(client()).keys()
    init = vars(openai._base_client.SyncAPIClient)["__init__"]
    opg.enable(registry={"proj_a": A})
    signature = inspect.signature(openai._base_client.SyncAPIClient.__init__)
    one = client()
    assert vars(one).keys() == before
    gone = weakref.ref(one)
    del one
    gc.collect()
    assert gone() is None
    assert all(reference() is not None for reference, _ in client_site._sites.values())
    opg.disable()
    assert vars(openai._base_client.SyncAPIClient)["__init__"] is init
    assert inspect.signature(init) == signature


def test_a_constructor_that_raises_leaves_no_key_in_our_frames(clean: pytest.MonkeyPatch) -> None:
    opg.enable(registry={"proj_a": A})
    with pytest.raises((TypeError, AttributeError)) as failed:  # by the release
        openai.OpenAI(api_key=A, http_client=A)  # type: ignore[arg-type]
    assert not support.frames_holding(failed.value, A)


# --- what says it -------------------------------------------------------------------------------


def test_a_refusal_says_both_places_before_it_says_that_nothing_was_sent(
    seen: list[opg.Verdict],
) -> None:
    opg.enable(registry={"proj_a": A})
    with pytest.raises(opg.ProjectMismatchError) as refused:
        plainly()
    lines = str(refused.value).splitlines()
    verdict = refused.value.verdict
    assert lines[3:5] == [
        f"Called at {verdict.call_site}; the client was built at {verdict.client_site}.",
        "Nothing was sent.",
    ]
    assert pickle.loads(pickle.dumps(refused.value)).verdict == verdict


def test_a_log_record_points_at_the_caller(
    seen: list[opg.Verdict], caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO, logger="openai_project_guard")
    plainly()
    (record,) = [each for each in caplog.records if hasattr(each, "verdict")]
    assert f"{record.pathname}:{record.lineno} in {record.funcName}" == line_of(
        "plainly", "plainly"
    )
    assert record.verdict == seen[0]
    assert seen[0].call_site is not None
    assert f"called at {seen[0].call_site}; the client was built at " in record.getMessage()


def test_identical_verdicts_are_told_apart_by_their_call_site(
    seen: list[opg.Verdict], caplog: pytest.LogCaptureFixture
) -> None:
    one = client()
    one.models.list()
    one.models.list()
    assert len([each for each in caplog.records if hasattr(each, "verdict")]) == 2


def test_a_plain_allowed_verdict_has_neither(seen: list[opg.Verdict]) -> None:
    sync_client(Recorder(), project="proj_a").models.list()
    (verdict,) = seen
    assert (verdict.call_site, verdict.client_site, verdict.origin) == (None, None, None)


def test_counts_come_by_themselves_though_nobody_calls(clean: pytest.MonkeyPatch) -> None:
    said = output(
        """
import logging, sys, time
logging.basicConfig(stream=sys.stdout, format="%(message)s")
import openai_project_guard as opg, support
from openai_project_guard._check import log
log.MINUTE = 0.2
opg.enable("warn", registry=support.KEYS)
client = support.sync_client(support.Recorder(), project="proj_b")
for _ in range(4):
    support.chat(client)
end = time.monotonic() + 30
class Watch(logging.Handler):
    found = False
    def emit(self, record):
        self.found = self.found or "more)" in record.getMessage()
watch = Watch()
log.logger.addHandler(watch)
while not watch.found and time.monotonic() < end:
    time.sleep(0.02)
print("came", watch.found)
"""
    )
    assert "came True" in said.splitlines()  # what the thread prints may come after it


@pytest.mark.skipif(sys.platform == "win32", reason="no such signal")
@pytest.mark.parametrize("handled", [False, True])
@pytest.mark.parametrize("began_in_thread", [False, True])
def test_counts_that_wait_are_logged_at_sigterm(
    handled: bool, began_in_thread: bool, clean: pytest.MonkeyPatch
) -> None:
    own = "signal.signal(signal.SIGTERM, lambda *_: (print('own'), sys.exit(3)))"
    run = support.python(
        f"""
import logging, os, signal, sys, threading, time
logging.basicConfig(stream=sys.stdout, format="%(message)s")
import openai_project_guard as opg, support
{own if handled else ""}
opg.enable("warn", registry=support.KEYS)
client = support.sync_client(support.Recorder(), project="proj_b")
def call():
    support.chat(client)
if {began_in_thread}:
    for _ in range(2):
        thread = threading.Thread(target=call)
        thread.start()
        thread.join()
    for _ in range(2):
        call()
else:
    for _ in range(4):
        call()
sys.stdout.flush()
os.kill(os.getpid(), signal.SIGTERM)
time.sleep(30)
"""
    )
    assert "(and 3 more)" in run.stdout
    assert ("own" in run.stdout) == handled
    assert run.returncode == (3 if handled else -15)


WARNED_TWICE = """
import logging, os, signal, sys, threading, time
import openai_project_guard as opg, support
opg.enable("warn", registry=support.KEYS)
client = support.sync_client(support.Recorder(), project="proj_b")
for _ in range(2):
    support.chat(client)
assert signal.getsignal(signal.SIGTERM) is not signal.SIG_DFL
"""


@pytest.mark.skipif(not hasattr(os, "fork"), reason="this system has no fork()")
def test_a_forked_child_ends_at_sigterm_as_it_always_did() -> None:
    """What is forked may be in the midst of a long call in C, where no handler runs."""
    run = support.python(
        WARNED_TWICE
        + """
child = os.fork()
if not child:
    os._exit(signal.getsignal(signal.SIGTERM) is not signal.SIG_DFL)
sys.exit(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]))
"""
    )
    assert run.returncode == 0, run.stderr


@pytest.mark.skipif(sys.platform == "win32", reason="no such signal")
def test_a_sigterm_amid_a_log_handlers_own_lock_ends_the_process() -> None:
    run = support.python(
        WARNED_TWICE
        + """
lock = threading.Lock()
class Queue(logging.Handler):
    def emit(self, record):
        with lock:
            pass
logging.getLogger().addHandler(Queue())
with lock:
    os.kill(os.getpid(), signal.SIGTERM)
    time.sleep(30)
"""
    )
    assert run.returncode == -15


def test_the_start_says_by_what_calls_are_judged(
    clean: pytest.MonkeyPatch, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO, logger="openai_project_guard")
    path = support.write_registry(tmp_path / "keys.toml", a=f"proj_a:{A}", b=f"proj_b:{B}")
    opg.enable("warn", registry=path, project="proj_a")
    (record,) = caplog.records
    assert record.levelname == "INFO"
    assert record.getMessage().startswith(
        f"Started: mode warn, pinned to proj_a, registry {path}, 2 keys of 2 projects, "
        "openai-project-guard "
    )
    assert record.getMessage().endswith(f", openai {openai.__version__}.")


def test_the_start_names_a_registry_that_is_no_file_too(
    clean: pytest.MonkeyPatch, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO, logger="openai_project_guard")
    path = support.write_registry(tmp_path / "keys.toml", a=f"proj_a:{A}")
    clean.setenv("OPENAI_PROJECT_GUARD_KEYS", f"proj_b={support.fingerprint(B)}")
    opg.enable()
    clean.setenv("OPENAI_PROJECT_GUARD_REGISTRY", str(path))
    opg.enable()
    opg.enable(registry={"proj_a": A})
    opg.enable(registry={})
    inline = "the environment variable OPENAI_PROJECT_GUARD_KEYS"
    said = [
        re.findall(r", registry (.*), \d+ keys of", each.getMessage()) for each in caplog.records
    ]
    assert said == [
        [inline],
        [f"{path}, {inline}"],
        ["the mapping given to enable(registry=...)"],
        ["in memory"],
    ]


def test_the_start_counts_a_key_of_two_registries_once(
    clean: pytest.MonkeyPatch, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO, logger="openai_project_guard")
    path = support.write_registry(tmp_path / "keys.toml", a=f"proj_a:{A}")
    clean.setenv("OPENAI_PROJECT_GUARD_REGISTRY", str(path))
    clean.setenv("OPENAI_PROJECT_GUARD_KEYS", f"proj_a={support.fingerprint(A)}")
    opg.enable()
    assert ", 1 keys of 1 projects, " in caplog.text


def test_scopes_say_so_too_where_the_guard_is_not_enabled(
    clean: pytest.MonkeyPatch, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO, logger="openai_project_guard")
    path = support.write_registry(tmp_path / "keys.toml", a=f"proj_a:{A}")
    clean.setenv("OPENAI_PROJECT_GUARD_REGISTRY", str(path))
    for _ in range(2):
        with opg.guard(project="proj_a"):
            pass
    (record,) = caplog.records
    assert record.levelname == "INFO"
    assert record.getMessage().startswith(
        f"Started in guard scopes alone: mode enforce, pinned to no project, registry {path}, 1 "
        "keys of 1 projects, "
    )


def test_a_reload_is_one_record(
    clean: pytest.MonkeyPatch, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    path = support.write_registry(tmp_path / "keys.toml", a=f"proj_a:{A}")
    opg.enable(registry=path)
    one = sync_client(Recorder(), project="proj_b", api_key=B)
    caplog.set_level(logging.INFO, logger="openai_project_guard")
    with pytest.raises(opg.UnregisteredKeyError):
        one.models.list()
    caplog.clear()
    support.write_registry(path, a=f"proj_a:{A}", b=f"proj_b:{B}")
    reloads: list[logging.LogRecord] = []
    end = time.monotonic() + 30
    # It is looked at again within a second, and the thread that reads it logs that afterwards.
    while not reloads and time.monotonic() < end:
        with suppress(opg.UnregisteredKeyError):
            one.models.list()
        reloads = [each for each in caplog.records if not hasattr(each, "verdict")]
        time.sleep(0.05)
    one.models.list()
    time.sleep(0.1)
    (record,) = [each for each in caplog.records if not hasattr(each, "verdict")]
    assert record.levelname == "INFO"
    assert record.getMessage() == f"{path}: reloaded, 2 keys are registered there."


@pytest.mark.parametrize("shell", [None, object(), SimpleNamespace(compile=object())])
def test_a_shell_that_names_no_cells_is_shown_the_file(
    shell: Any, seen: list[opg.Verdict], clean: pytest.MonkeyPatch
) -> None:
    """Before IPython 8.7 it does not, and neither do other programs that have its `get_ipython`."""
    clean.setitem(sys.modules, "IPython", SimpleNamespace(get_ipython=lambda: shell))
    client().models.list()
    (verdict,) = seen
    assert verdict.reason == "mismatch"
    assert str(verdict.call_site).startswith(f"{FILE}:")


def test_a_shell_names_its_cells_and_nothing_else(
    seen: list[opg.Verdict], clean: pytest.MonkeyPatch
) -> None:
    cell = str(Path(FILE).with_name("cell.py"))
    names = {cell: ("Cell", "In[3]")}
    shell = SimpleNamespace(compile=SimpleNamespace(format_code_name=names.get))
    clean.setitem(sys.modules, "IPython", SimpleNamespace(get_ipython=lambda: shell))
    module_at(Path(cell), "__main__", ASK)["ask"](client().models.list)
    plainly()
    assert [verdict.call_site for verdict in seen] == [
        "Cell In[3]:3 in ask",
        line_of("plainly", "plainly"),
    ]
