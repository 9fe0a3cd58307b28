"""`python -m openai_project_guard.loopback`: the server alone, for curl and other languages."""

from __future__ import annotations

import json
import os
import shlex
import signal
import socket
import subprocess
import sys
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager

import pytest
from machine import PATIENCE, ROOT
from ports import free_port
from support import A, B

KEYS = {"ONE_KEY": A, "OTHER_KEY": B}


def environment(**variables: str) -> dict[str, str]:
    inherited = {n: value for n, value in os.environ.items() if not n.startswith("OPENAI_")}
    return {**inherited, "PYTHONPATH": str(ROOT), "NO_PROXY": "127.0.0.1", **variables}


def start(*arguments: str, **variables: str) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-m", "openai_project_guard.loopback", *arguments],
        env=environment(**variables),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        preexec_fn=heed_interrupts if hasattr(os, "fork") else None,
    )


def heed_interrupts() -> None:
    """Else the server is as deaf as a test run that a shell has put in the background."""
    signal.signal(signal.SIGINT, signal.SIG_DFL)


class Server:
    """What it printed, and what a shell makes of that."""

    def __init__(self, process: subprocess.Popen[str], variables: dict[str, str]) -> None:
        assert process.stdout is not None
        self.process = process
        self.lines = [process.stdout.readline().rstrip("\n")]
        while not self.lines[-1].startswith("export OPENAI_PROJECT_GUARD_KEYS"):
            assert self.lines[-1], self.lines
            self.lines.append(process.stdout.readline().rstrip("\n"))
        self.exported = {}
        for line in self.lines:
            if line.startswith("export "):
                name, _, value = line.removeprefix("export ").partition("=")
                (value,) = shlex.split(value)
                self.exported[name] = variables[value[1:]] if value.startswith("$") else value

    def end(self, number: signal.Signals) -> tuple[int, str, str]:
        """Its exit status, what it still printed, and its errors."""
        self.process.send_signal(number)
        out, err = self.process.communicate(timeout=PATIENCE)
        return self.process.returncode, out, err


@contextmanager
def serving(*arguments: str, **variables: str) -> Iterator[Server]:
    process = start(*arguments, **variables)
    try:
        yield Server(process, variables)
    finally:
        process.kill()
        process.communicate()


def ask(base_url: str, key: str, project: str) -> tuple[int, str | None]:
    """The status of a call without the SDK, and the project of the answer or its error's code."""
    headers = {"Authorization": f"Bearer {key}", "OpenAI-Project": project}
    try:
        request = urllib.request.Request(f"{base_url}/models", headers=headers)
        with urllib.request.urlopen(request, timeout=PATIENCE) as answer:
            return answer.status, answer.headers["openai-project"]
    except urllib.error.HTTPError as error:
        with error:
            return error.code, json.loads(error.read())["error"]["code"]


def test_the_keys_of_variables() -> None:
    given = ("--key-env", "ONE_KEY=proj_a", "--key-env", "OTHER_KEY=proj_b")
    with serving(*given, "--key-env", "ONE_KEY=proj_c", **KEYS) as server:
        url = server.exported["OPENAI_BASE_URL"]
        assert ask(url, A, "proj_a") == (200, "proj_a")
        assert ask(url, A, "proj_c") == (200, "proj_c")
        assert ask(url, B, "proj_b") == (200, "proj_b")
        assert ask(url, A, "proj_b") == (401, "mismatched_project")
        assert server.exported["OPENAI_API_KEY"] == A
        assert server.exported["OPENAI_PROJECT_ID"] == "proj_a"
        printed = "\n".join(server.lines)
        assert A not in printed
        assert B not in printed


