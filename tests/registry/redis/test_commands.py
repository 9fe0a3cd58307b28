"""Do the commands treat a registry in Redis as they treat a file?"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import cli_shell
import pytest
import support
from cli_shell import LEGACY, ROOT, Shell
from ports import free_port
from redis_server import RedisServer, announce, needs_redis, project_file
from support import A, B, fingerprint

from openai_project_guard._cli.sync import checkpoint
from openai_project_guard._cli.sync.administration import Administration
from openai_project_guard._registry import stores as edit
from openai_project_guard._registry.redis.url import parse_url
from openai_project_guard.loopback import ADMIN_KEY, LoopbackAPI, LoopbackProject, loopback_api

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

pytestmark = needs_redis

clean, run = cli_shell.clean, cli_shell.run
PASSWORD = "s3cretWord"
REGISTRY = "OPENAI_PROJECT_GUARD_REGISTRY"
KEYS = "openai-project-guard:keys"


@pytest.fixture
def server(start: Callable[..., RedisServer]) -> RedisServer:
    return start("--requirepass", PASSWORD)


@pytest.fixture
def shell(run: Shell, tmp_path: Path) -> Iterator[Shell]:
    """A shell with the entry points of an installed package, and a cache of its own."""
    announce(tmp_path, run.patch, project_file()["project"]["entry-points"])
    run.patch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    run.patch.setenv("COLUMNS", "400")  # or a long name is broken
    return run


def url_of(server: RedisServer) -> str:
    return f"redis://:{PASSWORD}@127.0.0.1:{server.port}/0"


def name_of(server: RedisServer) -> str:
    return f"redis://127.0.0.1:{server.port}/0"


def stored(address: str) -> list[tuple[str, str | None, str, str | None]]:
    """In the order of the fingerprints, whatever Redis's own is: so `list` shows them too."""
    entries = list(edit.read(address))
    assert [e.fingerprint for e in entries] == sorted(e.fingerprint for e in entries)
    return [(e.project, e.alias, e.hint, e.note) for e in entries]


@pytest.fixture(params=["by variable", "by option", "through a socket"])
def redis(
    request: pytest.FixtureRequest, shell: Shell, server: RedisServer
) -> tuple[Any, str, str]:
    """Runs a command on the registry in Redis; its URL, and what may be shown of that."""
    url, name = url_of(server), name_of(server)
    if request.param == "through a socket":
        name = server.socket_url
        url = name.replace("unix://", f"unix://:{PASSWORD}@")
    options: tuple[str, ...] = ()
    if request.param == "by option":
        options = ("--registry", url)
    else:
        shell.patch.setenv(REGISTRY, url)

    def command(name: str, *arguments: str, stdin: str = "") -> Any:
        ran = shell(name, *arguments, *options, stdin=stdin)
        assert PASSWORD not in ran.out + ran.err
        return ran

    return command, url, name


def test_a_key_is_registered_listed_and_removed(redis: tuple[Any, str, str]) -> None:
    command, url, name = redis
    ran = command("register", "proj_a", "--alias", "bot", "--note", "CI", stdin=A)
    assert (ran.status, ran.err) == (0, "")
    said = "✓ Registered the key sk-proj-…AAAA for project bot (proj_a)."
    assert " ".join(ran.out.split()) == f"{said} {name}, a new registry; it holds no key"
    ran = command("register", "bot", "--organization", "org-a", stdin=B)
    assert ran.out.split()[-1] == name
    assert sorted(stored(url), key=str) == [
        ("proj_a", "bot", "sk-proj-…AAAA", "CI"),
        ("proj_a", "bot", "sk-proj-…BBBB", None),
    ]
    assert "is registered for project bot" in command("register", "bot", stdin=B).out
    renewed = command("register", "proj_a", "--note", "new", stdin=B)
    assert "entry is renewed" in " ".join(renewed.out.split())

    ran = command("list")
    assert (ran.status, ran.out.split("\n")[0]) == (0, name)
    assert "2 keys, 1 project" in ran.out
    told = command("list", "--json").json
    assert told["sources"] == [
        {
            "kind": "url",
            "name": name,
            "projects": 1,
            "keys": 2,
            "age_seconds": None,
            "error": None,
        }
    ]
    assert told["projects"] == [
        {"project": "proj_a", "alias": "bot", "organization": "org-a", "source": name}
    ]
    assert {(key["fingerprint"], key["place"]) for key in told["keys"]} == {
        (fingerprint(A), name),
        (fingerprint(B), name),
    }

    ran = command("remove", "sk-proj-…AAAA")
    assert (ran.status, ran.err) == (0, "")
    assert f"of bot, from {name}." in " ".join(ran.out.split())
    assert [hint for _, _, hint, _ in stored(url)] == ["sk-proj-…BBBB"]
    assert "Pass --yes" in command("remove", "bot").err
    ran = command("remove", "bot", "--yes")
    said = f"✓ Removed project bot (proj_a) with its 1 key, from {name}."
    assert (ran.status, " ".join(ran.out.split())) == (0, said)
    assert stored(url) == []


