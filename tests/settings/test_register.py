"""What does register() accept, and when does it count?"""

from __future__ import annotations

import logging
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from support import (
    STRANGER,
    A,
    B,
    Probe,
    Recorder,
    fingerprint,
    frames_holding,
    sync_client,
    write_registry,
)

import openai_project_guard as opg
from openai_project_guard._keys import digest
from openai_project_guard._state import STATE

pytestmark = pytest.mark.usefixtures("clean")


def test_a_registered_key_counts_at_once_and_survives_disable_and_enable(probe: Probe) -> None:
    opg.enable()
    assert probe() == ""
    opg.register(A, "proj_a")
    assert probe() == "a"
    opg.disable()
    opg.register(B, "proj_b")
    opg.enable(registry={"proj_x": STRANGER})
    assert probe() == "ab?"


def test_a_key_is_registered_for_an_alias_of_the_active_registry(
    tmp_path: Path, probe: Probe
) -> None:
    opg.enable(registry=write_registry(tmp_path / "r.toml", bot="proj_a"))
    opg.register(A, "bot")
    assert probe() == "a"
    with pytest.raises(opg.ConfigurationError, match="The registry has the alias bot"):
        opg.register(B, "web")


def test_an_unknown_alias_is_refused_with_those_that_are_known(tmp_path: Path) -> None:
    opg.enable(registry=write_registry(tmp_path / "r.toml", web="proj_b", bot="proj_a"))
    with pytest.raises(opg.ConfigurationError) as refused:
        opg.register(A, "shop")
    assert str(refused.value) == (
        "project= 'shop' is neither a project id (proj_ and letters, digits, _ or -) nor a known "
        "alias. The registry has the aliases bot, web."
    )


def test_a_key_may_be_registered_for_several_projects(probe: Probe) -> None:
    opg.enable()
    opg.register(A, "proj_1")
    opg.register(A, "proj_2")
    opg.register(A, "proj_2")
    for project in ("proj_1", "proj_2"):
        sync_client(probe.sent, project=project).models.list()
    with pytest.raises(opg.ProjectMismatchError) as refused:
        sync_client(probe.sent, project="proj_3").models.list()
    assert refused.value.verdict.expected == ("proj_1", "proj_2")


def test_an_entry_names_the_line_that_registered_it() -> None:
    opg.register(A, "proj_a")
    (entry,) = STATE.registered.lookup(A)
    line = test_an_entry_names_the_line_that_registered_it.__code__.co_firstlineno + 1
    assert entry.place == f"register() at {__file__}:{line}"


def test_a_registry_with_a_place_of_its_own_names_that(clean: pytest.MonkeyPatch) -> None:
    registry = opg.Registry(place="vault://me:not-a-real-password@vault.internal/keys")
    registry.register(A, "proj_a")
    (entry,) = registry.lookup(A)
    assert entry.place == "vault://…@vault.internal/keys"
    opg.enable(registry=registry)
    with pytest.raises(opg.ProjectMismatchError) as refused:
        sync_client(Recorder(), project="proj_b").models.list()
    assert "project proj_a, in vault://…@vault.internal/keys." in str(refused.value)
    assert "correct it in vault://…@vault.internal/keys." in str(refused.value)


def test_keys_that_one_line_registers_share_one_project() -> None:
    for key in (A, B):  # there may be a million of them
        opg.register(key, "proj_a")
    opg.register(STRANGER, "proj_a", organization="org-one")
    of_a, of_b, other = (
        STATE.registered.snapshot.records(digest(key))[0].project for key in (A, B, STRANGER)
    )
    assert of_a is of_b
    assert other is not of_a


def test_an_empty_organization_is_none(probe: Probe) -> None:
    opg.register(A, "proj_a", organization="", note="")
    (entry,) = STATE.registered.lookup(A)
    assert entry.organization is None
    opg.enable()
    sent = Recorder()
    sync_client(sent, project="proj_a", organization="org-any").models.list()
    assert len(sent.requests) == 1


