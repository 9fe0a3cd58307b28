"""Every road by which a call can leave: judged as it stands when the transport gets it.

Each client, provider and HTTP library of the installed SDK, and everything a user may put between
the SDK and the transport. What the installed SDK lacks is skipped by name.
"""

from __future__ import annotations

import asyncio
import importlib
import importlib.util
import inspect
import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import openai
import pytest
from support import KEYS, STRANGER, VERSION, A, B, Recorder, chat, clean, fingerprint, http

import openai_project_guard as opg
from openai_project_guard.loopback import loopback_api

__all__ = ["clean"]

A2 = "sk-proj-not-a-real-key-of-project-a-A2A2"


class Sync:
    """One way to call: through the sync client."""

    sdk: type[Any] = openai.OpenAI
    kind = "Client"

    @classmethod
    def client(
        cls, sent: Any, http_options: Any = None, library: Any = http, **options: Any
    ) -> Any:
        """A client over a transport that records; key A and three retries unless told otherwise."""
        http_options = {"transport": library.MockTransport(sent), **(http_options or {})}
        options = {"max_retries": 3, **options}
        if not {"api_key", "provider", "workload_identity"} & options.keys():
            options["api_key"] = A
        sdk = options.pop("sdk", cls.sdk)
        http_client = options.pop("http_client", None) or getattr(library, cls.kind)(**http_options)
        return sdk(http_client=http_client, **options)

    @staticmethod
    def run(call: Callable[[], Any]) -> Any:
        return call()

    @staticmethod
    def function(plain: Callable[..., Any]) -> Callable[..., Any]:
        """A function of the kind that this way's callbacks are."""
        return plain


class Async(Sync):
    """The same through the async client."""

    sdk = openai.AsyncOpenAI
    kind = "AsyncClient"

    @staticmethod
    def run(call: Callable[[], Any]) -> Any:
        async def finish() -> Any:
            return await call()

        return asyncio.run(finish())

    @staticmethod
    def function(plain: Callable[..., Any]) -> Callable[..., Any]:
        async def function(*args: Any, **kwargs: Any) -> Any:
            return plain(*args, **kwargs)

        return function


BOTH = pytest.mark.parametrize("way", [Sync, Async])


def needs(condition: object, what: str) -> pytest.MarkDecorator:
    """Skips where the installed SDK has no such thing."""
    return pytest.mark.skipif(not condition, reason=f"openai {openai.__version__} has no {what}")


def takes(name: str, owner: Any = openai.OpenAI) -> bool:
    return name in inspect.signature(owner.__init__).parameters


def loaded(name: str) -> Any:
    """A module, or `None` where it is not installed."""
    with suppress(ImportError):
        return importlib.import_module(name)
    return None


LIBRARIES = [http.__name__]
if VERSION >= (3,) and importlib.util.find_spec("httpx"):
    LIBRARIES.append("httpx")


@pytest.fixture
def sent() -> Recorder:
    return Recorder()


@pytest.fixture
def verdicts(clean: pytest.MonkeyPatch) -> list[opg.Verdict]:
    """What the observers were told."""
    seen: list[opg.Verdict] = []
    opg.add_observer(seen.append)
    return seen


@pytest.fixture(autouse=True)
def guarded(clean: pytest.MonkeyPatch, verdicts: list[opg.Verdict]) -> None:
    from openai._base_client import BaseClient

    clean.setattr(BaseClient, "_calculate_retry_timeout", lambda *_, **__: 0)
    opg.enable(registry={"proj_a": [A, A2], "proj_b": B})


def refused(way: Any, call: Callable[[], Any], error: type[opg.ProjectGuardError]) -> opg.Verdict:
    """Makes a call that must be refused, and the refusal must reach the caller unwrapped."""
    with pytest.raises(opg.ProjectGuardError) as caught:
        way.run(call)
    assert type(caught.value) is error
    assert not isinstance(caught.value, openai.APIConnectionError)
    assert caught.value.__cause__ is None
    return caught.value.verdict


# --- where the call goes ------------------------------------------------------------------------


@BOTH
@pytest.mark.parametrize(
    "base_url",
    [
        "https://api.openai.com/v1",
        "https://API.OpenAI.com./v1",
        "https://eu.api.openai.com/v1",
        "https://mtls.api.openai.com/v1",
        "https://mtls-eu.api.openai.com/v1",
        "http://api.openai.com:8080/elsewhere",
    ],
)
@pytest.mark.parametrize("told_by", ["argument", "OPENAI_BASE_URL"])
def test_every_openai_host_is_judged(
    told_by: str, base_url: str, way: Any, sent: Recorder, clean: pytest.MonkeyPatch
) -> None:
    options = {"base_url": base_url}
    if told_by != "argument":
        clean.setenv(told_by, options.pop("base_url"))
    client = way.client(sent, api_key=STRANGER, project="proj_a", **options)
    refused(way, lambda: chat(client), opg.UnregisteredKeyError)
    assert sent.requests == []


