"""What is right for a key that is registered for several projects, or in several registries?"""

from __future__ import annotations

import logging
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import openai
import pytest
from support import (
    A,
    Recorder,
    Server,
    fingerprint,
    http,
    needs_notes,
    outcomes,
    sync_client,
    write_registry,
)

import openai_project_guard as opg

pytestmark = pytest.mark.usefixtures("clean")


LEGACY = "sk-not-a-real-key-of-several-projects-LLLL"


@pytest.fixture
def in_two() -> Callable[..., None]:
    """Puts a key into two active registries."""

    def register(mode: Any, key: str, first: str, second: str) -> None:
        registry = opg.Registry()
        registry.register(key, first)
        opg.enable(mode, registry=registry)
        opg.register(key, second)

    return register


def test_the_same_project_in_two_registries_is_put_in(
    in_two: Any, verdicts: list[opg.Verdict]
) -> None:
    in_two("inject", A, "proj_a", "proj_a")
    sent = Recorder()
    sync_client(sent).models.list()
    assert sent.projects == ["proj_a"]
    assert [(verdict.outcome, verdict.expected) for verdict in verdicts] == [
        ("injected", ("proj_a",))
    ]


def test_the_same_project_in_two_registries_is_expected_once(in_two: Any) -> None:
    in_two("enforce", A, "proj_a", "proj_a")
    with pytest.raises(opg.ProjectMissingError) as caught:
        sync_client(Server()).models.list()
    assert caught.value.verdict.expected == ("proj_a",)


def test_inject_says_why_it_puts_in_none_of_several() -> None:
    registry = opg.Registry()
    registry.register(LEGACY, "proj_a")
    registry.register(LEGACY, "proj_b")
    opg.enable("inject", registry=registry)
    with pytest.raises(opg.ProjectMissingError) as caught:
        sync_client(Server(), api_key=LEGACY).models.list()
    text = " ".join(str(caught.value).split())
    assert (
        "(expected: proj_a or proj_b): the registry has this key for several projects, so "
        'mode="inject" has none to put in'
    ) in text
    assert 'or use mode="inject"' not in text


@pytest.fixture
def of_two(tmp_path: Path) -> Path:
    """A registry file with a key of two projects, which is active."""
    path = write_registry(tmp_path / "keys.toml", a=f"proj_a:{LEGACY}", b=f"proj_b:{LEGACY}")
    opg.enable(registry=path)
    return path


def test_a_third_project_is_to_be_registered_beside_the_others(of_two: Path) -> None:
    with pytest.raises(opg.ProjectMismatchError) as caught:
        sync_client(Server(), api_key=LEGACY, project="proj_c").models.list()
    text = " ".join(str(caught.value).split())
    assert f"register proj_c --key-env NAME --also --registry {of_two}, where" in text
    assert "entry is wrong" not in text


def test_a_third_project_of_a_key_in_code_is_to_be_added_there() -> None:
    opg.enable(registry={"proj_a": LEGACY, "proj_b": LEGACY})
    with pytest.raises(opg.ProjectMismatchError) as caught:
        sync_client(Server(), api_key=LEGACY, project="proj_c").models.list()
    assert str(caught.value).endswith(
        " If this key belongs to that, too: add it to what enable(registry=...) was given, or "
        "register() it."
    )


def test_a_wrong_project_in_two_registries_is_to_be_corrected_in_both(in_two: Any) -> None:
    in_two("enforce", A, "proj_a", "proj_a")
    with pytest.raises(opg.ProjectMismatchError) as caught:
        sync_client(Server(), project="proj_b").models.list()
    text = " ".join(str(caught.value).split())
    places = re.findall(r"proj_a, in (.+?)(?:;|\. )", text)
    assert len({*places}) == 2
    assert text.endswith(f"entry is wrong: correct it in {' and in '.join(places)}.")


@needs_notes
def test_what_the_server_refuses_is_taken_from_that_project_alone(of_two: Path) -> None:
    def disagree(_: Any) -> Any:
        error = {"message": "no", "type": "x", "param": None, "code": "mismatched_project"}
        return http.Response(401, json={"error": error})

    transport = http.Client(transport=http.MockTransport(disagree))
    client = openai.OpenAI(api_key=LEGACY, project="proj_b", http_client=transport)
    with pytest.raises(openai.AuthenticationError) as failed:
        client.models.list()
    (note,) = failed.value.__notes__  # type: ignore[attr-defined]
    assert (
        f"remove {fingerprint(LEGACY)[:23]} --project proj_b --registry {of_two}, then, if "
        "its project is none of the others, openai-project-guard "
        f"register PROJECT --key-env NAME --also --registry {of_two} (or sync"
    ) in note


@pytest.mark.parametrize("observed", [False, True])
def test_either_project_of_a_key_in_two_registries_is_no_drift(
    observed: bool, in_two: Any, caplog: pytest.LogCaptureFixture
) -> None:
    in_two("enforce", LEGACY, "proj_a", "proj_b")
    seen: list[opg.Verdict] = []
    if observed:
        opg.add_observer(seen.append)
    sync_client(Server("proj_b"), api_key=LEGACY, project="proj_a").models.list()
    assert outcomes(seen) == ([("allowed", None)] if observed else [])
    assert "drift" not in caplog.text
    assert not [r for r in caplog.records if r.levelno >= logging.WARNING]


@needs_notes
@pytest.mark.parametrize("observed", [False, True])
def test_the_note_on_a_401_names_both_projects(observed: bool, in_two: Any) -> None:
    in_two("enforce", LEGACY, "proj_a", "proj_b")
    if observed:
        opg.add_observer(lambda _: None)
    with pytest.raises(openai.AuthenticationError) as caught:
        sync_client(Server(status=401), api_key=LEGACY, project="proj_a").models.list()
    (note,) = caught.value.__notes__  # type: ignore[attr-defined]
    assert "proj_a (in " in note
    assert " or proj_b (in " in note


def test_of_two_entries_of_a_project_the_one_that_fits_decides(sent: Recorder) -> None:
    registry = opg.Registry()
    registry.register(A, "proj_a", organization="org-1")
    opg.enable(registry=registry)
    opg.register(A, "proj_a")
    sync_client(sent, project="proj_a", organization="org-2").models.list()
    assert len(sent.requests) == 1
