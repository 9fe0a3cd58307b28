"""The contract's table of verdicts, walked row by row through the pure function."""

from __future__ import annotations

from itertools import product
from typing import Any, get_args

import pytest

from openai_project_guard._check.verdict import decide, injectable
from openai_project_guard._registry.model import KeyRecord, Place, Project
from openai_project_guard._types import Mode, Policy, Unregistered

PLACE = Place("test")
ROW_A = KeyRecord(Project("proj_a", PLACE), "sk-…AAAA")
ROW_B = KeyRecord(Project("proj_b", PLACE), "sk-…AAAA")
ROW_ORG = KeyRecord(Project("proj_a", PLACE, organization="org-1"), "sk-…AAAA")

ENFORCE, INJECT, WARN = Mode.ENFORCE, Mode.INJECT, Mode.WARN


def judged(
    mode: Mode,
    project: str | None,
    rows: tuple[KeyRecord, ...] = (ROW_A,),
    *,
    organization: str | None = None,
    credential: Any = "key",
    unregistered: Unregistered = "block",
    pinned: str | None = None,
) -> tuple[str, str | None]:
    policy = Policy(mode, unregistered, pinned)
    return decide(project, organization, rows, policy, credential)


@pytest.mark.parametrize("mode", [ENFORCE, INJECT, WARN])
def test_a_header_that_equals_the_project_is_allowed(mode: Mode) -> None:
    assert judged(mode, "proj_a") == ("allowed", None)


@pytest.mark.parametrize(
    ("mode", "outcome"), [(ENFORCE, "blocked"), (INJECT, "injected"), (WARN, "warned")]
)
@pytest.mark.parametrize("header", [None, ""])
def test_an_absent_or_empty_header_is_missing(mode: Mode, outcome: str, header: Any) -> None:
    assert judged(mode, header) == (outcome, "missing")


REFUSED = [(ENFORCE, "blocked"), (INJECT, "blocked"), (WARN, "warned")]


@pytest.mark.parametrize(("mode", "outcome"), REFUSED)
def test_another_project_is_a_mismatch(mode: Mode, outcome: str) -> None:
    assert judged(mode, "proj_b") == (outcome, "mismatch")


@pytest.mark.parametrize(("mode", "outcome"), REFUSED)
@pytest.mark.parametrize(
    "header",
    ["proj_a\nproj_a", " proj_a", "proj_a ", "proj_a\r\n", "proj_\x00a", "proj_ä", "\n", " "],
)
def test_what_no_project_id_looks_like_is_malformed(mode: Mode, outcome: str, header: str) -> None:
    assert judged(mode, header) == (outcome, "malformed")


@pytest.mark.parametrize("mode", [ENFORCE, INJECT])
@pytest.mark.parametrize(
    ("unregistered", "outcome"),
    [("block", "blocked"), ("warn", "warned"), ("allow", "allowed"), ("learn", "allowed")],
)
@pytest.mark.parametrize("header", [None, "proj_a"])
def test_an_unregistered_key_goes_by_its_setting(
    mode: Mode, unregistered: Any, outcome: str, header: Any
) -> None:
    assert judged(mode, header, (), unregistered=unregistered) == (outcome, "unregistered")


@pytest.mark.parametrize("unregistered", ["block", "warn", "allow", "learn"])
def test_warn_mode_sends_and_logs_an_unregistered_key(unregistered: Any) -> None:
    assert judged(WARN, None, (), unregistered=unregistered) == ("warned", "unregistered")


@pytest.mark.parametrize(("mode", "outcome"), REFUSED)
@pytest.mark.parametrize(
    ("header", "rows"),
    [
        ("proj_a", (ROW_A,)),  # key and header agree, on another project than the pinned one
        ("proj_a", (ROW_B,)),  # the key is right, the header is not
        ("proj_b", (ROW_A,)),  # the header is right, the key is not
        (None, (ROW_A,)),
        ("proj_a", ()),
    ],
)
def test_inside_a_pinned_scope_other_projects_are_out_of_scope(
    mode: Mode, outcome: str, header: Any, rows: tuple[KeyRecord, ...]
) -> None:
    assert judged(mode, header, rows, pinned="proj_b") == (outcome, "scope")


