"""Is what the report says to change right for the case?"""

from __future__ import annotations

from typing import Any

import pytest

from openai_project_guard._audit.change import change_for, sent_with
from openai_project_guard._audit.line import Record

BASE = "app/llm.py:12 in make"
DERIVED = f"{BASE}, then with_options at app/jobs.py:77 in run"


def change(**fields: Any) -> str | None:
    plain: dict[str, Any] = {
        "call_site": "app/jobs.py:90 in answer",
        "client_site": BASE,
        "key_hint": "sk-…AAAA",
        "project": "proj_a",
        "outcome": "warned",
        "reason": "mismatch",
        "expected": ("proj_a",),
        "actual": "proj_b",
    }
    return change_for(Record(**{**plain, **fields}))


def test_a_wrong_project_is_fixed_where_the_client_is_built() -> None:
    assert change(origin="project=") == (
        'At app/llm.py:12 in make, pass project="proj_a" to the client (or set openai.project, if '
        "that is where it stands), or give it a key of proj_b."
    )


@pytest.mark.parametrize("origin", [None, "unknown", "unset"])
def test_where_a_value_comes_from_is_not_said_where_that_is_not_known(origin: str | None) -> None:
    fields: dict[str, Any] = {"outcome": "warned", "reason": "mismatch", "actual": "proj_b"}
    assert sent_with(Record(**fields, origin=origin)) == "OpenAI-Project proj_b"
    assert sent_with(Record(**fields, origin="project=")) == "OpenAI-Project proj_b (from project=)"


def test_a_folder_may_have_the_words_in_its_name_that_stand_before_a_place() -> None:
    site = f"{BASE}, then /home/look at me/jobs.py:77 in run"
    assert str(change(origin="project=", client_site=site)).startswith(
        'At /home/look at me/jobs.py:77 in run, pass project="proj_a" to the client'
    )


@pytest.mark.parametrize("value", ["support-bot", "proj_b ", "sk-…BBBB"])
def test_a_value_that_is_no_id_has_no_key_that_could_be_given(value: str) -> None:
    ending = ": the header takes a project's id, proj_…, not its name or its alias"
    assert change(origin="project=", client_site=DERIVED, actual=value) == (
        f'At app/jobs.py:77 in run, pass project="proj_a" to with_options(){ending}.'
    )
    assert change(origin="OPENAI_PROJECT_ID", actual=value) == (
        f'At app/llm.py:12 in make, pass project="proj_a" to the client{ending}; or, if every '
        "client is to work for proj_a, set OPENAI_PROJECT_ID to it."
    )


def test_a_malformed_header_is_corrected_where_it_is_set() -> None:
    malformed: dict[str, Any] = {"reason": "malformed", "client_site": DERIVED}
    for actual in ("proj_a ", "proj_a, proj_a", "proj_é"):
        assert change(origin="project=", actual=actual, **malformed) == (
            'At app/jobs.py:77 in run, pass project="proj_a" to with_options().'
        )


@pytest.mark.parametrize(
    ("origin", "said"),
    [
        (
            "OPENAI_API_KEY",
            "Set OPENAI_API_KEY to the key alone, without quotes or Bearer; if it is so already, "
            "take the second key, in api-key, out of the headers of the client built at "
            "app/llm.py:12 in make.",
        ),
        (
            "api_key=",
            "At app/llm.py:12 in make, pass the key alone as api_key=, without quotes or Bearer, "
            "to the client; if it is so already, take the second key, in api-key, out of the "
            "headers.",
        ),
        (
            "extra_headers",
            "At app/jobs.py:90 in answer, send one Authorization header, Bearer KEY, without "
            "quotes, and no second key in api-key.",
        ),
        (
            "OPENAI_CUSTOM_HEADERS",
            "Have OPENAI_CUSTOM_HEADERS give the client built at app/llm.py:12 in make one "
            "Authorization header, Bearer KEY, without quotes, and no second key in api-key.",
        ),
        (
            "unknown",
            "Find what sets the key of the client built at app/llm.py:12 in make, and have it send "
            "one Authorization header, Bearer KEY, without quotes, and no second key in api-key.",
        ),
    ],
)
def test_a_malformed_key_is_corrected_and_not_the_header_beside_it(origin: str, said: str) -> None:
    of_key: dict[str, Any] = {"reason": "malformed", "project": None, "expected": ()}
    for actual in ("proj_a", None):
        assert change(origin=origin, actual=actual, **of_key) == said


