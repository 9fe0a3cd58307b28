"""With `scope="process"`, are calls without the SDK judged too, and nothing twice?"""

from __future__ import annotations

import asyncio
import inspect
import pickle
import socket
import traceback
from collections.abc import Callable
from typing import Any

import openai
import pytest
from support import A, B, frames_holding

import openai_project_guard as opg
from openai_project_guard import _hooks
from openai_project_guard.loopback import LoopbackAPI

pytestmark = pytest.mark.usefixtures("clean")


def enable(mode: Any = "enforce", scope: Any = "process") -> None:
    opg.enable(mode, registry={"proj_a": A, "proj_b": B}, hosts=["127.0.0.1"], scope=scope)


def by_httpx(url: str, headers: dict[str, str]) -> int:
    httpx = pytest.importorskip("httpx")
    return int(httpx.post(url, json={}, headers=headers, trust_env=False).status_code)


def by_httpx2(url: str, headers: dict[str, str]) -> int:
    httpx2 = pytest.importorskip("httpx2")
    return int(httpx2.post(url, json={}, headers=headers, trust_env=False).status_code)


def by_httpx_async(url: str, headers: dict[str, str]) -> int:
    httpx = pytest.importorskip("httpx")

    async def post() -> int:
        async with httpx.AsyncClient(trust_env=False) as client:
            return int((await client.post(url, json={}, headers=headers)).status_code)

    return asyncio.run(post())


def by_requests(url: str, headers: dict[str, str]) -> int:
    requests = pytest.importorskip("requests")
    with requests.Session() as session:
        session.trust_env = False
        return int(session.post(url, json={}, headers=headers).status_code)


def by_urllib3(url: str, headers: dict[str, str]) -> int:
    urllib3 = pytest.importorskip("urllib3")
    with urllib3.PoolManager() as pool:
        return int(pool.request("POST", url, body=b"{}", headers=headers).status)


def by_aiohttp(url: str, headers: dict[str, str]) -> int:
    aiohttp = pytest.importorskip("aiohttp")

    async def post() -> int:
        async with (
            aiohttp.ClientSession() as session,
            session.post(url, json={}, headers=headers) as response,
        ):
            return int(response.status)

    return asyncio.run(post())


FAMILY = {
    by_httpx: ("httpx", "RequestError"),
    by_httpx2: ("httpx2", "RequestError"),
    by_httpx_async: ("httpx", "RequestError"),
    by_requests: ("requests", "RequestException"),
    by_urllib3: ("urllib3.exceptions", "HTTPError"),
    by_aiohttp: ("aiohttp", "ClientError"),
}
EVERY = pytest.mark.parametrize("post", FAMILY)
Post = Callable[[str, dict[str, str]], int]


def headers(key: str, project: str | None) -> dict[str, str]:
    return {
        "Authorization": f"Bearer {key}",
        **({} if project is None else {"OpenAI-Project": project}),
    }


@EVERY
def test_a_matching_call_passes_and_is_judged_once(
    post: Post, api: LoopbackAPI, verdicts: list[opg.Verdict]
) -> None:
    enable()
    assert post(f"{api.base_url}/responses", headers(A, "proj_a")) == 200
    assert [verdict.outcome for verdict in verdicts] == ["allowed"]
    assert verdicts[0].path == "/v1/responses"
    assert verdicts[0].method == "POST"


@EVERY
def test_a_wrong_call_is_refused_in_the_librarys_own_shape(post: Post, api: LoopbackAPI) -> None:
    enable()
    with pytest.raises(opg.ProjectMismatchError) as refused:
        post(f"{api.base_url}/responses", headers(A, "proj_b"))
    module, name = FAMILY[post]
    assert isinstance(refused.value, getattr(pytest.importorskip(module), name))
    assert (api.connections, api.bytes_received) == (0, 0)
    again = pickle.loads(pickle.dumps(refused.value))
    assert type(again) is opg.ProjectMismatchError
    assert again.verdict == refused.value.verdict
    anew = type(refused.value)(*refused.value.args)
    assert str(anew) == str(refused.value)
    (shown,) = traceback.format_exception_only(type(anew), anew)
    assert shown.startswith("openai_project_guard.ProjectMismatchError: POST ")


@EVERY
def test_a_scope_alone_checks_them_if_the_environment_says_so(
    post: Post, api: LoopbackAPI, clean: pytest.MonkeyPatch
) -> None:
    clean.setenv("OPENAI_PROJECT_GUARD_SCOPE", "process")
    opg.register(A, "proj_a")
    with opg.guard():
        assert post(f"{api.base_url}/responses", headers(A, "proj_a")) == 200
        connections = api.connections
        with pytest.raises(opg.ProjectMismatchError):
            post(f"{api.base_url}/responses", headers(A, "proj_b"))
        assert api.connections == connections
    assert post(f"{api.base_url}/responses", headers(A, "proj_b")) == 401


