"""How the guard is set up: by arguments, by the environment, by files; and what a mistake does.

`probe()` says which calls get through: `"ab?"` everything, `"ab"` what is in order, `"a"` only
what is of project a.
"""

from __future__ import annotations

import logging
import os
import sys
import threading
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

import openai
import pytest
import support
from openai._base_client import AsyncAPIClient, SyncAPIClient
from support import (
    STRANGER,
    A,
    B,
    Probe,
    Recorder,
    fingerprint,
    frames_holding,
    output,
    python,
    sync_client,
    write_registry,
)

import openai_project_guard as opg
from openai_project_guard._state import STATE

clean = support.clean
probe = support.probe
pytestmark = pytest.mark.usefixtures("clean")

GUARD = "OPENAI_PROJECT_GUARD"
BOTH = {"proj_a": A, "proj_b": B}

# --- the environment, read when the package is imported -----------------------------------------

SPELLINGS = {
    "enforce": ("enforce", "1", "true", "on", "yes", "ENFORCE", " On ", "True"),
    "inject": ("inject", "Inject"),
    "warn": ("warn", " WARN"),
    "off": ("off", "0", "false", "no", "", "  ", "OFF", "False", None),
}


def test_every_spelling_of_the_mode_is_understood_at_import() -> None:
    spelled = [(word, spelling) for word, all_ in SPELLINGS.items() for spelling in all_]
    said = output(f"""
import os, sys
for word, spelling in {spelled!r}:
    os.environ.pop({GUARD!r}, None)
    if spelling is not None:
        os.environ[{GUARD!r}] = spelling
    for name in [name for name in sys.modules if name.startswith("openai_project_guard")]:
        del sys.modules[name]
    import openai_project_guard as opg
    from openai_project_guard._state import STATE
    assert opg.is_enabled() == (word != "off"), (word, spelling)
    if word != "off":
        assert STATE.settings.policy.mode == word, (word, spelling)
assert "openai" not in sys.modules
print("understood")
""")
    assert said == "understood"


BAD_VALUES = [
    (
        {GUARD: "Enforced"},
        f"ConfigurationError: The environment variable {GUARD} is 'enforced', which is not "
        "understood. Accepted: enforce, inject, warn, off; 1, true, on, yes for enforce; 0, false, "
        "no for off.",
    ),
    (
        {GUARD: "sk-proj-0123456789-Ab3d"},
        f"ConfigurationError: The environment variable {GUARD} is 'sk-proj-…ab3d', which",
    ),
    (
        {GUARD + "_UNREGISTERED": "maybe"},
        f"ConfigurationError: The environment variable {GUARD}_UNREGISTERED is 'maybe', which is "
        "not understood. Accepted: block, warn, allow, learn.",
    ),
    (
        {GUARD + "_SCOPE": "all"},
        f"ConfigurationError: The environment variable {GUARD}_SCOPE is 'all', which is not "
        "understood. Accepted: sdk, process.",
    ),
    (
        {GUARD: "1", GUARD + "_HOSTS": "gateway.example.com,https://other.example.com/v1"},
        f"ConfigurationError: {GUARD}_HOSTS has 'https://other.example.com/v1', which is not a host"
        " name. Expected a name alone, such as gateway.example.com, without scheme, port or path.",
    ),
    (
        {GUARD: "1", GUARD + "_PROJECT": "no-such-bot"},
        f"ConfigurationError: The variable {GUARD}_PROJECT 'no-such-bot' is neither a project id "
        "(proj_ and letters, digits, _ or -) nor a known alias. The registry has no alias.",
    ),
    (
        {GUARD: "1", GUARD + "_REGISTRY": "no-such.toml"},
        "RegistryError: no-such.toml: there is no such file.",
    ),
    (
        {GUARD: "1", GUARD + "_KEYS": "proj_a=sk-proj-0123456789-Ab3d"},
        f"RegistryError: {GUARD}_KEYS: pair 1 cannot be read: what stands after '=': this is a "
        "raw key (sk-proj-…Ab3d), not a fingerprint.",
    ),
]


@pytest.mark.parametrize(("environment", "text"), BAD_VALUES)
def test_a_bad_value_stops_the_import_and_says_what_is_accepted(
    environment: dict[str, str], text: str
) -> None:
    run = python("import openai_project_guard", **environment)
    assert run.returncode == 1
    last_line = run.stderr.splitlines()[-1].removeprefix("openai_project_guard.")
    assert last_line.startswith(text)
    assert "0123456789" not in run.stderr


