"""Are projects and keys listed as the Administration API lists them?"""

from __future__ import annotations

import json

import openai
import pytest
from loopback_calls import KEY_A, KEYS, raw

from openai_project_guard.loopback import ADMIN_KEY, LoopbackAPI, LoopbackProject, loopback_api

has_admin = pytest.mark.skipif(
    "admin_api_key" not in openai.OpenAI.__init__.__annotations__,
    reason="this SDK has no Administration API",
)


def test_administration_needs_an_admin_key(api: LoopbackAPI) -> None:
    path = "/v1/organization/projects"
    status, _, body = raw(api, path=path)
    assert (status, body["error"]["message"]) == (403, f"{path} cannot be called with this key.")
    assert raw(api, path=path, key=None)[0] == 401
    assert raw(api, path=path, key=ADMIN_KEY)[0] == 200
    assert [line.billed_project for line in api.ledger] == [None] * 3


def test_an_admin_key_is_for_administration_only(api: LoopbackAPI) -> None:
    status, _, body = raw(api, key=ADMIN_KEY)
    message = "/v1/models cannot be called with an admin key."
    assert (status, body["error"]["message"]) == (403, message)


@pytest.mark.parametrize(
    ("limit", "status"), [("0", 400), ("1", 200), ("100", 200), ("101", 400), ("ten", 400)]
)
def test_a_page_is_as_long_as_the_api_allows(api: LoopbackAPI, limit: str, status: int) -> None:
    path = f"/v1/organization/projects?limit={limit}"
    assert raw(api, path=path, key=ADMIN_KEY)[0] == status


def test_an_admin_key_may_come_with_any_project(api: LoopbackAPI) -> None:
    path = "/v1/organization/projects"
    status, headers, _ = raw(api, path=path, key=ADMIN_KEY, OpenAI_Project="proj_b")
    assert status == 200
    assert "openai-project" not in headers


def test_another_admin_key_can_be_named() -> None:
    key = "sk-admin-demo-other-Dd4d"
    with loopback_api({key: "any"}) as api:
        _, _, body = raw(api, path="/v1/organization/projects", key=key)
    assert body == {
        "object": "list",
        "data": [],
        "first_id": None,
        "last_id": None,
        "has_more": False,
    }


def test_projects_are_listed_without_the_archived_ones() -> None:
    known = [LoopbackProject("proj_old", archived=True), LoopbackProject("proj_a", "Chat")]
    with loopback_api(KEYS, projects=known) as api:
        path = "/v1/organization/projects"
        active = raw(api, path=path, key=ADMIN_KEY)[2]["data"]
        everything = raw(api, path=f"{path}?include_archived=true", key=ADMIN_KEY)[2]["data"]
    assert [(item["id"], item["name"]) for item in active] == [
        ("proj_a", "Chat"),
        ("proj_b", "proj_b"),
    ]
    assert {item["id"]: item["status"] for item in everything} == {
        "proj_old": "archived",
        "proj_a": "active",
        "proj_b": "active",
    }
    assert [item["archived_at"] for item in active] == [None, None]
    assert [
        item["id"] for item in everything if (item["archived_at"] or 0) > item["created_at"]
    ] == ["proj_old"]


def test_a_project_without_a_name_has_its_id_as_one() -> None:
    assert LoopbackProject("proj_old", archived=True).name == "proj_old"


def test_a_project_s_keys_are_listed_redacted(api: LoopbackAPI) -> None:
    path = "/v1/organization/projects/proj_a/api_keys"
    _, _, body = raw(api, path=path, key=ADMIN_KEY)
    (item,) = body["data"]
    assert (item["redacted_value"], item["last_used_at"]) == ("sk-proj-****...Aa1a", None)
    assert (item["name"], item["owner"]["type"]) == ("Key 1", "user")
    assert item["owner"]["user"]["email"] == "loopback-1@example.com"
    assert KEY_A not in json.dumps(body)


def test_a_key_of_a_service_account_is_nobodys() -> None:
    with loopback_api({"sk-svcacct-demo-0123456789-Ab3d": "proj_a"}) as api:
        path = "/v1/organization/projects/proj_a/api_keys"
        (item,) = raw(api, path=path, key=ADMIN_KEY)[2]["data"]
    assert item["owner"]["type"] == "service_account"
    assert "email" not in item["owner"]["service_account"]


def test_an_unknown_project_has_no_keys_to_list(api: LoopbackAPI) -> None:
    path = "/v1/organization/projects/proj_none/api_keys"
    assert raw(api, path=path, key=ADMIN_KEY)[0] == 404


def test_other_administration_endpoints_answer_too(api: LoopbackAPI) -> None:
    _, _, body = raw(api, path="/v1/organization/users", key=ADMIN_KEY)
    assert body["object"] == "loopback"


@has_admin
def test_the_sdk_pages_through_projects_and_keys() -> None:
    keys = {
        f"sk-svcacct-demo-{project:02}-{key:02}-Ab{key:02}": f"proj_{project:02}"
        for project in range(45)
        for key in range(3)
    }
    with loopback_api(keys) as api:
        options = {"admin_api_key": ADMIN_KEY, "base_url": api.base_url}
        with openai.OpenAI(**options) as client:
            projects = list(client.admin.organization.projects.list())
            found = list(client.admin.organization.projects.api_keys.list("proj_07", limit=2))
    assert [project.id for project in projects] == [f"proj_{number:02}" for number in range(45)]
    assert [key.redacted_value[-4:] for key in found] == ["Ab00", "Ab01", "Ab02"]
    assert found[0].owner.type == "service_account"
    assert [key.owner.service_account.role for key in found] == ["member"] * 3
    assert projects[0].created_at < found[0].created_at < found[1].created_at
    assert len(api.ledger) == 5


def test_a_full_organization_is_served() -> None:
    keys = {
        f"sk-proj-demo-{project:04}-{key}-not-real": f"proj_{project:04}"
        for project in range(2_000)
        for key in range(10)
    }
    with loopback_api(keys) as api:
        path, after, count = "/v1/organization/projects?limit=100", "", 0
        more = True
        while more:
            _, _, body = raw(api, path=path + after, key=ADMIN_KEY)
            after, more = f"&after={body['last_id']}", body["has_more"]
            count += len(body["data"])
        assert count == 2_000
        last = raw(api, path="/v1/organization/projects/proj_1999/api_keys", key=ADMIN_KEY)
        assert len(last[2]["data"]) == 10