@BOTH
@pytest.mark.parametrize(
    "base_url",
    [
        "https://gateway.example.com/v1",
        "https://notapi.openai.com/v1",
        "https://api.openai.com.example.com/v1",
        "https://openai.com/v1",
        "http://127.0.0.1:11434/v1",
        "http://[::1]:11434/v1",
    ],
)
def test_another_host_with_a_key_of_its_own_is_untouched_and_unseen(
    base_url: str, way: Any, sent: Recorder, verdicts: list[opg.Verdict]
) -> None:
    client = way.client(sent, api_key=STRANGER, base_url=base_url, project="proj_of_the_gateway")
    way.run(lambda: chat(client))
    assert sent.projects == ["proj_of_the_gateway"]
    assert verdicts == []


@BOTH
@pytest.mark.parametrize("told_by", ["hosts=", "OPENAI_PROJECT_GUARD_HOSTS"])
def test_a_gateway_that_counts_as_openai_is_judged(
    told_by: str, way: Any, sent: Recorder, clean: pytest.MonkeyPatch
) -> None:
    hosts = ["gateway.example.com"]
    if told_by != "hosts=":
        clean.setenv(told_by, hosts.pop())
    opg.enable(registry=KEYS, hosts=hosts)
    url = "https://gateway.example.com/openai"
    stranger = way.client(sent, api_key=STRANGER, base_url=url)
    refused(way, lambda: chat(stranger), opg.UnregisteredKeyError)
    known = way.client(sent, base_url=url)
    refused(way, lambda: chat(known), opg.ProjectMissingError)
    assert sent.requests == []


@BOTH
def test_a_registered_key_is_judged_wherever_it_goes(way: Any, sent: Recorder) -> None:
    client = way.client(sent, base_url="http://localhost:4000", project="proj_b")
    assert refused(way, lambda: chat(client), opg.ProjectMismatchError).host == "localhost"
    assert sent.requests == []
    way.run(lambda: chat(client.with_options(api_key=B)))
    assert sent.keys == [B]


@needs(takes("data_residency"), "data_residency=")
@BOTH
def test_a_region_is_judged_as_any_openai_host(way: Any, sent: Recorder) -> None:
    client = way.client(sent, api_key=STRANGER, data_residency="eu")
    assert refused(way, lambda: chat(client), opg.UnregisteredKeyError).host == "eu.api.openai.com"
    moved = way.client(sent, project="proj_b").with_options(data_residency="jp")
    assert refused(way, lambda: chat(moved), opg.ProjectMismatchError).host == "jp.api.openai.com"
    assert sent.requests == []


@BOTH
def test_get_and_post_with_an_absolute_url_are_judged(
    way: Any, sent: Recorder, verdicts: list[opg.Verdict]
) -> None:
    away = "https://elsewhere.example.com/v1/models"
    ours = "https://us.api.openai.com/v1/models"
    client = way.client(sent, project="proj_b")
    refused(way, lambda: client.get(away, cast_to=object), opg.ProjectMismatchError)
    refused(way, lambda: client.post(ours, cast_to=object, body={}), opg.ProjectMismatchError)
    gateway = way.client(sent, api_key=STRANGER, base_url="https://elsewhere.example.com/v1")
    refused(way, lambda: gateway.get(ours, cast_to=object), opg.UnregisteredKeyError)
    assert sent.requests == []
    verdicts.clear()
    way.run(lambda: gateway.get(away, cast_to=object))
    assert len(sent.requests) == 1
    assert verdicts == []


@BOTH
def test_a_raw_response_is_what_the_sdk_returns(way: Any, sent: Recorder) -> None:
    client = way.client(sent, project="proj_a")
    answer = way.run(lambda: client.get("/models", cast_to=http.Response))
    assert type(answer) is http.Response
    assert answer.json() == {"object": "list", "data": []}
    wrong = client.with_options(project="proj_b")
    refused(way, lambda: wrong.get("/models", cast_to=http.Response), opg.ProjectMismatchError)
    assert len(sent.requests) == 1


# --- clients made from clients ------------------------------------------------------------------


@BOTH
@pytest.mark.parametrize("method", ["with_options", "copy"])
def test_a_chain_of_copies_is_judged_by_where_it_ends(
    method: str, way: Any, sent: Recorder
) -> None:
    def step(client: Any, **options: Any) -> Any:
        return getattr(client, method)(**options)

    first = way.client(sent, project="proj_a")
    swapped = step(step(first, api_key=B), max_retries=1)
    refused(way, lambda: chat(swapped), opg.ProjectMismatchError)
    headers = step(step(first, default_headers={"OpenAI-Project": "proj_b"}), timeout=3)
    refused(way, lambda: chat(headers), opg.ProjectMismatchError)
    assert sent.requests == []
    way.run(lambda: chat(step(headers, api_key=B)))
    assert (sent.keys, sent.projects) == ([B], ["proj_b"])


# --- keys that change from attempt to attempt ---------------------------------------------------