def test_a_failed_import_fails_again_and_enables_nothing() -> None:
    environment = {GUARD: "enforce", GUARD + "_PROJECT": "no-such-bot"}
    code = """
import sys
for attempt in 1, 2:
    try:
        import openai_project_guard
    except ValueError as error:
        print(type(error).__name__)
from openai_project_guard import _hooks, _settings
"""
    run = python(code, **environment)
    assert run.stdout.split() == ["ConfigurationError"] * 2
    assert "ConfigurationError" in run.stderr


# --- the environment, variable by variable ------------------------------------------------------


@pytest.mark.parametrize(
    ("value", "through", "logs"),
    [
        ("block", "ab", ["blocked"]),
        (" WARN ", "ab?", ["warned"]),
        ("Allow", "ab?", []),
        ("learn", "ab?", []),
        ("", "ab", ["blocked"]),
        (None, "ab", ["blocked"]),
    ],
)
def test_unregistered(
    value: str | None,
    through: str,
    logs: list[str],
    clean: pytest.MonkeyPatch,
    probe: Probe,
    caplog: pytest.LogCaptureFixture,
) -> None:
    if value is not None:
        clean.setenv(GUARD + "_UNREGISTERED", value)
    opg.enable(registry=BOTH)
    assert probe() == through
    assert [record.getMessage().split()[0] for record in caplog.records] == logs


@pytest.mark.parametrize(("value", "expected"), [("sdk", "sdk"), ("Process", "process")])
def test_scope(value: str, expected: str, clean: pytest.MonkeyPatch) -> None:
    clean.setenv(GUARD + "_SCOPE", value)
    opg.enable()
    assert STATE.settings is not None
    assert STATE.settings.scope == expected


GATEWAYS = (
    "gateway.example.com",
    "GATEWAY.example.com",
    "other.example.com",
    "localhost",
    "10.0.0.7",
)


@pytest.mark.parametrize("how", ["argument", "variable"])
def test_further_hosts_count_as_openais(how: str, clean: pytest.MonkeyPatch) -> None:
    hosts = ["Gateway.Example.COM", " other.example.com. ", "10.0.0.7"]
    if how == "argument":
        opg.enable(hosts=hosts)
    else:
        clean.setenv(GUARD + "_HOSTS", ",".join([*hosts, "", " "]))
        opg.enable()
    sent = Recorder()
    refused = []
    for gateway in GATEWAYS:
        client = sync_client(sent, api_key=STRANGER, base_url=f"http://{gateway}:8080/v1")
        try:
            client.models.list()
        except opg.UnregisteredKeyError as error:
            refused.append(error.verdict.host)
    assert refused == [
        "gateway.example.com",
        "gateway.example.com",
        "other.example.com",
        "10.0.0.7",
    ]
    assert [request.url.host for request in sent.requests] == ["localhost"]


def test_the_pinned_project_by_id_and_by_alias(
    clean: pytest.MonkeyPatch, tmp_path: Path, probe: Probe
) -> None:
    write_registry(tmp_path / "openai-projects.toml", bot=f"proj_a:{A}", web=f"proj_b:{B}")
    for name, through in (("proj_a", "a"), (" web ", "b"), ("", "ab")):
        clean.setenv(GUARD + "_PROJECT", name)
        opg.enable()
        assert probe() == through


def test_the_inline_registry(clean: pytest.MonkeyPatch, probe: Probe) -> None:
    clean.setenv(
        GUARD + "_KEYS",
        f"proj_a={fingerprint(A)}, proj_b = sha256:{fingerprint(B)[7:].upper()} ,"
        f"proj_c={fingerprint(A)}",
    )
    opg.enable()
    assert probe() == "ab"
    opg.enable(project="proj_c")
    assert probe() == ""
    client = sync_client(probe.sent, project="proj_c")
    client.models.list()


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (A, "pair 1 cannot be read: what stands before '=': a raw key"),
        (f"{A}={fingerprint(A)}", "pair 1 cannot be read: what stands before '='"),
        (f"proj_a={fingerprint(A)},proj_b={B}", "pair 2 cannot be read: what stands after '='"),
        (f"proj_a={fingerprint(A)[:-1]}", "pair 1 cannot be read: what stands after '='"),
        (f"bot={fingerprint(A)}", "pair 1 cannot be read: what stands before '='"),
    ],
)
def test_an_inline_registry_that_cannot_be_read_is_refused_without_its_keys(
    value: str, text: str, clean: pytest.MonkeyPatch
) -> None:
    clean.setenv(GUARD + "_KEYS", value)
    with pytest.raises(opg.RegistryError) as refused:
        opg.enable()
    assert str(refused.value).startswith(f"{GUARD}_KEYS: {text}")
    assert A not in str(refused.value)
    assert B not in str(refused.value)
    assert frames_holding(refused.value, A, B) == []
    assert not opg.is_enabled()


