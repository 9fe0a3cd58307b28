"""Is a library that is imported a second time, or reloaded, as guarded as it was before?"""

from __future__ import annotations

import openai
import pytest
from support import A, output, python

pytestmark = pytest.mark.usefixtures("clean")

BEFORE = f"""
import asyncio, importlib, sys
from unittest import mock
import openai_project_guard as opg
from openai_project_guard.loopback import loopback_api

A = {A!r}

def enable():
    opg.enable(registry={{"proj_a": A}}, hosts=["127.0.0.1"], scope="process")

def purge(package):
    for name in [*sys.modules]:
        if name.partition(".")[0] == package:
            del sys.modules[name]

def reload(package):
    for name in {{"httpx": ("httpx._client", "httpx._api", "httpx"),
                 "httpx2": ("httpx2._client", "httpx2._api", "httpx2"),
                 "requests": ("requests.adapters", "requests.sessions", "requests.api", "requests"),
                 "urllib3": ("urllib3.connectionpool", "urllib3.poolmanager", "urllib3"),
                 "aiohttp": ("aiohttp.connector", "aiohttp.client", "aiohttp"),
                 "websockets": ("websockets.sync.client", "websockets.asyncio.client"),
                }}[package]:
        importlib.reload(importlib.import_module(name))

def lend(package):
    '''As a test does that stands a mock in for some other module meanwhile.'''
    purge(package)
    with mock.patch.dict(sys.modules, {{"a_module_of_mine": mock.Mock()}}):
        importlib.import_module(package)
        importlib.import_module(FIRST)

HEADERS = {{"Authorization": "Bearer " + A, "OpenAI-Project": "proj_b"}}

def get(package, url):
    '''Sends a wrong call by a library as it is imported now.'''
    library = importlib.import_module(package)
    if package == "aiohttp":
        async def ask():
            async with library.ClientSession() as session:
                async with session.get(url, headers=HEADERS):
                    pass
        asyncio.run(ask())
    elif package == "urllib3":
        library.PoolManager().request("GET", url, headers=HEADERS)
    else:
        library.get(url, headers=HEADERS)
"""

LIBRARIES = {
    "httpx": "httpx",
    "httpx2": "httpx2",
    "requests": "requests.adapters",
    "urllib3": "urllib3.connectionpool",
    "aiohttp": "aiohttp.connector",
}
"""The libraries, and the module of each in which the hooks are."""

AGAIN = pytest.mark.parametrize("again", ["purge", "reload", "lend"])
WHEN = pytest.mark.parametrize("is_imported_first", [True, False])


@AGAIN
@WHEN
@pytest.mark.parametrize("package", LIBRARIES)
def test_a_library_of_the_process_is(package: str, again: str, is_imported_first: bool) -> None:
    pytest.importorskip(package)
    first = f"import {LIBRARIES[package]}"
    said = output(
        f"""
FIRST = {LIBRARIES[package]!r}
{BEFORE}
{first if is_imported_first else ""}
enable()
{first}
{again}({package!r})
with loopback_api({{A: "proj_a"}}) as api:
    for _ in range(2):
        try:
            get({package!r}, api.base_url + "/models")
        except opg.ProjectMismatchError:
            {again}({package!r})
    print(opg.is_enabled(), api.connections)
opg.disable()
with loopback_api({{A: "proj_a"}}) as api:
    get({package!r}, api.base_url + "/models")
    {again}({package!r})
    get({package!r}, api.base_url + "/models")
    print(api.connections)
"""
    )
    assert said.splitlines() == ["True 0", "2"]


