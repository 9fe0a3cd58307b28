"""Is the pytest plugin a guard of one's own for a test, which leaves nothing behind?"""

from __future__ import annotations

import os
import re
import subprocess
import sys
import textwrap
from collections.abc import Callable
from importlib.metadata import entry_points
from pathlib import Path

import pytest

import openai_project_guard as opg

pytest_plugins = ["pytester"]

# Where the package is installed, its entry point has loaded the plugin.
IS_INSTALLED = any(
    entry_point.value == "openai_project_guard.pytest_plugin"
    for entry_point in entry_points(group="pytest11")
)
PLUGIN = "openai_project_guard" if IS_INSTALLED else "openai_project_guard.pytest_plugin"

HEAD = """
import asyncio, os, threading
import pytest, openai
import openai_project_guard as opg
from openai_project_guard import _hooks, _settings
from openai_project_guard._check import log as _log
from openai_project_guard._check import observers as _observers
from support import A, B, STRANGER, Recorder, async_client, chat, sync_client, write_registry
"""

Run = Callable[..., pytest.RunResult]


@pytest.fixture
def run(pytester: pytest.Pytester, monkeypatch: pytest.MonkeyPatch) -> Run:
    """Runs a test module in a pytest of its own, in a process of its own."""
    for name in list(os.environ):
        if name.startswith("OPENAI_") or name == "PYTEST_ADDOPTS":
            monkeypatch.delenv(name)
    places = [Path(opg.__file__).parents[1], Path(__file__).parents[1]]
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join(map(str, places)))
    monkeypatch.setenv("XDG_CONFIG_HOME", str(pytester.path / "config"))
    pytester.makeini("[pytest]\naddopts = --strict-markers\nasyncio_mode = auto\n")

    def start(code: str, *arguments: str) -> pytest.RunResult:
        pytester.makepyfile(HEAD + textwrap.dedent(code))
        # In the order in which they stand there, whatever plugin shuffles them.
        return pytester.runpytest_subprocess("-p", PLUGIN, "-p", "no:randomly", *arguments)

    return start


# The fixture


def test_the_fixture_enforces_and_tells_of_every_call(run: Run) -> None:
    run(
        """
        def test_it(openai_project_guard):
            sent = Recorder()
            openai_project_guard.register(A, "proj_a", note="mine")
            chat(sync_client(sent, project="proj_a"))
            with pytest.raises(opg.ProjectMismatchError):
                chat(sync_client(sent, project="proj_b"))
            with pytest.raises(opg.UnregisteredKeyError):
                chat(sync_client(sent, api_key=STRANGER, project="proj_b"))
            assert len(sent.requests) == 1
            outcomes = [verdict.outcome for verdict in openai_project_guard.verdicts]
            assert outcomes == ["allowed", "blocked", "blocked"]
            reasons = [verdict.reason for verdict in openai_project_guard.blocked]
            assert reasons == ["mismatch", "unregistered"]
            shown = repr(openai_project_guard)
            assert shown == "<openai_project_guard: 3 calls checked, 2 blocked>"

        def test_organization(openai_project_guard):
            openai_project_guard.register(A, "proj_a", organization="org-a")
            with pytest.raises(opg.OrganizationMismatchError):
                chat(sync_client(Recorder(), project="proj_a", organization="org-b"))
        """
    ).assert_outcomes(passed=2)


def test_an_unregistered_key_is_to_be_registered_in_the_test(run: Run) -> None:
    run(
        """
        def test_it(openai_project_guard):
            client = sync_client(Recorder(), api_key=STRANGER, project="proj_b")
            with pytest.raises(opg.UnregisteredKeyError) as caught:
                chat(client)
            said = " ".join(str(caught.value).split())
            assert " or register() it; if it is not, " in said
            assert "--key-env" not in said
            openai_project_guard.register(STRANGER, "proj_b")  # as it says
            chat(client)
        """
    ).assert_outcomes(passed=1)


