"""Programs that never heard of the guard, in processes of their own, and the server they call."""

from __future__ import annotations

import os
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

import openai_project_guard as opg
from openai_project_guard.loopback import LoopbackAPI

GROUP = "openai_project_guard"
PATIENCE = 240.0  # seconds for a process to start on a busy machine
ROOT = Path(opg.__file__).parents[1]
RUN = (sys.executable, "-m", "openai_project_guard", "run")
REFUSED = "ProjectMismatchError"

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


def needs(*names: str) -> pytest.MarkDecorator:
    """Skips a test where a package is not installed, and names it."""
    missing = [name for name in names if not _is_installed(name)]
    return pytest.mark.skipif(bool(missing), reason=f"{' and '.join(missing)} not installed")


def _is_installed(name: str) -> bool:
    try:
        return find_spec(name) is not None
    except ModuleNotFoundError:  # the package around it is not
        return False


autowrapt = (
    needs("autowrapt"),
    pytest.mark.skipif(
        not entry_points(group=GROUP, name="openai"),
        reason="the package is not installed with its entry points",
    ),
)
"""The marks of what autowrapt is to find."""


class Machine:
    """A directory with the application, and the processes that are started in it.

    Args:
        directory: where they run.
        api: what they call.
        way: how the guard gets into them: `run`, `autowrapt`, or not at all (empty).
    """

    def __init__(self, directory: Path, api: LoopbackAPI, way: str) -> None:
        self.directory = directory
        self.api = api
        self.before: tuple[str, ...] = ()
        self.write("application.py", APPLICATION)
        inherited = {
            name: value
            for name, value in os.environ.items()
            if not name.startswith(("OPENAI_", "PYTEST_", "COV_", "OTEL_", "DD_"))
            and name not in ("PYTHONPATH", "AUTOWRAPT_BOOTSTRAP")
        }
        self.environment = {
            **inherited,
            "OPENAI_PROJECT_GUARD_KEYS": f"proj_a={fingerprint(A)}",
            "OPENAI_BASE_URL": api.base_url,
            "SOME_KEY": A,
            "XDG_CONFIG_HOME": str(directory),
        }
        if way == "run":
            self.before = (*RUN, "--")
            self.environment["PYTHONPATH"] = str(ROOT)
        elif way == "autowrapt":  # which finds the package that is installed
            self.environment["AUTOWRAPT_BOOTSTRAP"] = GROUP
            self.environment["OPENAI_PROJECT_GUARD"] = "enforce"

    def write(self, name: str, code: str) -> Path:
        """Writes a file beside the application."""
        path = self.directory / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(textwrap.dedent(code), encoding="utf-8")
        return path

    def execute(
        self, *command: str, stdin: str | None = None, **variables: str
    ) -> subprocess.CompletedProcess[str]:
        """Runs a command to its end, as it is."""
        return subprocess.run(
            command,
            cwd=self.directory,
            env={**self.environment, **variables},
            capture_output=True,
            input=stdin,
            text=True,
            timeout=PATIENCE,
            check=False,
        )

    def python(self, *arguments: str, **variables: str) -> subprocess.CompletedProcess[str]:
        """Runs Python to its end."""
        return self.execute(*self.before, sys.executable, *arguments, **variables)

    def output(self, *arguments: str, **variables: str) -> str:
        """What Python prints; it must end well."""
        run = self.python(*arguments, **variables)
        assert run.returncode == 0, run.stdout + run.stderr
        return run.stdout

    @contextmanager
    def running(self, *arguments: str) -> Iterator[subprocess.Popen[bytes]]:
        """Runs Python, a server of some kind, beside the test."""
        log = self.directory / "server.log"
        with log.open("w") as output:
            server = subprocess.Popen(
                [*self.before, sys.executable, *arguments],
                cwd=self.directory,
                env=self.environment,
                stdout=output,
                stderr=subprocess.STDOUT,
            )
            try:
                yield server
            except BaseException:
                sys.stdout.write(log.read_text())  # shown if the test fails
                raise
            finally:
                server.terminate()
                server.wait(PATIENCE)

    def assert_only_right_calls_arrived(self) -> None:
        """No call with another project than the key's has reached the server, and one did."""
        arrived = [line.project_header for line in self.api.ledger]
        assert arrived
        assert set(arrived) == {"proj_a"}


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
    """Waits until something has come about."""
    deadline = time.monotonic() + PATIENCE
    while not is_so():
        assert time.monotonic() < deadline
        time.sleep(0.1)