def test_without_keys_it_makes_some_up_each_time() -> None:
    with serving() as first, serving() as second:
        (one, other) = (server.exported["OPENAI_API_KEY"] for server in (first, second))
        assert one != other
        url = first.exported["OPENAI_BASE_URL"]
        assert ask(url, one, "proj_one") == (200, "proj_one")
        assert ask(url, one, "proj_two") == (401, "mismatched_project")
        assert ask(url, other, "proj_one") == (401, "invalid_api_key")
        assert first.process.stdout is not None
        note, _, key = first.process.stdout.readline().strip().rpartition(" ")
        assert note == "# Another key, of proj_two:"
        assert ask(url, key, "proj_two") == (200, "proj_two")


def test_a_program_with_what_is_to_be_exported() -> None:
    """The real SDK, by the variables alone; under the guard a wrong call is refused before."""
    code = (
        "import openai\n"
        "for wrong in ({}, {'project': 'proj_two'}, {'api_key': 'sk-proj-nobodys-key-Zz9y'}):\n"
        "    try: print(openai.OpenAI(**wrong).models.list().object)\n"
        "    except openai.OpenAIError as error: print(type(error).__name__)\n"
    )
    with serving() as server:
        variables = environment(**server.exported)
        for guard, refused in (
            ("off", ["AuthenticationError", "AuthenticationError"]),
            ("enforce", ["ProjectMismatchError", "UnregisteredKeyError"]),
        ):
            run = subprocess.run(
                [sys.executable, "-c", f"import openai_project_guard\n{code}"],
                env={**variables, "OPENAI_PROJECT_GUARD": guard},
                capture_output=True,
                text=True,
                check=False,
            )
            assert run.stdout.split() == ["list", *refused], run.stderr


def test_a_port_of_ones_choice_at_once_again() -> None:
    port = free_port()
    for _ in range(2):
        with serving("--port", str(port)) as server:
            url = server.exported["OPENAI_BASE_URL"]
            assert url == f"http://127.0.0.1:{port}/v1"
            assert ask(url, server.exported["OPENAI_API_KEY"], "proj_one")[0] == 200


@pytest.mark.skipif(sys.platform == "win32", reason="Windows has no such signals")
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_it_ends_well_also_while_a_client_is_connected(number: signal.Signals) -> None:
    with serving() as server:
        port = int(server.exported["OPENAI_BASE_URL"].rpartition(":")[2].partition("/")[0])
        with socket.create_connection(("127.0.0.1", port), PATIENCE) as connection:
            connection.sendall(b"GET /v1/models HTTP/1.1\r\n")
            status, _, err = server.end(number)
        assert (status, err) == (0, "")


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("--key-env", f"{A}=proj_a"), "--key-env takes NAME=PROJECT"),
        (("--key-env", "ONE_KEY"), "--key-env takes NAME=PROJECT"),
        (("--key-env", f"ONE_KEY={A}"), "--key-env takes NAME=PROJECT"),
        (("--key-env", f"ONE_KEY=proj_{A}"), "--key-env takes NAME=PROJECT"),
        (("--key-env", "ONE_KEY=support"), "--key-env takes NAME=PROJECT"),
        (("--key-env", "NO_SUCH_KEY=proj_a"), "NO_SUCH_KEY, which --key-env names, is not set"),
        ((A,), "unrecognized arguments"),
        (("--port", "many"), "--port"),
        (("--port", "70000"), "port 70000 cannot be listened on"),
    ],
)
def test_bad_usage(arguments: tuple[str, ...], said: str) -> None:
    out, err = (process := start(*arguments, **KEYS)).communicate(timeout=PATIENCE)
    assert (process.returncode, out) == (2, "")
    assert said in err
    assert A not in err


def test_it_serves_where_the_guards_settings_are_wrong() -> None:
    with serving(OPENAI_PROJECT_GUARD="enforced") as server:
        assert ask(server.exported["OPENAI_BASE_URL"], "none", "proj_one")[0] == 401


def test_a_port_that_is_taken() -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        out, err = (process := start("--port", str(port))).communicate(timeout=PATIENCE)
    assert (process.returncode, out) == (2, "")
    assert f"port {port} cannot be listened on" in err