@AGAIN
@WHEN
@pytest.mark.skipif(not hasattr(openai.OpenAI(api_key="x"), "realtime"), reason="not there")
def test_a_websocket_of_the_sdk_is(again: str, is_imported_first: bool) -> None:
    pytest.importorskip("websockets.asyncio.client")
    first = "import websockets.sync.client, websockets.asyncio.client"
    said = output(
        f"""
FIRST = "websockets.sync.client"
{BEFORE}
import openai
{first if is_imported_first else ""}
enable()
{first}

def options(api):
    return dict(
        api_key=A,
        project="proj_b",
        base_url=api.base_url,
        websocket_base_url=api.websocket_base_url,
    )

def connect(api):
    with openai.OpenAI(**options(api)).realtime.connect(model="m"):
        pass

async def connect_async(api):
    async with openai.AsyncOpenAI(**options(api)).realtime.connect(model="m"):
        pass

with loopback_api({{A: "proj_a"}}) as api:
    for way in connect, lambda api: asyncio.run(connect_async(api)):
        {again}("websockets")
        try:
            way(api)
        except opg.ProjectGuardError:  # not every release sends the project here
            pass
    print(opg.is_enabled(), api.connections)
"""
    )
    assert said == "True 0"


@pytest.mark.parametrize("package", LIBRARIES)
def test_no_import_is_kept_alive_by_the_guard(package: str) -> None:
    pytest.importorskip(package)
    program = f"""
FIRST = {LIBRARIES[package]!r}
{BEFORE}
import gc, weakref
GUARDED = {{guarded}}
modules = weakref.WeakSet()
if GUARDED:
    enable()
for _ in range(6):
    modules.add(importlib.import_module(FIRST))
    purge({package!r})
gc.collect()
gc.collect()
print(len(modules))
"""
    alive = [output(program.replace("{guarded}", str(on))) for on in (True, False)]
    assert alive[0] == alive[1]


OLD_CLIENTS = f"""
import asyncio, importlib, sys
import openai
import openai_project_guard as opg
from support import Server, http

server = Server("proj_z")

class Client(http.Client):
    def send(self, request, **options):
        return answered(request)

class AsyncClient(http.AsyncClient):
    async def send(self, request, **options):
        return answered(request)

def answered(request):
    response = server(request)
    response.request = request
    return response

def purge():
    for name in [*sys.modules]:
        if name.partition(".")[0] == "openai":
            del sys.modules[name]

def reload_in_part():
    importlib.reload(sys.modules["openai._base_client"])

def import_again():
    purge()
    import openai

def fail_to_import_again():
    purge()
    sys.modules["openai._client"] = None
    try:
        import openai
    except ImportError:
        sys.modules.pop("openai._client")

def client(project):
    options = {{"api_key": {A!r}, "project": project, "max_retries": 0}}
    if IS_ASYNC:
        return openai.AsyncOpenAI(http_client=AsyncClient(), **options)
    return openai.OpenAI(http_client=Client(), **options)

def call(client):
    async def finish():
        await client.get("/models", cast_to=http.Response)
    if IS_ASYNC:
        asyncio.run(finish())
    else:
        client.get("/models", cast_to=http.Response)

opg.enable(registry={{"proj_a": {A!r}}})
seen = []
opg.add_observer(lambda verdict: seen.append((verdict.outcome, verdict.reason)))
wrong, right = client("proj_b"), client("proj_a")
AGAIN()
try:
    call(wrong)
except Exception as error:
    print(type(error).__name__, len(server.requests))
call(right)
print(seen)
"""


@pytest.mark.parametrize("is_async", [False, True])
@pytest.mark.parametrize("again", ["reload_in_part", "import_again", "fail_to_import_again"])
def test_an_older_client_with_a_way_of_its_own_to_send_is(again: str, is_async: bool) -> None:
    program = OLD_CLIENTS.replace("IS_ASYNC", str(is_async)).replace("AGAIN", again)
    said = output(program).splitlines()
    assert said[0] in ("ProjectMismatchError 0", "APIConnectionError 0")
    seen = [("blocked", "mismatch"), ("allowed", None)]
    if hasattr(openai.OpenAI, "_send_request"):  # before it the answer is not seen there
        seen.append(("allowed", "drift"))
    assert said[1] == str(seen)


# --- what other finders bring in, and what a module shows -----------------------------------------

