"""Does a verdict name the place that set the wrong value, and its error the fix for that case?"""

from __future__ import annotations

import inspect
import re
from pathlib import Path
from typing import Any

import openai
import pytest
import support
from support import STRANGER, A, B, Recorder, async_client, http, sync_client

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
    assert "To fix it: also pass `project=` to that with_options(), at " in text
    assert "correct OPENAI_PROJECT_ID" not in text


def test_another_clients_key_does_not_make_the_variable_wrong(clean: pytest.MonkeyPatch) -> None:
    clean.setenv("OPENAI_API_KEY", A)
    clean.setenv("OPENAI_PROJECT_ID", "proj_a")
    origin, text = refused(sync_client(Recorder(), api_key=B))
    assert origin == "OPENAI_PROJECT_ID"
    assert "To fix it: pass `project=` where the client is given this key, which is not " in text


OF_A = {"OpenAI-Project": "proj_a"}


@pytest.mark.parametrize(
    "options", [{"project": "proj_a"}, {"project": None}, {"default_headers": OF_A}]
)
def test_a_call_that_brings_another_key_is_put_right_there(
    options: dict[str, Any], caplog: pytest.LogCaptureFixture
) -> None:
    client = sync_client(Recorder(), api_key=A, **options)
    origin, text = refused(client, extra_headers={"Authorization": f"Bearer {B}"})
    assert origin == "extra_headers"
    fix = "add OpenAI-Project to the `extra_headers` of this call, which give it its key"
    assert f"To fix it: {fix} (expected: proj_b)" in text
    assert caplog.text.endswith("; see extra_headers\n")  # what they bring is the key alone


def test_a_call_that_brings_another_key_is_not_to_blame_for_what_changes_its_header() -> None:
    def take_out(request: Any) -> None:
        del request.headers["OpenAI-Project"]

    client = support.hooked(Recorder(), hooks={"request": [take_out]}, project="proj_a")
    origin, text = refused(client, extra_headers={"Authorization": f"Bearer {B}"})
    assert origin == "unknown"
    assert "To fix it: look for the code that removes OpenAI-Project" in text


def test_a_call_that_brings_another_key_cannot_put_right_what_is_set_after_it() -> None:
    def put_in(request: Any) -> None:
        request.headers["OpenAI-Project"] = "proj_a"

    client = support.hooked(Recorder(), hooks={"request": [put_in]})
    origin, text = refused(client, extra_headers={"Authorization": f"Bearer {B}"})
    assert origin == "unknown"
    assert "To fix it: look for the code that sets OpenAI-Project" in text


def test_a_call_that_brings_a_key_and_another_project_is_to_correct_that() -> None:
    headers = {"Authorization": f"Bearer {B}", "OpenAI-Project": "proj_c"}
    _, text = refused(sync_client(Recorder(), project="proj_a"), extra_headers=headers)
    assert "To fix it: correct its `extra_headers` (expected: proj_b)" in text


def test_a_quoted_project_is_wrong_for_a_call_that_brings_another_key_too() -> None:
    client = sync_client(Recorder(), project='"proj_a"')
    origin, text = refused(client, extra_headers={"Authorization": f"Bearer {B}"})
    assert origin == "project="
    assert "To fix it: take the quotes off the value in project=, " in text


@pytest.mark.skipif(
    not hasattr(openai.OpenAI(api_key=A), "_api_key_provider"), reason="takes no function"
)
@pytest.mark.parametrize("is_async", [False, True])
async def test_a_key_that_a_function_gives_is_the_clients(is_async: bool) -> None:
    async def refusal(key: str) -> tuple[str | None, str]:
        async def provide() -> str:
            return key

        with pytest.raises(opg.ProjectGuardError) as error:  # noqa: PT012
            if is_async:
                await async_client(Recorder(), api_key=provide, project="proj_b").models.list()
            else:
                sync_client(Recorder(), api_key=lambda: key, project="proj_b").models.list()
        return error.value.verdict.origin, str(error.value)

    origin, text = await refusal(A)
    assert origin == "project="
    assert "To fix it: give the client the right `project=`" in text
    origin, text = await refusal(STRANGER)
    assert origin == "api_key="
    assert "extra_headers" not in text


