"""A test-suite that uses the pytest plugin; it is there as soon as the package is installed.

Run it with `python -m pytest` in its directory. It needs neither key nor network.
"""

from __future__ import annotations

from collections.abc import Iterator

import assistant
import pytest

from openai_project_guard import ProjectMismatchError, ProjectScopeError
from openai_project_guard.loopback import LoopbackAPI, loopback_api
from openai_project_guard.pytest_plugin import IsolatedGuard

SUPPORT, BILLING = "sk-proj-support-not-a-real-key-Ab3d", "sk-proj-billing-not-a-real-key-Ef5g"


@pytest.fixture(autouse=True)
def api(monkeypatch: pytest.MonkeyPatch) -> Iterator[LoopbackAPI]:
    """The API, played by this machine."""
    with loopback_api({SUPPORT: "proj_support", BILLING: "proj_billing"}) as api:
        monkeypatch.setenv("OPENAI_BASE_URL", api.base_url)
        monkeypatch.setenv("SUPPORT_KEY", SUPPORT)
        monkeypatch.setenv("BILLING_KEY", BILLING)
        yield api
    assistant.billing.cache_clear()


@pytest.fixture
def guarded(openai_project_guard: IsolatedGuard) -> IsolatedGuard:
    """A guard of the test's own, which knows the keys."""
    openai_project_guard.register(SUPPORT, "proj_support")
    openai_project_guard.register(BILLING, "proj_billing")
    return openai_project_guard


def test_support_pays_for_its_own_questions(guarded: IsolatedGuard, api: LoopbackAPI) -> None:
    assert assistant.answer(assistant.support(), "hello")
    assert guarded.blocked == []
    assert api.billed == {"proj_support": 1}


def test_the_mistake_in_billing_is_found(guarded: IsolatedGuard, api: LoopbackAPI) -> None:
    with pytest.raises(ProjectMismatchError):
        assistant.answer(assistant.billing(), "hello")
    assert [verdict.expected for verdict in guarded.blocked] == [("proj_billing",)]
    assert api.connections == 0


@pytest.mark.openai_project("proj_billing")
def test_nothing_but_billing_may_pay_here(guarded: IsolatedGuard, api: LoopbackAPI) -> None:
    with pytest.raises(ProjectScopeError):
        assistant.answer(assistant.support(), "hello")
    assert api.connections == 0
