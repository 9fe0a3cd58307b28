"""Who may call, and who pays for the call?"""

from __future__ import annotations

import json

import openai
import pytest
from loopback_calls import KEY_A, KEY_B, KEYS, LEGACY, SAY_HI, client_of, dial, raw

from openai_project_guard.loopback import DEFAULT_KEYS, LedgerLine, LoopbackAPI, loopback_api


def test_a_matching_project_is_billed(api: LoopbackAPI, client: openai.OpenAI) -> None:
    client.chat.completions.create(**SAY_HI)
    (line,) = api.ledger
    assert line == LedgerLine(
        method="POST",
        path="/v1/chat/completions",
        key_hint="sk-proj-…Aa1a",
        project_header="proj_a",
        billed_project="proj_a",
        status=200,
        bytes_received=api.bytes_received,
        stream=False,
    )
    assert line.bytes_received > 200
    assert api.billed == {"proj_a": 1}


def test_another_project_is_refused_in_the_api_s_own_words(api: LoopbackAPI) -> None:
    status, headers, body = raw(api, OpenAI_Project="proj_b")
    assert status == 401
    assert body == {
        "error": {
            "message": "OpenAI-Project header should match project for API key",
            "type": "invalid_request_error",
            "param": None,
            "code": "mismatched_project",
        }
    }
    assert "openai-project" not in headers
    assert headers["x-request-id"].startswith("req_")
    assert api.ledger[0].billed_project is None
    assert api.billed == {}


def test_the_sdk_reports_the_mismatch_as_it_would_for_the_real_api(api: LoopbackAPI) -> None:
    client = client_of(api, KEY_A, project="proj_b")
    with client, pytest.raises(openai.AuthenticationError) as caught:
        client.models.list()
    assert caught.value.code == "mismatched_project"
    assert caught.value.request_id


def test_another_organization_is_refused(api: LoopbackAPI) -> None:
    client = client_of(api, organization="org-elsewhere")
    with client, pytest.raises(openai.AuthenticationError) as caught:
        client.models.list()
    assert caught.value.code == "mismatched_organization"


def test_the_own_organization_passes() -> None:
    with loopback_api(KEYS, organization="org-mine") as api:
        status, headers, _ = raw(api, OpenAI_Organization="org-mine")
    assert (status, headers["openai-organization"]) == (200, "org-mine")


def test_an_unknown_key_is_refused_and_not_echoed(api: LoopbackAPI) -> None:
    unknown = "sk-proj-unknown-to-all-Zz9z"
    status, _, body = raw(api, key=unknown)
    assert (status, body["error"]["code"]) == (401, "invalid_api_key")
    assert unknown not in json.dumps(body, ensure_ascii=False)
    assert "sk-proj-…Zz9z" in body["error"]["message"]


def test_no_key_is_refused(api: LoopbackAPI) -> None:
    assert raw(api, key=None)[0] == 401
    assert api.ledger[0].key_hint is None


@pytest.mark.parametrize("headers", [{}, {"OpenAI_Project": ""}, {"OpenAI_Project": "  "}])
def test_without_a_project_the_key_s_own_pays(api: LoopbackAPI, headers: dict[str, str]) -> None:
    status, answered, _ = raw(api, key=KEY_B, **headers)
    assert status == 200
    assert answered["openai-project"] == "proj_b"
    assert answered["openai-organization"] == "org-loopback"
    assert answered["x-request-id"]
    assert api.ledger[0].project_header == ("" if headers else None)
    assert api.billed == {"proj_b": 1}


@pytest.mark.parametrize(
    ("header", "paying"), [("proj_a", "proj_a"), ("proj_b", "proj_b"), (None, "proj_b")]
)
def test_a_legacy_key_pays_for_any_of_its_projects(
    api: LoopbackAPI, header: str | None, paying: str
) -> None:
    with client_of(api, LEGACY, project=header) as client:
        client.models.list()
    assert api.billed == {paying: 1}
    assert api.ledger[0].key_hint == "sk-…Cc3c"


def test_two_project_headers_match_no_project(api: LoopbackAPI) -> None:
    with dial(api) as peer:
        peer.sendall(
            f"GET /v1/models HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {KEY_A}\r\n"
            "OpenAI-Project: proj_a\r\nopenai-project: proj_a\r\nConnection: close\r\n\r\n".encode()
        )
        assert peer.recv(4096).startswith(b"HTTP/1.1 401 ")
    assert api.ledger[0].project_header == "proj_a, proj_a"


def test_a_key_without_a_project_is_a_mistake() -> None:
    no_project: dict[str, tuple[str, ...]] = {KEY_A: ()}
    with pytest.raises(ValueError, match="sk-proj-…Aa1a has no project"), loopback_api(no_project):
        pass


def test_the_default_keys_work() -> None:
    with loopback_api() as api:
        for key in DEFAULT_KEYS:
            assert raw(api, key=key)[0] == 200
        assert api.billed == {"proj_support": 2, "proj_billing": 1, "proj_research": 1}
