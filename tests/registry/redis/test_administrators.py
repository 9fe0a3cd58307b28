"""Do administrators get in each other's way?"""

from __future__ import annotations

import json
import threading
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from redis_server import (
    KEY,
    OTHER,
    PREFIX,
    RedisServer,
    add,
    fingerprint,
    has,
    needs_redis,
    wait,
)

import openai_project_guard as opg
from openai_project_guard import RegistryError
from openai_project_guard._registry import stores as edit
from openai_project_guard._registry.redis import open_source
from openai_project_guard._registry.redis.client import Client
from openai_project_guard._registry.redis.errors import ServerError
from openai_project_guard._registry.redis.url import parse_url
from openai_project_guard._registry.transfer import Transfer

if TYPE_CHECKING:
    from openai_project_guard._registry.changes import Draft

pytestmark = needs_redis


def test_two_administrators_at_once_lose_nothing(server: RedisServer) -> None:
    add(server, KEY)
    keys = [[f"key {number} of {name}" for number in range(25)] for name in range(4)]

    def work(mine: list[str]) -> None:
        for key in mine:
            add(server, key)

    threads = [threading.Thread(target=work, args=(mine,)) for mine in keys]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    registry = edit.read(server.url)
    assert len(registry) == 101


def test_a_step_that_has_become_impossible_is_an_error(server: RedisServer) -> None:
    add(server, KEY)

    def step(draft: Draft) -> None:
        draft.add("proj_b", fingerprint(OTHER))
        if draft.stored.version == before:  # the first time
            add(server, OTHER, "proj_c")

    before = edit.find(server.url).version
    with pytest.raises(RegistryError, match="is registered for the project proj_c already"):
        edit.change(server.url, step)
    assert [entry.project for entry in edit.read(server.url).lookup(OTHER)] == ["proj_c"]


def test_a_large_registry_is_read_while_others_change_it(server: RedisServer) -> None:
    count, stop = 20_000, threading.Event()
    made = Client(parse_url(server.url), writing=True)
    keys: dict[str, str | None] = {
        fingerprint(f"key {number}"): '{"proj_a":{}}' for number in range(count)
    }
    made.commit(None, ({"proj_a": "{}"}, keys))

    def write() -> None:
        while not stop.is_set():
            made.commit(made.revision(), ({}, {fingerprint(KEY): None}))

    writer = threading.Thread(target=write)
    writer.start()
    try:
        assert len(edit.read(server.url)) == count
        assert len(open_source(server.url).registry) == count
    finally:
        stop.set()
        writer.join()
        made.close()


def test_what_does_not_fit_is_refused_and_nothing_is_written(server: RedisServer) -> None:
    add(server, KEY, "proj_a", alias="bot")
    revision = server.client().get(f"{PREFIX}:revision")
    for arguments, why in [
        (("lab", fingerprint(OTHER)), "neither a project id"),
        (("proj_b", fingerprint(KEY)), "for the project bot already"),
    ]:
        with pytest.raises(RegistryError, match=why):
            edit.add(server.url, *arguments)
    for more, why in [
        ({"alias": "bot"}, "belongs to proj_a already"),
        ({"alias": "proj_x"}, "must not look like a project id"),
        ({"organization": "x"}, "not an organization id"),
        ({"note": KEY}, "there is a raw key here"),
        ({"hint": OTHER}, "raw key"),
    ]:
        with pytest.raises(RegistryError, match=why) as caught:
            edit.add(server.url, "proj_b", fingerprint(OTHER), **more)  # type: ignore[arg-type]
        assert "CANARY" not in str(caught.value)
    with pytest.raises(RegistryError, match="to change the alias"):
        edit.add(server.url, "proj_a", fingerprint(KEY), alias="robot")
    with pytest.raises(RegistryError, match="no such project"):
        edit.remove_project(server.url, "proj_z")
    with pytest.raises(RegistryError, match="no registry under the prefix"):
        edit.remove(f"{server.url}?prefix=x", fingerprint(KEY))
    assert edit.remove(server.url, fingerprint(OTHER)) == 0
    assert edit.add(server.url, "bot", fingerprint(KEY)) == "unchanged"
    assert server.client().get(f"{PREFIX}:revision") == revision
    assert edit.add(server.url, "bot", fingerprint(KEY), note="x") == "updated"