def test_the_modules_own_client_is_put_right_in_the_module(clean: pytest.MonkeyPatch) -> None:
    clean.setattr(openai, "http_client", http.Client(transport=http.MockTransport(Recorder())))
    openai._reset_client()  # type: ignore[attr-defined]
    try:
        for key, project, origin, place in (
            (A, "proj_b", "project=", "correct `openai.project` (expected: proj_a)"),
            (A, None, "unset", "set `openai.project` or OPENAI_PROJECT_ID (expected: proj_a)"),
            (STRANGER, "proj_b", "api_key=", "correct `openai.api_key`"),
        ):
            clean.setattr(openai, "api_key", key)
            clean.setattr(openai, "project", project)
            with pytest.raises(opg.ProjectGuardError) as error:
                openai.models.list()
            assert error.value.verdict.origin == origin
            assert place in str(error.value)
            if key == STRANGER:
                assert "The key comes from `openai.api_key`, or from " in str(error.value)
    finally:
        openai._reset_client()  # type: ignore[attr-defined]


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
    assert note.endswith(
        "But its OpenAI-Organization header said 'org-old', of which the registry says nothing. "
        "That OpenAI-Organization comes from OPENAI_ORG_ID in the environment. To fix it: correct "
        "or unset OPENAI_ORG_ID where it is set (a .env file, perhaps), and any `organization=` "
        "that repeats it, or add the project's organization to the registry so that the guard "
        "checks it."
    )


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


# --- where a key comes from -----------------------------------------------------------------------


def test_an_unregistered_key_of_one_call_is_put_right_in_that_call() -> None:
    client = sync_client(Recorder(), project="proj_a")
    origin, text = refused(client, extra_headers={"Authorization": f"Bearer {STRANGER}"})
    assert origin == "extra_headers"
    assert "The key comes from `extra_headers` of this call." in text
    assert "if it is not, correct its `extra_headers`. " in text


@pytest.mark.parametrize("space", ["", " "])
def test_an_unregistered_key_of_the_variable_is_put_right_there(
    space: str, clean: pytest.MonkeyPatch
) -> None:
    clean.setenv("OPENAI_API_KEY", f"{STRANGER}{space}")
    origin, text = refused(sync_client(Recorder(), api_key=STRANGER))
    assert origin == "OPENAI_API_KEY"
    assert "The key comes from OPENAI_API_KEY in the environment." in text
    assert "if it is not, correct OPENAI_API_KEY. " in text


def test_an_unregistered_key_of_the_client_is_put_right_there(clean: pytest.MonkeyPatch) -> None:
    clean.setenv("OPENAI_API_KEY", A)
    origin, text = refused(sync_client(Recorder(), api_key=STRANGER))
    assert origin == "api_key="
    assert "The key comes from the client's `api_key=`, or from OPENAI_API_KEY as it was " in text
    assert "if it is not, give the client the right `api_key=`. " in text


@pytest.mark.parametrize("method", ["with_options", "copy"])
def test_an_unregistered_key_of_a_derived_client_is_put_right_where_that_was_derived(
    method: str,
) -> None:
    first = sync_client(Recorder(), project="proj_a")
    if method == "copy":
        client = first.copy(api_key=STRANGER)
    else:
        client = first.with_options(api_key=STRANGER)
    origin, text = refused(client.with_options(timeout=5))
    assert origin == "api_key="
    assert "The key comes from the client's `api_key=`.\n" in text
    assert f"if it is not, correct the `api_key=` of that {method}(), at " in text


@support.needs_custom_headers
@pytest.mark.parametrize("name", ["Authorization", "authorization"])
def test_an_unregistered_key_of_the_variable_for_headers_is_put_right_there(
    name: str, clean: pytest.MonkeyPatch
) -> None:
    if name == "authorization" and not hasattr(openai._base_client, "_merge_headers"):
        pytest.skip(f"openai {openai.__version__} sends the client's own key besides, which blocks")
    clean.setenv("OPENAI_CUSTOM_HEADERS", f"no header\n{name} : Bearer  {STRANGER}\n")
    origin, text = refused(sync_client(Recorder(), project="proj_a"))
    assert origin == "OPENAI_CUSTOM_HEADERS"
    assert "The key comes from OPENAI_CUSTOM_HEADERS in the environment." in text
    assert "if it is not, correct OPENAI_CUSTOM_HEADERS. " in text