@EVERY
def test_a_scope_alone_leaves_them_alone_if_the_environment_says_nothing(
    post: Post, api: LoopbackAPI
) -> None:
    opg.register(A, "proj_a")
    with opg.guard():
        assert post(f"{api.base_url}/responses", headers(A, "proj_b")) == 401


@EVERY
def test_refusals_of_a_library_are_of_one_type(post: Post, api: LoopbackAPI) -> None:
    """So whatever groups errors by type groups them, and no type is made for each."""
    enable()
    types = set[type]()
    for _ in range(3):
        with pytest.raises(opg.ProjectMismatchError) as refused:
            post(f"{api.base_url}/responses", headers(A, "proj_b"))
        types.add(type(refused.value))
    assert len(types) == 1


@EVERY
@pytest.mark.parametrize("empty", [None, ""])
def test_inject_puts_the_header_in(post: Post, empty: str | None, api: LoopbackAPI) -> None:
    enable("inject")
    given = headers(A, empty)
    assert post(f"{api.base_url}/responses", given) == 200
    assert [line.project_header for line in api.ledger] == ["proj_a"]
    assert given == headers(A, empty)


@EVERY
def test_inject_replaces_an_empty_header_in_whatever_case(post: Post, api: LoopbackAPI) -> None:
    enable("inject")
    given = {"Authorization": f"Bearer {A}", "openai-project": ""}
    assert post(f"{api.base_url}/responses", given) == 200
    assert [line.project_header for line in api.ledger] == ["proj_a"]


def test_inject_replaces_an_empty_header_that_stands_in_a_plain_dict(api: LoopbackAPI) -> None:
    requests = pytest.importorskip("requests")
    enable("inject")
    url = f"{api.base_url}/responses"
    request = requests.Request("POST", url, json={}, headers=headers(A, None)).prepare()
    request.headers = {**request.headers, "openai-project": ""}
    with requests.Session() as session:
        session.trust_env = False
        assert session.send(request).status_code == 200
    assert [line.project_header for line in api.ledger] == ["proj_a"]


@EVERY
def test_the_default_scope_does_not_touch_them(
    post: Post, api: LoopbackAPI, verdicts: list[opg.Verdict]
) -> None:
    enable(scope="sdk")
    assert post(f"{api.base_url}/responses", headers(A, "proj_b")) == 401
    assert verdicts == []


# --- to the API by its own name, which is this machine's here ------------------------------------


@pytest.fixture
def looked_up(monkeypatch: pytest.MonkeyPatch) -> list[Any]:
    """The names that are looked up; each is this machine's."""
    names: list[Any] = []

    def getaddrinfo(name: Any, port: Any, *_: Any, **__: Any) -> Any:
        names.append(name if isinstance(name, str) else name.decode())
        kind = (socket.AF_INET, socket.SOCK_STREAM, socket.IPPROTO_TCP)
        return [(*kind, "", ("127.0.0.1", int(port)))]

    monkeypatch.setattr(socket, "getaddrinfo", getaddrinfo)
    return names


@EVERY
@pytest.mark.parametrize(
    ("project", "reason"), [("proj_b", "mismatch"), (None, "missing"), ("", "missing")]
)
def test_a_bare_call_to_the_api_is_refused_before_its_name_is_looked_up(
    post: Post, project: str | None, reason: str, api: LoopbackAPI, looked_up: list[Any]
) -> None:
    opg.enable(registry={"proj_a": A}, scope="process")
    with pytest.raises(opg.ProjectGuardError) as refused:
        post("https://api.openai.com/v1/responses", headers(A, project))
    assert (refused.value.verdict.reason, refused.value.verdict.host) == (reason, "api.openai.com")
    assert (looked_up, api.connections) == ([], 0)


@EVERY
def test_a_bare_call_to_the_api_with_a_strangers_key_is_refused(
    post: Post, api: LoopbackAPI, looked_up: list[Any]
) -> None:
    opg.enable(registry={"proj_a": A}, scope="process")
    with pytest.raises(opg.UnregisteredKeyError):
        post("https://api.openai.com/v1/responses", headers(B, "proj_b"))
    assert (looked_up, api.connections) == ([], 0)


@EVERY
def test_a_bare_call_to_the_api_goes_out_untouched_in_the_default_scope(
    post: Post, api: LoopbackAPI, looked_up: list[Any], verdicts: list[opg.Verdict]
) -> None:
    opg.enable(registry={"proj_a": A, "proj_b": B})
    url = f"{api.base_url}/responses".replace("127.0.0.1", "api.openai.com")
    assert post(url, headers(A, "proj_b")) == 401
    assert post(url, headers(A, None)) == 200
    assert [line.project_header for line in api.ledger] == ["proj_b", None]
    assert set(looked_up) == {"api.openai.com"}
    assert verdicts == []


