"""Is an SDK refused that has no longer what must be hooked, and left as it was?"""

from __future__ import annotations

import importlib
from collections.abc import Callable
from typing import Any

import openai
import pytest
from openai._base_client import AsyncAPIClient, BaseClient, SyncAPIClient
from support import (
    KEYS,
    Probe,
    http,
    needs_send_request,
    output,
)

import openai_project_guard as opg

pytestmark = pytest.mark.usefixtures("clean")


@pytest.fixture
def take_away(monkeypatch: pytest.MonkeyPatch) -> Callable[[Any, str], None]:
    """Deletes a method of the SDK until the test ends."""
    return monkeypatch.delattr


CLASSES = (BaseClient, SyncAPIClient, AsyncAPIClient, openai.OpenAI, http.Client, http.AsyncClient)


SENDING = ("_send_request",)
"""What the guard hooks in both clients. Of releases before `_send_request` came, other methods."""
if not hasattr(SyncAPIClient, "_send_request"):
    SENDING = ("request", "_prepare_request")


# --- an SDK without a method to hook --------------------------------------------------------------


@pytest.mark.parametrize(
    ("owner", "name"),
    [
        *((owner, name) for owner in (SyncAPIClient, AsyncAPIClient) for name in SENDING),
        (BaseClient, "_build_request"),
        (BaseClient, "_make_status_error_from_response"),
        (http.Client, "_send_single_request"),
        (http.AsyncClient, "_send_single_request"),
        (http.Client, "_send_handling_redirects"),
        (http.AsyncClient, "_send_handling_auth"),
    ],
)
def test_an_sdk_without_a_method_that_must_be_hooked_is_refused_and_left_alone(
    owner: Any, name: str, take_away: Callable[[Any, str], None]
) -> None:
    take_away(owner, name)
    before = [dict(vars(each)) for each in CLASSES]
    package = importlib.import_module(owner.__module__.partition(".")[0])
    for _ in range(2):
        with pytest.raises(opg.UnsupportedSDKError) as refused:
            opg.enable(registry=KEYS)
        assert str(refused.value) == (
            f"{package.__name__} {package.__version__} has no {owner.__name__}.{name}, where the "
            "guard must look at a call before it is sent. Upgrade openai-project-guard, or use a "
            f"release of {package.__name__} that it supports; its README lists them."
        )
        assert not opg.is_enabled()
        assert [dict(vars(each)) for each in CLASSES] == before
    with pytest.raises(opg.UnsupportedSDKError), opg.guard():
        pytest.fail("the scope was entered")


@pytest.mark.parametrize(
    "path",
    [
        "websockets.sync.client.ClientConnection.handshake",
        "websockets.asyncio.client.ClientConnection.handshake",
        "requests.adapters.HTTPAdapter.send",
        "urllib3.connectionpool.HTTPConnectionPool.urlopen",
        "aiohttp.connector.BaseConnector.connect",
        "aiohttp.ClientResponse.start",
    ],
)
def test_another_library_without_a_method_that_must_be_hooked_is_refused_too(
    path: str, take_away: Callable[[Any, str], None]
) -> None:
    module, class_name, name = path.rsplit(".", 2)
    take_away(getattr(pytest.importorskip(module), class_name), name)
    missing = rf"^{module.partition('.')[0]} [\d.]+ has no {class_name}\.{name}, where"
    with pytest.raises(opg.UnsupportedSDKError, match=missing):
        opg.enable(registry=KEYS, scope="process")
    assert not opg.is_enabled()


def test_an_enable_that_fails_does_not_weaken_a_guard_that_is_enabled(
    probe: Probe, monkeypatch: pytest.MonkeyPatch
) -> None:
    opg.enable(registry=KEYS)
    assert probe() == "ab"
    with monkeypatch.context() as doctored:
        doctored.delattr(http.AsyncClient, "_send_single_request")
        with pytest.raises(opg.UnsupportedSDKError):
            opg.enable("warn")
    assert (opg.is_enabled(), probe()) == (True, "ab")


def test_enabled_by_the_environment_importing_an_unsupported_sdk_fails_again_and_again() -> None:
    said = output(
        """
import sys, wrapt
import openai_project_guard as opg

@wrapt.when_imported("openai._base_client")
def doctor(module):
    global classes, before
    del module.BaseClient._build_request
    classes = module.BaseClient, module.SyncAPIClient, module.AsyncAPIClient
    before = [dict(vars(each)) for each in classes]

for attempt in 1, 2, 3:
    try:
        if attempt == 3:
            from openai import OpenAI
        else:
            import openai
    except opg.UnsupportedSDKError as error:
        print(str(error).partition(" has ")[2].partition(",")[0])
    assert "openai" not in sys.modules
    assert [dict(vars(each)) for each in classes] == before
""",
        OPENAI_PROJECT_GUARD="enforce",
    )
    assert said.splitlines() == ["no BaseClient._build_request"] * 3


# --- an SDK that has renamed a method ------------------------------------------------------------


RENAMED = """
import sys
from importlib.machinery import PathFinder, SourceFileLoader

class Renaming(SourceFileLoader):
    def get_code(self, name):
        source = self.get_data(self.path).replace(b"_send_request", b"_transmit")
        return compile(source, self.path, "exec", dont_inherit=True)

class Finder:
    def find_spec(name, path=None, target=None):
        spec = PathFinder.find_spec(name, path, target) if name.startswith("openai.") else None
        if spec is not None and type(spec.loader) is SourceFileLoader:
            spec.loader = Renaming(name, spec.origin)
        return spec

sys.meta_path.insert(0, Finder)

import asyncio
from openai._base_client import SyncAPIClient
assert not hasattr(SyncAPIClient, "_send_request")
from support import A, KEYS, http
import openai
import openai_project_guard as opg

class Client(http.Client):
    def send(self, request, **options):
        return answer(request)

class AsyncClient(http.AsyncClient):
    async def send(self, request, **options):
        return answer(request)

def answer(request):
    sent.append(request.headers["OpenAI-Project"])
    return http.Response(200, json={"id": "m"}, request=request)

def call(project, client, **options):
    sdk = openai.OpenAI(api_key=A, project=project, http_client=client(**options))
    sdk.models.retrieve("m")

def call_async(project, client, **options):
    sdk = openai.AsyncOpenAI(api_key=A, project=project, http_client=client(**options))
    asyncio.run(sdk.models.retrieve("m"))

sent, refused = [], []
opg.enable(registry=KEYS)
memory = {"transport": http.MockTransport(answer)}
for way, client, options in (
    (call, http.Client, memory),
    (call_async, http.AsyncClient, memory),
    (call, Client, {}),
    (call_async, AsyncClient, {}),
):
    for project in "proj_a", "proj_b":
        try:
            way(project, client, **options)
        except opg.ProjectMismatchError as error:
            refused.append(error.verdict.actual)
print(*sent, *refused)
"""


@needs_send_request
def test_an_sdk_that_has_renamed_where_it_sends_is_guarded_as_those_from_before_it() -> None:
    assert output(RENAMED).split() == ["proj_a"] * 4 + ["proj_b"] * 4