def test_an_unregistered_key_of_an_event_hook_is_looked_for_outside_of_the_client() -> None:
    def swap(request: Any) -> None:
        request.headers["Authorization"] = f"Bearer {STRANGER}"

    client = support.hooked(Recorder(), hooks={"request": [swap]}, project="proj_a")
    origin, text = refused(client)
    assert origin == "unknown"
    assert "The key comes from outside the client's `api_key=` (a header, an event hook" in text
    assert "if it is not, look for the code that sets Authorization. " in text


def test_of_two_keys_on_a_call_it_is_said_where_the_first_comes_from() -> None:
    client = sync_client(Recorder(), project="proj_a", default_headers={"api-key": B})
    origin, text = refused(client)
    assert origin == "api_key="
    assert text.endswith(
        "To fix it: send one of the two keys: take `api-key` out of the client's `default_headers`."
    )


# --- a variable that was another one when the client was made -------------------------------------


@pytest.mark.parametrize(
    ("variable", "then"),
    [
        ("OPENAI_API_KEY", STRANGER),
        ("OPENAI_PROJECT_ID", "proj_b"),
        ("OPENAI_PROJECT_ID", ""),
        ("OPENAI_ORG_ID", "org-2"),
        ("OPENAI_CUSTOM_HEADERS", "OpenAI-Project: proj_b"),
    ],
)
@pytest.mark.parametrize("now", ["changed", "unset"])
def test_a_variable_is_not_said_to_be_an_argument_for_being_another_by_now(
    variable: str, then: str, now: str, clean: pytest.MonkeyPatch
) -> None:
    registry = opg.Registry()
    registry.register(A, "proj_a", organization="org-1")
    opg.enable(registry=registry)
    clean.setenv("OPENAI_API_KEY", A)
    if variable != "OPENAI_PROJECT_ID":
        clean.setenv("OPENAI_PROJECT_ID", "proj_a")
    clean.setenv(variable, then)
    client = openai.OpenAI(http_client=http.Client(transport=http.MockTransport(Recorder())))
    if variable == "OPENAI_CUSTOM_HEADERS" and not client._custom_headers:
        pytest.skip("this SDK reads that variable at each call, or not at all")
    if now == "unset":
        clean.delenv(variable)
    else:
        clean.setenv(variable, "changed")
    _, text = refused(client)
    assert f"{variable} as it was when the client was made" in text


# --- where a project comes from, or why there is none ---------------------------------------------


HEADER = {"OpenAI-Project": "proj_b"}


def test_a_project_of_one_call_is_put_right_in_that_call() -> None:
    client = sync_client(Recorder(), project="proj_a")
    origin, text = refused(client, extra_headers=HEADER)
    assert origin == "extra_headers"
    assert "\nThat OpenAI-Project comes from `extra_headers` of this call.\n" in text
    assert "To fix it: correct its `extra_headers` (expected: proj_a), or use a key of " in text


def test_a_project_of_a_clients_headers_is_put_right_there() -> None:
    origin, text = refused(sync_client(Recorder(), project="proj_a", default_headers=HEADER))
    assert origin == "default_headers"
    assert "\nThat OpenAI-Project comes from `default_headers` of the client, or from " in text
    assert "To fix it: correct the client's `default_headers` (expected: proj_a), or use a " in text


def test_a_project_of_an_http_client_is_taken_out_there() -> None:
    sent = http.Client(transport=http.MockTransport(Recorder()), headers=HEADER)
    _, text = refused(openai.OpenAI(api_key=A, http_client=sent))
    assert (
        "To fix it: take OpenAI-Project out of them, and pass `project=` to the client (expected: "
    ) in text


def test_a_project_of_an_event_hook_is_looked_for_outside_of_the_sdk() -> None:
    def put_in(request: Any) -> None:
        request.headers.update(HEADER)

    client = support.hooked(Recorder(), hooks={"request": [put_in]}, project="proj_a")
    origin, text = refused(client)
    assert origin == "unknown"
    assert (
        "That OpenAI-Project comes from outside the SDK's settings (a subclass, an event hook or "
        "an auth flow).\n"
    ) in text
    assert "To fix it: look for the code that sets OpenAI-Project (expected: proj_a), or " in text