@needs(hasattr(openai.OpenAI, "_refresh_api_key"), "api_key= callables")
@BOTH
def test_a_key_rotated_between_attempts_is_judged_anew(way: Any) -> None:
    sent = Recorder(statuses=[500])
    keys = iter([A, B])
    client = way.client(sent, api_key=way.function(lambda: next(keys)), project="proj_a")
    verdict = refused(way, lambda: chat(client), opg.ProjectMismatchError)
    assert verdict.expected == ("proj_b",)
    assert sent.keys == [A]


@needs(hasattr(openai.OpenAI, "_refresh_api_key"), "api_key= callables")
@BOTH
def test_keys_of_one_project_may_rotate(way: Any) -> None:
    sent = Recorder(statuses=[500, 500])
    keys = iter([A, A2, A])
    client = way.client(sent, api_key=way.function(lambda: next(keys)), project="proj_a")
    way.run(lambda: chat(client))
    assert sent.keys == [A, A2, A]


@BOTH
def test_a_registry_that_changes_between_attempts_is_heeded(way: Any) -> None:
    sent = Recorder([500], before=lambda _: opg.enable(registry={"proj_b": A}))
    client = way.client(sent, project="proj_a")
    refused(way, lambda: chat(client), opg.ProjectMismatchError)
    assert len(sent.requests) == 1


# --- other providers ----------------------------------------------------------------------------


def azure(way: Any, sent: Any, **options: Any) -> Any:
    sdk = openai.AzureOpenAI if way is Sync else openai.AsyncAzureOpenAI
    if "azure_ad_token" not in options:
        options.setdefault("api_key", "0123456789abcdef")
    else:
        options["api_key"] = None
    return way.client(sent, sdk=sdk, api_version="2024-10-21", **options)


@BOTH
@pytest.mark.parametrize("credential", ["api_key", "azure_ad_token"])
def test_azure_is_untouched_and_unseen(
    credential: str, way: Any, sent: Recorder, verdicts: list[opg.Verdict]
) -> None:
    options = {"azure_endpoint": "https://mine.openai.azure.com", credential: "eyJ0-not-a-token"}
    way.run(lambda: chat(azure(way, sent, **options)))
    assert len(sent.requests) == 1
    assert "openai-project" not in sent.requests[0].headers
    assert verdicts == []


@BOTH
@pytest.mark.parametrize("key", [A, STRANGER])
def test_an_azure_client_pointed_at_openai_is_judged(key: str, way: Any, sent: Recorder) -> None:
    client = azure(way, sent, base_url="https://api.openai.com/v1", azure_ad_token=key)
    error = opg.ProjectMissingError if key == A else opg.UnregisteredKeyError
    refused(way, lambda: chat(client), error)
    assert sent.requests == []


def provided(name: str, **options: Any) -> Any:
    providers = pytest.importorskip("openai.providers")
    if not hasattr(providers, name):
        pytest.skip(f"openai {openai.__version__} has no {name} provider")
    return getattr(providers, name)(**options)


def bedrock_by_token() -> Any:
    return provided("bedrock", region="us-east-1", api_key="bedrock-not-a-real-key")


def bedrock_by_signature() -> Any:
    pytest.importorskip("botocore")
    return provided("bedrock", region="us-east-1", access_key_id="AKIA", secret_access_key="none")


def vertex_by_token() -> Any:
    return provided("vertex", project="p", location="global", token_provider=lambda: "ya29.none")


def vertex_by_credentials() -> Any:
    credentials = pytest.importorskip("google.oauth2.credentials").Credentials(token="ya29.none")
    return provided("vertex", project="p", location="global", credentials=credentials)


PROVIDERS = pytest.mark.parametrize(
    "provider",
    [bedrock_by_token, bedrock_by_signature, vertex_by_token, vertex_by_credentials],
    ids=lambda provider: provider.__name__,
)


@BOTH
@PROVIDERS
def test_a_provider_is_untouched_and_unseen(
    provider: Callable[[], Any], way: Any, sent: Recorder, verdicts: list[opg.Verdict]
) -> None:
    client = way.client(sent, provider=provider())
    way.run(lambda: client.post("/responses", cast_to=object, body={}))
    assert len(sent.requests) == 1
    assert sent.requests[0].headers["authorization"]
    assert verdicts == []


@BOTH
@PROVIDERS
def test_a_provider_whose_host_counts_as_openai_is_judged(
    provider: Callable[[], Any], way: Any, sent: Recorder
) -> None:
    opg.enable(
        registry=KEYS, hosts=["bedrock-mantle.us-east-1.api.aws", "aiplatform.googleapis.com"]
    )
    client = way.client(sent, provider=provider())
    call = lambda: client.post("/responses", cast_to=object, body={})  # noqa: E731
    refused(way, call, opg.UnregisteredKeyError)
    assert sent.requests == []