@EVERY
def test_other_hosts_and_calls_without_a_key_are_not_seen(
    post: Post, api: LoopbackAPI, verdicts: list[opg.Verdict]
) -> None:
    opg.enable(registry={"proj_a": A}, scope="process")
    assert post(f"{api.base_url}/responses", headers("sk-another-gateways-key", None)) == 401
    assert post(f"{api.base_url}/responses", {}) == 401
    assert verdicts == []


def test_a_method_of_theirs_that_is_hooked_is_of_the_kind_that_it_was() -> None:
    connect = pytest.importorskip("aiohttp.connector").BaseConnector.connect
    enable()
    hooked = pytest.importorskip("aiohttp.connector").BaseConnector.connect
    assert hooked is not connect
    assert inspect.iscoroutinefunction(hooked)
    assert inspect.signature(hooked) == inspect.signature(connect)


BUILD_REQUEST = "openai._base_client.BaseClient._build_request"


def test_off_it_costs_nothing_for_nothing_of_theirs_is_replaced(api: LoopbackAPI) -> None:
    hook_points = [
        (pytest.importorskip("requests.adapters").HTTPAdapter, "send"),
        (pytest.importorskip("urllib3.connectionpool").HTTPConnectionPool, "urlopen"),
        (pytest.importorskip("aiohttp.connector").BaseConnector, "connect"),
    ]
    before = [vars(owner)[name] for owner, name in hook_points]

    def are_theirs() -> set[bool]:  # by identity, for a wrapper is equal to what it wraps
        after = [vars(owner)[name] for owner, name in hook_points]
        return {function is original for function, original in zip(after, before, strict=True)}

    enable(scope="sdk")
    assert are_theirs() == {True}
    opg.disable()
    with opg.guard(project="proj_a"):
        assert are_theirs() == {True}
    enable(scope="process")
    assert are_theirs() == {False}
    hooked = set(_hooks.reached())
    assert {"requests.adapters.HTTPAdapter.send", BUILD_REQUEST} <= hooked
    enable(scope="sdk")
    assert opg.is_enabled()
    assert are_theirs() == {True}
    assert {name for name in hooked - set(_hooks.reached()) if "aiohttp" not in name} == {
        "requests.adapters.HTTPAdapter.send",
        "urllib3.connectionpool.HTTPConnectionPool.urlopen",
    }
    assert BUILD_REQUEST in _hooks.reached()
    enable(scope="process")
    assert are_theirs() == {False}
    opg.disable()
    assert are_theirs() == {True}
    assert _hooks.reached() == ()
    enable(scope="process")  # now all are hooked in one go
    enable(scope="sdk")
    assert opg.is_enabled()
    assert are_theirs() == {True}
    assert BUILD_REQUEST in _hooks.reached()


def test_who_leaves_that_scope_is_rid_of_its_hooks_for_good() -> None:
    adapter = pytest.importorskip("requests.adapters").HTTPAdapter
    original = vars(adapter)["send"]
    enable()
    assert vars(adapter)["send"] is not original
    enable(scope="sdk")
    with opg.guard():
        assert vars(adapter)["send"] is original


@EVERY
def test_disable_takes_the_hooks_out(post: Post, api: LoopbackAPI) -> None:
    enable()
    opg.disable()
    assert post(f"{api.base_url}/responses", headers(A, "proj_b")) == 401


def test_a_call_of_the_sdk_is_judged_once(api: LoopbackAPI, verdicts: list[opg.Verdict]) -> None:
    enable()
    client = openai.OpenAI(api_key=A, project="proj_a", base_url=api.base_url)
    client.models.list()
    assert [verdict.outcome for verdict in verdicts] == ["allowed"]


def test_the_sdk_over_aiohttp_is_judged_once(api: LoopbackAPI, verdicts: list[opg.Verdict]) -> None:
    pytest.importorskip("aiohttp")
    if not hasattr(openai, "DefaultAioHttpClient"):
        pytest.skip("this SDK has no client for aiohttp")
    if int(openai.__version__.split(".")[0]) < 3:
        pytest.importorskip("httpx_aiohttp")
    enable()

    async def call(project: str) -> None:
        async with openai.DefaultAioHttpClient() as http_client:
            client = openai.AsyncOpenAI(
                api_key=A, project=project, base_url=api.base_url, http_client=http_client
            )
            await client.models.list()

    asyncio.run(call("proj_a"))
    assert [verdict.outcome for verdict in verdicts] == ["allowed"]
    with pytest.raises(opg.ProjectMismatchError):
        asyncio.run(call("proj_b"))
    assert len(api.ledger) == 1