def test_a_variable_that_the_client_did_not_take_over_is_not_blamed(
    clean: pytest.MonkeyPatch,
) -> None:
    def put_in(request: Any) -> None:
        request.headers.update(HEADER)

    client = support.hooked(Recorder(), hooks={"request": [put_in]}, project="proj_a")
    clean.setenv("OPENAI_PROJECT_ID", "proj_b")
    assert refused(client)[0] == "unknown"


@pytest.mark.parametrize("is_variable", [True, False])
def test_a_project_of_a_websocket_that_is_opened_without_the_sdk(
    is_variable: bool, clean: pytest.MonkeyPatch
) -> None:
    sockets = pytest.importorskip("websockets.sync.client")
    if is_variable:
        clean.setenv("OPENAI_PROJECT_ID", "proj_b")
    headers = {"Authorization": f"Bearer {A}", **HEADER}
    with pytest.raises(opg.ProjectMismatchError) as error:
        sockets.connect("wss://api.openai.com/v1/realtime", additional_headers=headers)
    text = str(error.value)
    if is_variable:
        assert error.value.verdict.origin == "OPENAI_PROJECT_ID"
        assert "That OpenAI-Project comes from OPENAI_PROJECT_ID in the environment." in text
        return
    assert error.value.verdict.origin == "unknown"
    assert (
        "That OpenAI-Project comes from the client's `project=` or `extra_headers` of connect().\n"
    ) in text
    assert (
        "To fix it: correct the client's `project=` or the `extra_headers` of connect() (expected: "
    ) in text


@support.needs_custom_headers
def test_a_project_of_the_variable_for_headers_is_put_right_there(
    clean: pytest.MonkeyPatch,
) -> None:
    clean.setenv("OPENAI_CUSTOM_HEADERS", "OpenAI-Project: proj_b")
    origin, text = refused(sync_client(Recorder(), project="proj_a"))
    assert origin == "OPENAI_CUSTOM_HEADERS"
    assert "To fix it: correct OPENAI_CUSTOM_HEADERS (expected: proj_a), or use a key of " in text


@pytest.mark.parametrize("is_variable", [True, False])
def test_an_organization_is_put_right_where_it_was_set(
    is_variable: bool, clean: pytest.MonkeyPatch
) -> None:
    registry = opg.Registry()
    registry.register(A, "proj_a", organization="org-1")
    opg.enable(registry=registry)
    options = {} if is_variable else {"organization": "org-2"}
    if is_variable:
        clean.setenv("OPENAI_ORG_ID", "org-2")
    client = sync_client(Recorder(), project="proj_a", **options)
    origin, text = refused(client.with_options(project="proj_a"))
    name = "OPENAI_ORG_ID" if is_variable else "organization="
    assert origin == name
    fix = "give the client the right `organization=`"
    if is_variable:
        fix = f"correct or unset {name} where it is set (a .env file, perhaps), "
        fix += "and any `organization=` that repeats it"
    assert f"To fix it: {fix} (expected: org-1), or correct the registry's entry." in text


def test_a_header_that_a_client_spells_in_another_way_is_dropped_by_the_sdk() -> None:
    client = sync_client(Recorder(), default_headers={"openai-project": "proj_a"})
    with opg.guard(mode="off"):
        sent = Recorder()
        sync_client(sent, default_headers={"openai-project": "proj_a"}).models.list()
    if sent.projects == ["proj_a"]:
        pytest.skip("this SDK sends it")
    origin, text = refused(client)
    assert origin == "default_headers"
    assert (
        "To fix it: spell it OpenAI-Project there, or pass `project=` to the client (expected: "
    ) in text


def test_a_header_that_a_call_takes_out_is_put_back_in_that_call() -> None:
    client = sync_client(Recorder(), project="proj_a")
    origin, text = refused(client, extra_headers={"OpenAI-Project": ""})
    assert origin == "extra_headers"
    assert "To fix it: take OpenAI-Project out of its `extra_headers` (expected: proj_a)" in text


def test_a_header_that_a_call_takes_out_is_filled_where_that_brings_its_key() -> None:
    client = sync_client(Recorder(), project="proj_a")
    headers = {"Authorization": f"Bearer {B}", "OpenAI-Project": ""}
    origin, text = refused(client, extra_headers=headers)
    assert origin == "extra_headers"
    assert (
        "To fix it: give OpenAI-Project a value in its `extra_headers` (expected: proj_b)" in text
    )