@pytest.mark.parametrize("field", ["note", "hint"])
def test_what_is_not_utf_8_is_refused_and_nothing_is_written(
    server: RedisServer, field: str
) -> None:
    """As an argument in another encoding comes from the shell."""
    add(server, KEY)
    with pytest.raises(RegistryError, match=r"not UTF-8\. Nothing was written\.$"):
        edit.add(server.url, "proj_a", fingerprint(OTHER), **{field: "caf\udce9"})
    assert len(edit.read(server.url)) == 1


def test_of_a_server_that_is_not_there_it_is_said_what_was_wanted(server: RedisServer) -> None:
    server.kill()
    with pytest.raises(RegistryError, match="It cannot be read: "):
        edit.read(server.url)
    with pytest.raises(RegistryError, match="It cannot be changed: "):
        add(server, KEY)


def test_a_change_without_an_answer_is_not_taken_for_somebody_elses(server: RedisServer) -> None:
    add(server, KEY)
    url = f"{server.url}?socket_timeout=0.3"
    server.client().execute_command("CLIENT", "PAUSE", "60000", "WRITE")  # it reads on
    with pytest.raises(RegistryError, match="whether the change was written is not known"):
        edit.add(url, "proj_a", fingerprint(OTHER))
    made = Client(parse_url(url))
    with pytest.raises(ServerError, match="not known"):
        made.commit(made.revision(), ({}, {fingerprint(KEY): None}))
    made.close()
    server.client().execute_command("CLIENT", "UNPAUSE")
    wait(lambda: edit.add(server.url, "proj_a", fingerprint(OTHER)) == "unchanged")


def test_an_entry_that_is_not_in_order_can_be_removed(server: RedisServer) -> None:
    add(server, KEY)
    server.client().hset(f"{PREFIX}:keys", fingerprint(OTHER), "rubbish")
    assert edit.remove(server.url, fingerprint(OTHER)) == 1
    assert server.client().hlen(f"{PREFIX}:keys") == 1


def test_a_hint_stands_in_redis_as_it_is_shown(server: RedisServer) -> None:
    add(server, KEY, note="für alle")
    stored = server.client().hget(f"{PREFIX}:keys", fingerprint(KEY))
    assert stored == '{"proj_a":{"hint":"sk-proj-…Ab3d","note":"für alle"}}'


def test_an_entry_in_capital_letters_is_changed_and_removed_as_any_other(
    server: RedisServer,
) -> None:
    add(server, KEY)
    client, name = server.client(), f"{PREFIX}:keys"
    capitals = "sha256:" + fingerprint(KEY)[7:].upper()
    client.hset(name, capitals, client.hget(name, fingerprint(KEY)))
    client.hdel(name, fingerprint(KEY))
    assert edit.add(server.url, "proj_a", fingerprint(KEY), note="x") == "updated"
    assert client.hkeys(name) == [fingerprint(KEY)]
    client.hset(name, capitals, client.hget(name, fingerprint(KEY)))
    assert edit.remove(server.url, fingerprint(KEY)) == 1
    assert client.hkeys(name) == []


FILE = f"""\
version = 1

# ours
[projects.bot]
id = "proj_a"  # the first
organization = "org-A"
keys = [
  {{ fingerprint = "{fingerprint(KEY)}", hint = "sk-proj-…Ab3d", note = "CI" }},  # the runner
]
"""


def copy(*arguments: str) -> int:
    """Runs `openai-project-guard copy` in this process; errors are raised."""
    from openai_project_guard._cli.commands import copy as command
    from openai_project_guard._cli.parsers import Parser

    parser = Parser("copy")
    command.add_arguments(parser)
    status: int = command.run(parser.parse_args(arguments))
    return status


