"""Does a verdict name the place that set the wrong value, and its error the fix for that case?"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import openai
import pytest
import support
from support import A, B, Recorder, http, sync_client

import openai_project_guard as opg

clean = support.clean
pytestmark = pytest.mark.usefixtures("clean")


@pytest.fixture(autouse=True)
def enabled(clean: pytest.MonkeyPatch) -> None:
    opg.enable(registry={"proj_a": A, "proj_b": B})


def refused(client: openai.OpenAI, **more: Any) -> tuple[str | None, str]:
    with pytest.raises(opg.ProjectGuardError) as error:
        client.models.list(**more)
    return error.value.verdict.origin, str(error.value)


def test_a_key_swapped_in_is_put_right_there_and_not_in_the_variable(
    clean: pytest.MonkeyPatch,
) -> None:
    clean.setenv("OPENAI_API_KEY", A)
    clean.setenv("OPENAI_PROJECT_ID", "proj_a")
    origin, text = refused(sync_client(Recorder()).with_options(api_key=B))
    assert origin == "OPENAI_PROJECT_ID"
    assert "To fix it: pass `project=` to that with_options() too, at " in text
    assert "correct or unset" not in text


def test_another_clients_key_does_not_make_the_variable_wrong(clean: pytest.MonkeyPatch) -> None:
    clean.setenv("OPENAI_API_KEY", A)
    clean.setenv("OPENAI_PROJECT_ID", "proj_a")
    origin, text = refused(sync_client(Recorder(), api_key=B))
    assert origin == "OPENAI_PROJECT_ID"
    assert "To fix it: pass `project=` where the client is given this key, which is not " in text


@pytest.mark.parametrize("project", ["proj_a", None])
def test_a_call_that_brings_another_key_is_put_right_there(project: str | None) -> None:
    client = sync_client(Recorder(), api_key=A, project=project)
    _, text = refused(client, extra_headers={"Authorization": f"Bearer {B}"})
    fix = "add OpenAI-Project to the `extra_headers` of this call, which give it its key"
    assert f"To fix it: {fix} (expected: proj_b)" in text


def test_the_headers_of_an_http_client() -> None:
    sent = http.Client(
        transport=http.MockTransport(Recorder()), headers={"OpenAI-Project": "proj_b"}
    )
    origin, text = refused(openai.OpenAI(api_key=A, http_client=sent))
    assert origin == "http_client"
    assert "comes from the headers of the client's `http_client=`." in text


def test_an_empty_variable_is_not_one_that_was_not_set(clean: pytest.MonkeyPatch) -> None:
    clean.setenv("OPENAI_PROJECT_ID", "")
    origin, text = refused(sync_client(Recorder()))
    assert origin == "OPENAI_PROJECT_ID"
    assert "OPENAI_PROJECT_ID is set, but it is empty." in text


def test_an_empty_default_header() -> None:
    origin, text = refused(sync_client(Recorder(), default_headers={"OpenAI-Project": ""}))
    assert origin == "default_headers"
    assert "`default_headers` of the client sets OpenAI-Project to nothing." in text


def test_quotes_that_docker_kept(clean: pytest.MonkeyPatch) -> None:
    clean.setenv("OPENAI_PROJECT_ID", '"proj_a"')
    _, text = refused(sync_client(Recorder()))
    assert "take the quotes off the value in OPENAI_PROJECT_ID" in text


def test_quotes_of_a_place_that_cannot_be_seen() -> None:
    def put_in(request: Any) -> None:
        request.headers["OpenAI-Project"] = '"proj_a"'

    http_client = http.Client(
        transport=http.MockTransport(Recorder()), event_hooks={"request": [put_in]}
    )
    origin, text = refused(openai.OpenAI(api_key=A, project="proj_a", http_client=http_client))
    assert origin == "unknown"
    assert "To fix it: look for the code that sets OpenAI-Project" in text


def test_a_401_for_an_organization_that_the_registry_does_not_know_names_the_header(
    clean: pytest.MonkeyPatch,
) -> None:
    clean.setenv("OPENAI_ORG_ID", "org-old")

    def disagree(request: Any) -> Any:
        return http.Response(
            401, json={"error": {"message": "no", "code": "mismatched_organization"}}
        )

    with pytest.raises(openai.AuthenticationError) as failed:
        sync_client(disagree, project="proj_a").models.list()
    (note,) = failed.value.__notes__  # type: ignore[attr-defined]
    assert "OpenAI-Organization header said 'org-old'" in note
    assert "correct or unset OPENAI_ORG_ID" in note
    assert "out of date" not in note


def test_a_line_of_a_scope_says_whose_the_key_is(caplog: pytest.LogCaptureFixture) -> None:
    with opg.guard(project="proj_b"):
        refused(sync_client(Recorder(), project="proj_a"))
    assert "expected proj_b; its key is registered for proj_a; called at " in caplog.text


def test_a_key_that_is_registered_is_not_to_be_registered_again() -> None:
    _, text = refused(sync_client(Recorder(), project="proj_b"))
    assert "openai-project-guard register" not in text
    assert (
        "or use a key of project proj_b. If this key does belong to proj_b, the registry's " in text
    )


def test_where_was_looked_for_a_registry_that_is_not_there(tmp_path: Path) -> None:
    opg.enable()
    _, text = refused(sync_client(Recorder()))
    files = (
        tmp_path / "openai-projects.toml",
        tmp_path / "config" / "openai-project-guard" / "registry.toml",
    )
    assert (
        f"This key is not in any registry: none was named, and neither {files[0]} nor {files[1]} "
        "is there."
    ) in text


def test_a_home_in_the_name_of_a_registry_is_found(
    clean: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    support.write_registry(tmp_path / "keys.toml", a=f"proj_a:{A}")
    clean.setenv("HOME", str(tmp_path))
    clean.setenv("USERPROFILE", str(tmp_path))
    clean.setenv("OPENAI_PROJECT_GUARD_REGISTRY", "~/keys.toml")
    opg.enable()
    _, text = refused(sync_client(Recorder()))
    assert f"for project proj_a (a), in {Path('~', 'keys.toml')}, line" in text.replace(
        str(tmp_path), "~"
    )


def test_drift_shows_what_the_call_carried_and_what_the_server_said(
    caplog: pytest.LogCaptureFixture,
) -> None:
    sync_client(support.Server("proj_moved"), project="proj_a").models.list()
    assert (
        "project drift: the server answered as proj_moved, the registry says proj_a: GET "
        "api.openai.com/v1/models with OpenAI-Project 'proj_a', key sk-proj-…AAAA"
    ) in caplog.text
