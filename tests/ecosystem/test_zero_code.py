"""Does the guard reach an application that never heard of it, and the processes that it starts?

Each under `openai-project-guard run`, and under `autowrapt` with nothing but two variables. The
latter needs the package installed, with the entry points by which `autowrapt` finds it.
"""

from __future__ import annotations

import shutil
import sys
import sysconfig
from collections.abc import Iterator
from pathlib import Path

import pytest
from machine import REFUSED, RUN, Machine, autowrapt, get, needs, wait_until
from ports import free_port
from support import A

from openai_project_guard.loopback import loopback_api

BOTH = ("proj_a", "proj_b")
NO_FORK = pytest.mark.skipif(sys.platform == "win32", reason="this system has no fork")


@pytest.fixture(params=["run", pytest.param("autowrapt", marks=autowrapt)])
def machine(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Machine]:
    with loopback_api({A: "proj_a"}) as api:
        machine = Machine(tmp_path, api, request.param)
        yield machine
        machine.assert_only_right_calls_arrived()


only_run = pytest.mark.parametrize("machine", ["run"], indirect=True)
only_autowrapt = pytest.mark.parametrize(
    "machine", [pytest.param("autowrapt", marks=autowrapt)], indirect=True
)


# Programs


def test_a_plain_script(machine: Machine) -> None:
    assert machine.output("application.py", *BOTH).split() == ["answered", REFUSED]
    assert len(machine.api.ledger) == 1


def test_a_module_of_one_line_and_a_program_on_standard_input(machine: Machine) -> None:
    line = "from application import call; print(call('proj_a'), call('proj_b'))"
    assert machine.output("-c", line).split() == ["answered", REFUSED]
    assert machine.output("-m", "application", *BOTH).split() == ["answered", REFUSED]
    piped = machine.execute(*machine.before, sys.executable, "-", stdin=line)
    assert piped.stdout.split() == ["answered", REFUSED]


@only_autowrapt
def test_without_the_two_variables_nothing_happens(machine: Machine) -> None:
    for name in ("AUTOWRAPT_BOOTSTRAP", "OPENAI_PROJECT_GUARD"):
        run = machine.python("application.py", "proj_a", **{name: ""})
        assert run.stdout.split() == ["answered"]
    loaded = "import sys; print('openai_project_guard' in sys.modules, 'openai' in sys.modules)"
    without = machine.python("-c", loaded, AUTOWRAPT_BOOTSTRAP="")
    assert without.stdout.split() == ["False", "False"]
    assert machine.output("-c", loaded).split() == ["True", "False"]


@only_autowrapt
@pytest.mark.parametrize(
    ("variable", "said"),
    [
        ("OPENAI_PROJECT_GUARD", "OPENAI_PROJECT_GUARD is 'wrong', which is not understood"),
        ("OPENAI_PROJECT_GUARD_REGISTRY", "wrong: there is no such file"),
        ("OPENAI_PROJECT_GUARD_KEYS", "OPENAI_PROJECT_GUARD_KEYS"),
    ],
)
def test_a_wrong_setting_stops_only_what_imports_openai(
    machine: Machine, variable: str, said: str
) -> None:
    wrong = {variable: "wrong"}
    run = machine.python("application.py", "proj_a", **wrong)
    assert run.returncode != 0
    assert run.stdout == ""
    assert said in run.stderr.splitlines()[-1]
    # Neither a try around the import nor a second one comes through.
    stubborn = """
        import sys
        for _ in range(3):
            try:
                import openai
            except ValueError as error:
                print(type(error).__name__)
        assert "openai" not in sys.modules
    """
    machine.write("stubborn.py", stubborn)
    assert len(machine.output("stubborn.py", **wrong).split()) == 3
    # What does without openai runs, and says nothing.
    other = machine.python("-c", "print('well')", **wrong)
    assert (other.returncode, other.stdout, other.stderr) == (0, "well\n", "")
    # Our own command says it in its own way, and is there to mend it.
    assert machine.python("-m", "openai_project_guard", "--help", **wrong).stdout
    machine.output("application.py", "proj_a")


@only_autowrapt
@needs("pip")
def test_pip_works_where_a_setting_is_wrong(machine: Machine) -> None:
    pip = machine.python("-m", "pip", "--version", OPENAI_PROJECT_GUARD="wrong")
    assert (pip.returncode, pip.stderr) == (0, "")
    assert pip.stdout.startswith("pip ")
    machine.output("application.py", "proj_a")


# Child processes

WORKER = """
    import multiprocessing, sys, openai

    def work(project):
        from application import call
        return call(project)

    if __name__ == "__main__":
        with multiprocessing.get_context(sys.argv[1]).Pool(2) as pool:
            print(*pool.map(work, ["proj_a", "proj_b"]), flush=True)
"""


@NO_FORK
@pytest.mark.parametrize("is_imported_before", [True, False])
def test_forked_children(machine: Machine, is_imported_before: bool) -> None:
    machine.write("parent.py", WORKER if is_imported_before else WORKER.replace(", openai", ""))
    assert machine.output("parent.py", "fork").split() == ["answered", REFUSED]
    assert len(machine.api.ledger) == 1


@pytest.mark.parametrize("method", ["spawn", pytest.param("forkserver", marks=NO_FORK)])
def test_spawned_children(machine: Machine, method: str) -> None:
    machine.write("parent.py", WORKER.replace(", openai", ""))
    assert machine.output("parent.py", method).split() == ["answered", REFUSED]
    assert len(machine.api.ledger) == 1