FINDER = f"""
import sys
from importlib.machinery import PathFinder
import openai_project_guard as opg

class ByItself:
    '''Another tool's finder, which asks no other.'''
    def find_spec(self, name, path=None, target=None):
        return PathFinder.find_spec(name, path, target) if name == {{name!r}} else None

opg.enable(registry={{{{"proj_a": {A!r}}}}}, scope="process")
sys.meta_path.insert(0, ByItself())
assert opg.is_enabled()
import {{name}}
print(opg.is_enabled())
opg.enable(registry={{{{"proj_a": {A!r}}}}}, scope="process")
print(opg.is_enabled())
"""


@pytest.mark.parametrize("name", ["openai", "websockets.sync.client", *LIBRARIES.values()])
def test_what_came_in_unseen_is_not_called_checked(name: str) -> None:
    pytest.importorskip(name)
    run = python(FINDER.format(name=name))
    assert run.stdout.split() == ["False", "True"], run.stderr
    gone = "The guard's hook on BaseClient._build_request and " if name == "openai" else "hook on "
    assert f"{gone}{name} is gone: another package took it off, or imported that" in run.stderr


def test_a_finder_behind_the_guards_is_asked_as_it_was() -> None:
    said = output(
        f"""
import sys
from importlib.machinery import PathFinder
import openai_project_guard as opg

class ByItself:
    def find_spec(self, name, path=None, target=None):
        asked.append((name, target))
        return PathFinder.find_spec(name, path) if name == "websockets.sync.client" else None

class OfOld:
    def find_module(self, name, path=None):  # all that a finder had once
        return None

class InFront:
    def find_spec(self, name, path=None, target=None):
        in_front.append(name)

asked, in_front = [], []
opg.enable(registry={{"proj_a": {A!r}}})
sys.meta_path[1:1] = [OfOld(), ByItself()]
sys.meta_path.insert(0, InFront())
import websockets.sync.client
assert in_front.count("websockets.sync.client") == 1  # not by the guard once more
assert opg.is_enabled()
from importlib import reload
reload(websockets.sync.client)
print(opg.is_enabled(), asked.count(("websockets.sync.client", None)))
print(asked.count(("websockets.sync.client", websockets.sync.client)))
"""
    )
    assert said.splitlines() == ["True 1", "1"]


def test_a_tool_may_stand_around_each_finder() -> None:
    """As one does that measures imports, or puts them off."""
    said = output(
        f"""
import sys
import openai_project_guard as opg

class Around:
    def __init__(self, finder):
        self.finder = finder
    def find_spec(self, name, path=None, target=None):
        return self.finder.find_spec(name, path, target)
    def __getattr__(self, name):
        return getattr(self.finder, name)

opg.enable(registry={{"proj_a": {A!r}}})
sys.meta_path[:] = [Around(finder) for finder in sys.meta_path if hasattr(finder, "find_spec")]
import openai
print(opg.is_enabled())
try:
    openai.OpenAI(api_key={A!r}, project="proj_b").models.list()
except opg.ProjectMismatchError:
    print("refused")
"""
    )
    assert said.splitlines() == ["True", "refused"]


def test_once_the_guard_is_disabled_a_module_is_found_with_its_own_loader() -> None:
    said = output(
        f"""
from importlib.util import find_spec
import openai_project_guard as opg
import openai
for _ in range(2):
    opg.enable(registry={{"proj_a": {A!r}}})
    opg.disable()
    print(type(find_spec("websockets.sync.client").loader).__name__)
"""
    )
    assert said.splitlines() == ["SourceFileLoader"] * 2


def test_a_loader_that_does_not_say_when_code_runs_stays_as_it_is() -> None:
    said = output(
        f"""
import sys
from importlib.machinery import ModuleSpec
import openai_project_guard as opg

class Old:
    def load_module(self, name):
        raise AssertionError

class Finder:
    def find_spec(self, name, path=None, target=None):
        return ModuleSpec(name, Old()) if name == "openai" else None

before = [*sys.meta_path]
opg.enable(registry={{"proj_a": {A!r}}})
(ours,) = [finder for finder in sys.meta_path if finder not in before]
sys.meta_path.insert(1, Finder())
print(type(ours.find_spec("openai").loader).__name__, ours.find_spec("json"))
"""
    )
    assert said == "Old None"


