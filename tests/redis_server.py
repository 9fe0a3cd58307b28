"""A real redis-server for one test, and what the tests of a fleet have in common."""

from __future__ import annotations

import os
import shlex
import shutil
import signal
import subprocess
import sys
import time
import weakref
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from ports import free_port

from openai_project_guard._keys import digest, fingerprint_of, hint

if TYPE_CHECKING:
    from openai_project_guard._registry.source import Source

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

ROOT = Path(__file__).parents[1]
KEY = "sk-proj-CANARYcanary0123456789CANARYcanaryAb3d"
OTHER = "sk-proj-CANARYcanary0123456789CANARYcanaryEf5g"
PREFIX = "openai-project-guard"
IS_LONG = os.environ.get("TEST_LONG_RUNS") == "1"
# A command line, to run the tests on another server than the one that is found.
COMMAND = (
    shlex.split(os.environ.get("TEST_REDIS_COMMAND", ""))
    or [found for name in ("redis-server", "valkey-server") if (found := shutil.which(name))][:1]
)

needs_redis = pytest.mark.skipif(
    not COMMAND and "CI" not in os.environ,
    reason="there is no redis-server here (Debian: apt-get install redis-server)",
)


class RedisServer:
    """One server; it keeps what it is told on disk, so that it survives its own death.

    Args:
        directory: where it keeps it.
        options: further options of redis-server, name by name.
    """

    def __init__(self, directory: Path, *options: str, tls: bool = False) -> None:
        directory.mkdir(parents=True, exist_ok=True)
        self.port = free_port()
        self._tls = tls
        self.directory = directory
        ports = ["--port", "0", "--tls-port", str(self.port)] if tls else ["--port", str(self.port)]
        self._command = [
            *(COMMAND or ["redis-server"]),
            *("--bind", "127.0.0.1", "--dir", str(directory), "--save", ""),
            *("--appendonly", "yes", "--appendfsync", "always", "--daemonize", "no"),
            *("--unixsocket", str(directory / "redis.sock"), "--repl-diskless-sync-delay", "0"),
            *ports,
            *options,
        ]
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def url(self) -> str:
        return f"{'rediss' if self._tls else 'redis'}://127.0.0.1:{self.port}"

    @property
    def socket_url(self) -> str:
        return f"unix://{self.directory}/redis.sock"

    def start(self) -> RedisServer:
        path = self.directory / "log"
        with path.open("ab") as log:
            said = log.tell()
            self._process = subprocess.Popen(self._command, stdout=log, stderr=log)
        # Another's server may listen on the port: only its own word says that it is this one.
        end = time.monotonic() + 60
        while b"Ready to accept connections" not in path.read_bytes()[said:]:
            if self._process.poll() is not None or time.monotonic() > end:
                raise RuntimeError(path.read_text())
            time.sleep(0.01)
        return self

    def signal(self, number: signal.Signals) -> None:
        assert self._process is not None
        self._process.send_signal(number)

    def kill(self) -> None:
        if self._process is not None:
            self._process.kill()  # also a frozen one
            self._process.wait()
            self._process = None

    def client(self, **options: Any) -> Any:
        import redis

        client = redis.Redis(port=self.port, decode_responses=True, **options)
        weakref.finalize(client, client.connection_pool.disconnect)  # redis 5.0 leaves it open
        return client


@pytest.fixture
def by_url(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder for the path, with the entry points that an installed package has."""
    return announce(tmp_path, monkeypatch, project_file()["project"]["entry-points"])


def project_file() -> dict[str, Any]:
    return tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))


def announce(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, groups: dict[str, dict[str, str]]
) -> Path:
    folder = tmp_path / "installed"
    facts = folder / "some_source-1.dist-info"
    facts.mkdir(parents=True)
    (facts / "METADATA").write_text("Metadata-Version: 2.1\nName: some-source\nVersion: 1\n")
    lines: list[str] = []
    for group, names in groups.items():
        lines += [f"[{group}]", *(f"{name} = {value}" for name, value in names.items())]
    (facts / "entry_points.txt").write_text("\n".join(lines) + "\n")
    monkeypatch.syspath_prepend(str(folder))
    return folder


def fingerprint(key: str) -> str:
    return fingerprint_of(digest(key))


def add(server: RedisServer, key: str, project: str = "proj_a", **more: Any) -> None:
    from openai_project_guard._registry import stores as edit

    edit.add(server.url, project, fingerprint(key), hint=hint(key), **more)


def has(source: Source, key: str) -> bool:
    """Whether the source's registry knows the key."""
    return bool(source.registry.lookup(key))


def judge(key: str, project: str = "proj_a") -> BaseException | None:
    """What a call with this key and this header would raise."""
    from support import http

    from openai_project_guard._check import check as _check
    from openai_project_guard._hooks.httpx import HTTP

    request = http.Request(
        "GET",
        "https://api.openai.com/v1/models",
        headers={"Authorization": f"Bearer {key}", "OpenAI-Project": project},
    )
    return _check.refusal(_check.Call(), request, HTTP)


def rules(server: RedisServer, *, writing: bool) -> str:
    """The ACL rules that we say a user needs."""
    from openai_project_guard._registry.redis.url import parse_url

    return parse_url(server.url).acl(writing=writing).partition(">PASSWORD ")[2]


def permit(server: RedisServer, name: str, rules: str) -> str:
    """The URL for a new user of the server."""
    server.client().execute_command("ACL", "SETUSER", name, "on", ">secret", *rules.split())
    return server.url.replace("//", f"//{name}:secret@")


def wait(done: Callable[[], object], limit: float = 120.0) -> float:
    """Seconds until it is done."""
    started = time.monotonic()
    while not done():
        assert time.monotonic() - started < limit, "it did not come about"
        time.sleep(0.005)
    return time.monotonic() - started


def python(code: str, *arguments: str, path: Path | None = None, **more: Any) -> Any:
    env = {**os.environ, "PYTHONPATH": os.pathsep.join(map(str, filter(None, (ROOT, path))))}
    return subprocess.Popen(
        [sys.executable, "-c", code, *arguments],
        env=env,
        text=True,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        **more,
    )
