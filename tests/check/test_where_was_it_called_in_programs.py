"""Do servers, task queues, notebooks and frozen programs show the application's own lines, too?"""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
from machine import needs

import openai_project_guard as opg

PLACES = [Path(opg.__file__).parents[1], Path(__file__).parents[1]]
BEGIN = """
import asyncio
import os
import threading

import openai

import openai_project_guard as opg
import support

opg.enable("warn", registry=support.KEYS)
opg.add_observer(lambda verdict: print(verdict.call_site, flush=True))
client = support.sync_client(support.Recorder(), project="proj_b")
aclient = support.async_client(support.Recorder(), project="proj_b")
"""

pytestmark = [
    pytest.mark.sdk,
    pytest.mark.filterwarnings("default"),
]


def environment() -> dict[str, str]:
    inherited = {
        name: value
        for name, value in os.environ.items()
        if not name.startswith(("OPENAI_", "PYTEST_", "COV_"))
    }
    return {**inherited, "PYTHONPATH": os.pathsep.join(map(str, PLACES))}


def run(folder: Path, code: str) -> list[str]:
    """The call sites that a program prints."""
    path = folder / "program.py"
    path.write_text(BEGIN + code, encoding="utf-8")
    return lines_of([sys.executable, str(path)], folder)


def lines_of(command: list[str], folder: Path, seconds: int = 120) -> list[str]:
    done = subprocess.run(
        command,
        cwd=folder,
        env=environment(),
        capture_output=True,
        text=True,
        timeout=seconds,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout.splitlines()


def marked(folder: Path, name: str = "program.py") -> list[str]:
    """The places of the lines that end in a comment, in order: it names the function."""
    return [
        f"{name}:{number} in {line.rpartition('  # ')[2]}"
        for number, line in enumerate((folder / name).read_text("utf-8").splitlines(), 1)
        if "  # " in line
    ]


WEB = """
import time
from urllib.request import urlopen

import uvicorn
from starlette.background import BackgroundTask
from starlette.concurrency import run_in_threadpool
from starlette.middleware.base import BaseHTTPMiddleware
from starlette.responses import PlainTextResponse, StreamingResponse


def plain():
    client.models.list()  # plain
    return PlainTextResponse("done")


async def awaiting():
    await aclient.models.list()  # awaiting
    return PlainTextResponse("done")


async def gathering():
    await asyncio.gather(support.chat(aclient), support.chat(aclient))  # gathering
    return PlainTextResponse("done")


async def in_a_thread():
    await run_in_threadpool(client.models.list)  # in_a_thread
    return PlainTextResponse("done")


async def streaming():
    def parts():
        client.models.list()  # parts
        yield "done"

    return StreamingResponse(parts())


async def in_the_background():
    def work():
        client.models.list()  # work

    return PlainTextResponse("done", background=BackgroundTask(work))


class Middleware(BaseHTTPMiddleware):
    async def dispatch(self, request, call_next):
        await aclient.models.list()  # dispatch
        return await call_next(request)


ENDPOINTS = [plain, awaiting, gathering, in_a_thread, streaming, in_the_background]


def serve(app):
    server = uvicorn.Server(uvicorn.Config(app, port=0, log_level="error"))
    thread = threading.Thread(target=server.run)
    thread.start()
    while not server.started:
        time.sleep(0.01)
    port = server.servers[0].sockets[0].getsockname()[1]
    for endpoint in ENDPOINTS:
        urlopen(f"http://127.0.0.1:{port}/{endpoint.__name__}").read()
    server.should_exit = True
    thread.join()
"""
FASTAPI = """
from fastapi import FastAPI

app = FastAPI()
for endpoint in ENDPOINTS:
    app.get(f"/{endpoint.__name__}")(endpoint)
serve(app)
"""
STARLETTE = """
import functools
from starlette.applications import Starlette
from starlette.middleware import Middleware as Use
from starlette.routing import Route


def without_request(endpoint):
    if asyncio.iscoroutinefunction(endpoint):
        async def call(request):
            return await endpoint()
    else:
        def call(request):
            return endpoint()
    return call


routes = [Route(f"/{each.__name__}", without_request(each)) for each in ENDPOINTS]
serve(Starlette(routes=routes, middleware=[Use(Middleware)]))
"""


@needs("fastapi", "uvicorn")
@pytest.mark.parametrize("framework", [FASTAPI, STARLETTE], ids=["fastapi", "starlette"])
def test_endpoints_of_a_web_service(tmp_path: Path, framework: str) -> None:
    sites = run(tmp_path, WEB + framework)
    places = {place.rpartition(" ")[2]: place for place in marked(tmp_path)}
    before = places.pop("dispatch")
    gathering = places["gathering"]
    expected = [each for place in places.values() for each in [place] * (1 + (place == gathering))]
    assert [site for site in sites if site != before] == expected
    assert sites.count(before) == (0 if framework is FASTAPI else 6)


CELERY = """
from celery import Celery, Task, group, shared_task
from celery.contrib.testing.worker import start_worker

app = Celery("program", broker="memory://", backend="cache+memory://")


@app.task
def plain():
    client.models.list()  # plain


@app.task(bind=True, max_retries=1, default_retry_delay=0)
def retried(self):
    client.models.list()  # retried
    if not self.request.retries:
        raise self.retry()


@shared_task
def shared():
    asyncio.run(asking())


async def asking():
    await asyncio.gather(support.chat(aclient))  # asking


class OfAClass(Task):
    name = "of a class"

    def run(self):
        client.models.list()  # run


of_a_class = app.register_task(OfAClass())
TASKS = [plain, retried, shared, of_a_class]
for pool in ("solo", "threads"):
    with start_worker(app, pool=pool, perform_ping_check=False, shutdown_timeout=30):
        for task in TASKS:
            task.delay().get(timeout=30)
for task in TASKS:
    task.apply()
"""


@needs("celery")
def test_tasks_of_celery(tmp_path: Path) -> None:
    sites = run(tmp_path, CELERY)
    plain, retried, asking, of_a_class = marked(tmp_path)
    assert sites == [plain, retried, retried, asking, of_a_class] * 3


UVLOOP = """
import uvloop


async def within(start):
    task = asyncio.get_running_loop().create_task(support.chat(aclient))
    await start(task)  # within


uvloop.run(within(asyncio.shield))
uvloop.install()
asyncio.run(within(asyncio.shield))
"""


@needs("uvloop")
def test_a_task_of_uvloop_is_left_where_it_begins(tmp_path: Path) -> None:
    """Its loop has no frames: outside of a task are those of whoever runs the loop."""
    assert run(tmp_path, UVLOOP) == marked(tmp_path) * 2


TRIO = """
import trio


async def main():
    await support.chat(aclient)  # main
    async with trio.open_nursery() as nursery:
        nursery.start_soon(support.chat, aclient)


trio.run(main)  # <module>
"""


@needs("trio")
def test_a_task_of_trio_is_left_where_it_begins(tmp_path: Path) -> None:
    """It does not say who waits for it."""
    sites = run(tmp_path, TRIO)
    awaiting, running = marked(tmp_path)
    assert sites == [awaiting, f"{running} (nearest known)"]


NOTEBOOK = """
from jupyter_client.manager import start_new_kernel


def show(message):
    if message["msg_type"] == "stream":
        print(message["content"]["text"], end="")


manager, kernel = start_new_kernel(kernel_name="python3")
for cell in (
    BEGIN,
    "def ask():\\n    client.models.list()",
    "one = 1\\nask()\\nclient.models.list()",
    "await asyncio.gather(support.chat(aclient))",
    "cell = client.with_options(timeout=1)\\n"
    "try:\\n    opg.enable(registry=support.KEYS)\\n    cell.models.list()\\n"
    "except opg.ProjectGuardError as refused:\\n    print(str(refused).splitlines()[3])",
):
    kernel.execute_interactive(cell, timeout=50, output_hook=show)
kernel.stop_channels()
manager.shutdown_kernel(now=True)
"""


@needs("ipykernel", "jupyter_client")
def test_cells_of_a_notebook_are_named_as_jupyter_names_them(tmp_path: Path) -> None:
    path = tmp_path / "program.py"
    path.write_text(f"BEGIN = {BEGIN!r}\n{NOTEBOOK}", encoding="utf-8")
    sites = lines_of([sys.executable, str(path)], tmp_path)
    sites = [site for site in sites if ", key sk-proj-" not in site]  # what was logged
    assert sites[:3] == [
        "Cell In[2]:2 in ask",
        "Cell In[3]:3 in <module>",
        "Cell In[4]:1 in <module>",
    ]
    assert sites[3] == "Cell In[5]:4 in <module>"
    assert sites[4].startswith("Called at Cell In[5]:4 in <module>; the client was built at ")
    assert sites[4].endswith(", then with_options at Cell In[5]:1 in <module>.")


FROZEN = """
import httpx
import openai

import openai_project_guard as opg
from openai_project_guard.loopback import loopback_api

A, B = "sk-proj-not-a-real-key-of-project-a-AAAA", "sk-proj-not-a-real-key-of-project-b-BBBB"


def plain(client):
    client.models.list()  # plain


def socket(client):
    with client.realtime.connect(model="m"):  # socket
        pass


def around_the_sdk(base_url):
    key = {"Authorization": f"Bearer {A}", "OpenAI-Project": "proj_b"}
    httpx.get(base_url + "/models", headers=key)  # around_the_sdk


def main():
    opg.add_observer(lambda verdict: print(verdict.outcome, verdict.transport, verdict.call_site))
    with loopback_api({A: "proj_a", B: "proj_b"}) as api:
        opg.enable(registry={"proj_a": A, "proj_b": B}, hosts=["127.0.0.1"], scope="process")
        for project in ("proj_a", "proj_b"):
            client = openai.OpenAI(api_key=A, project=project, base_url=api.base_url)  # main
            for call in (plain, socket):
                try:
                    call(client)
                except opg.ProjectMismatchError as error:
                    print(error.verdict.client_site)
        try:
            around_the_sdk(api.base_url)
        except opg.ProjectMismatchError as error:
            print(str(error).splitlines()[3])
        print(opg.is_enabled(), [line.path for line in api.ledger])


main()
"""


@needs("PyInstaller", "httpx", "openai.resources.realtime")
def test_a_frozen_program_is_guarded_and_names_its_lines(tmp_path: Path) -> None:
    (tmp_path / "program.py").write_text(FROZEN, encoding="utf-8")
    places = [part for path in PLACES[:1] for part in ("--paths", str(path))]
    build = [sys.executable, "-m", "PyInstaller", "--noconfirm", "--log-level", "ERROR", *places]
    lines_of([*build, "program.py"], tmp_path, seconds=1200)
    plain, socket, around, built = marked(tmp_path)
    assert lines_of([str(tmp_path / "dist" / "program" / "program")], tmp_path) == [
        "allowed http None",
        "allowed websocket None",
        f"blocked http {plain}",
        built,
        f"blocked websocket {socket}",
        built,
        f"blocked http {around}",
        f"Called at {around}.",
        "True ['/v1/models', '/v1/realtime']",
    ]
