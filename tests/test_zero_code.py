"""Does the guard reach an application that never heard of it: AUTOWRAPT_BOOTSTRAP and nothing else?

These tests need the package installed, with the entry points by which `autowrapt` finds it.
"""

from __future__ import annotations

import os
import socket
import subprocess
import sys
import textwrap
import time
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from importlib.metadata import entry_points
from importlib.util import find_spec
from pathlib import Path

import pytest
from support import A, fingerprint

from openai_project_guard.loopback import LoopbackAPI, loopback_api

GROUP = "openai_project_guard"
PATIENCE = 60.0  # seconds for a server to start on a busy machine

pytestmark = [
    pytest.mark.skipif(find_spec("autowrapt") is None, reason="autowrapt is not installed"),
    pytest.mark.skipif(
        not entry_points(group=GROUP, name="openai"),
        reason="the package is not installed with its entry points",
    ),
]

APPLICATION = """
import os
import sys

import openai


def call(project):
    try:
        with openai.OpenAI(api_key=os.environ["SOME_KEY"], project=project) as client:
            client.models.list()
    except Exception as error:
        return type(error).__name__
    return "answered"


if __name__ == "__main__":
    print(*map(call, sys.argv[1:]))
"""
REFUSED = "ProjectMismatchError"


def needs(name: str) -> pytest.MarkDecorator:
    return pytest.mark.skipif(find_spec(name) is None, reason=f"{name} is not installed")


class Machine:
    """A directory with the application, and the processes that are started in it."""

    def __init__(self, directory: Path, api: LoopbackAPI) -> None:
        self.directory = directory
        self.api = api
        self.write("application.py", APPLICATION)
        inherited = {
            name: value
            for name, value in os.environ.items()
            if not name.startswith(("OPENAI_", "PYTEST_", "COV_"))
            and name not in ("PYTHONPATH", "AUTOWRAPT_BOOTSTRAP")  # the installed package it is
        }
        self.environment = {
            **inherited,
            "AUTOWRAPT_BOOTSTRAP": GROUP,
            "OPENAI_PROJECT_GUARD": "enforce",
            "OPENAI_PROJECT_GUARD_KEYS": f"proj_a={fingerprint(A)}",
            "OPENAI_BASE_URL": api.base_url,
            "SOME_KEY": A,
            "XDG_CONFIG_HOME": str(directory),
        }

    def write(self, name: str, code: str) -> None:
        (self.directory / name).write_text(textwrap.dedent(code), encoding="utf-8")

    def python(self, *arguments: str, **variables: str) -> subprocess.CompletedProcess[str]:
        """Runs Python to its end."""
        return subprocess.run(
            [sys.executable, *arguments],
            cwd=self.directory,
            env={**self.environment, **variables},
            capture_output=True,
            text=True,
            timeout=PATIENCE,
            check=False,
        )

    def output(self, *arguments: str) -> str:
        """What it prints; it must end well."""
        run = self.python(*arguments)
        assert run.returncode == 0, run.stdout + run.stderr
        return run.stdout

    @contextmanager
    def running(self, *arguments: str) -> Iterator[None]:
        """Runs Python, a server of some kind, beside the test."""
        log = self.directory / "server.log"
        with log.open("w") as output:
            server = subprocess.Popen(
                [sys.executable, *arguments],
                cwd=self.directory,
                env=self.environment,
                stdout=output,
                stderr=subprocess.STDOUT,
            )
            try:
                yield
            except BaseException:
                sys.stdout.write(log.read_text())  # shown if the test fails
                raise
            finally:
                server.terminate()
                server.wait(PATIENCE)

    def assert_only_right_calls_arrived(self) -> None:
        arrived = [line.project_header for line in self.api.ledger]
        assert arrived
        assert set(arrived) == {"proj_a"}


@pytest.fixture
def machine(tmp_path: Path) -> Iterator[Machine]:
    with loopback_api({A: "proj_a"}) as api:
        machine = Machine(tmp_path, api)
        yield machine
        machine.assert_only_right_calls_arrived()


def free_port() -> int:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        port: int = listener.getsockname()[1]
        return port


def get(port: int, path: str) -> str:
    """What a server answers, once it is up."""
    deadline = time.monotonic() + PATIENCE
    while True:
        try:
            with urllib.request.urlopen(f"http://127.0.0.1:{port}/{path}", timeout=10) as answer:
                return str(answer.read().decode())
        except OSError:  # noqa: PERF203 - it is not up yet, or is just starting anew
            if time.monotonic() > deadline:
                raise
            time.sleep(0.1)


def wait_until(is_so: Callable[[], bool]) -> None:
    deadline = time.monotonic() + PATIENCE
    while not is_so():
        assert time.monotonic() < deadline
        time.sleep(0.1)


# Programs


def test_a_plain_script(machine: Machine) -> None:
    assert machine.output("application.py", "proj_a", "proj_b").split() == ["answered", REFUSED]


def test_without_the_two_variables_nothing_happens(machine: Machine) -> None:
    for name in ("AUTOWRAPT_BOOTSTRAP", "OPENAI_PROJECT_GUARD"):
        run = machine.python("application.py", "proj_a", **{name: ""})
        assert run.stdout.split() == ["answered"]
    loaded = "import sys; print('openai_project_guard' in sys.modules, 'openai' in sys.modules)"
    without = machine.python("-c", loaded, AUTOWRAPT_BOOTSTRAP="")
    assert without.stdout.split() == ["False", "False"]
    assert machine.output("-c", loaded).split() == ["True", "False"]


