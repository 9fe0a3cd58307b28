"""The pytest plugin: a guard of one's own for a test, and a marker that pins a test to a project.

Installed with the package, it is there: nothing has to be set up.

Example:
    >>> def test_each_call_names_its_project(openai_project_guard):
    ...     openai_project_guard.register("sk-proj-0123456789Ab3d", "proj_support")
    ...     run_the_application()
    ...     assert not openai_project_guard.blocked
    >>> @pytest.mark.openai_project("proj_support")
    ... def test_the_support_bot_uses_its_own_project(openai_project_guard):
    ...     openai_project_guard.register("sk-proj-0123456789Ab3d", "proj_support")
    ...     run_the_application()

The marker works without the fixture too. It pins the calls that are checked: those to OpenAI, and
to any other server, such as one on this machine, those whose key is registered.
"""

# This module is imported in every test run of an environment that has the package. So nothing of
# the guard is imported here: a test that uses it does that.

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from openai_project_guard._check.verdict import Verdict

__all__ = ["IsolatedGuard"]

_MARKER = "openai_project"
_FIXTURE = "openai_project_guard"
_PIN = "_openai_project_pin"


class IsolatedGuard:
    """What the fixture `openai_project_guard` gives: an enabled guard that knows no key yet.

    Attributes:
        verdicts: those of every call checked so far, in order.

    Example:
        >>> def test_a_wrong_header_is_refused(openai_project_guard):
        ...     openai_project_guard.register("sk-proj-0123456789Ab3d", "proj_support")
        ...     with pytest.raises(ProjectMismatchError):
        ...         OpenAI(api_key="sk-proj-0123456789Ab3d", project="proj_lab").models.list()
        ...     assert [verdict.reason for verdict in openai_project_guard.blocked] == ["mismatch"]
    """

    def __init__(self) -> None:
        self.verdicts: list[Verdict] = []

    def __repr__(self) -> str:
        return f"<{_FIXTURE}: {len(self.verdicts)} calls checked, {len(self.blocked)} blocked>"

    @property
    def blocked(self) -> list[Verdict]:
        """The verdicts of the calls that were refused."""
        return [verdict for verdict in self.verdicts if verdict.outcome == "blocked"]

    def register(
        self, key: str, project: str, *, organization: str | None = None, note: str | None = None
    ) -> None:
        """Makes a key known for this test, as `openai_project_guard.register()` does.

        Args:
            key: the key that the tested code uses; it need not be a real one.
            project: the id of the project that it belongs to.
            organization: the organization's id, checked on each call when given.
            note: whatever helps to recognise the key in an error.

        Raises:
            ConfigurationError: the key is empty or unfit, or the project is no project id.

        Example:
            >>> def test_it(openai_project_guard):
            ...     openai_project_guard.register("sk-proj-0123456789Ab3d", "proj_support")
        """
        from openai_project_guard import register

        register(key, project, organization=organization, note=note)


@pytest.fixture
def openai_project_guard(request: pytest.FixtureRequest) -> Iterator[IsolatedGuard]:
    """An enabled guard of this test alone: .register(key, project), .verdicts, .blocked.

    It enforces, knows no key but those registered in the test, and heeds neither variables nor
    registry files, nor a scope that was open before. Whatever the test or the tested code does to
    the guard is undone afterwards.
    """
    from openai_project_guard._activation import activate, deactivate
    from openai_project_guard._check.observers import add_observer
    from openai_project_guard._registry.model import Snapshot
    from openai_project_guard._scope import SCOPE
    from openai_project_guard._settings import Settings
    from openai_project_guard._state import STATE
    from openai_project_guard._types import Mode, Policy

    guard = IsolatedGuard()
    with _isolated(request) as project:
        SCOPE.set(None)
        STATE.registered.snapshot = Snapshot()
        policy = Policy(Mode.ENFORCE, "block", project)
        deactivate()  # the hooks of another scope, too
        activate(Settings(policy, registries=(STATE.registered,), is_in_code=True))
        add_observer(guard.verdicts.append)
        yield guard


@pytest.fixture(name=_PIN)
def _pin(request: pytest.FixtureRequest) -> Iterator[None]:
    """Pins the test to the project that its marker names."""
    if _FIXTURE in request.fixturenames:  # which does it
        yield
        return
    from openai_project_guard._activation import activate, deactivate
    from openai_project_guard._guard import guard
    from openai_project_guard._scope import SCOPE
    from openai_project_guard._state import active_settings

    with _isolated(request) as project:
        settings = active_settings().pinned_to(project)
        deactivate()  # the hooks of another scope, too
        activate(settings)
        # Of a scope that outlives the test the mode holds, a project that it names does not.
        with nullcontext() if SCOPE.get() is None else guard(project=project):
            yield


def pytest_configure(config: pytest.Config) -> None:
    """Documents the marker."""
    config.addinivalue_line(
        "markers",
        f"{_MARKER}(project): OpenAI calls in this test pass only with a key and an OpenAI-Project "
        "header of this project (its id, or an alias of the active registry).",
    )


@pytest.hookimpl(tryfirst=True)
def pytest_runtest_setup(item: pytest.Item) -> None:
    """Has a marked test use the fixture that pins it."""
    if item.get_closest_marker(_MARKER) is None:
        return
    names: list[str] | None = getattr(item, "fixturenames", None)
    info = getattr(item, "_fixtureinfo", None)
    if names is None or info is None:
        return
    # Before the test's own fixtures, which may make calls, and after those that outlive it: what
    # these do to the guard must not be undone with the test.
    known = info.name2fixturedefs
    outlive = [name for name in names if name in known and known[name][-1].scope != "function"]
    names.insert(names.index(outlive[-1]) + 1 if outlive else 0, _PIN)


def _pinned(request: pytest.FixtureRequest, patch: pytest.MonkeyPatch) -> str | None:
    """The id of the project that the test's marker names.

    The variable is set for the tested code that calls `enable()` itself.

    Raises:
        UsageError: the marker does not name one project.
        ConfigurationError: it is neither an id nor an alias.
    """
    marker = request.node.get_closest_marker(_MARKER)
    if marker is None:
        return None
    if len(marker.args) != 1 or marker.kwargs or not isinstance(marker.args[0], str):
        raise pytest.UsageError(
            f'@pytest.mark.{_MARKER} takes one project: @pytest.mark.{_MARKER}("proj_...")'
        )
    from openai_project_guard import _env
    from openai_project_guard._registry.model import project_id
    from openai_project_guard._registry.validate import is_project_id
    from openai_project_guard._state import active_settings

    project: str = marker.args[0]
    if not is_project_id(project):
        project = project_id(active_settings().registries, project, f"{_MARKER}:")
    patch.setenv(_env.PROJECT, project)
    return project


@contextmanager
def _isolated(request: pytest.FixtureRequest) -> Iterator[str | None]:
    """Gives the project of the test; then brings guard and environment back to where they were."""
    from openai_project_guard._activation import isolated

    with isolated(), pytest.MonkeyPatch.context() as patch:
        yield _pinned(request, patch)