def test_drift_is_seen_by_requests(api: LoopbackAPI, verdicts: list[opg.Verdict]) -> None:
    enable()
    with api.answer_as("proj_z"):
        by_requests(f"{api.base_url}/responses", headers(A, "proj_a"))
    assert [verdict.reason for verdict in verdicts] == [None, "drift"]


@EVERY
def test_the_error_does_not_speak_of_a_client_that_is_not_there(
    post: Post, api: LoopbackAPI
) -> None:
    enable()
    with pytest.raises(opg.ProjectMismatchError) as refused:
        post(f"{api.base_url}/responses", headers(A, "proj_b"))
    lines = str(refused.value).splitlines()
    assert refused.value.verdict.origin == "unknown"
    assert lines[2] == (
        "This request does not go through the openai package: what sends it sets OpenAI-Project."
    )
    assert lines[-1].startswith(
        "To fix it: have the code that sends it set OpenAI-Project (expected: proj_a), or use "
    )


def test_urllib3_takes_its_arguments_by_name(api: LoopbackAPI) -> None:
    urllib3 = pytest.importorskip("urllib3")
    enable()
    host, port = api.base_url.split("/")[2].split(":")
    with urllib3.HTTPConnectionPool(host, int(port)) as pool:
        wrong = {"method": "GET", "url": "/v1/models", "headers": headers(A, "proj_b")}
        with pytest.raises(opg.ProjectMismatchError) as refused:
            urllib3.HTTPConnectionPool.urlopen(self=pool, **wrong)
        found = refused.value.verdict
        assert (found.method, found.path) == ("GET", "/v1/models")
        answer = pool.urlopen(method="GET", url="/v1/models", headers=headers(A, "proj_a"))
    assert answer.status == 200


@pytest.mark.parametrize("number", [2, 3, 4, 5, 6])
def test_urllib3_takes_its_arguments_by_position(number: int, api: LoopbackAPI) -> None:
    """So many of them; the others, by name."""
    urllib3 = pytest.importorskip("urllib3")
    enable()
    host, port = api.base_url.split("/")[2].split(":")
    retries = urllib3.Retry(0)
    with urllib3.HTTPConnectionPool(host, int(port)) as pool:

        def get(project: str | None) -> int:
            arguments = {
                "method": "GET",
                "url": "/v1/models",
                "body": None,
                "headers": headers(A, project),
                "retries": retries,
                "redirect": False,
            }
            by_position = [*arguments.values()][:number]
            by_name = dict([*arguments.items()][number:])
            answer = pool.urlopen(*by_position, **by_name)
            assert answer.retries is retries
            return int(answer.status)

        assert get("proj_a") == 200
        with pytest.raises(opg.ProjectMismatchError):
            get("proj_b")
        enable(mode="inject")
        assert get(None) == 200
    assert [line.project_header for line in api.ledger] == ["proj_a", "proj_a"]


@pytest.mark.parametrize(
    "given",
    [f"Bearer {A}", [("Authorization", f"Bearer {A}")], [{"x": A}, A], 5, {"x": None}, {3: A}],
    ids=["text", "pairs", "list", "number", "no value", "no name"],
)
def test_urllib3_itself_says_which_headers_it_does_not_take(given: Any) -> None:
    urllib3 = pytest.importorskip("urllib3")
    said = []
    for is_guarded in (False, True):
        if is_guarded:
            enable()
        with urllib3.HTTPConnectionPool("127.0.0.1", 9) as pool, pytest.raises(Exception) as caught:
            pool.urlopen("GET", "/", headers=given, retries=False)
        assert frames_holding(caught.value, A) == []
        said.append((type(caught.value), str(caught.value)))
    assert said[0] == said[1]


def test_urllib3_itself_says_which_argument_is_missing() -> None:
    urllib3 = pytest.importorskip("urllib3")
    enable()
    with (
        urllib3.HTTPConnectionPool("127.0.0.1") as pool,
        pytest.raises(TypeError, match="'url'"),
    ):
        pool.urlopen("GET")


def test_a_proxy_is_not_the_host_that_is_judged(api: LoopbackAPI) -> None:
    urllib3 = pytest.importorskip("urllib3")
    opg.enable(registry={}, scope="process")
    with (
        urllib3.ProxyManager(api.base_url) as proxy,
        pytest.raises(opg.UnregisteredKeyError, match=r"GET api\.openai\.com/v1/models was"),
    ):
        proxy.request("GET", "http://api.openai.com/v1/models", headers=headers(A, "proj_a"))
    assert list(api.ledger) == []