def test_a_header_that_a_client_empties_is_filled_there() -> None:
    _, text = refused(sync_client(Recorder(), default_headers={"OpenAI-Project": ""}))
    fix = "give OpenAI-Project a value in the client's `default_headers`"
    assert f"To fix it: {fix} (expected: proj_a)" in text


def test_of_a_derived_client_the_key_is_no_matter_where_its_organization_is_wrong(
    clean: pytest.MonkeyPatch,
) -> None:
    registry = opg.Registry()
    registry.register(B, "proj_b", organization="org-1")
    opg.enable(registry=registry)
    client = sync_client(Recorder(), organization="org-2")
    _, text = refused(client.with_options(api_key=B, project="proj_b"))
    assert "To fix it: give the client the right `organization=` (expected: org-1), or " in text


def test_an_empty_variable_is_given_a_value(clean: pytest.MonkeyPatch) -> None:
    clean.setenv("OPENAI_PROJECT_ID", "")
    _, text = refused(sync_client(Recorder()))
    assert (
        "To fix it: give OPENAI_PROJECT_ID a value, or pass `project=` to the client (expected: "
    ) in text


def test_an_empty_variable_is_not_all_that_a_client_with_another_key_could_be_given(
    clean: pytest.MonkeyPatch,
) -> None:
    clean.setenv("OPENAI_PROJECT_ID", "")
    _, text = refused(sync_client(Recorder()).with_options(api_key=B))
    place = error_site(text, "with_options")
    fix = f"OPENAI_PROJECT_ID a value, or pass `project=` to that with_options(), at {place}"
    assert f"To fix it: give {fix} (expected: proj_b)" in text


@pytest.mark.parametrize("method", ["with_options", "copy"])
def test_a_project_of_a_derived_client_is_put_right_where_that_was_derived(method: str) -> None:
    first = sync_client(Recorder(), project="proj_a")
    if method == "copy":
        client = first.copy(project="proj_b")
    else:
        client = first.with_options(project="proj_b")
    origin, text = refused(client.with_options(timeout=5))
    assert origin == "project="
    assert "comes from the client's `project=` (`with_options()` and `copy()` keep it)." in text
    assert f"To fix it: correct the `project=` of that {method}(), at " in text


def test_a_client_that_got_another_key_and_never_a_project() -> None:
    origin, text = refused(sync_client(Recorder()).with_options(api_key=B))
    assert origin == "unset"
    assert (
        "Nothing sets the header: neither the client nor with_options(), which gave it another "
        "key, has a `project=`."
    ) in text
    assert "To fix it: also pass `project=` to that with_options(), at " in text


def test_a_call_that_brings_its_key_and_no_project() -> None:
    headers = {"Authorization": f"Bearer {B}"}
    origin, text = refused(sync_client(Recorder()), extra_headers=headers)
    assert origin == "extra_headers"
    assert "Nothing sets the header; the key comes from `extra_headers` of this call." in text


def test_a_client_with_an_empty_project() -> None:
    origin, text = refused(sync_client(Recorder(), project=""))
    assert origin == "project="
    assert (
        "The client's `project=`, or OPENAI_PROJECT_ID as it was when the client was made, is an "
        "empty string."
    ) in text
    assert "To fix it: give the client's `project=` a value (expected: proj_a)" in text


def test_a_project_that_something_takes_out() -> None:
    def take_out(request: Any) -> None:
        del request.headers["OpenAI-Project"]

    client = support.hooked(Recorder(), hooks={"request": [take_out]}, project="proj_a")
    origin, text = refused(client)
    assert origin == "unknown"
    assert "The client has a `project=`, but something took the header out." in text
    assert "To fix it: look for the code that removes OpenAI-Project (expected: proj_a)" in text


@support.needs_custom_headers
def test_a_variable_for_headers_that_empties_the_project(clean: pytest.MonkeyPatch) -> None:
    clean.setenv("OPENAI_CUSTOM_HEADERS", "OpenAI-Project:")
    origin, text = refused(sync_client(Recorder(), project="proj_a"))
    assert origin == "OPENAI_CUSTOM_HEADERS"
    assert "OPENAI_CUSTOM_HEADERS sets OpenAI-Project to nothing." in text
    assert "To fix it: take OpenAI-Project out of OPENAI_CUSTOM_HEADERS (expected: " in text