def test_the_registry_file_lies_in_the_working_directory_or_else_in_the_users_configuration(
    clean: pytest.MonkeyPatch, tmp_path: Path, probe: Probe
) -> None:
    opg.enable()
    assert probe() == ""
    user = Path(os.environ["XDG_CONFIG_HOME"], "openai-project-guard", "registry.toml")
    write_registry(user, web=f"proj_b:{B}")
    opg.enable()
    assert probe() == "b"
    write_registry(tmp_path / "openai-projects.toml", bot=f"proj_a:{A}")
    opg.enable()
    assert probe() == "a"
    other = write_registry(tmp_path / "other.toml", bot=f"proj_a:{A}", web=f"proj_b:{B}")
    clean.setenv(GUARD + "_REGISTRY", str(other))
    opg.enable()
    assert probe() == "ab"


def test_without_xdg_config_home_it_lies_under_the_home_directory(
    clean: pytest.MonkeyPatch, tmp_path: Path, probe: Probe
) -> None:
    home = tmp_path / "home"
    write_registry(home / ".config" / "openai-project-guard" / "registry.toml", bot=f"proj_a:{A}")
    clean.setenv("XDG_CONFIG_HOME", "")
    clean.setenv("HOME", str(home))
    clean.setenv("USERPROFILE", str(home))
    opg.enable()
    assert probe() == "a"


def test_several_registry_files_and_the_inline_one_add_up(
    clean: pytest.MonkeyPatch, tmp_path: Path, probe: Probe
) -> None:
    one = write_registry(tmp_path / "one.toml", bot=f"proj_a:{A}")
    two = write_registry(tmp_path / "two.toml", web="proj_b")
    clean.setenv(GUARD + "_REGISTRY", f" {one} , {two} ,")
    opg.enable()
    assert probe() == "a"
    clean.setenv(GUARD + "_KEYS", f"proj_b={fingerprint(B)}")
    opg.enable()
    assert probe() == "ab"
    opg.enable(project="web")
    assert probe() == "b"


# --- argument, environment, file ----------------------------------------------------------------


def test_what_is_not_passed_comes_from_the_environment(
    clean: pytest.MonkeyPatch, probe: Probe, caplog: pytest.LogCaptureFixture
) -> None:
    clean.setenv(GUARD, "warn")
    clean.setenv(GUARD + "_KEYS", f"proj_a={fingerprint(A)}")
    clean.setenv(GUARD + "_PROJECT", "proj_a")
    clean.setenv(GUARD + "_UNREGISTERED", "allow")
    opg.enable()
    assert probe() == "ab?"
    assert [record.getMessage()[:15] for record in caplog.records] == ["warned (scope):"] * 2


def test_an_argument_beats_the_environment_even_when_it_says_the_default(
    clean: pytest.MonkeyPatch, probe: Probe
) -> None:
    clean.setenv(GUARD, "warn")
    clean.setenv(GUARD + "_KEYS", f"proj_x={fingerprint(STRANGER)}")
    clean.setenv(GUARD + "_PROJECT", "proj_x")
    clean.setenv(GUARD + "_UNREGISTERED", "allow")
    clean.setenv(GUARD + "_SCOPE", "process")
    clean.setenv(GUARD + "_HOSTS", "gateway.example.com")
    opg.enable(
        "enforce",
        registry=BOTH,
        project="proj_a",
        unregistered="block",
        hosts=["other.example.com"],
        scope="sdk",
    )
    assert probe() == "a"
    settings = STATE.settings
    assert settings is not None
    assert settings.scope == "sdk"
    assert settings.is_openai("other.example.com")
    assert not settings.is_openai("gateway.example.com")


def test_off_in_the_environment_switches_a_bare_enable_off(
    clean: pytest.MonkeyPatch, probe: Probe
) -> None:
    opg.enable(registry=BOTH)
    clean.setenv(GUARD, "off")
    opg.enable(registry=BOTH)
    assert not opg.is_enabled()
    assert probe() == "ab?"
    opg.enable("enforce", registry=BOTH)
    assert probe() == "ab"
    clean.setenv(GUARD, "")  # as a compose file passes a variable that is not set
    opg.enable(registry=BOTH)
    assert probe() == "ab"