@pytest.mark.parametrize(
    ("variable", "said"),
    [
        ("OPENAI_PROJECT_GUARD", "OPENAI_PROJECT_GUARD is 'wrong', which is not understood"),
        ("OPENAI_PROJECT_GUARD_REGISTRY", "wrong: there is no such file"),
    ],
)
def test_a_wrong_setting_stops_the_program_at_its_start(
    machine: Machine, variable: str, said: str
) -> None:
    run = machine.python("application.py", "proj_a", **{variable: "wrong"})
    assert run.returncode != 0
    assert run.stdout == ""
    assert said in run.stderr.splitlines()[-1]
    # Our own command says it in its own way, and is there to mend it.
    assert machine.python("-m", "openai_project_guard", "--help", **{variable: "wrong"}).stdout
    machine.output("application.py", "proj_a")


def test_child_processes(machine: Machine) -> None:
    machine.write(
        "parent.py",
        """
        import multiprocessing, subprocess, sys
        from application import call

        if __name__ == "__main__":
            for method in ("spawn", "fork"):
                with multiprocessing.get_context(method).Pool(1) as pool:
                    print(*pool.map(call, ["proj_a", "proj_b"]), flush=True)
            subprocess.run([sys.executable, "application.py", "proj_a", "proj_b"], check=True)
        """,
    )
    assert machine.output("parent.py").split() == ["answered", REFUSED] * 3


@needs("pytest")
def test_pytest(machine: Machine) -> None:
    machine.write(
        "test_application.py",
        f"""
        from application import call

        def test_it():
            assert [call("proj_a"), call("proj_b")] == ["answered", "{REFUSED}"]
        """,
    )
    assert "1 passed" in machine.output("-m", "pytest", "-q", "-p", "no:cacheprovider")


# Servers


@needs("gunicorn")
@pytest.mark.parametrize("preload", [(), ("--preload",)])
def test_gunicorn_with_workers(machine: Machine, preload: tuple[str, ...]) -> None:
    machine.write(
        "web.py",
        """
        import os
        from application import call

        def app(environ, start_response):
            start_response("200 OK", [("Content-Type", "text/plain")])
            return [f"{os.getpid()} {call(environ['PATH_INFO'][1:])}".encode()]
        """,
    )
    port = free_port()
    address = f"127.0.0.1:{port}"
    with machine.running("-m", "gunicorn", "-w", "2", "-b", address, *preload, "web:app"):
        workers: dict[str, set[str]] = {}

        def is_seen() -> bool:
            for project in ("proj_a", "proj_b"):
                worker, said = get(port, project).split()
                workers.setdefault(worker, set()).add(f"{project} {said}")
            return [len(seen) for seen in workers.values()] == [2, 2]

        wait_until(is_seen)
    for seen in workers.values():
        assert seen == {"proj_a answered", f"proj_b {REFUSED}"}


@needs("uvicorn")
def test_uvicorn_that_reloads(machine: Machine) -> None:
    code = """
        from application import call

        async def app(scope, receive, send):
            if scope["type"] != "http":
                return
            said = f"{{VERSION}} {{call(scope['path'][1:])}}".encode()
            await send({{"type": "http.response.start", "status": 200, "headers": []}})
            await send({{"type": "http.response.body", "body": said}})

        VERSION = "{version}"
    """
    machine.write("web.py", code.format(version="old"))
    port = free_port()
    with machine.running("-m", "uvicorn", "--reload", "--port", str(port), "web:app"):
        assert get(port, "proj_a") == "old answered"
        assert get(port, "proj_b") == f"old {REFUSED}"
        machine.write("web.py", code.format(version="new"))
        wait_until(lambda: get(port, "proj_a") == "new answered")
        assert get(port, "proj_b") == f"new {REFUSED}"


@needs("celery")
def test_celery(machine: Machine) -> None:
    for name in ("broker", "results"):
        (machine.directory / name).mkdir()
    machine.write(
        "tasks.py",
        """
        import pathlib
        from celery import Celery
        from application import call

        here = pathlib.Path(__file__).parent
        app = Celery("tasks", broker="filesystem://", backend=f"file://{here / 'results'}")
        folders = {f"data_folder_{way}": str(here / "broker") for way in ("in", "out")}
        app.conf.broker_transport_options = {
            **folders, "control_folder": str(here / "broker"), "polling_interval": 0.1
        }

        @app.task
        def work(project):
            return call(project)
        """,
    )
    machine.write(
        "client.py",
        """
        from tasks import work

        results = [work.delay(project) for project in ("proj_a", "proj_b")]
        print(*(result.get(timeout=50, interval=0.1) for result in results))
        """,
    )
    with machine.running("-m", "celery", "-A", "tasks", "worker", "-P", "solo", "-l", "warning"):
        assert machine.output("client.py").split() == ["answered", REFUSED]


@needs("ipykernel")
@needs("jupyter_client")
def test_a_jupyter_kernel(machine: Machine) -> None:
    machine.write(
        "notebook.py",
        """
        from jupyter_client.manager import start_new_kernel

        def show(message):
            if message["msg_type"] == "stream":
                print(message["content"]["text"])

        manager, kernel = start_new_kernel(kernel_name="python3")
        cell = "from application import call; print(call('proj_a'), call('proj_b'))"
        kernel.execute_interactive(cell, timeout=50, output_hook=show)
        kernel.stop_channels()
        manager.shutdown_kernel(now=True)
        """,
    )
    # The refusal is also logged to where the cell's errors go.
    assert f"answered {REFUSED}\n" in machine.output("notebook.py")