@needs(hasattr(openai, "BedrockOpenAI"), "BedrockOpenAI")
@BOTH
def test_the_bedrock_client_is_unseen_but_not_with_a_registered_key(
    way: Any, sent: Recorder, verdicts: list[opg.Verdict]
) -> None:
    sdk = openai.BedrockOpenAI if way is Sync else openai.AsyncBedrockOpenAI
    options = {"sdk": sdk, "aws_region": "us-east-1"}
    client = way.client(sent, api_key="bedrock-not-a-real-key", **options)
    way.run(lambda: client.responses.create(model="m", input="hello"))
    assert len(sent.requests) == 1
    assert verdicts == []
    wrong = way.client(sent, api_key=A, **options)
    refused(way, lambda: wrong.responses.create(model="m", input="x"), opg.ProjectMissingError)
    assert len(sent.requests) == 1


# --- workload identity --------------------------------------------------------------------------


class Exchange(Recorder):
    """A transport that also plays the token exchange; the exchanges are kept apart."""

    def __init__(self) -> None:
        super().__init__()
        self.exchanges: list[Any] = []
        self.tokens: list[str] = []

    def __call__(self, request: Any) -> Any:
        if request.url.path != "/oauth/token":
            # Noted at once: after a 401 the SDK sends the same request with another token.
            self.tokens.append(request.headers["authorization"][7:])
            return super().__call__(request)
        self.exchanges.append(request)
        token = {"access_token": f"token-{len(self.exchanges)}", "expires_in": 3600}
        return http.Response(200, json={**token, "token_type": "Bearer"})


def subject_token(account: str) -> Any:
    pytest.importorskip("openai.auth")
    return {
        "client_id": "client",  # asked for by the first releases that had it
        "identity_provider_id": "idp",
        "service_account_id": account,
        "provider": {"token_type": "jwt", "get_token": lambda: "subject"},
    }


def x509(account: str) -> Any:
    auth = pytest.importorskip("openai.auth")
    if not hasattr(auth, "x509_workload_identity"):
        pytest.skip(f"openai {openai.__version__} has no X.509 workload identity")
    return auth.x509_workload_identity(identity_provider_id="idp", service_account_id=account)


IDENTITIES = pytest.mark.parametrize(
    "identity", [subject_token, x509], ids=lambda identity: identity.__name__
)


@pytest.fixture
def exchange(clean: pytest.MonkeyPatch, tmp_path: Path) -> Exchange:
    """The registry knows the service account `user-svc-a`."""
    registry = tmp_path / "openai-projects.toml"
    registry.write_text(
        'version = 1\n[projects.a]\nid = "proj_a"\nservice_accounts = ["user-svc-a"]\n'
        f'[projects.b]\nid = "proj_b"\nkeys = [{{ fingerprint = "{fingerprint(B)}" }}]\n'
    )
    opg.enable(registry=registry)
    sent = Exchange()
    # A subject token is exchanged through an HTTP client that the SDK makes for itself.
    clean.setattr(http.HTTPTransport, "handle_request", lambda _, request: sent(request))
    return sent


@BOTH
@IDENTITIES
def test_a_registered_service_account_passes(
    identity: Any, way: Any, exchange: Exchange, verdicts: list[opg.Verdict]
) -> None:
    client = way.client(exchange, workload_identity=identity("user-svc-a"), project="proj_a")
    way.run(lambda: chat(client))
    assert exchange.tokens == ["token-1"]
    assert [(verdict.outcome, verdict.expected) for verdict in verdicts] == [
        ("allowed", ("proj_a",))
    ]


@BOTH
@IDENTITIES
def test_a_service_account_that_nobody_registered_is_refused(
    identity: Any, way: Any, exchange: Exchange
) -> None:
    client = way.client(exchange, workload_identity=identity("user-svc-x"), project="proj_a")
    with pytest.raises(opg.UnregisteredKeyError) as caught:
        way.run(lambda: chat(client))
    assert exchange.requests == []
    text = str(caught.value)
    assert "for the service account user-svc-x, by the client's workload identity." in text
    assert "To fix it: list user-svc-x under service_accounts of its project" in text


@BOTH
@IDENTITIES
@pytest.mark.parametrize("project", ["proj_b", None])
def test_a_service_account_with_a_wrong_header_is_refused(
    project: str | None, identity: Any, way: Any, exchange: Exchange
) -> None:
    client = way.client(exchange, workload_identity=identity("user-svc-a"), project=project)
    error = opg.ProjectMismatchError if project else opg.ProjectMissingError
    assert refused(way, lambda: chat(client), error).expected == ("proj_a",)
    assert exchange.requests == []


@BOTH
@IDENTITIES
def test_no_token_is_asked_for_on_behalf_of_a_refused_call(
    identity: Any, way: Any, exchange: Exchange
) -> None:
    client = way.client(exchange, workload_identity=identity("user-svc-a"), project="proj_b")
    refused(way, lambda: chat(client), opg.ProjectMismatchError)
    assert exchange.exchanges == []