def test_a_registry_argument_replaces_the_named_sources_but_not_registered_keys(
    clean: pytest.MonkeyPatch, tmp_path: Path, probe: Probe
) -> None:
    write_registry(tmp_path / "openai-projects.toml", bot=f"proj_a:{A}")
    clean.setenv(GUARD + "_KEYS", f"proj_x={fingerprint(STRANGER)}")
    opg.register(B, "proj_b")
    opg.enable()
    assert probe() == "ab?"
    opg.enable(registry={"proj_c": "sk-proj-not-a-real-key-of-project-c"})
    assert probe() == "b"


@pytest.mark.parametrize("kind", ["path", "text", "Registry", "mapping", "mapping of lists"])
def test_every_kind_of_registry_argument(kind: str, tmp_path: Path, probe: Probe) -> None:
    path = write_registry(tmp_path / "r.toml", bot=f"proj_a:{A}")
    registry: Any = {
        "path": path,
        "text": str(path),
        "Registry": opg.Registry.from_file(path),
        "mapping": {"proj_a": A},
        "mapping of lists": {"proj_a": ["sk-proj-not-a-real-key-either", A], "proj_b": []},
    }[kind]
    opg.enable(registry=registry)
    assert probe() == "a"


def test_a_registry_that_is_filled_later_is_the_one_in_force(probe: Probe) -> None:
    registry = opg.Registry()
    opg.enable(registry=registry)
    assert probe() == ""
    registry.register(A, "proj_a")
    assert probe() == "a"


def test_mode_off_is_disable(probe: Probe) -> None:
    opg.enable(registry=BOTH)
    opg.enable("off")
    assert not opg.is_enabled()
    assert probe() == "ab?"


# --- mistakes -----------------------------------------------------------------------------------

NOT_A_KEY = "This key cannot be registered: "

