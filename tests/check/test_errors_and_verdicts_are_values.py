"""Can errors and verdicts be pickled, copied, compared, made again?"""

from __future__ import annotations

import copy
import dataclasses
import pickle
from collections.abc import Callable
from typing import Any

import openai
import pytest
from support import A, Recorder, chat, sync_client

import openai_project_guard as opg

pytestmark = pytest.mark.usefixtures("enabled")


def refusal() -> opg.ProjectGuardError:
    with pytest.raises(opg.ProjectMismatchError) as refused:
        chat(sync_client(Recorder(), project="proj_b"))
    return refused.value


@pytest.mark.parametrize(
    "again", [copy.copy, copy.deepcopy, lambda error: pickle.loads(pickle.dumps(error))]
)
def test_an_error_can_be_pickled_and_copied(again: Callable[[Any], Any]) -> None:
    error = refusal()
    twin = again(error)
    assert type(twin) is type(error)
    assert twin.args == error.args
    assert str(twin) == str(error)
    assert twin.verdict == error.verdict
    assert A.encode() not in pickle.dumps(error)


@pytest.mark.parametrize("kind", [opg.ProjectGuardError, *opg.ProjectGuardError.__subclasses__()])
def test_an_error_can_be_made_again_of_its_args(kind: type[opg.ProjectGuardError]) -> None:
    error = kind("Nothing was sent.", refusal().verdict)
    again = kind(*error.args)  # as task queues do, whose messages hold text alone
    assert (type(again), str(again), again.args) == (kind, str(error), error.args)
    assert again.verdict is None
    twin = pickle.loads(pickle.dumps(again))
    assert (type(twin), str(twin), twin.verdict) == (kind, str(error), None)


def test_an_error_says_that_trying_again_is_of_no_use() -> None:
    assert refusal().status_code == openai.BadRequestError.status_code
    assert not isinstance(refusal(), openai.APIError)  # no server answered


def test_what_was_put_on_an_error_is_pickled_with_it() -> None:
    error = refusal()
    error.__notes__ = ["seen in the night run"]  # type: ignore[attr-defined]
    twin = pickle.loads(pickle.dumps(error))
    assert twin.__notes__ == ["seen in the night run"]


def test_a_verdict_is_a_value() -> None:
    verdict = refusal().verdict
    fields = dataclasses.asdict(verdict)
    assert fields.pop("call_site").endswith(" in chat")
    assert fields.pop("client_site").endswith(" in sync_client")
    assert fields == {
        "outcome": "blocked",
        "reason": "mismatch",
        "expected": ("proj_a",),
        "actual": "proj_b",
        "key_hint": "sk-proj-…AAAA",
        "method": "POST",
        "host": "api.openai.com",
        "path": "/v1/chat/completions",
        "transport": "http",
        "origin": "project=",
        "answered": None,
    }
    with pytest.raises(dataclasses.FrozenInstanceError):
        verdict.outcome = "allowed"  # type: ignore[misc]
    assert not hasattr(verdict, "__dict__")
    for twin in (
        pickle.loads(pickle.dumps(verdict)),
        copy.copy(verdict),
        copy.deepcopy(verdict),
        dataclasses.replace(verdict),
    ):
        assert twin == verdict
        assert hash(twin) == hash(verdict)
    assert {verdict: 1}[refusal().verdict] == 1


def test_errors_have_the_name_by_which_they_are_imported() -> None:
    for name in opg.__all__:
        value = getattr(opg, name)
        if isinstance(value, type) and issubclass(value, Exception):
            assert value.__module__ == "openai_project_guard"
