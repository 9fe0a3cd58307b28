"""Which hosts' calls are judged: OpenAI's, a gateway's, any that a registered key is sent to?"""

from __future__ import annotations

import inspect
from base64 import b64encode
from typing import Any

import openai
import pytest
from support import (
    BOTH,
    KEYS,
    STRANGER,
    A,
    B,
    Recorder,
    chat,
    http,
    needs_sdk,
    refused,
    sync_client,
)

import openai_project_guard as opg

pytestmark = pytest.mark.usefixtures("enabled")


def takes(name: str, owner: Any = openai.OpenAI) -> bool:
    return name in inspect.signature(owner.__init__).parameters


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
    opg.enable(registry=KEYS, hosts=hosts or None)
    url = "https://gateway.example.com/openai"
    stranger = way.client(sent, api_key=STRANGER, base_url=url)
    refused(way, lambda: chat(stranger), opg.UnregisteredKeyError)
    known = way.client(sent, base_url=url)
    refused(way, lambda: chat(known), opg.ProjectMissingError)
    assert sent.requests == []


@BOTH
@pytest.mark.parametrize("host", ["xn--bcher-kva.example", "bücher.example"])
def test_a_gateway_with_an_international_name_is_judged_however_it_is_written(
    host: str, way: Any, sent: Recorder
) -> None:
    opg.enable(registry=KEYS, hosts=["xn--bcher-kva.example"])
    client = way.client(sent, api_key=STRANGER, project="proj_a", base_url=f"https://{host}/v1")
    verdict = refused(way, lambda: chat(client), opg.UnregisteredKeyError)
    assert verdict.host == "xn--bcher-kva.example"
    assert sent.requests == []


@BOTH
@pytest.mark.parametrize("listed", ["::1", "0:0:0:0:0:0:0:1"])
@pytest.mark.parametrize("host", ["[::1]", "[0:0::1]", "[0:0:0:0:0:0:0:1]"])
def test_a_gateway_by_its_address_is_judged_however_it_is_written(
    listed: str, host: str, way: Any, sent: Recorder
) -> None:
    opg.enable(registry=KEYS, hosts=[listed])
    client = way.client(sent, api_key=STRANGER, project="proj_a", base_url=f"http://{host}:8/v1")
    refused(way, lambda: chat(client), opg.UnregisteredKeyError)
    assert sent.requests == []


@BOTH
def test_a_registered_key_is_judged_wherever_it_goes(way: Any, sent: Recorder) -> None:
    client = way.client(sent, base_url="http://localhost:4000", project="proj_b")
    assert refused(way, lambda: chat(client), opg.ProjectMismatchError).host == "localhost"
    assert sent.requests == []
    way.run(lambda: chat(client.with_options(api_key=B)))
    assert sent.keys == [B]


@needs_sdk(takes("data_residency"), "data_residency=")
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


@pytest.mark.parametrize(
    "headers",
    [
        {"Authorization": f"Bearer\t{A}"},
        {"Authorization": f"Token {A}"},
        {"Authorization": f"Bearer {A}, Bearer another"},
        {"Authorization": "Bearer another", "api-key": A},
        {"Authorization": f'Bearer "{A}"'},
        {"Authorization": f"Basic {b64encode(f':{A}'.encode()).decode()}"},
        {"Authorization": f"basic {b64encode(f'{A}:'.encode()).decode()}"},
    ],
)
def test_a_registered_key_in_another_form_is_seen_on_any_host(
    headers: dict[str, str], sent: Recorder
) -> None:
    client = sync_client(sent, base_url="https://gateway.example.com/v1")
    with pytest.raises((opg.MalformedHeaderError, opg.ProjectMissingError)):
        client.models.list(extra_headers=headers)
    assert sent.requests == []