@BOTH
@IDENTITIES
def test_a_service_accounts_header_is_put_in(identity: Any, way: Any, exchange: Exchange) -> None:
    with opg.guard(mode="inject"):
        client = way.client(exchange, workload_identity=identity("user-svc-a"))
        way.run(lambda: chat(client))
    assert exchange.projects == ["proj_a"]


@BOTH
@IDENTITIES
def test_an_explicit_key_on_such_a_client_stands_for_itself(
    identity: Any, way: Any, exchange: Exchange
) -> None:
    client = way.client(exchange, workload_identity=identity("user-svc-a"), project="proj_a")

    def with_key(key: str, project: str) -> Callable[[], Any]:
        headers = {"Authorization": f"Bearer {key}", "OpenAI-Project": project}
        return lambda: chat(client, extra_headers=headers)

    refused(way, with_key(B, "proj_a"), opg.ProjectMismatchError)
    refused(way, with_key(STRANGER, "proj_a"), opg.UnregisteredKeyError)
    assert exchange.requests == []
    way.run(with_key(B, "proj_b"))
    assert (exchange.keys, exchange.projects) == ([B], ["proj_b"])


@BOTH
@IDENTITIES
def test_the_token_that_replaces_a_rejected_one_is_judged_too(
    identity: Any, way: Any, exchange: Exchange
) -> None:
    exchange._statuses = [401]
    client = way.client(exchange, workload_identity=identity("user-svc-a"), project="proj_a")
    way.run(lambda: chat(client))
    assert exchange.tokens == ["token-1", "token-2"]

    exchange._statuses = [401]
    exchange._before = lambda _: opg.enable(registry=KEYS)
    refused(way, lambda: chat(client), opg.UnregisteredKeyError)
    assert exchange.tokens == ["token-1", "token-2", "token-2"]


# --- HTTP clients -------------------------------------------------------------------------------


@BOTH
@pytest.mark.parametrize("library", LIBRARIES)
@pytest.mark.parametrize("has_hooks", [False, True])
def test_a_users_own_http_client_is_judged(has_hooks: bool, library: str, way: Any) -> None:
    module = importlib.import_module(library)
    requests: list[Any] = []

    def answer(request: Any) -> Any:
        requests.append(request)
        return module.Response(200, json={"object": "list", "data": []})

    hooks = {"request": [way.function(lambda _: None)]} if has_hooks else {}
    client = way.client(answer, {"event_hooks": hooks}, module, project="proj_a")
    wrong = client.with_options(project="proj_b")
    refused(way, lambda: wrong.get("/models", cast_to=object), opg.ProjectMismatchError)
    assert requests == []
    way.run(lambda: client.get("/models", cast_to=object))
    assert len(requests) == 1


def sending(way: Any, change: Callable[[Any], object]) -> Any:
    """An HTTP client class whose `send` changes the request before it goes on."""
    base = getattr(http, way.kind)

    class Changing(base):  # type: ignore[misc, valid-type]
        def send(self, request: Any, **options: Any) -> Any:
            change(request)
            return super().send(request, **options)

    return Changing


@BOTH
def test_an_http_client_that_overrides_send_is_judged_before_and_after(
    way: Any, sent: Recorder
) -> None:
    def client(change: Callable[[Any], object], project: str) -> Any:
        http_client = sending(way, change)(transport=http.MockTransport(sent))
        return way.client(sent, http_client=http_client, project=project)

    spoiled = client(lambda request: request.headers.update({"OpenAI-Project": "proj_b"}), "proj_a")
    refused(way, lambda: chat(spoiled), opg.ProjectMismatchError)
    # Such a `send` may go its own way, so what is wrong when it gets the call is refused already.
    mended = client(lambda request: request.headers.update({"OpenAI-Project": "proj_a"}), "proj_b")
    refused(way, lambda: chat(mended), opg.ProjectMismatchError)
    assert sent.requests == []
    way.run(lambda: chat(client(lambda _: None, "proj_a")))
    assert len(sent.requests) == 1


@BOTH
@pytest.mark.parametrize("kind", ["stand-in", "subclass", "method put on it"])
@pytest.mark.parametrize("has_hooks", [False, True])
def test_an_http_client_that_sends_its_own_way_is_judged_before_it(
    has_hooks: bool, kind: str, way: Any, sent: Recorder
) -> None:
    hooks = {"request": [way.function(lambda _: None)]} if has_hooks else {}
    client = way.client(sent, {"event_hooks": hooks}, project="proj_a")
    http_client = client._client

    def send(request: Any, **_: Any) -> Any:
        answer = sent(request)
        answer.request = request
        return answer

    if kind == "subclass":

        class Own(type(http_client)):  # type: ignore[misc]
            def send(self, request: Any, **_: Any) -> Any:
                return way.function(send)(request)

        http_client.__class__ = Own
    elif kind == "stand-in":

        class StandIn:
            """Not an HTTP client, but like one; the SDK looks only at what it is given."""

            def send(self, request: Any, **_: Any) -> Any:
                return way.function(send)(request)

            def __getattr__(self, name: str) -> Any:
                return getattr(http_client, name)

        client._client = StandIn()
    else:
        http_client.send = way.function(send)

    wrong = {"Authorization": f"Bearer {B}"}
    refused(way, lambda: chat(client, extra_headers=wrong), opg.ProjectMismatchError)
    assert sent.requests == []
    way.run(lambda: chat(client))
    assert sent.keys == [A]