def test_a_registered_organization_is_checked() -> None:
    opg.enable()
    opg.register(A, "proj_a", organization="org-one", note="CI runner")
    sent = Recorder()
    sync_client(sent, project="proj_a", organization="org-one").models.list()
    sync_client(sent, project="proj_a").models.list()
    with pytest.raises(opg.OrganizationMismatchError) as refused:
        sync_client(sent, project="proj_a", organization="org-two").models.list()
    assert refused.value.verdict.reason == "organization"
    assert len(sent.requests) == 2


@pytest.mark.parametrize("register", [opg.register, opg.Registry().register])
@pytest.mark.parametrize(
    ("key", "project", "text"),
    [
        ("", "proj_a", "This key cannot be registered: the key is empty."),
        ("\n", "proj_a", "This key cannot be registered: the key is empty."),
        (f" {A}", "proj_a", "This key cannot be registered: the key has white space around it"),
        (f"'{A}'", "proj_a", "This key cannot be registered: the key has quotes around it."),
        ("sk-admin-" + A, "proj_a", "This key cannot be registered: an admin key belongs to"),
        (fingerprint(A), "proj_a", "This key cannot be registered: this is a fingerprint"),
        (None, "proj_a", "A key must be a string, not NoneType."),
        (A.encode(), "proj_a", "A key must be a string, not bytes."),
        (A, "support-bot", ""),
        (A, "proj_", ""),
        (A, "proj_ä", ""),
        (A, "", ""),
        ("proj_a", A, ""),
    ],
)
def test_what_cannot_be_registered_is_refused_without_showing_a_key(
    register: Callable[..., None], key: Any, project: Any, text: str
) -> None:
    with pytest.raises(opg.ConfigurationError) as refused:
        register(key, project)
    message = str(refused.value)
    assert message.startswith(text)
    assert text or "project id" in message
    assert A not in message
    assert frames_holding(refused.value, A) == []
    assert len(STATE.registered) == 0


@pytest.mark.parametrize("named", [A, f"{A}/x.toml", f"{A}\0"])
def test_a_key_in_the_place_of_a_registry_file_stands_in_no_frame(named: str) -> None:
    with pytest.raises(opg.ConfigurationError) as refused:
        opg.Registry.from_file(named)
    assert A not in str(refused.value)
    assert frames_holding(refused.value, A) == []


@pytest.mark.parametrize(
    "register",
    [
        pytest.param(opg.register, id="process"),
        pytest.param(opg.Registry().register, id="Registry"),
    ],
)
def test_a_project_of_another_type_is_refused(register: Callable[..., None]) -> None:
    with pytest.raises(opg.ConfigurationError, match="project id"):
        register(A, None)


def test_the_process_registry_holds_no_key() -> None:
    import gc

    secret = "sk-proj-" + "-".join(["only", "here", "and", "nowhere", "else"])
    opg.enable(registry={"proj_a": secret})
    opg.register(secret, "proj_a")
    gc.collect()
    ours = [
        held
        for held in gc.get_objects()
        if str(type(held).__module__).startswith("openai_project_guard")
    ]
    assert ours
    assert not [held for held in ours if secret in repr(held)]
    assert not [held for held in ours for value in gc.get_referents(held) if value == secret]


def test_is_enabled_is_quiet_while_all_is_well(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG, logger="openai_project_guard")
    assert not opg.is_enabled()
    opg.enable()
    caplog.clear()  # of the record at the start
    assert opg.is_enabled()
    opg.disable()
    assert not opg.is_enabled()
    assert caplog.records == []


def test_an_assignment_is_not_a_key() -> None:
    with pytest.raises(opg.ConfigurationError, match="an assignment, not the key alone"):
        opg.register("OPENAI_API_KEY=sk-proj-0123456789", "proj_a")