@pytest.mark.parametrize(
    ("argv", "status", "complaint"),
    [
        (("register", "support-bot"), 2, "neither a project id"),
        (("register", "proj_b"), 2, "is registered for the project a already"),
        (("register", "proj_b", "--alias", "a"), 2, "belongs to proj_a already"),
        (("register", "proj_a", "--organization", "acme"), 2, "not an organization id"),
        (("register", "proj_a", "--alias", "new"), 2, "to change the alias, copy"),
        (("remove", "proj_z"), 1, "Nothing was removed"),
        (("remove", "sk-proj-…QQQQ"), 1, "Nothing was removed"),
        (("remove", fingerprint(B)), 1, "Nothing was removed"),
        (("remove", "a"), 2, "Pass --yes"),
    ],
)
def test_what_is_not_in_order_ends_as_with_a_file(
    shell: Shell, server: RedisServer, argv: tuple[str, ...], status: int, complaint: str
) -> None:
    address = url_of(server)
    edit.add(address, "proj_a", fingerprint(A), alias="a")
    before = edit.find(address).version
    support.write_registry(Path("openai-projects.toml"), a=f"proj_a:{A}")
    of_file = shell(*argv, "--registry", "openai-projects.toml", stdin=A)
    of_redis = shell(*argv, "--registry", address, stdin=A)
    assert (of_redis.status, of_redis.out) == (of_file.status, of_file.out) == (status, "")
    assert complaint in of_redis.err
    assert PASSWORD not in of_redis.err
    assert edit.find(address).version == before


@pytest.mark.parametrize("command", ["register", "remove", "sync", "list", "check", "doctor"])
@pytest.mark.parametrize("trouble", ["nobody there", "wrong password", "no URL"])
def test_what_cannot_be_reached_is_2_and_shows_no_password(
    shell: Shell, server: RedisServer, command: str, trouble: str
) -> None:
    address = {
        "nobody there": f"redis://:{PASSWORD}@127.0.0.1:{free_port()}",
        "wrong password": f"redis://:{PASSWORD}x@127.0.0.1:{server.port}",
        "no URL": f"redis://:{PASSWORD}?/#@127.0.0.1:1",
    }[trouble]
    shell.patch.setenv(REGISTRY, address)
    shell.patch.setenv("OPENAI_API_KEY", A)
    arguments = {"register": ("proj_a",), "remove": ("proj_a",)}.get(command, ())
    with loopback_api({A: "proj_a"}) as api:
        shell.patch.setenv("OPENAI_BASE_URL", api.base_url)
        shell.patch.setenv("OPENAI_ADMIN_KEY", ADMIN_KEY)
        ran = shell(command, *arguments, stdin=A)
        assert ran.status == 2
        assert "redis" in (ran.out + ran.err).lower()
        assert PASSWORD not in ran.out + ran.err
        if command in ("list", "check", "doctor"):
            ran = shell(command, "--json")
            assert ran.status == 2
            assert PASSWORD not in ran.out + ran.err
            json.loads(ran.out)


def test_a_user_who_may_only_read_is_told_what_registering_needs(
    shell: Shell, server: RedisServer
) -> None:
    edit.add(url_of(server), "proj_a", fingerprint(A))
    rules = parse_url(server.url).acl(writing=False).partition(">PASSWORD ")[2].split()
    server.client(password=PASSWORD).execute_command(
        "ACL", "SETUSER", "service", "on", ">0therSecret", *rules
    )
    shell.patch.setenv(REGISTRY, f"redis://service:0therSecret@127.0.0.1:{server.port}/0")
    ran = shell("register", "proj_a", stdin=B)
    assert ran.status == 2
    said = " ".join(ran.err.split())
    assert "no permissions to run the 'watch' command" in said
    assert parse_url(server.url).acl(writing=True) in said
    assert "0therSecret" not in ran.out + ran.err
    assert shell("list").status == 0


def test_removing_where_there_is_no_registry_is_2(shell: Shell, server: RedisServer) -> None:
    ran = shell("remove", "bot", "--registry", url_of(server))
    assert (ran.status, "there is no registry under the prefix" in ran.err) == (2, True)


def test_a_legacy_key_stands_under_several_projects(shell: Shell, server: RedisServer) -> None:
    shell.patch.setenv(REGISTRY, url_of(server))
    shell("register", "proj_a", stdin=LEGACY)
    assert "--also" in shell("register", "proj_b", stdin=LEGACY).err
    assert shell("register", "proj_b", "--also", stdin=LEGACY).status == 0
    assert shell("remove", "sk-…Lm9n").out.count("Removed") == 2
    assert stored(url_of(server)) == []