def test_a_file_is_copied_to_redis_and_back(
    server: RedisServer, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("OPENAI_PROJECT_GUARD_REGISTRY", server.url)
    Path("some.toml").write_text(FILE, "utf-8")
    assert copy("some.toml", "--dry-run") == 1
    assert "+ key sk-proj-…Ab3d (CI) of proj_a" in capsys.readouterr().out
    assert server.client().keys() == []
    with pytest.raises(opg.ConfigurationError, match="--yes"):
        copy("some.toml")
    assert copy("some.toml", "--yes") == 0
    assert copy("some.toml") == 0
    assert "No difference" in capsys.readouterr().out
    source = open_source(server.url)
    assert source.registry.lookup(KEY)[0].alias == "bot"
    assert copy(server.url, "new.toml", "--yes") == 0
    assert len(opg.Registry.from_file("new.toml")) == 1
    add(server, OTHER, "bot")
    add(server, "third", "proj_b")
    assert copy(server.url, "some.toml", "--dry-run", "--json") == 1
    out = capsys.readouterr().out
    said = json.loads(out[out.index("{") :])
    assert [step["change"] for step in said["difference"]] == ["+", "+", "+"]
    assert copy(server.url, "some.toml", "--yes") == 0
    text = Path("some.toml").read_text("utf-8")
    assert "# ours" in text
    assert "# the first" in text
    assert "# the runner" in text
    assert len(opg.Registry.from_file("some.toml")) == 3
    edit.remove_project(server.url, "proj_b")
    edit.remove(server.url, fingerprint(OTHER))
    assert copy(server.url, "some.toml", "--yes") == 0
    assert Path("some.toml").read_text("utf-8") == FILE
    add(server, OTHER, "bot")
    assert copy("some.toml", "--yes") == 0
    wait(lambda: not has(source, OTHER) and has(source, KEY))


def test_a_copy_does_not_overwrite_what_it_has_not_shown(server: RedisServer) -> None:
    Path("some.toml").write_text(FILE, "utf-8")
    push = Transfer("some.toml", server.url)
    add(server, OTHER)
    with pytest.raises(RegistryError, match="somebody else has changed the registry meanwhile"):
        push.carry_out()
    assert len(edit.read(server.url)) == 1


def test_a_copy_takes_the_place_of_what_is_not_in_order(
    server: RedisServer, capsys: pytest.CaptureFixture[str]
) -> None:
    Path("some.toml").write_text(FILE, "utf-8")
    assert copy("some.toml", server.url, "--yes") == 0
    client = server.client()
    for part, name in (("keys", "lab"), ("keys", fingerprint(OTHER)), ("projects", "lab")):
        client.hset(f"{PREFIX}:{part}", name, "rubbish")
    assert copy("some.toml", server.url, "--yes") == 0
    assert capsys.readouterr().out.count("which is not in order") == 2  # by name: lab, and the key
    assert copy("some.toml", server.url) == 0
    assert "No difference" in capsys.readouterr().out
    assert client.hkeys(f"{PREFIX}:keys") == [fingerprint(KEY)]
    assert client.hkeys(f"{PREFIX}:projects") == ["proj_a"]


def test_a_merge_takes_in_what_others_add_meanwhile_unless_it_contradicts(
    server: RedisServer,
) -> None:
    Path("some.toml").write_text(FILE, "utf-8")
    add(server, "a first", "proj_b")
    merge, late = (Transfer("some.toml", server.url, merge=True) for _ in range(2))
    add(server, OTHER)
    merge.carry_out()
    assert len(edit.read(server.url)) == 3
    edit.remove(server.url, fingerprint(KEY))
    add(server, KEY, "proj_b")
    with pytest.raises(RegistryError, match="somebody else has changed the registry meanwhile"):
        late.carry_out()
    assert [entry.project for entry in edit.read(server.url).lookup(KEY)] == ["proj_b"]


def test_service_accounts_survive_a_copy_and_back(server: RedisServer) -> None:
    accounts = 'service_accounts = ["user-1", "user-2"]\nkeys'
    Path("some.toml").write_text(FILE.replace("keys", accounts, 1), "utf-8")
    assert copy("some.toml", server.url, "--yes") == 0
    assert set(open_source(server.url).registry.snapshot.accounts) == {"user-1", "user-2"}
    assert copy(server.url, "new.toml", "--yes") == 0
    assert set(opg.Registry.from_file("new.toml").snapshot.accounts) == {"user-1", "user-2"}
    Path("old.toml").write_text(FILE, "utf-8")
    assert copy(server.url, "old.toml", "--yes") == 0
    assert Path("old.toml").read_text("utf-8") == FILE.replace(
        'id = "proj_a"  # the first\n',
        'id = "proj_a"  # the first\nservice_accounts = ["user-1", "user-2"]\n',
    )