@needs(hasattr(openai, "DefaultAioHttpClient"), "DefaultAioHttpClient")
def test_calls_through_aiohttp_are_judged() -> None:
    pytest.importorskip("aiohttp")
    if not VERSION >= (3,):
        pytest.importorskip("httpx_aiohttp")

    async def calls(base_url: str) -> None:
        async with openai.AsyncOpenAI(
            api_key=A,
            project="proj_a",
            base_url=base_url,
            http_client=openai.DefaultAioHttpClient(),
        ) as client:
            with pytest.raises(opg.ProjectMismatchError):
                await chat(client, extra_headers={"OpenAI-Project": "proj_b"})
            assert api.connections == 0
            await chat(client)
            stream = await chat(client, stream=True)
            assert [chunk async for chunk in stream]

    with loopback_api({A: "proj_a"}) as api:
        asyncio.run(calls(api.base_url))
        assert api.billed == {"proj_a": 2}


@pytest.mark.parametrize("has_hooks", [False, True])
def test_a_refused_call_opens_no_connection(has_hooks: bool) -> None:
    http_client = http.Client(event_hooks={"request": [lambda _: None] if has_hooks else []})
    with (
        loopback_api({A: "proj_a"}) as api,
        openai.OpenAI(
            api_key=A, project="proj_b", base_url=api.base_url, http_client=http_client
        ) as client,
    ):
        refused(Sync, lambda: chat(client), opg.ProjectMismatchError)
        assert (api.connections, api.bytes_received) == (0, 0)
        chat(client.with_options(project="proj_a"))
        assert api.connections == 1


# --- what a user's HTTP client does after the SDK is done ---------------------------------------

RIGHT = {"OpenAI-Project": "proj_a", "Authorization": f"Bearer {A}"}
# What is wrong to begin with, or is made so, and the error that it ends in.
WRONG: dict[str, tuple[dict[str, str], type[opg.ProjectGuardError]]] = {
    "header": ({"OpenAI-Project": "proj_b"}, opg.ProjectMismatchError),
    "no header": ({"OpenAI-Project": ""}, opg.ProjectMissingError),
    "key": ({"Authorization": f"Bearer {B}"}, opg.ProjectMismatchError),
    "strange key": ({"Authorization": f"Bearer {STRANGER}"}, opg.UnregisteredKeyError),
}
CHANGES = pytest.mark.parametrize("what", WRONG)


def event_hook(way: Any, headers: dict[str, str]) -> dict[str, Any]:
    hook = way.function(lambda request: request.headers.update(headers))
    return {"event_hooks": {"request": [hook]}}


def auth_flow(way: Any, headers: dict[str, str]) -> dict[str, Any]:
    class Flow(http.Auth):  # type: ignore[misc, name-defined]
        def auth_flow(self, request: Any) -> Iterator[Any]:
            request.headers.update(headers)
            yield request

    return {"auth": Flow()}


def auth_function(way: Any, headers: dict[str, str]) -> dict[str, Any]:
    def change(request: Any) -> Any:
        request.headers.update(headers)
        return request

    return {"auth": change}


def second_step_of_an_auth_flow(way: Any, headers: dict[str, str]) -> dict[str, Any]:
    class Flow(http.Auth):  # type: ignore[misc, name-defined]
        def auth_flow(self, request: Any) -> Iterator[Any]:
            yield http.Request("GET", "https://login.example.com/token")
            request.headers.update(headers)
            yield request

    return {"auth": Flow()}


DOERS = pytest.mark.parametrize(
    "doer",
    [event_hook, auth_flow, auth_function, second_step_of_an_auth_flow],
    ids=lambda doer: doer.__name__,
)


def at_openai(sent: Recorder) -> list[Any]:
    return [request for request in sent.requests if request.url.host == "api.openai.com"]


@BOTH
@DOERS
@CHANGES
def test_what_was_right_and_is_made_wrong_is_refused(
    what: str, doer: Any, way: Any, sent: Recorder
) -> None:
    headers, error = WRONG[what]
    client = way.client(sent, doer(way, headers), project="proj_a")
    refused(way, lambda: chat(client), error)
    refused(way, lambda: chat(client, stream=True), error)
    assert at_openai(sent) == []