def test_inside_a_pinned_scope_its_own_project_passes() -> None:
    assert judged(ENFORCE, "proj_b", (ROW_A, ROW_B), pinned="proj_b") == ("allowed", None)
    assert judged(INJECT, None, (ROW_A, ROW_B), pinned="proj_b") == ("injected", "missing")


@pytest.mark.parametrize(
    ("unregistered", "outcome"), [("warn", "warned"), ("allow", "allowed"), ("learn", "allowed")]
)
def test_inside_a_pinned_scope_an_allowed_stranger_needs_its_header(
    unregistered: Any, outcome: str
) -> None:
    how = {"unregistered": unregistered, "pinned": "proj_b"}
    assert judged(ENFORCE, "proj_b", (), **how) == (outcome, "unregistered")
    assert judged(ENFORCE, None, (), **how) == ("blocked", "missing")
    assert judged(INJECT, None, (), **how) == ("injected", "missing")


@pytest.mark.parametrize(("mode", "outcome"), REFUSED)
def test_another_organization_than_the_entrys_is_refused(mode: Mode, outcome: str) -> None:
    assert judged(mode, "proj_a", (ROW_ORG,), organization="org-2") == (outcome, "organization")


def test_a_missing_header_is_not_injected_under_another_organization() -> None:
    assert judged(INJECT, None, (ROW_ORG,), organization="org-2") == ("blocked", "organization")


@pytest.mark.parametrize("organization", [None, "", "org-1"])
def test_the_entrys_organization_or_none_passes(organization: Any) -> None:
    assert judged(ENFORCE, "proj_a", (ROW_ORG,), organization=organization) == ("allowed", None)


def test_an_organization_is_not_checked_where_the_entry_names_none() -> None:
    assert judged(ENFORCE, "proj_a", organization="org-9") == ("allowed", None)


def test_a_key_of_several_projects_passes_as_any_of_them_and_is_not_injected() -> None:
    both = (ROW_A, ROW_B)
    assert judged(ENFORCE, "proj_a", both) == judged(ENFORCE, "proj_b", both) == ("allowed", None)
    assert judged(ENFORCE, "proj_c", both) == ("blocked", "mismatch")
    assert judged(INJECT, None, both) == ("blocked", "missing")
    assert injectable(both, None) is None


@pytest.mark.parametrize("credential", ["admin", "ephemeral"])
def test_admin_keys_and_client_secrets_need_no_project(credential: str) -> None:
    for header in (None, "", "proj_a"):
        assert judged(ENFORCE, header, (), credential=credential) == ("allowed", None)
    assert judged(ENFORCE, "proj_a", (), credential=credential, pinned="proj_b")[1] == "scope"
    assert judged(ENFORCE, "a\na", (), credential=credential)[1] == "malformed"


def test_every_combination_has_a_verdict_that_fits_its_mode() -> None:
    headers = [None, "", "proj_a", "proj_b", " proj_a", "proj_a\nproj_a"]
    rows: list[tuple[KeyRecord, ...]] = [(), (ROW_A,), (ROW_ORG,), (ROW_A, ROW_B)]
    for mode, header, known, organization, credential, unregistered, pinned in product(
        [ENFORCE, INJECT, WARN],
        headers,
        rows,
        [None, "org-1", "org-2"],
        ["key", "admin", "ephemeral", "malformed"],
        get_args(Unregistered),
        [None, "proj_a", "proj_b"],
    ):
        outcome, reason = judged(
            mode,
            header,
            known,
            organization=organization,
            credential=credential,
            unregistered=unregistered,
            pinned=pinned,
        )
        if mode is WARN:
            assert outcome in ("allowed", "warned")
        if outcome == "injected":
            assert mode is INJECT
            assert not header
        if outcome == "allowed" and credential == "key" and known:
            assert header in {row.project.id for row in known}
            assert pinned in (None, header)
        if reason is None:
            assert outcome == "allowed"