def test_a_key_that_stands_as_the_project_of_a_client_is_found_though_it_is_not_shown() -> None:
    origin, text = refused(sync_client(Recorder(), default_headers={"OpenAI-Project": STRANGER}))
    assert origin == "default_headers"
    assert STRANGER not in text


def test_an_argument_that_repeats_the_variable_is_spoken_of_too(clean: pytest.MonkeyPatch) -> None:
    """A client does not show which of the two it took: the variable is not the only one to mend."""
    clean.setenv("OPENAI_PROJECT_ID", "proj_b")
    for options in ({}, {"project": "proj_b"}):
        origin, text = refused(sync_client(Recorder(), **options))
        assert origin == "OPENAI_PROJECT_ID"
        fix = "correct OPENAI_PROJECT_ID where it is set (a .env file, perhaps), "
        fix += "and any `project=` that repeats it"
        assert f"To fix it: {fix} (expected: proj_a), or use a key of project proj_b" in text


@pytest.mark.parametrize(
    ("value", "are_quotes"),
    [('"p"', True), ("'proj_a'", True), ('""', False), ("'proj_a\"", False), ("proj_b", False)],
)
def test_what_counts_as_quotes_that_docker_kept(
    value: str, are_quotes: bool, clean: pytest.MonkeyPatch
) -> None:
    clean.setenv("OPENAI_PROJECT_ID", value)
    _, text = refused(sync_client(Recorder()))
    assert ("To fix it: take the quotes off the value in OPENAI_PROJECT_ID" in text) == are_quotes
    assert ("To fix it: correct OPENAI_PROJECT_ID" in text) != are_quotes


@pytest.mark.parametrize("by_argument", [False, True])
@pytest.mark.parametrize("key", [A, STRANGER])
def test_quotes_around_a_key_are_named(
    key: str, by_argument: bool, clean: pytest.MonkeyPatch
) -> None:
    clean.setenv("OPENAI_API_KEY", "" if by_argument else f'"{key}"')
    given = f"'{key}'" if by_argument else None
    _, text = refused(sync_client(Recorder(), api_key=given, project="proj_a"))
    name = "api_key=" if by_argument else "OPENAI_API_KEY"
    assert f"take the quotes off the value in {name}, which docker --env-file keeps" in text
    assert ("which goes with a key in quotes." in text) == (key == A)


# --- a header that is taken out by Omit() ---------------------------------------------------------


@pytest.mark.skipif(not hasattr(openai, "Omit"), reason="this SDK has no public Omit")
@pytest.mark.parametrize("project", ["proj_a", None])
@pytest.mark.parametrize("by_call", [True, False])
def test_a_header_that_is_taken_out_by_omit_is_said_to_be(
    by_call: bool, project: str | None
) -> None:
    omit = {"OpenAI-Project": openai.Omit()}
    if by_call:
        origin, text = refused(sync_client(Recorder(), project=project), extra_headers=omit)
        name, where = "extra_headers", "its `extra_headers`"
        assert "`extra_headers` of this call takes the client's OpenAI-Project out, by Omit()." in (
            text
        )
    else:
        origin, text = refused(sync_client(Recorder(), project=project, default_headers=omit))
        name, where = "default_headers", "the client's `default_headers`"
        assert "`default_headers` of the client sets OpenAI-Project to nothing, by Omit()." in text
    assert origin == name
    change = "take OpenAI-Project out of" if project else "give OpenAI-Project a value in"
    assert f"To fix it: {change} {where} (expected: proj_a)" in text


# --- a scope, and a key that is another project's -------------------------------------------------


@pytest.mark.parametrize("project", ["proj_a", None])
def test_in_a_scope_a_key_of_another_project_is_what_is_wrong(project: str | None) -> None:
    with opg.guard(project="proj_a"):
        origin, text = refused(sync_client(Recorder(), api_key=B, project=project))
    assert origin == "api_key="
    assert "\nThe key comes from the client's `api_key=`, or from OPENAI_API_KEY as it was " in text
    assert "That OpenAI-Project comes from" not in text


def test_in_a_scope_a_header_of_another_project_is_what_is_wrong() -> None:
    with opg.guard(project="proj_a"):
        origin, text = refused(sync_client(Recorder(), api_key=A, project="proj_b"))
    assert origin == "project="
    assert "That OpenAI-Project comes from the client's `project=`" in text