def test_a_variable_is_corrected_where_all_clients_need_that() -> None:
    assert change(origin="OPENAI_PROJECT_ID") == (
        'At app/llm.py:12 in make, pass project="proj_a" to the client, or give it a key of '
        "proj_b; or, if every client is to work for proj_a, set OPENAI_PROJECT_ID to it."
    )
    assert change(reason="organization", origin="OPENAI_ORG_ID") == (
        "At app/llm.py:12 in make, pass the organization= that the registry has for proj_a to the "
        "client; or, if every client is to work for that organization, set OPENAI_ORG_ID to it."
    )


@pytest.mark.parametrize("origin", ["project=", "OPENAI_PROJECT_ID"])
def test_a_client_that_was_made_from_a_right_one_is_fixed_there(origin: str) -> None:
    assert change(origin=origin, client_site=DERIVED) == (
        'At app/jobs.py:77 in run, pass project="proj_a" to with_options(), or give it a key of '
        "proj_b."
    )


def test_of_a_longer_chain_the_last_step_is_fixed() -> None:
    chain = f"{DERIVED}, then copy at app/more.py:5 in again"
    assert change(origin="project=", client_site=chain) == (
        'At app/more.py:5 in again, pass project="proj_a" to copy(), or give it a key of proj_b.'
    )


def test_headers_of_one_call_are_fixed_at_the_call() -> None:
    assert change(origin="extra_headers", client_site=DERIVED) == (
        "At app/jobs.py:90 in answer, set OpenAI-Project in extra_headers to proj_a."
    )
    assert change(origin="extra_headers", reason="missing", actual=None) == (
        "At app/jobs.py:90 in answer, set OpenAI-Project in extra_headers to proj_a."
    )


def test_headers_of_the_client_are_fixed_there_for_they_win_over_the_project() -> None:
    assert change(origin="default_headers") == (
        'At app/llm.py:12 in make, pass default_headers={"OpenAI-Project": "proj_a"} to the client.'
    )
    assert change(origin="OPENAI_CUSTOM_HEADERS", client_site=DERIVED) == (
        'At app/jobs.py:77 in run, pass default_headers={"OpenAI-Project": "proj_a"} to '
        "with_options()."
    )
    assert change(origin="OPENAI_CUSTOM_HEADERS") == (
        "Take OpenAI-Project out of OPENAI_CUSTOM_HEADERS; then: at app/llm.py:12 in make, pass "
        'project="proj_a" to the client.'
    )
    assert change(origin="http_client") == (
        "At app/llm.py:12 in make, pass an http_client= whose headers have OpenAI-Project proj_a "
        "to the client, or none."
    )


def test_a_missing_header_is_fixed_by_a_project() -> None:
    assert change(reason="missing", actual=None) == (
        'At app/llm.py:12 in make, pass project="proj_a" to the client.'
    )
    assert change(reason="missing", actual=None, outcome="injected", client_site=DERIVED) == (
        'At app/jobs.py:77 in run, pass project="proj_a" to with_options().'
    )


def test_a_websocket_is_fixed_where_it_is_opened_for_an_sdk_may_leave_the_project_off() -> None:
    assert change(reason="missing", actual=None, transport="websocket") == (
        'At app/jobs.py:90 in answer, pass extra_headers={"OpenAI-Project": "proj_a"} to connect().'
    )


def test_a_key_of_several_projects_leaves_the_choice() -> None:
    assert change(reason="missing", actual=None, expected=("proj_a", "proj_b"), project=None) == (
        'At app/llm.py:12 in make, pass project="proj_a" or "proj_b" to the client.'
    )


def test_an_unregistered_key_is_registered_or_replaced() -> None:
    said = change(reason="unregistered", expected=(), project=None, origin="OPENAI_API_KEY")
    assert said == (
        "If the key is right, register it for the project that it belongs to: "
        "openai-project-guard register PROJECT --key-env NAME, where NAME is the variable that "
        "holds it (with --registry FILE where the program reads another registry than "
        "openai-projects.toml; or in the code, where that registers its keys). If it is registered "
        "already, its registry could not be read: openai-project-guard doctor says why. If it is "
        "not right: at app/llm.py:12 in make, pass another api_key= to the client."
    )


@pytest.mark.parametrize(
    ("origin", "then"),
    [
        ("extra_headers", "at app/jobs.py:90 in answer, set Authorization in extra_headers to "),
        ("OPENAI_CUSTOM_HEADERS", "set Authorization in OPENAI_CUSTOM_HEADERS to "),
    ],
)
def test_an_unregistered_key_in_headers_is_replaced_there_for_they_win_over_the_argument(
    origin: str, then: str
) -> None:
    said = change(reason="unregistered", expected=(), project=None, origin=origin)
    assert said is not None
    assert said.endswith(f" If it is not right: {then}another key.")