def test_verify_asks_before_anything_is_written(shell: Shell, server: RedisServer) -> None:
    shell.patch.setenv(REGISTRY, url_of(server))
    with loopback_api({A: "proj_a"}) as api:
        shell.patch.setenv("OPENAI_BASE_URL", api.base_url)
        assert shell("register", "proj_b", "--verify", stdin=A).status == 1
        assert edit.find(url_of(server)).version is None
        assert shell("register", "proj_a", "--alias", "bot", "--verify", stdin=A).status == 0
        assert shell("register", "bot", "--verify", stdin=A).status == 0


@pytest.mark.parametrize("value", ["rubbish", json.dumps({"proj_a": {"colour": "red"}})])
def test_what_counts_for_no_project_is_removed_by_its_fingerprint(
    shell: Shell, server: RedisServer, value: str
) -> None:
    edit.add(url_of(server), "proj_a", fingerprint(A))
    server.client(password=PASSWORD).hset(KEYS, fingerprint(B), value)
    shell.patch.setenv("FORCE_COLOR", "1")
    ran = shell("remove", fingerprint(B), "--registry", url_of(server))
    assert "\x1b[32m" in ran.out  # green, as whatever was removed
    assert (ran.status, "registered for no valid project" in " ".join(ran.out.split())) == (0, True)
    assert server.client(password=PASSWORD).hkeys(KEYS) == [fingerprint(A)]


# check and doctor


@pytest.mark.parametrize("command", ["check", "doctor"])
def test_a_default_client_is_judged_by_what_redis_says(
    shell: Shell, server: RedisServer, command: str
) -> None:
    edit.add(url_of(server), "proj_a", fingerprint(A), alias="bot")
    for name, value in {
        REGISTRY: url_of(server),
        "OPENAI_PROJECT_GUARD": "enforce",
        "OPENAI_API_KEY": A,
        "OPENAI_PROJECT_ID": "proj_a",
    }.items():
        shell.patch.setenv(name, value)
    ran = shell(command, "--json")
    assert (ran.status, ran.err) == (0, "")
    assert ran.json["verdict"]["expected"] == ["proj_a"]
    if command == "doctor":
        (source,) = ran.json["sources"]
        assert (source["kind"], source["name"], source["keys"]) == ("url", name_of(server), 1)
    shell.patch.setenv("OPENAI_PROJECT_ID", "proj_b")
    ran = shell(command)
    assert (ran.status, name_of(server) in ran.out) == (1, True)
    assert PASSWORD not in ran.out


# sync

PROJECTS = (LoopbackProject("proj_chat", "Support Chat"), LoopbackProject("proj_lab", "Lab"))
CHAT = "sk-proj-CANARYcanaryCANARYcanaryCANARYcanary-Ab3d"


@pytest.fixture
def api(shell: Shell) -> Iterator[LoopbackAPI]:
    owners = {CHAT: "proj_chat", "sk-proj-other-key-of-the-lab-Ef5g": "proj_lab"}
    with loopback_api(owners, projects=PROJECTS) as server:
        shell.patch.setenv("OPENAI_BASE_URL", server.base_url)
        shell.patch.setenv("OPENAI_ADMIN_KEY", ADMIN_KEY)
        shell.patch.setenv("OPENAI_API_KEY", CHAT)
        yield server


def test_sync_takes_in_binds_and_prunes(redis: tuple[Any, str, str], api: LoopbackAPI) -> None:
    command, url, name = redis
    edit.add(url, "proj_gone", fingerprint(B), alias="gone")
    report = command("sync", "--json")
    assert report.status == 0
    assert report.json == {
        "registry": name,
        "listed": 2,
        "added": [
            {"project": "proj_chat", "alias": "support-chat"},
            {"project": "proj_lab", "alias": "lab"},
        ],
        "unlisted": [{"project": "proj_gone", "alias": "gone"}],
        "pruned": False,
        "dry_run": False,
        "keys": [
            {
                "variable": "OPENAI_API_KEY",
                "hint": "sk-proj-…Ab3d",
                "outcome": "bound",
                "projects": ["proj_chat"],
                "says": "bound to support-chat (proj_chat)",
            }
        ],
    }
    version = edit.find(url).version
    assert command("sync", "--json").json["keys"][0]["outcome"] == "registered"
    assert edit.find(url).version == version  # there was nothing to write
    assert f"new in {name}." in " ".join(command("sync", "--prune", "--yes").out.split())
    assert stored(url) == [("proj_chat", "support-chat", "sk-proj-…Ab3d", "sync")]
    assert set(os.listdir()) <= {"redis", "installed", "cache"}  # nothing is named for the URL