MISTAKES: dict[str, tuple[dict[str, Any], str]] = {
    "unknown mode": (
        {"mode": "enforced"},
        "mode='enforced' is not a mode. Accepted: enforce, inject, warn, off.",
    ),
    "empty mode": ({"mode": ""}, "mode='' is not a mode. Accepted: enforce, inject, warn, off."),
    "unknown on_error": (
        {"on_error": "ignore"},
        "on_error='ignore' is not understood. Accepted: raise, log.",
    ),
    "audit of another type": ({"audit": 5}, "audit=5 is not the path of a folder."),
    "empty audit": ({"audit": ""}, "audit='' is not the path of a folder."),
    "unknown unregistered": (
        {"unregistered": "maybe"},
        "unregistered='maybe' is not understood. Accepted: block, warn, allow, learn.",
    ),
    "unregistered of another type": (
        {"unregistered": True},
        "unregistered=True is not understood. Accepted: block, warn, allow, learn.",
    ),
    "unknown scope": (
        {"scope": "everything"},
        "scope='everything' is not understood. Accepted: sdk, process.",
    ),
    "id that is none": (
        {"registry": {"support-bot": A}},
        "'support-bot' is not a project id. A project id is proj_ and letters, digits, _ or -, as "
        "the project's settings page shows it; it is not the project's name.",
    ),
    "id with a space": ({"registry": {"proj_a ": A}}, "'proj_a ' is not a project id."),
    "key for an id": ({"registry": {A: "proj_a"}}, "'sk-proj-…AAAA' is not a project id."),
    "id of another type": ({"registry": {5: A}}, "5 is not a project id."),
    "empty key": ({"registry": {"proj_a": ""}}, f"registry['proj_a']: {NOT_A_KEY}the key is empty"),
    "empty key in a list": (
        {"registry": {"proj_a": [A, " "]}},
        f"registry['proj_a']: {NOT_A_KEY}the key is empty",
    ),
    "key with a line break": (
        {"registry": {"proj_a": A + "\n"}},
        f"registry['proj_a']: {NOT_A_KEY}the key has white space around it",
    ),
    "quoted key": (
        {"registry": {"proj_a": f'"{A}"'}},
        f"registry['proj_a']: {NOT_A_KEY}the key has quotes around it",
    ),
    "admin key": (
        {"registry": {"proj_a": "sk-admin-" + A}},
        f"registry['proj_a']: {NOT_A_KEY}an admin key belongs to the organization",
    ),
    "fingerprint for a key": (
        {"registry": {"proj_a": fingerprint(A)}},
        f"registry['proj_a']: {NOT_A_KEY}this is a fingerprint, not a key",
    ),
    "key of another type": (
        {"registry": {"proj_a": [A.encode()]}},
        "registry['proj_a']: A key must be a string, not bytes.",
    ),
    "no key at all": ({"registry": {"proj_a": None}}, "registry['proj_a']"),
    "number of keys": ({"registry": {"proj_a": 1}}, "registry['proj_a']"),
    "unknown alias": (
        {"project": "support-bot"},
        "project= 'support-bot' is neither a project id (proj_ and letters, digits, _ or -) nor a "
        "known alias. The registry has no alias.",
    ),
    "empty project": ({"project": ""}, "project= '' is neither a project id"),
    "project of another type": ({"project": 5}, "project= 5 is neither a project id"),
    "hosts as one string": (
        {"hosts": "gateway.example.com"},
        "hosts='gateway.example.com' is one string. Expected a list of host names.",
    ),
    "host with scheme": (
        {"hosts": ["https://gateway.example.com"]},
        "hosts= has 'https://gateway.example.com', which is not a host name. Expected a name "
        "alone, such as gateway.example.com, without scheme, port or path.",
    ),
    "host with port": ({"hosts": ["gateway.example.com:8080"]}, "hosts= has"),
    "empty host": ({"hosts": [" "]}, "hosts= has"),
    "host of another type": ({"hosts": [5]}, "hosts= has 5"),
    "hosts of another type": ({"hosts": 5}, "hosts=5 is"),
    "registry of another type": (
        {"registry": 5},
        "registry= is a int. Accepted: a path or a URL, a list of these, a Registry, or a mapping "
        "{project id: key or list of keys}.",
    ),
    "registry as a list of something else": (
        {"registry": ["some.toml", BOTH]},
        "registry= has a dict. Accepted:",
    ),
    "registry as a list of keys": ({"registry": [A]}, "sk-proj-…AAAA: there is no such file"),
    "registry file that is not there": (
        {"registry": "no-such.toml"},
        "no-such.toml: there is no such file.",
    ),
    "off and a registry": (
        {"mode": "off", "registry": BOTH},
        "mode='off' contradicts registry=. Leave them out.",
    ),
    "off and several": (
        {"mode": opg.Mode.OFF, "project": "proj_a", "hosts": ["x.example.com"]},
        "mode='off' contradicts project=, hosts=. Leave them out.",
    ),
    "project that the registry has not": (
        {"registry": {"proj_a": A}, "project": "proj_b"},
        "project='proj_b' contradicts registry=: that registry has no such project, so every call "
        "would be refused.",
    ),
}


def places() -> dict[Any, dict[str, object]]:
    """What stands on the SDK's classes."""
    bases = (SyncAPIClient, AsyncAPIClient, openai.OpenAI, openai.AsyncOpenAI)
    return {owner: dict(vars(owner)) for owner in bases}


EACH_MISTAKE = pytest.mark.parametrize("mistake", list(MISTAKES))


@EACH_MISTAKE
def test_a_mistake_is_explained_and_enables_nothing(mistake: str, probe: Probe) -> None:
    arguments, text = MISTAKES[mistake]
    before = places()
    with pytest.raises(opg.ConfigurationError) as refused:
        opg.enable(**arguments)
    assert str(refused.value).startswith(text)
    assert A not in str(refused.value)
    assert frames_holding(refused.value, A) == []
    assert places() == before
    assert not opg.is_enabled()
    assert probe() == "ab?"


@EACH_MISTAKE
def test_a_mistake_leaves_an_enabled_guard_as_it_was(mistake: str, probe: Probe) -> None:
    opg.enable(registry=BOTH, project="proj_b")
    before, settings = places(), STATE.settings
    with pytest.raises(opg.ConfigurationError):
        opg.enable(**MISTAKES[mistake][0])
    assert places() == before
    assert STATE.settings is settings
    assert opg.is_enabled()
    assert probe() == "b"


# --- replacing the settings ---------------------------------------------------------------------


def test_enabling_again_replaces_all_settings(probe: Probe) -> None:
    opg.enable("warn", registry={"proj_a": A}, project="proj_a", hosts=["gateway.example.com"])
    opg.enable(registry={"proj_b": B})
    assert probe() == "b"
    assert STATE.settings is not None
    assert not STATE.settings.is_openai("gateway.example.com")


