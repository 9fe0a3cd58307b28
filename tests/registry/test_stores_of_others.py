"""Can another package keep registries, and can they be changed there too?"""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import Any

import pytest

import openai_project_guard as opg
from openai_project_guard import Registry, RegistryError, _env
from openai_project_guard._keys import digest, fingerprint_of
from openai_project_guard._registry import stores
from openai_project_guard._registry.source import Source

KEY = "sk-proj-0123456789abcdefghijAb3d"
FINGERPRINT = fingerprint_of(digest(KEY))

# A store that can be written to: the least that one needs, in a module of another package.
MEMORY = """
from openai_project_guard import Registry, RegistryError
from openai_project_guard._keys import digest_of
from openai_project_guard._registry.changes import Draft, StoredState
from openai_project_guard._registry.model import KeyRecord, Place, Project, Snapshot
from openai_project_guard._registry.source import Source

KEPT = {}  # snapshots, by address

class Followed(Source):
    def __init__(self, address):
        self.name, self.address, self.registry = describe(address).name, address, read(address)
    def refresh(self, now):
        self.registry.snapshot = KEPT[self.address]

def open_source(address):
    return Followed(address)

def read(address):
    if address not in KEPT:
        raise RegistryError(f"{address}: there is no such registry.")
    registry = Registry()
    registry.snapshot = KEPT[address]
    return registry

def find(address):
    version, snapshot = "1" if address in KEPT else None, KEPT.get(address, Snapshot())
    return StoredState(describe(address), version, snapshot)

def change(address, step, *, create=False):
    draft = Draft(find(address))
    result = step(draft)
    snapshot = Snapshot()
    for name, fields in draft.projects.items():
        snapshot.add_project(Project(name, draft.stored.place, fields.alias, fields.organization))
    for fingerprint, bindings in draft.keys.items():
        for name, binding in bindings.items():
            record = KeyRecord(snapshot.projects[name], binding.hint, binding.note)
            snapshot.add_key(digest_of(fingerprint), record)
    KEPT[address] = snapshot
    return result

def describe(address):
    return Place(address)
"""
READ_ONLY = f"""
from openai_project_guard import Registry

class Vault:
    def __init__(self, url):
        self.registry = Registry()
        self.registry.register({KEY!r}, "proj_a")
    def refresh(self, now):
        pass
"""


@pytest.fixture(autouse=True)
def another_package(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    facts = tmp_path / "some_stores-1.dist-info"
    facts.mkdir()
    (facts / "METADATA").write_text("Metadata-Version: 2.1\nName: some-stores\nVersion: 1\n")
    (facts / "entry_points.txt").write_text(
        f"[{stores.ENTRY_POINTS}]\nmemory = some_memory\nvault = read_only_vault:Vault\n"
        "broken = some_broken:open\nempty = read_only_vault:open\nredis = read_only_vault:Vault\n"
    )
    (tmp_path / "some_memory.py").write_text(MEMORY)
    (tmp_path / "read_only_vault.py").write_text(READ_ONLY)
    monkeypatch.syspath_prepend(str(tmp_path))
    monkeypatch.delitem(__import__("sys").modules, "some_memory", raising=False)


def projects(entries: Iterable[Any]) -> list[str]:
    return [entry.project for entry in entries]


def test_a_registry_there_is_followed_read_changed_and_described() -> None:
    url = "memory://team"
    with pytest.raises(RegistryError, match="there is no such registry"):
        stores.read(url)
    assert stores.find(url).version is None
    assert stores.is_writable(url)
    assert stores.add(url, "proj_a", FINGERPRINT, alias="bot", hint="sk-proj-…Ab3d") == "added"
    source = stores.open_source(url)
    assert (source.name, source.status().keys) == (url, 1)
    assert stores.add(url, "proj_b", FINGERPRINT, also=True) == "added"
    with pytest.raises(RegistryError, match="the registry has no such project"):
        stores.remove_project(url, "proj_c")
    source.refresh(0.0)
    assert projects(source.registry.lookup(KEY)) == ["proj_a", "proj_b"]
    assert stores.remove(url, FINGERPRINT, project="bot") == 1
    assert projects(stores.read(url)) == ["proj_b"]
    assert stores.describe(url).name == url


def test_a_function_that_opens_a_source_gives_a_registry_that_is_read_only() -> None:
    url = "vault://user:secret@host/path?a=1"
    source = stores.open_source(url)
    assert isinstance(source, Source)
    source.refresh(0.0)
    assert source.status()[:3] == ("current", 0.0, 1)
    assert not source.remember(b"", "", "proj_a")
    assert projects(stores.read(url)) == ["proj_a"]
    assert source.name == stores.describe(url).name == "vault://host/path"
    assert not stores.is_writable(url)
    for action in (stores.find, lambda url: stores.remove(url, FINGERPRINT)):
        with pytest.raises(RegistryError, match=r"^vault://host/path: a registry can be read"):
            action(url)


def test_a_password_in_the_options_hides_them() -> None:
    assert stores.describe("vault://host?login=user:secret@x").name == "vault://…"


def test_redis_is_our_own_whoever_offers_it() -> None:
    assert stores.is_writable("redis://host")
    assert stores.is_writable("REDISS://host")


def test_a_scheme_that_nobody_knows_is_told_with_those_that_are_known() -> None:
    known = "a path, broken://, empty://, memory://, redis://, rediss://, unix://, vault://"
    with pytest.raises(RegistryError, match=f"at nosuch:// URLs. Known: {known}"):
        opg.enable(registry="nosuch://user:secret@host")
    assert stores.describe("nosuch://user:secret@host").name == "nosuch://host"
    assert not stores.is_writable("nosuch://host")


@pytest.mark.parametrize("scheme", ["broken", "empty"])
def test_a_package_that_cannot_be_imported_is_told(scheme: str) -> None:
    with pytest.raises(RegistryError, match=f"The source for {scheme}:// URLs cannot be imported"):
        stores.open_source(f"{scheme}://host")


@pytest.mark.parametrize("name", ["openai-projects.toml", "./a:b.toml", "C:\\registry.toml", "a"])
def test_a_path_is_no_url(name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    assert not stores.is_url(name)
    assert stores.is_writable(name)
    stores.add(name, "proj_a", FINGERPRINT)
    assert projects(Registry.from_file(name)) == ["proj_a"]


def test_a_password_may_have_a_comma_in_it(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.chdir(tmp_path)
    Path("b.toml").touch()
    names = ("a.toml", "redis://user:p,w@host/0", "REDISS://:p,w@host", "b.toml")
    monkeypatch.setenv("OPENAI_PROJECT_GUARD_REGISTRY", ", ".join(names))
    assert _env.registry_names() == names