@BOTH
def test_a_refusal_at_the_transport_is_not_retried(way: Any, sent: Recorder) -> None:
    """Before `_send_request` came, the SDK retries whatever its HTTP client raises."""
    attempts: list[str] = []

    def spoil(request: Any) -> None:
        attempts.append(request.url.path)
        request.headers["OpenAI-Project"] = "proj_b"

    hooks = {"request": [way.function(spoil)]}
    client = way.client(sent, {"event_hooks": hooks}, project="proj_a", max_retries=3)
    refused(way, lambda: chat(client), opg.ProjectMismatchError)
    assert len(attempts) == 1


@BOTH
@DOERS
@CHANGES
def test_what_was_wrong_and_is_made_right_passes(
    what: str, doer: Any, way: Any, sent: Recorder, verdicts: list[opg.Verdict]
) -> None:
    client = way.client(sent, doer(way, RIGHT), project="proj_a")
    way.run(lambda: chat(client, extra_headers=WRONG[what][0]))
    assert len(at_openai(sent)) == 1
    assert [verdict.outcome for verdict in verdicts] == ["allowed"]


@BOTH
@DOERS
def test_a_header_is_put_in_after_everything_else_is_done(
    doer: Any, way: Any, sent: Recorder
) -> None:
    opg.enable("inject", registry=KEYS)
    client = way.client(sent, doer(way, {"Authorization": f"Bearer {B}"}))
    way.run(lambda: chat(client))
    (request,) = at_openai(sent)
    assert request.headers["openai-project"] == "proj_b"


@BOTH
def test_basic_auth_in_place_of_the_key_is_no_way_out(way: Any, sent: Recorder) -> None:
    client = way.client(sent, {"auth": ("user", "password")}, project="proj_a")
    refused(way, lambda: chat(client), opg.UnregisteredKeyError)
    assert sent.requests == []


@BOTH
def test_the_clients_own_auth_is_judged_as_it_leaves(way: Any, sent: Recorder) -> None:
    flow = auth_flow(way, {"OpenAI-Project": "proj_b"})["auth"]
    # The sync client of 3.x asks the method, the async one and older releases the property.
    overrides = {"custom_auth": flow, "_custom_auth": lambda *_: flow}
    wrong = way.client(sent, sdk=type("Own", (way.sdk,), overrides), project="proj_a")
    refused(way, lambda: chat(wrong), opg.ProjectMismatchError)
    assert sent.requests == []


# --- redirects ----------------------------------------------------------------------------------


class Redirecting(Recorder):
    """A transport whose first answer sends the call elsewhere."""

    def __init__(self, target: str) -> None:
        super().__init__()
        self.target = target

    def __call__(self, request: Any) -> Any:
        answer = super().__call__(request)
        if len(self.requests) == 1:
            return http.Response(307, headers={"location": self.target})
        return answer


@BOTH
def test_a_redirect_to_the_same_origin_passes(way: Any) -> None:
    sent = Redirecting("/v1/models")
    client = way.client(sent, {"follow_redirects": True}, project="proj_a")
    way.run(lambda: client.get("/old", cast_to=object))
    assert sent.keys == [A, A]


@BOTH
def test_a_redirect_is_judged_by_itself(way: Any) -> None:
    sent = Redirecting("/v1/models")
    sent._before = lambda _: opg.enable(registry={"proj_b": A})
    client = way.client(sent, {"follow_redirects": True}, project="proj_a")
    refused(way, lambda: client.get("/old", cast_to=object), opg.ProjectMismatchError)
    assert len(sent.requests) == 1


@BOTH
@pytest.mark.parametrize("host", ["elsewhere.example.com", "eu.api.openai.com"])
def test_a_redirect_to_another_origin_leaves_the_key_behind_and_passes(host: str, way: Any) -> None:
    sent = Redirecting(f"https://{host}/v1/models")
    client = way.client(sent, {"follow_redirects": True}, project="proj_a")
    way.run(lambda: client.get("/old", cast_to=object))
    assert ["authorization" in request.headers for request in sent.requests] == [True, False]


@BOTH
@pytest.mark.parametrize("key", [B, STRANGER])
def test_a_redirect_to_another_openai_host_with_a_key_added_again_is_judged(
    key: str, way: Any
) -> None:
    sent = Redirecting("https://eu.api.openai.com/v1/models")

    def add_key(request: Any) -> None:
        if request.url.host == "eu.api.openai.com":
            request.headers["authorization"] = f"Bearer {key}"

    hooks = {"request": [way.function(add_key)]}
    client = way.client(sent, {"follow_redirects": True, "event_hooks": hooks}, project="proj_a")
    error = opg.ProjectMismatchError if key == B else opg.UnregisteredKeyError
    verdict = refused(way, lambda: client.get("/old", cast_to=object), error)
    assert verdict.host == "eu.api.openai.com"
    assert len(sent.requests) == 1


# --- subclasses of the SDK's client -------------------------------------------------------------