def test_a_subprocess_and_its_own(machine: Machine) -> None:
    machine.write(
        "parent.py",
        """
        import subprocess, sys
        program = [sys.executable, "application.py", "proj_a", "proj_b"]
        code = f"import subprocess; subprocess.run({program!r}, check=True)"
        subprocess.run(program, check=True)
        subprocess.run([sys.executable, "-c", code], check=True)
        """,
    )
    assert machine.output("parent.py").split() == ["answered", REFUSED] * 2
    assert len(machine.api.ledger) == 2


@pytest.mark.parametrize("option", ["-I", "-E", "-S"])
def test_an_isolated_child_of_run_is_not_guarded(option: str, tmp_path: Path) -> None:
    """It ignores PYTHONPATH, or runs no `sitecustomize`: the documentation says so."""
    with loopback_api({A: "proj_a"}) as api:
        machine = Machine(tmp_path, api, "run")
        machine.write(
            "parent.py",
            """
            import subprocess, sys
            code = f"import sys; sys.path[:] = {sys.path!r}; from application import call"
            code += "; print(call('proj_b'))"
            subprocess.run([sys.executable, sys.argv[1], "-c", code], check=True)
            """,
        )
        assert machine.output("parent.py", option).split() == ["AuthenticationError"]
        assert [line.project_header for line in api.ledger] == ["proj_b"]


# Tests


@needs("pytest")
def test_pytest(machine: Machine) -> None:
    write_test(machine)
    assert "1 passed" in machine.output("-m", "pytest", "-q", "-p", "no:cacheprovider")


@needs("xdist")
def test_pytest_on_several_processes(machine: Machine) -> None:
    write_test(machine)
    run = machine.output("-m", "pytest", "-q", "-p", "no:cacheprovider", "-p", "xdist", "-n", "2")
    assert "1 passed" in run


def write_test(machine: Machine) -> None:
    machine.write(
        "test_application.py",
        f"""
        def test_it():
            from application import call
            assert [call("proj_a"), call("proj_b")] == ["answered", "{REFUSED}"]
        """,
    )


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
            for project in BOTH:
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
@pytest.mark.parametrize("pool", ["solo", pytest.param("prefork", marks=NO_FORK)])
def test_celery(machine: Machine, pool: str) -> None:
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
        print(*(result.get(timeout=200, interval=0.1) for result in results))
        """,
    )
    worker = ("-m", "celery", "-A", "tasks", "worker", "-P", pool, "-c", "2", "-l", "warning")
    with machine.running(*worker):
        assert machine.output("client.py").split() == ["answered", REFUSED]


@needs("ipykernel", "jupyter_client")
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
        kernel.execute_interactive(cell, timeout=200, output_hook=show)
        kernel.stop_channels()
        manager.shutdown_kernel(now=True)
        """,
    )
    # The refusal is also logged to where the cell's errors go.
    assert f"answered {REFUSED}\n" in machine.output("notebook.py")


# Beside other tools that start programs


@pytest.mark.skipif(shutil.which("uv") is None, reason="uv is not installed")
@pytest.mark.skipif(sys.prefix == sys.base_prefix, reason="not in a virtual environment")
@only_run
@pytest.mark.parametrize("is_first", [True, False])
def test_uv_run(machine: Machine, is_first: bool) -> None:
    uv = ("uv", "run", "--no-project", "--offline", "--quiet", "--python", sys.executable)
    command = (*RUN, "--", *uv, "python") if is_first else (*uv, *RUN, "--", "python")
    run = machine.execute(*command, "application.py", *BOTH, VIRTUAL_ENV=sys.prefix)
    assert run.stdout.split() == ["answered", REFUSED], run.stderr


RUNNERS = {
    "ddtrace-run": "ddtrace",
    "opentelemetry-instrument": "opentelemetry.instrumentation.auto_instrumentation",
}
"""Programs like `run`, and a module of each that shows that it is at work."""


@only_run
@pytest.mark.parametrize("is_first", [True, False], ids=["run first", "run second"])
@pytest.mark.parametrize(
    "runner", [pytest.param(runner, marks=needs(module)) for runner, module in RUNNERS.items()]
)
def test_the_runner_of_a_tracing_tool_before_or_after(
    machine: Machine, runner: str, is_first: bool
) -> None:
    module = RUNNERS[runner]
    other = (str(Path(sysconfig.get_path("scripts"), runner)),)
    machine.write(
        "parent.py",
        f"""
        import subprocess, sys
        code = "import sys; from application import call; "
        code += "print(call('proj_a'), call('proj_b'), '{module}' in sys.modules)"
        exec(code)
        sys.stdout.flush()
        subprocess.run([sys.executable, "-c", code], check=True)
        """,
    )
    order = (*RUN, "--", *other) if is_first else (*other, *RUN, "--")
    quiet = {
        "DD_TRACE_ENABLED": "false",
        "DD_INSTRUMENTATION_TELEMETRY_ENABLED": "false",
        "DD_REMOTE_CONFIGURATION_ENABLED": "false",
        "OTEL_SDK_DISABLED": "true",
    }
    run = machine.execute(*order, sys.executable, "parent.py", **quiet)
    assert run.stdout.split() == ["answered", REFUSED, "True"] * 2, run.stdout + run.stderr
    assert len(machine.api.ledger) == 2