def put_in_by_default_headers() -> openai.OpenAI:
    headers = {"Authorization": f"Bearer {B}"}
    return sync_client(Recorder(), api_key=A, project="proj_a", default_headers=headers)


def put_in_by_with_options() -> openai.OpenAI:
    headers = {"Authorization": f"Bearer {B}"}
    client = sync_client(Recorder(), api_key=A, project="proj_a")
    return client.with_options(default_headers=headers)


def put_in_by_a_hook() -> openai.OpenAI:
    def swap(request: Any) -> None:
        request.headers["Authorization"] = f"Bearer {B}"

    return support.hooked(Recorder(), hooks={"request": [swap]}, project="proj_a")


def put_in_by_an_auth_flow() -> openai.OpenAI:
    class Auth(http.Auth):  # type: ignore[misc, name-defined]
        def auth_flow(self, request: Any) -> Any:
            request.headers["Authorization"] = f"Bearer {B}"
            yield request

    sent = http.Client(transport=http.MockTransport(Recorder()), auth=Auth())
    return openai.OpenAI(api_key=A, project="proj_a", http_client=sent)


OUTSIDE = "outside the client's `api_key=` (a header, an event hook or an auth flow)"
PUT_IN = [
    (put_in_by_default_headers, "default_headers", "`default_headers` of the client"),
    (put_in_by_with_options, "default_headers", "`default_headers` of the client"),
    (put_in_by_a_hook, "unknown", OUTSIDE),
    (put_in_by_an_auth_flow, "unknown", OUTSIDE),
]


@pytest.mark.parametrize(("make", "name", "place"), PUT_IN)
def test_a_key_that_is_put_in_the_place_of_the_clients_is_spoken_of(
    make: Any, name: str, place: str
) -> None:
    origin, text = refused(make())
    assert origin == "project="
    assert "\nThat OpenAI-Project comes from the client's `project=`" in text
    assert f". The key comes from {place}.\n" in text
    with opg.guard(project="proj_a"):
        origin, text = refused(make())
    assert origin == name
    assert f"\nThe key comes from {place}.\n" in text


@pytest.mark.parametrize("place", ["argument", "variable", "call"])
def test_a_key_in_its_usual_place_is_not_spoken_of_where_a_project_is_wrong(
    place: str, clean: pytest.MonkeyPatch
) -> None:
    clean.setenv("OPENAI_API_KEY", A if place == "variable" else STRANGER)
    headers = {"Authorization": f"Bearer {A}"} if place == "call" else {}
    client = sync_client(Recorder(), api_key=STRANGER if place == "call" else A, project="proj_b")
    assert "The key comes from" not in refused(client, extra_headers=headers)[1]


def test_an_unregistered_key_of_a_clients_headers_is_put_right_there() -> None:
    headers = {"Authorization": f"Bearer {STRANGER}"}
    origin, text = refused(sync_client(Recorder(), project="proj_a", default_headers=headers))
    assert origin == "default_headers"
    assert "if it is not, correct the client's `default_headers`. " in text


# --- headers that a derived client was given ------------------------------------------------------


@pytest.mark.parametrize("option", ["default_headers", "set_default_headers"])
def test_a_header_that_a_derived_client_was_given_is_put_right_there(option: str) -> None:
    first = sync_client(Recorder(), project="proj_a", default_headers={"X-A": "1"})
    client = first.with_options(**{option: {"OpenAI-Project": "proj_b"}})
    origin, text = refused(client.with_options(default_headers={"X-B": "2"}))
    assert origin == "default_headers"
    place = str(error_site(text, "with_options"))
    fix = f"correct the `default_headers` of that with_options(), at {place}"
    assert f"To fix it: {fix} (expected: proj_a), or use a key of project proj_b." in text
    assert "That OpenAI-Project comes from `default_headers` of the client.\n" in text


def test_a_header_that_a_derived_client_was_given_empty_is_filled_there() -> None:
    first = sync_client(Recorder(), project="proj_a")
    _, text = refused(first.with_options(default_headers={"OpenAI-Project": ""}))
    place = error_site(text, "with_options")
    fix = f"take OpenAI-Project out of the `default_headers` of that with_options(), at {place}"
    assert f"To fix it: {fix} (expected: proj_a)" in text


