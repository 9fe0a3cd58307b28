"""Are Azure, Bedrock and Vertex left alone, but no call of theirs to OpenAI?"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import openai
import pytest
from support import BOTH, KEYS, STRANGER, A, Recorder, Sync, chat, http, needs_sdk, refused

import openai_project_guard as opg

pytestmark = pytest.mark.usefixtures("enabled")


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


@needs_sdk(hasattr(openai, "BedrockOpenAI"), "BedrockOpenAI")
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


def test_an_azure_client_with_a_registered_key_is_judged(sent: Recorder) -> None:
    client = openai.AzureOpenAI(
        api_key=A,
        api_version="2024-06-01",
        azure_endpoint="https://x.openai.azure.com",
        http_client=http.Client(transport=http.MockTransport(sent)),
    )
    with pytest.raises(opg.ProjectMissingError):
        client.models.list()
    assert sent.requests == []