def test_the_fixture_reads_neither_environment_nor_files(
    run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("OPENAI_PROJECT_GUARD_PROJECT", "proj_other")
    monkeypatch.setenv("OPENAI_PROJECT_GUARD_REGISTRY", "nowhere.toml")
    monkeypatch.setenv("OPENAI_PROJECT_GUARD_UNREGISTERED", "allow")
    run(
        """
        @pytest.mark.parametrize("_", [1, 2])
        def test_it(openai_project_guard, _):
            with pytest.raises(opg.UnregisteredKeyError):
                chat(sync_client(Recorder(), project="proj_a"))
            openai_project_guard.register(A, "proj_a")
            chat(sync_client(Recorder(), project="proj_a"))

        @pytest.mark.openai_project("proj_a")
        def test_pinned(openai_project_guard):
            openai_project_guard.register(A, "proj_a")
            chat(sync_client(Recorder(), project="proj_a"))
        """
    ).assert_outcomes(passed=3)


# What is left behind: nothing

STATE = """
from contextlib import suppress
from openai_project_guard._scope import SCOPE
from openai_project_guard._state import STATE

def state():
    environment = dict(os.environ)
    del environment["PYTEST_CURRENT_TEST"]
    hook = openai._base_client.BaseClient.__dict__["_build_request"]
    return hook if not _hooks.is_installed() else type(hook), (
        STATE.settings, STATE.scope_settings, STATE.registered.snapshot,
        list(STATE.registered), STATE.observers, dict(_log._counts),
        _hooks.is_installed(), opg.is_enabled(), SCOPE.get(), environment,
    )

def seen(verdict): ...

BEFORE = []

def test_before():
    opg.register(B, "proj_b")
    opg.add_observer(seen)
    if ENABLED:
        opg.enable("warn", registry={"proj_a": A})
        chat(sync_client(Recorder()))
    BEFORE.append(state())

def meddle():
    assert opg.is_enabled()
    opg.register(STRANGER, "proj_x")
    opg.add_observer(print)
    with suppress(opg.ProjectGuardError):
        chat(sync_client(Recorder(), project="proj_b"))
    opg.enable(registry={"proj_a": A}, scope="process")  # as the tested application may
    opg.guard(project="proj_b").__enter__()  # and never leave
    opg.disable()

def test_fixture(openai_project_guard):
    meddle()

def test_after_fixture():
    assert state() == BEFORE[0]

@pytest.mark.openai_project("proj_a")
def test_marker():
    meddle()

def test_after_marker():
    assert state() == BEFORE[0]

@pytest.mark.openai_project("proj_a")
def test_both(openai_project_guard):
    meddle()

def test_after_both():
    assert state() == BEFORE[0]
"""


@pytest.mark.parametrize("is_enabled", [False, True])
def test_the_state_before_is_restored(run: Run, is_enabled: bool) -> None:
    run(f"ENABLED = {is_enabled}\n{STATE}").assert_outcomes(passed=7)


def test_what_outlives_the_test_and_who_does_not_use_it_are_left_alone(run: Run) -> None:
    run(
        """
        @pytest.fixture(scope="class")
        def enabled():
            opg.enable(registry={"proj_a": A})
            yield
            opg.disable()

        @pytest.mark.usefixtures("enabled")
        class TestEnabled:
            @pytest.mark.openai_project("proj_a")
            def test_pinned(self):
                from openai_project_guard._state import STATE
                assert STATE.settings.policy.pinned == "proj_a"

            def test_not_pinned(self):
                assert opg.is_enabled()
                from openai_project_guard._state import STATE
                assert STATE.settings.policy.pinned is None

        def test_who_enables_it():
            opg.enable(registry={"proj_a": A})

        def test_who_is_after():
            assert opg.is_enabled()
        """
    ).assert_outcomes(passed=4)


def test_of_a_fixture_that_is_overridden_the_one_that_is_used_counts(run: Run) -> None:
    run(
        """
        @pytest.fixture(scope="session")
        def service():
            opg.enable(registry={"proj_a": A})

        class TestOverriding:
            @pytest.fixture
            def service(self):
                from openai_project_guard._state import STATE
                return STATE.settings.policy.pinned

            @pytest.mark.openai_project("proj_a")
            def test_it_is_made_after_the_pin(self, service):
                assert service == "proj_a"
        """
    ).assert_outcomes(passed=1)


def test_a_scope_that_outlives_the_test_does_not_hold_in_it(run: Run) -> None:
    run(
        """
        @pytest.fixture(scope="session", autouse=True, params=["mode", "project"])
        def suite(request):
            with opg.guard(**{request.param: {"mode": "warn", "project": "proj_b"}[request.param]}):
                yield request.param

        def test_the_fixture(openai_project_guard):
            openai_project_guard.register(A, "proj_a")
            chat(sync_client(Recorder(), project="proj_a"))
            with pytest.raises(opg.ProjectMismatchError):
                chat(sync_client(Recorder(), project="proj_b"))

        @pytest.fixture
        def of_the_test(openai_project_guard):
            with opg.guard(mode="warn"):
                yield

        def test_one_of_the_test_does(openai_project_guard, of_the_test):
            openai_project_guard.register(A, "proj_a")
            chat(sync_client(Recorder(), project="proj_b"))

        @pytest.mark.openai_project("proj_a")
        def test_the_marker_beats_its_project(suite):
            opg.register(A, "proj_a")
            opg.register(B, "proj_b")
            chat(sync_client(Recorder(), project="proj_a"))
            outcome = None
            try:
                chat(sync_client(Recorder(), api_key=B, project="proj_b"))
            except opg.ProjectScopeError:
                outcome = "refused"
            assert outcome == (None if suite == "mode" else "refused")

        @pytest.mark.openai_project("proj_a")
        def test_marker_and_fixture(openai_project_guard):
            openai_project_guard.register(B, "proj_b")
            with pytest.raises(opg.ProjectScopeError):
                chat(sync_client(Recorder(), api_key=B, project="proj_b"))

        def test_afterwards_it_is_there_as_before(suite):
            opg.register(A, "proj_a")
            opg.register(B, "proj_b")
            if suite == "mode":
                chat(sync_client(Recorder(), project="proj_b"))
            else:
                with pytest.raises(opg.ProjectScopeError):
                    chat(sync_client(Recorder(), project="proj_a"))
        """
    ).assert_outcomes(passed=10)


# The marker

PINNED = """
@pytest.fixture
def early():
    with pytest.raises(opg.ProjectScopeError):
        chat(sync_client(Recorder(), api_key=B, project="proj_b"))
"""


def test_the_marker_pins_a_test_without_the_fixture(run: Run) -> None:
    run(
        PINNED
        + """
opg.register(A, "proj_a")
opg.register(B, "proj_b")

@pytest.mark.openai_project("proj_a")
def test_it(early):
    chat(sync_client(Recorder(), project="proj_a"))
    with pytest.raises(opg.ProjectScopeError):
        chat(sync_client(Recorder(), api_key=B, project="proj_b"))

@pytest.mark.openai_project("proj_a")
class TestIt:
    def test_it(self, openai_project_guard, early):
        openai_project_guard.register(A, "proj_a")
        chat(sync_client(Recorder(), project="proj_a"))

    @pytest.mark.openai_project("proj_b")
    def test_the_closest_wins(self):
        chat(sync_client(Recorder(), api_key=B, project="proj_b"))

import unittest

@pytest.mark.openai_project("proj_b")
class TestOld(unittest.TestCase):
    def test_it(self):
        with pytest.raises(opg.ProjectScopeError):
            chat(sync_client(Recorder(), project="proj_a"))

def test_not_pinned():
    assert not opg.is_enabled()
    chat(sync_client(Recorder(), project="proj_b"))

@pytest.mark.openai_project("proj_a")
def test_threads_and_an_application_that_enables_the_guard_itself():
    opg.enable(registry={"proj_a": A, "proj_b": B})
    raised = []

    def work():
        try:
            chat(sync_client(Recorder(), api_key=B, project="proj_b"))
        except opg.ProjectScopeError as error:
            raised.append(error)

    thread = threading.Thread(target=work)
    thread.start()
    thread.join()
    assert raised
"""
    ).assert_outcomes(passed=6)


def test_the_marker_takes_an_alias_of_the_registry(
    run: Run, monkeypatch: pytest.MonkeyPatch, pytester: pytest.Pytester
) -> None:
    from support import A, write_registry

    write_registry(pytester.path / "openai-projects.toml", support=f"proj_a:{A}")
    run(
        """
        @pytest.mark.openai_project("support")
        def test_it():
            from openai_project_guard._state import STATE
            assert STATE.settings.policy.pinned == "proj_a"

        @pytest.mark.openai_project("support")
        def test_with_fixture(openai_project_guard):
            from openai_project_guard._state import STATE
            assert STATE.settings.policy.pinned == "proj_a"
        """
    ).assert_outcomes(passed=2)


def test_a_marker_that_names_no_project_is_an_error_of_its_test(run: Run) -> None:
    result = run(
        """
        @pytest.mark.openai_project
        def test_none(): ...

        @pytest.mark.openai_project(1)
        def test_number(): ...

        @pytest.mark.openai_project("proj_a", "proj_b")
        def test_two(): ...

        @pytest.mark.openai_project("unknown")
        def test_unknown(): ...

        def test_other(): ...
        """
    )
    result.assert_outcomes(errors=4, passed=1)
    result.stdout.fnmatch_lines(
        [
            *['*openai_project takes one project: @pytest.mark.openai_project("proj_...")'] * 3,
            "*openai_project: 'unknown' is neither a project id*",
        ]
    )


def test_marker_and_fixture_are_documented(run: Run) -> None:
    result = run("", "--markers")
    result.stdout.fnmatch_lines(
        ["@pytest.mark.openai_project(project): OpenAI calls in this test pass only with a key*"]
    )
    result = run("", "--fixtures")
    result.stdout.fnmatch_lines(
        ["openai_project_guard -- *", "*An enabled guard of this test alone: .register(key,*"]
    )


def test_a_failing_test_shows_the_whole_refusal(run: Run) -> None:
    result = run(
        """
        def test_it(openai_project_guard):
            openai_project_guard.register(A, "proj_a")
            chat(sync_client(Recorder(), project="proj_b"))

        def test_swallowed(openai_project_guard):
            openai_project_guard.register(A, "proj_a")
            try:
                chat(sync_client(Recorder(), project="proj_b"))
            except openai.OpenAIError:
                pass
            assert not openai_project_guard.blocked
        """
    )
    result.assert_outcomes(failed=2)
    result.stdout.fnmatch_lines(
        [
            "E *ProjectMismatchError: POST api.openai.com/v1/chat/completions was about to be sent "
            "with key sk-proj-…AAAA and OpenAI-Project 'proj_b'.",
            "E *The registry has this key for project proj_a, in register() at *.py*",
            "E *Nothing was sent.",
            "E *To fix it: *",
            "E *assert not *Verdict(outcome='blocked', reason='mismatch', expected=('proj_a',)*",
            "*refused: OpenAI-Project is not the project of its key: POST "
            "api.openai.com/v1/chat/completions with OpenAI-Project 'proj_b', key sk-proj-…AAAA, "
            "expected proj_a*",
        ]
    )
    assert "not-a-real-key-of-project-a" not in result.stdout.str()


# Other plugins


def test_asynchronous_tests_and_fixtures(run: Run) -> None:
    pytest.importorskip("pytest_asyncio")
    run(
        """
        @pytest.fixture
        async def answer(openai_project_guard):
            openai_project_guard.register(A, "proj_a")
            with pytest.raises(opg.ProjectMismatchError):
                await chat(async_client(Recorder(), project="proj_b"))
            with opg.guard(mode="warn"):  # open while the test runs
                yield await chat(async_client(Recorder(), project="proj_a"))

        async def test_it(answer, openai_project_guard):
            async def call(**options):
                await chat(async_client(Recorder(), **options))

            openai_project_guard.register(B, "proj_b")
            right = [call(project="proj_a") for _ in range(5)]
            wrong = [call(api_key=B, project="proj_a") for _ in range(5)]
            await asyncio.gather(*right, *wrong)
            found = [verdict.outcome for verdict in openai_project_guard.verdicts]
            assert sorted(found) == ["allowed"] * 6 + ["blocked"] + ["warned"] * 5

        @pytest.mark.openai_project("proj_a")
        @pytest.mark.asyncio(loop_scope="module")
        async def test_pinned():
            opg.register(B, "proj_b")
            with pytest.raises(opg.ProjectScopeError):
                await asyncio.create_task(
                    chat(async_client(Recorder(), api_key=B, project="proj_b"))
                )

        async def test_nothing_is_left():
            assert not opg.is_enabled()
            assert opg._scope.SCOPE.get() is None
        """
    ).assert_outcomes(passed=3)


def test_under_xdist(run: Run) -> None:
    pytest.importorskip("xdist")
    run(
        """
        @pytest.mark.parametrize("number", range(20))
        def test_it(openai_project_guard, number):
            openai_project_guard.register(A, f"proj_{number}")
            chat(sync_client(Recorder(), project=f"proj_{number}"))
            assert len(openai_project_guard.verdicts) == 1

        @pytest.mark.parametrize("number", range(20))
        def test_not_it(number):
            assert not opg.is_enabled()
        """,
        "-n",
        "2",
    ).assert_outcomes(passed=40)


# What it costs where it is not used


def test_a_run_that_does_not_use_it_imports_neither_the_sdk_nor_wrapt(
    pytester: pytest.Pytester, run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PYTEST_DISABLE_PLUGIN_AUTOLOAD", "1")  # others' plugins import them
    pytester.makepyfile(
        """
        import sys

        def test_it():
            assert "openai_project_guard.pytest_plugin" in sys.modules
            assert not {"openai", "wrapt", "pydantic"} & set(sys.modules)
            ours = {name for name in sys.modules if name.startswith("openai_project_guard")}
            assert ours == {
                "openai_project_guard",
                "openai_project_guard._env",
                "openai_project_guard._errors",
                "openai_project_guard._startup",
                "openai_project_guard._startup.decided",
                "openai_project_guard._types",
                "openai_project_guard.pytest_plugin",
            }
        """
    )
    pytester.runpytest_subprocess("-p", PLUGIN).assert_outcomes(passed=1)


def test_its_import_brings_neither_the_sdk_nor_wrapt(report: Callable[[str], None]) -> None:
    code = (
        "import pytest, sys, time\n"
        "start = time.process_time()\n"
        "import openai_project_guard.pytest_plugin\n"
        "took = (time.process_time() - start) * 1000\n"
        "assert not {'openai', 'wrapt', 'pydantic'} & {*sys.modules}\n"
        "print(took)"
    )
    environment = {
        **{name: value for name, value in os.environ.items() if not name.startswith("OPENAI_")},
        "PYTHONPATH": str(Path(opg.__file__).parents[1]),
    }
    best = min(
        float(subprocess.check_output([sys.executable, "-c", code], env=environment, text=True))
        for _ in range(5)
    )
    report(f"importing the pytest plugin takes {best:.1f} ms")


def test_its_module_says_how_to_use_it() -> None:
    from openai_project_guard import pytest_plugin

    for documented in (pytest_plugin, pytest_plugin.IsolatedGuard):
        assert re.search(r"Example:\n +>>> ", documented.__doc__ or "")