@pytest.mark.parametrize("what", ["mock.Mock()", "types.ModuleType('requests.adapters')", "None"])
def test_what_stands_in_for_a_module_is_not_taken_for_one_past_the_guard(what: str) -> None:
    said = output(
        f"""
import sys, types
from unittest import mock
import openai_project_guard as opg
opg.enable(registry={{"proj_a": {A!r}}}, scope="process")
with mock.patch.dict(sys.modules, {{"requests.adapters": {what}}}):
    print(opg.is_enabled())
print(opg.is_enabled())
"""
    )
    assert said.splitlines() == ["True", "True"]


def test_a_module_in_the_middle_of_its_import_is_not_called_unchecked() -> None:
    said = output(
        f"""
import importlib.abc, sys
import openai_project_guard as opg
opg.enable(registry={{"proj_a": {A!r}}})

class Asking(importlib.abc.MetaPathFinder):
    def find_spec(self, name, path=None, target=None):
        if name.startswith("websockets.") and "websockets.sync.client" in sys.modules:
            said.add(opg.is_enabled())

said = set()
sys.meta_path.insert(0, Asking())
import websockets.sync.client
print(*said)
"""
    )
    assert said == "True"


def test_an_sdk_in_the_middle_of_its_import_is_not_called_unchecked() -> None:
    """Whoever asks meanwhile is told that calls are checked: none can be made before they are."""
    said = output(
        f"""
import importlib.abc, sys
import openai_project_guard as opg
opg.enable(registry={{"proj_a": {A!r}}})

class Asking(importlib.abc.MetaPathFinder):
    def find_spec(self, name, path=None, target=None):
        if "openai._base_client" in sys.modules:
            said.add(opg.is_enabled())
            whole.add(hasattr(sys.modules["openai._base_client"], "BaseClient"))

said, whole = set(), set()
sys.meta_path.insert(0, Asking())
import openai
print(*said, *sorted(whole), opg.is_enabled())
"""
    )
    assert said == "True False True True"


def test_a_module_shows_the_loader_that_it_has_without_the_guard() -> None:
    program = f"""
import openai_project_guard as opg
if {{guarded}}:
    opg.enable(registry={{{{"proj_a": {A!r}}}}})
import importlib, inspect, openai
for module in openai, importlib.reload(openai):
    loader = module.__spec__.loader
    print(type(loader), loader is module.__loader__, loader.get_filename("openai"))
    print(len(inspect.getsource(module)), module.__spec__.origin)
    print(importlib.util.find_spec("openai").loader is loader)
"""
    said = [output(program.format(guarded=on)) for on in (True, False)]
    assert said[0] == said[1]
    assert len(said[0].splitlines()) == 6


def test_one_finder_is_put_in_and_anew_where_it_was_taken_out() -> None:
    said = output(
        f"""
import sys
import openai_project_guard as opg
before = [*sys.meta_path]
for _ in range(3):
    opg.enable(registry={{"proj_a": {A!r}}})
(ours,) = [finder for finder in sys.meta_path if finder not in before]
sys.meta_path.remove(ours)
opg.enable(registry={{"proj_a": {A!r}}})
print(sys.meta_path == [ours, *before])
import openai
print(opg.is_enabled(), sys.meta_path == [ours, *before])
"""
    )
    assert said.splitlines() == ["True", "True True"]


def test_a_reload_of_an_sdk_that_is_not_supported_fails_each_time() -> None:
    said = output(
        f"""
import importlib, openai
from openai._base_client import BaseClient
import openai_project_guard as opg
opg.enable(registry={{"proj_a": {A!r}}})
del BaseClient._build_request
for _ in range(2):
    try:
        importlib.reload(openai)
    except opg.UnsupportedSDKError as error:
        print(str(error).partition(" has ")[2].partition(",")[0], opg.is_enabled())
"""
    )
    assert said.splitlines() == ["no BaseClient._build_request False"] * 2