def test_a_key_that_is_swapped_in_after_a_project_is_put_right_where_it_is() -> None:
    first = sync_client(Recorder()).with_options(project="proj_a")
    _, text = refused(first.with_options(api_key=B))  # swapped
    place = error_site(text, "with_options", at=-1)
    assert f"To fix it: also pass `project=` to that with_options(), at {place} " in text


def error_site(text: str, method: str, at: int = 0) -> str:
    """The place of one of the steps, as the error itself tells it."""
    steps = re.findall(rf", then {method} at (.*?:\d+ in \w+)", text)
    return str(steps[at])


# --- a class of the application's own -------------------------------------------------------------


class Fixed(openai.OpenAI):
    """Names its project by itself."""

    def __init__(self) -> None:
        super().__init__(api_key=A, project="proj_b", http_client=recorded())


class FixedBeside(openai.OpenAI):
    def __init__(self, **options: Any) -> None:
        super().__init__(api_key=A, project="proj_b", **options)


class Nameless(openai.OpenAI):
    def __init__(self) -> None:
        super().__init__(http_client=recorded())


class Open(openai.OpenAI):
    """Lets whoever calls it name the project."""

    def __init__(self, project: str | None = None) -> None:
        super().__init__(api_key=A, project=project, http_client=recorded())


class OpenToAll(openai.OpenAI):
    def __init__(self, **options: Any) -> None:
        super().__init__(api_key=A, http_client=recorded(), **options)


class FixedOpen(Open):
    def __init__(self) -> None:
        super().__init__("proj_b")


class OfFixed(Fixed):
    """Adds nothing to what is named further in."""

    def __init__(self) -> None:
        super().__init__()


def recorded() -> Any:
    return http.Client(transport=http.MockTransport(Recorder()))


def line_in(cls: type) -> str:
    """The line of a class on which its constructor calls the SDK's."""
    lines, first = inspect.getsourcelines(cls)
    (number,) = (first + at for at, line in enumerate(lines) if "super().__init__(" in line)
    return f"{__file__}:{number} in __init__"


@pytest.mark.parametrize(
    ("make", "names"),
    [
        (Fixed, Fixed),
        (FixedOpen, FixedOpen),
        (OfFixed, Fixed),
        (lambda: FixedBeside(http_client=recorded()), FixedBeside),
    ],
)
def test_a_project_of_a_class_of_its_own_is_put_right_in_its_constructor(
    make: Any, names: type
) -> None:
    origin, text = refused(make())
    place = line_in(names)
    assert origin == "project="
    assert f"; the client was built at {__file__}:" in text
    assert f", then __init__ at {place}.\n" in text
    assert f"To fix it: correct the `project=` of that __init__(), at {place} " in text


@pytest.mark.parametrize("make", [Open, OpenToAll])
@pytest.mark.parametrize("options", [{}, {"project": "proj_b"}])
def test_a_class_that_takes_a_project_is_given_it_where_it_is_called(
    make: Any, options: dict[str, Any]
) -> None:
    _, text = refused(make(**options))
    assert "__init__" not in text
    fix = "give the client the right `project=`" if options else "pass `project=` to the client "
    assert f"To fix it: {fix}" in text


def test_a_class_of_its_own_that_names_no_project_is_told_where_it_could(
    clean: pytest.MonkeyPatch,
) -> None:
    clean.setenv("OPENAI_API_KEY", A)
    origin, text = refused(Nameless())
    assert origin == "unset"
    fix = f"pass `project=` to that __init__(), at {line_in(Nameless)}, or set OPENAI_PROJECT_ID"
    assert f"To fix it: {fix} (expected: proj_a)" in text
    clean.setenv("OPENAI_PROJECT_ID", "proj_b")
    origin, text = refused(Nameless())
    assert origin == "OPENAI_PROJECT_ID"
    assert "To fix it: correct OPENAI_PROJECT_ID where it is set " in text


def test_a_class_that_brings_a_key_of_its_own_is_to_bring_its_project_too(
    clean: pytest.MonkeyPatch,
) -> None:
    clean.setenv("OPENAI_API_KEY", B)
    clean.setenv("OPENAI_PROJECT_ID", "proj_b")

    class OfA(openai.OpenAI):
        def __init__(self) -> None:
            super().__init__(api_key=A, http_client=recorded())

    origin, text = refused(OfA())
    assert origin == "OPENAI_PROJECT_ID"
    assert "To fix it: also pass `project=` to that __init__(), at " in text