def two_settings() -> tuple[Callable[[], None], Callable[[], None]]:
    """Two settings under which one call fares differently, in each by mode and by registry."""
    one, two = opg.Registry(), opg.Registry()
    one.register(A, "proj_1")
    two.register(A, "proj_2")
    return lambda: opg.enable("enforce", registry=one), lambda: opg.enable("warn", registry=two)


OF_EITHER = {("blocked", "mismatch", ("proj_1",)), ("warned", "mismatch", ("proj_2",))}


def test_a_change_at_any_moment_of_a_call_gives_the_old_verdict_or_the_new() -> None:
    """Line by line through the check: the settings are replaced just before that line runs."""
    first, then = two_settings()
    verdicts: list[Any] = []
    opg.add_observer(lambda each: verdicts.append((each.outcome, each.reason, each.expected)))
    client = sync_client(Recorder(), project="proj_3")
    before = sys.gettrace()

    def call_with_change_at(line: int) -> bool:
        passed = 0

        def trace(frame: Any, event: str, _: Any) -> Any:
            nonlocal passed
            if not frame.f_code.co_filename.endswith(("check.py", "_settings.py", "verdict.py")):
                return trace if event == "call" else None
            if event == "line":
                passed += 1
                if passed == line:
                    then()
            return trace

        first()
        sys.settrace(trace)
        try:
            with suppress(opg.ProjectMismatchError):
                client.models.list()
        finally:
            sys.settrace(before)
        return passed >= line

    line = 1
    while call_with_change_at(line):
        line += 1
    assert line > 20
    assert len(verdicts) == line
    assert set(verdicts) == OF_EITHER


def test_no_call_is_judged_by_a_mix_of_old_and_new_settings() -> None:
    first, then = two_settings()
    verdicts: set[Any] = set()
    opg.add_observer(lambda each: verdicts.add((each.outcome, each.reason, each.expected)))
    first()
    errors: list[BaseException] = []
    done = threading.Event()

    def call() -> None:
        client = sync_client(Recorder(), project="proj_3")
        try:
            for _ in range(60):
                with suppress(opg.ProjectMismatchError):
                    client.models.list()
        except BaseException as error:
            errors.append(error)

    def flip() -> None:
        while not done.is_set():
            then()
            first()

    interval = sys.getswitchinterval()
    sys.setswitchinterval(1e-5)
    try:
        callers = [threading.Thread(target=call) for _ in range(4)]
        flipper = threading.Thread(target=flip)
        for thread in (*callers, flipper):
            thread.start()
        for thread in callers:
            thread.join()
        done.set()
        flipper.join()
    finally:
        sys.setswitchinterval(interval)
    assert not errors
    assert verdicts
    assert verdicts <= OF_EITHER


def test_calls_go_through_or_are_refused_while_the_guard_is_switched_on_and_off() -> None:
    opg.register(B, "proj_b")
    errors: list[BaseException] = []
    done = threading.Event()
    sent = Recorder()

    def call() -> None:
        client = sync_client(sent, project="proj_a")
        while not done.is_set():
            try:
                client.models.list()
            except opg.UnregisteredKeyError:  # noqa: PERF203
                continue
            except BaseException as error:
                errors.append(error)

    callers = [threading.Thread(target=call) for _ in range(3)]
    for thread in callers:
        thread.start()
    for _ in range(100):
        opg.enable()
        opg.disable()
    done.set()
    for thread in callers:
        thread.join()
    assert not errors


# --- register() ---------------------------------------------------------------------------------


def test_a_registered_key_counts_at_once_and_survives_disable_and_enable(probe: Probe) -> None:
    opg.enable()
    assert probe() == ""
    opg.register(A, "proj_a")
    assert probe() == "a"
    opg.disable()
    opg.register(B, "proj_b")
    opg.enable(registry={"proj_x": STRANGER})
    assert probe() == "ab?"


def test_a_key_is_registered_for_an_alias_of_the_registry_in_force(
    tmp_path: Path, probe: Probe
) -> None:
    opg.enable(registry=write_registry(tmp_path / "r.toml", bot="proj_a"))
    opg.register(A, "bot")
    assert probe() == "a"
    with pytest.raises(opg.ConfigurationError, match="The registry has the alias bot"):
        opg.register(B, "web")


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
    assert opg.is_enabled()
    opg.disable()
    assert not opg.is_enabled()
    assert caplog.records == []
