"""Is Redis a registry like any other?"""

from __future__ import annotations

import json
import re
import sys
import threading
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from ports import free_port
from redis_server import (
    KEY,
    OTHER,
    PREFIX,
    ROOT,
    RedisServer,
    add,
    announce,
    fingerprint,
    judge,
    needs_redis,
    python,
    tomllib,
    wait,
)

import openai_project_guard as opg
from openai_project_guard import RegistryError
from openai_project_guard._registry import stores as edit
from openai_project_guard._registry.redis import client as store
from openai_project_guard._registry.redis import open_source
from openai_project_guard._state import active_settings

if TYPE_CHECKING:
    from collections.abc import Callable

pytestmark = needs_redis


def test_a_url_names_a_registry(server: RedisServer, by_url: Path) -> None:
    add(server, KEY)
    opg.enable(registry=server.url)
    assert judge(KEY) is None
    assert isinstance(judge(KEY, "proj_b"), opg.ProjectMismatchError)
    assert isinstance(judge(OTHER), opg.UnregisteredKeyError)
    refused = str(judge(KEY, "proj_b"))
    assert f"in redis://127.0.0.1:{server.port}/0" in refused


def test_a_command_that_is_to_change_it_is_given_the_url_with_its_password(
    start: Callable[..., RedisServer], by_url: Path
) -> None:
    server = start("--requirepass", "s3cret")
    url = server.url.replace("//", "//:s3cret@")
    edit.add(url, "proj_a", fingerprint(KEY))
    opg.enable(registry=url)
    refused = " ".join(str(judge(OTHER)).split())
    assert "s3cret" not in refused
    assert (
        "register it: openai-project-guard register PROJECT --key-env NAME --registry URL, where "
        f"NAME is the variable that holds the key, and URL is redis://127.0.0.1:{server.port}/0, "
        "with its password if it has one; if it is not, "
    ) in refused
    server.kill()
    (source,) = active_settings().sources
    wait(lambda: source.problem is not None)
    refused = " ".join(str(judge(OTHER)).split())
    name = f"redis://127.0.0.1:{server.port}/0"
    assert (
        "This key is not in any registry, as far as they can be read: not in the last good version "
        f"of {name}. {name}: the registry is out of reach. "
    ) in refused


def test_a_file_and_a_url_hold_together(
    server: RedisServer, by_url: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    add(server, KEY)
    edit.add("some.toml", "proj_b", fingerprint(OTHER))
    names = ["some.toml", server.socket_url]
    monkeypatch.setenv("OPENAI_PROJECT_GUARD_REGISTRY", ",".join(names))
    opg.enable()
    assert judge(KEY) is None
    assert judge(OTHER, "proj_b") is None
    monkeypatch.delenv("OPENAI_PROJECT_GUARD_REGISTRY")
    opg.enable(registry=names)
    assert judge(KEY) is None
    assert judge(OTHER, "proj_b") is None


def test_two_prefixes_are_two_registries(server: RedisServer) -> None:
    edit.add(f"{server.url}?prefix=test", "proj_a", fingerprint(KEY))
    with pytest.raises(RegistryError, match="no registry under the prefix openai-project-guard"):
        open_source(server.url)
    source = open_source(f"{server.url}?prefix=test")
    assert [entry.place for entry in source.registry] == [f"{server.url}/0?prefix=test"]


def test_everything_that_is_registered_can_be_read(server: RedisServer) -> None:
    add(server, KEY, "proj_a", alias="bot", organization="org-A", note="CI runner")
    add(server, OTHER, "bot")
    add(server, OTHER, "proj_b", also=True)
    source = open_source(server.url)
    entries = {(entry.hint, entry.project): entry for entry in source.registry}
    entry = entries["sk-proj-…Ab3d", "proj_a"]
    assert (entry.alias, entry.organization, entry.note) == ("bot", "org-A", "CI runner")
    assert ("sk-proj-…Ef5g", "proj_a") in entries
    assert ("sk-proj-…Ef5g", "proj_b") in entries
    everything = str(server.client().hgetall(f"{PREFIX}:keys"))
    assert "CANARY" not in everything


def test_another_package_adds_a_source(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from http.server import BaseHTTPRequestHandler, HTTPServer

    keys = {KEY: "proj_a"}

    class Answer(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(200)
            self.end_headers()
            self.wfile.write(json.dumps(keys).encode())

        def log_message(self, *_: object) -> None: ...

    blocks = re.findall(
        r"```\w+\n(.*?)```", (ROOT / "docs" / "registry-file.md").read_text("utf-8"), re.DOTALL
    )
    (code,) = [block for block in blocks if "class Vault" in block]
    (entry_point,) = [block for block in blocks if "openai_project_guard.sources" in block]
    found = tomllib.loads(entry_point)["project"]["entry-points"]
    folder = announce(tmp_path, monkeypatch, found)
    (folder / "some_vault.py").write_text(code)
    with HTTPServer(("127.0.0.1", 0), Answer) as vault:
        threading.Thread(target=vault.serve_forever, daemon=True).start()
        opg.enable(registry=f"vault://127.0.0.1:{vault.server_port}/")
        assert judge(KEY) is None
        assert judge(OTHER) is not None
        keys[OTHER] = "proj_a"
        wait(lambda: judge(OTHER) is None)
        vault.shutdown()
    assert judge(KEY) is None
    with pytest.raises(RegistryError, match="cannot be read"):
        opg.enable(registry=f"vault://127.0.0.1:{free_port()}/")


def test_without_redis_py_the_error_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "redis", None)
    with pytest.raises(RegistryError, match=r'(?m)^pip install "redis>=5"$'):
        open_source("redis://127.0.0.1")


def test_a_registry_file_needs_nothing_of_this() -> None:
    code = f"""
import sys
sys.modules["redis"] = None  # as where it is not installed
import openai_project_guard as opg
opg.enable()  # the file by its default name
assert len(opg.Registry.from_file("openai-projects.toml")) == 1
assert not [name for name in sys.modules if name.startswith("{store.__package__}")]
"""
    edit.add("openai-projects.toml", "proj_a", fingerprint(KEY))
    out, err = python(code).communicate(timeout=60)
    assert (out, err) == ("", "")