def test_an_unregistered_service_account_is_listed_in_the_registry_for_it_has_no_key() -> None:
    said = change(reason="unregistered", expected=(), project=None, origin="workload_identity")
    assert said == (
        "If the client's service account is right, list it under service_accounts of its project, "
        "in the registry. If it is not: at app/llm.py:12 in make, pass another workload_identity= "
        "to the client."
    )


IN_WHICH = (
    "(with --registry FILE for each registry that has the key, where the program reads another "
    "registry than openai-projects.toml; or in the code, where that registers its keys)"
)


def test_drift_is_fixed_in_the_registry() -> None:
    assert change(outcome="allowed", reason="drift", actual="proj_a", answered="proj_c") == (
        "Correct the registry, which has the key for proj_a, while the server answered as proj_c: "
        "openai-project-guard remove sk-…AAAA, then register proj_c --key-env NAME, where "
        f"NAME is the variable that holds it {IN_WHICH}. Its calls are then to carry "
        "OpenAI-Project proj_c."
    )


@pytest.mark.parametrize(
    ("sent", "commands"),
    [
        ("proj_a", "remove sk-…AAAA --project proj_a, then register proj_c --key-env NAME --also"),
        (None, "register proj_c --key-env NAME --also"),
    ],
)
def test_drift_of_a_key_of_several_projects_leaves_the_others(
    sent: str | None, commands: str
) -> None:
    of_both = {"project": sent, "expected": ("proj_a", "proj_b")}
    said = change(outcome="allowed", reason="drift", actual=sent, answered="proj_c", **of_both)
    assert said == (
        "Correct the registry, which has the key for proj_a or proj_b, while the server answered "
        f"as proj_c: openai-project-guard {commands}, where NAME is the variable that holds it "
        f"{IN_WHICH}. Its calls are then to carry OpenAI-Project proj_c."
    )


@pytest.mark.parametrize(
    ("origin", "said"),
    [
        ("OPENAI_API_KEY", "key from OPENAI_API_KEY"),
        ("OPENAI_PROJECT_ID", "from OPENAI_PROJECT_ID"),
    ],
)
def test_in_a_pinned_scope_it_is_said_whether_the_key_is_wrong(origin: str, said: str) -> None:
    record = Record(outcome="blocked", reason="scope", actual="proj_b", origin=origin)
    assert sent_with(record) == f"OpenAI-Project proj_b ({said})"


def test_a_pinned_scope_is_fixed_at_the_call() -> None:
    assert change(reason="scope", expected=("proj_p",)) == (
        "At app/jobs.py:90 in answer, use a client with a key and the project of proj_p, or move "
        "the call out of the scope that is pinned to proj_p."
    )


@pytest.mark.parametrize("origin", ["organization=", "OPENAI_ORG_ID"])
def test_an_organization_is_fixed_where_it_is_set(origin: str) -> None:
    assert change(reason="organization", origin=origin, client_site=DERIVED) == (
        "At app/jobs.py:77 in run, pass the organization= that the registry has for proj_a to "
        "with_options()."
    )


@pytest.mark.parametrize(
    ("origin", "where"),
    [
        ("OPENAI_CUSTOM_HEADERS", "OPENAI_CUSTOM_HEADERS"),
        ("default_headers", "default_headers of the client built at app/llm.py:12 in make"),
        ("http_client", "http_client of the client built at app/llm.py:12 in make"),
    ],
)
def test_an_organization_in_headers_is_taken_out_for_they_win_over_the_argument(
    origin: str, where: str
) -> None:
    said = change(reason="organization", origin=origin)
    assert said == f"Take OpenAI-Organization out of {where}."
    assert change(reason="organization", origin="unknown") == (
        "Find what sets the OpenAI-Organization of the client built at app/llm.py:12 in make, and "
        "take it out."
    )
    assert change(reason="organization", origin="extra_headers") == (
        "At app/jobs.py:90 in answer, set OpenAI-Organization in extra_headers to the one that the "
        "registry has for proj_a."
    )


@pytest.mark.parametrize("site", [None, "a place not seen (before the guard was enabled)"])
def test_a_client_of_an_unknown_place_gets_no_invented_one(site: str | None) -> None:
    built = f" built at {site}" if site else ""
    assert change(origin="project=", client_site=site) == (
        f'Pass project="proj_a" to the client{built} (or set openai.project, if that is where it '
        "stands), or give it a key of proj_b."
    )


def test_an_unknown_origin_is_to_be_looked_for() -> None:
    assert change(origin="unknown") == (
        "Find what sets the OpenAI-Project of the client built at app/llm.py:12 in make, and set "
        "it to proj_a."
    )


def test_a_call_in_order_needs_no_change() -> None:
    assert change(outcome="allowed", reason=None) is None
    assert change(is_others=True) is None
