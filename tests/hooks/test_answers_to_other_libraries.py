"""`scope="process"`: are other libraries' answers checked, and do errors look like their own?"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator
from types import SimpleNamespace
from typing import Any

import pytest
from support import STRANGER, A, B

import openai_project_guard as opg
from openai_project_guard._hooks.other_clients import READER
from openai_project_guard._state import STATE
from openai_project_guard.loopback import LoopbackAPI, loopback_api

pytestmark = pytest.mark.usefixtures("clean")


@pytest.fixture
def api() -> Iterator[LoopbackAPI]:
    with loopback_api({A: "proj_a", B: "proj_b", STRANGER: "proj_z"}) as api:
        yield api


def enable(**options: Any) -> None:
    registry = {"proj_a": A, "proj_b": B}
    opg.enable(**{"registry": registry, "hosts": ["127.0.0.1"], "scope": "process", **options})


def headers(key: str, project: str) -> dict[str, str]:
    return {"Authorization": f"Bearer {key}", "OpenAI-Project": project}


def by_httpx2(url: str, headers: dict[str, str]) -> None:
    httpx = pytest.importorskip("httpx2")
    httpx.get(url, headers=headers, trust_env=False)


def by_httpx(url: str, headers: dict[str, str]) -> None:
    httpx = pytest.importorskip("httpx")
    httpx.get(url, headers=headers, trust_env=False)


def by_requests(url: str, headers: dict[str, str]) -> None:
    requests = pytest.importorskip("requests")
    with requests.Session() as session:
        session.trust_env = False
        session.get(url, headers=headers)


def by_urllib3(url: str, headers: dict[str, str]) -> None:
    urllib3 = pytest.importorskip("urllib3")
    with urllib3.PoolManager() as pool:
        pool.request("GET", url, headers=headers)


def by_aiohttp(url: str, headers: dict[str, str]) -> None:
    aiohttp = pytest.importorskip("aiohttp")

    async def get() -> None:
        async with (
            aiohttp.ClientSession() as session,
            session.get(url, headers=headers) as response,
        ):
            await response.read()

    asyncio.run(get())


LIBRARIES = (by_httpx2, by_httpx, by_requests, by_urllib3, by_aiohttp)
EVERY = pytest.mark.parametrize("get", LIBRARIES)
Get = Callable[[str, dict[str, str]], None]


@EVERY
def test_drift_is_told_once(get: Get, api: LoopbackAPI) -> None:
    enable(registry={"proj_b": A})  # the server knows better
    seen: list[opg.Verdict] = []
    opg.add_observer(seen.append)
    get(f"{api.base_url}/models", headers(A, "proj_b"))
    reasons = [verdict.reason for verdict in seen]
    # The server refuses a wrong header, and names no project then.
    assert reasons == [None]
    seen.clear()
    api_key_of_both = {"Authorization": f"Bearer {A}"}
    opg.enable(
        "warn", registry={"proj_b": A}, hosts=["127.0.0.1"], scope="process"
    )  # no header: it is billed to the key's own
    get(f"{api.base_url}/models", api_key_of_both)
    assert [verdict.reason for verdict in seen] == ["missing", "drift"]


@EVERY
def test_a_key_is_learned_from_the_answer(get: Get, api: LoopbackAPI) -> None:
    enable(unregistered="learn")
    get(f"{api.base_url}/models", headers(STRANGER, "proj_z"))
    assert [entry.project for entry in STATE.registered.lookup(STRANGER)] == ["proj_z"]


@EVERY
def test_a_key_is_not_learned_where_that_was_not_asked_for(get: Get, api: LoopbackAPI) -> None:
    for unregistered in ("allow", "warn"):
        enable(unregistered=unregistered)
        get(f"{api.base_url}/models", headers(STRANGER, "proj_z"))
        assert STATE.registered.lookup(STRANGER) == ()


@pytest.mark.parametrize("get", [by_httpx2, by_httpx, by_requests])
def test_the_error_has_the_request_as_the_librarys_own_has(get: Get, api: LoopbackAPI) -> None:
    enable()
    with pytest.raises(opg.ProjectMismatchError) as caught:
        get(f"{api.base_url}/models", headers(A, "proj_b"))
    error: Any = caught.value
    assert str(error.request.url).endswith("/models")
    assert error.request.method == "GET"
    assert type(error.request).__module__.partition(".")[0] != "openai_project_guard"


def test_an_adapter_of_requests_may_hand_its_request_on_by_keyword(api: LoopbackAPI) -> None:
    requests = pytest.importorskip("requests")

    class Adapter(requests.adapters.HTTPAdapter):  # type: ignore[misc]
        def send(self, request: Any, **options: Any) -> Any:
            return super().send(request=request, **options)

    enable()
    with requests.Session() as session:
        session.trust_env = False
        session.mount("http://", Adapter())
        assert session.get(f"{api.base_url}/models", headers=headers(A, "proj_a")).ok
        with pytest.raises(opg.ProjectMismatchError) as refused:
            session.get(f"{api.base_url}/models", headers=headers(A, "proj_b"))
        assert isinstance(refused.value, requests.RequestException)


def test_classes_of_aiohttp_may_hand_their_arguments_on_by_name(api: LoopbackAPI) -> None:
    aiohttp = pytest.importorskip("aiohttp")

    class Connector(aiohttp.TCPConnector):  # type: ignore[misc]
        async def connect(self, req: Any, traces: Any, timeout: Any) -> Any:
            return await super().connect(req=req, traces=traces, timeout=timeout)

    class Answer(aiohttp.ClientResponse):  # type: ignore[misc]
        async def start(self, connection: Any) -> Any:
            return await aiohttp.ClientResponse.start(self=self, connection=connection)

    async def get(project: str) -> None:
        options = {"connector": Connector(), "response_class": Answer}
        async with (
            aiohttp.ClientSession(**options) as session,
            session.get(f"{api.base_url}/models", headers=headers(A, project)) as response,
        ):
            await response.read()

    enable()
    seen: list[opg.Verdict] = []
    opg.add_observer(seen.append)
    with api.answer_as("proj_elsewhere"):
        asyncio.run(get("proj_a"))
    assert [verdict.reason for verdict in seen] == [None, "drift"]
    with pytest.raises(opg.ProjectMismatchError):
        asyncio.run(get("proj_b"))


def test_an_answer_that_cannot_be_read_is_returned_unchecked(
    api: LoopbackAPI, caplog: pytest.LogCaptureFixture
) -> None:
    aiohttp = pytest.importorskip("aiohttp")

    class Answer(aiohttp.ClientResponse):  # type: ignore[misc]
        @property
        def request_info(self) -> Any:
            raise ValueError("no request is known")

    async def get() -> int:
        async with (
            aiohttp.ClientSession(response_class=Answer) as session,
            session.get(f"{api.base_url}/models", headers=headers(A, "proj_a")) as response,
        ):
            return int(response.status)

    enable()
    assert asyncio.run(get()) == 200
    (record,) = [each for each in caplog.records if each.levelname == "ERROR"]
    assert "returned unchecked" in record.getMessage()


@pytest.mark.parametrize(
    ("target", "path"),
    [
        ("/v1/models?next=/v1/other", "/v1/models"),
        ("//v1/models", "//v1/models"),
        ("///v1/models", "///v1/models"),
        ("/v1//models", "/v1//models"),
        ("//v1://models", "//v1://models"),
        ("v1/models?next=http://elsewhere.example/", "/v1/models"),
        ("http://127.0.0.1/v1/models?next=http://elsewhere.example/", "/v1/models"),
    ],
)
@pytest.mark.parametrize("host", ["127.0.0.1", "::1"])
def test_the_host_is_the_pools_whatever_the_path_looks_like(
    host: str, target: str, path: str
) -> None:
    urllib3 = pytest.importorskip("urllib3")
    opg.enable(registry={"proj_b": B}, hosts=[host], scope="process")
    target = target.replace("127.0.0.1", f"[{host}]" if ":" in host else host)
    with (
        urllib3.HTTPConnectionPool(host, 1) as pool,
        pytest.raises(opg.UnregisteredKeyError) as refused,
    ):
        pool.urlopen("GET", target, headers=headers(A, "proj_a"))
    assert (refused.value.verdict.host, refused.value.verdict.path) == (host, path)


def test_a_project_that_is_no_text_is_read_as_the_bytes_that_came() -> None:
    # aiohttp keeps what is not UTF-8 as surrogates
    answer = SimpleNamespace(
        headers={"OpenAI-Project": b"proj_\xff".decode(errors="surrogateescape")}
    )
    assert READER.response_project(answer) == b"proj_\xff"