def test_an_interrupted_sync_goes_on(shell: Shell, server: RedisServer, api: LoopbackAPI) -> None:
    shell.patch.setenv(REGISTRY, url_of(server))
    read, asked = Administration.keys, []

    def keys(self: Administration, project: str) -> Any:
        asked.append(project)
        if len(asked) == 2:
            raise KeyboardInterrupt
        return read(self, project)

    shell.patch.setattr(Administration, "keys", keys)
    assert shell("sync").status == 130
    (notes,) = Path("cache", "openai-project-guard").glob("*.sync")
    assert PASSWORD not in notes.read_text() + str(notes)
    assert notes.stat().st_mode & 0o777 == 0o600
    assert shell("sync").status == 0
    assert asked == ["proj_chat", "proj_lab", "proj_lab"]
    assert not notes.exists()


def test_sync_without_a_place_for_notes_does_without(
    shell: Shell, server: RedisServer, api: LoopbackAPI
) -> None:
    Path("taken").write_text("")
    shell.patch.setenv("XDG_CACHE_HOME", str(Path("taken").absolute()))
    assert shell("sync", "--registry", url_of(server)).status == 0
    assert Path("taken").read_text() == ""


def test_two_registries_in_redis_have_notes_of_their_own(shell: Shell) -> None:
    one = checkpoint._path("redis://:a@host/0?prefix=one")
    assert one == checkpoint._path("redis://:other@host/0?prefix=one")
    assert one != checkpoint._path("redis://:a@host/0?prefix=two")


# Two administrators at once

REGISTERS = """
import io, sys
from openai_project_guard._cli import main
name, url = sys.argv[1:]
for number in range(12):
    sys.stdin = io.StringIO(f"sk-proj-not-a-key-{name}-{number:04}-Ab3d")
    arguments = ["register", f"proj_{number % 3}", "--registry", url, "--note", name]
    assert main(arguments) == 0, name
    if number % 4 == 3:  # and one of them is taken back
        from openai_project_guard._keys import digest, fingerprint_of
        key = f"sk-proj-not-a-key-{name}-{number:04}-Ab3d"
        assert main(["remove", fingerprint_of(digest(key)), "--registry", url]) == 0, name
"""


def test_administrators_in_several_processes_lose_nothing(
    shell: Shell, server: RedisServer, api: LoopbackAPI
) -> None:
    url = url_of(server)
    started = [
        subprocess.Popen(
            [sys.executable, "-W", "ignore", "-c", REGISTERS, name, url],
            env={**os.environ, "PYTHONPATH": ROOT},
            stdout=subprocess.DEVNULL,
        )
        for name in ("ann", "bob", "cy")
    ]
    synced = []
    while any(process.poll() is None for process in started):
        synced.append(shell("sync", "--registry", url).status)
    assert [process.wait(60) for process in started] == [0, 0, 0]
    synced.append(shell("sync", "--registry", url).status)
    assert set(synced) == {0}
    notes = [note for _, _, _, note in stored(url)]
    assert {name: notes.count(name) for name in ("ann", "bob", "cy")} == dict.fromkeys(
        ("ann", "bob", "cy"), 9
    )
    assert notes.count("sync") == 1
    projects = {project for project, *_ in stored(url)}
    assert projects == {"proj_0", "proj_1", "proj_2", "proj_chat"}


def test_a_step_is_taken_again_from_what_is_there_by_then(server: RedisServer) -> None:
    """The alias of a new project is chosen anew, and many projects go after one look."""
    from openai_project_guard._registry.redis.client import Client

    url = url_of(server)
    edit.change(
        url,
        lambda draft: [draft.add(f"proj_{n}", fingerprint(A), also=True) for n in range(20)],
        create=True,
    )
    looks = []
    with pytest.MonkeyPatch.context() as patch:
        read = Client.read
        patch.setattr(Client, "read", lambda self: looks.append(1) or read(self))
        edit.change(url, lambda draft: draft.remove_projects(f"proj_{n}" for n in range(15)))
    assert len(looks) == 1
    assert len(stored(url)) == 5
    seen: list[bool] = []

    def step(draft: Any) -> str:
        if not seen:
            edit.add(url, "proj_other", fingerprint(B), alias="bot")
        seen.append("proj_other" in draft.projects)
        return str(draft.add_project("proj_mine", alias="robot" if seen[-1] else "bot"))

    assert edit.change(url, step) == "proj_mine"
    assert seen == [False, True]
    aliases = {project.id: project.alias for project in edit.read(url).snapshot.projects.values()}
    assert (aliases["proj_other"], aliases["proj_mine"]) == ("bot", "robot")