def subclass(way: Any, method: str, calls_super: bool, when: str, headers: dict[str, str]) -> Any:
    """A user's client that overrides a method of the SDK's and changes the headers there."""
    sdk = way.sdk
    if not hasattr(sdk, method):
        pytest.skip(f"openai {openai.__version__} has no {method}")

    def change(message: Any) -> Any:
        if method in ("_prepare_request", "_send_request"):
            message.headers.update(headers)
        else:  # options
            given = message.headers if isinstance(message.headers, dict) else {}
            message.headers = {**given, **headers}
        return message

    async def original(self: Any, *args: Any, **kwargs: Any) -> Any:
        value = getattr(super(own, self), method)(*args, **kwargs)
        return await value if inspect.isawaitable(value) else value

    async def without_super(self: Any, *args: Any, **kwargs: Any) -> Any:
        if method == "_prepare_options":
            return args[0]
        if method == "_send_request":
            value = self._client.send(*args, **kwargs)
            return await value if inspect.isawaitable(value) else value
        if method == "request":  # leaves by itself
            built = self._build_request(args[1])
            value = self._client.send(built)
            return await value if inspect.isawaitable(value) else value
        return None

    async def override(self: Any, *args: Any, **kwargs: Any) -> Any:
        message = args[1] if method == "request" else args[0]
        if when == "before":
            change(message)
        value = await (original if calls_super else without_super)(self, *args, **kwargs)
        if when == "after":
            change(value or message if method == "_prepare_options" else message)
        return value

    def plain(self: Any, *args: Any, **kwargs: Any) -> Any:
        step = override(self, *args, **kwargs)  # awaits nothing in a sync client
        try:
            step.send(None)
        except StopIteration as end:
            return end.value
        raise AssertionError("a sync client awaits")

    own: Any = type("Own", (sdk,), {method: override if way is Async else plain})
    return own


STEPS = pytest.mark.parametrize(
    ("method", "calls_super", "when"),
    [
        (method, calls_super, when)
        for method in ("_prepare_options", "_prepare_request", "_send_request", "request")
        for calls_super in (True, False)
        for when in ("before", "after")
        if method.startswith("_prepare") or when == "before"
    ],
)
KINDS = pytest.mark.parametrize("is_old", [False, True], ids=["later", "earlier"])
"""Whether the subclass was there before the guard was enabled."""


def own_client(way: Any, sent: Recorder, is_old: bool, *step: Any, **options: Any) -> Any:
    if is_old:
        opg.disable()
    sdk = subclass(way, *step)
    if is_old:
        opg.enable(registry={"proj_a": [A, A2], "proj_b": B})
    return way.client(sent, sdk=sdk, **options)


@BOTH
@STEPS
@KINDS
@pytest.mark.parametrize("what", ["header", "key"])
def test_a_subclass_that_spoils_a_call_is_refused(
    what: str,
    is_old: bool,
    method: str,
    calls_super: bool,
    when: str,
    way: Any,
    sent: Recorder,
    request: pytest.FixtureRequest,
) -> None:
    headers, error = WRONG[what]
    step = (method, calls_super, when, headers)
    client = own_client(way, sent, is_old, *step, project="proj_a")
    refused(way, lambda: client.get("/models", cast_to=object), error)
    assert sent.requests == []


@BOTH
@STEPS
@KINDS
def test_a_subclass_that_mends_a_call_passes(
    is_old: bool, method: str, calls_super: bool, when: str, way: Any, sent: Recorder
) -> None:
    step = (method, calls_super, when, {"OpenAI-Project": "proj_a"})
    client = own_client(way, sent, is_old, *step, project="proj_b")
    way.run(lambda: client.get("/models", cast_to=object))
    assert sent.projects == ["proj_a"]


# --- the SDK's own command line -----------------------------------------------------------------


@needs(importlib.util.find_spec("openai.cli"), "command line")
@pytest.mark.parametrize("project", ["proj_a", "proj_b", None])
def test_the_sdks_command_line_is_judged(project: str | None, tmp_path: Path) -> None:
    program = (
        "import openai_project_guard, runpy, sys;"
        "sys.argv = ['openai', 'api', 'models.list'];"
        "runpy.run_module('openai', run_name='__main__')"
    )
    environment = {name: v for name, v in os.environ.items() if not name.startswith("OPENAI_")}
    with loopback_api({A: "proj_a"}) as api:
        environment |= {
            "PYTHONPATH": str(Path(opg.__file__).parents[1]),
            "OPENAI_PROJECT_GUARD": "enforce",
            "OPENAI_PROJECT_GUARD_KEYS": f"proj_a={fingerprint(A)}",
            "OPENAI_API_KEY": A,
            "OPENAI_BASE_URL": api.base_url,
        }
        if project:
            environment["OPENAI_PROJECT_ID"] = project
        run = subprocess.run(
            [sys.executable, "-c", program],
            env=environment,
            cwd=tmp_path,
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )
        if project == "proj_a":
            assert run.returncode == 0, run.stderr
            assert api.billed == {"proj_a": 1}
        else:
            assert run.returncode == 1
            assert "Nothing was sent." in run.stderr
            assert A not in run.stdout + run.stderr
            assert (api.connections, api.bytes_received) == (0, 0)
