"""How is the guard set up: by arguments over environment variables over files?

`probe()` says which calls get through: `"ab?"` everything, `"ab"` what is in order, `"a"` only
what is of project a.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import pytest
from support import (
    KEYS,
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
from openai_project_guard import _env
from openai_project_guard._state import STATE

pytestmark = pytest.mark.usefixtures("clean")


GUARD = "OPENAI_PROJECT_GUARD"

SPELLINGS = {
    "enforce": ("enforce", "1", "true", "on", "yes", "ENFORCE", " On ", "True"),
    "inject": ("inject", "Inject"),
    "warn": ("warn", " WARN"),
    "off": ("off", "0", "false", "no", "", "  ", "OFF", "False", None),
}


# --- the environment, read when the package is imported -------------------------------------------


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
        "(proj_ and letters, digits, _ or -) nor a known alias. No registry has an alias.",
    ),
    (
        {GUARD: "1", GUARD + "_REGISTRY": "no-such.toml"},
        "RegistryError: no-such.toml: there is no such file.",
    ),
    (
        {GUARD: "1", GUARD + "_KEYS": "proj_a=sk-proj-0123456789-Ab3d"},
        f"RegistryError: {GUARD}_KEYS: pair 1 cannot be read: after '=', this is a "
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


@pytest.mark.parametrize("variable", [GUARD, GUARD + "_SCOPE", GUARD + "_AUDIT"])
def test_no_frame_of_an_import_that_fails_holds_a_key_that_a_variable_has(variable: str) -> None:
    code = f"""
import os
try:
    import openai_project_guard
except ValueError as error:
    refused = error
del os.environ["{variable}"]
from support import A, frames_holding
print(frames_holding(refused, A, A.lower()))
"""
    assert output(code, **{GUARD: "enforce", variable: A}) == "[]"


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


# --- the environment, variable by variable --------------------------------------------------------


@pytest.mark.parametrize(
    ("value", "through", "logs"),
    [
        ("block", "ab", ["refused"]),
        (" WARN ", "ab?", ["sent with a warning"]),
        ("Allow", "ab?", []),
        ("learn", "ab?", []),
        ("", "ab", ["refused"]),
        (None, "ab", ["refused"]),
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
    opg.enable(registry=KEYS)
    assert probe() == through
    assert [record.getMessage().partition(":")[0] for record in caplog.records] == logs


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
        (A, "pair 1 cannot be read: before '=', there is a raw key"),
        (f"{A}={fingerprint(A)}", "pair 1 cannot be read: before '='"),
        (f"proj_a={fingerprint(A)},proj_b={B}", "pair 2 cannot be read: after '='"),
        (f"proj_a={fingerprint(A)[:-1]}", "pair 1 cannot be read: after '='"),
        (f"bot={fingerprint(A)}", "pair 1 cannot be read: before '='"),
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


# --- argument, environment, file ------------------------------------------------------------------


def test_what_is_not_passed_comes_from_the_environment(
    clean: pytest.MonkeyPatch, probe: Probe, caplog: pytest.LogCaptureFixture
) -> None:
    clean.setenv(GUARD, "warn")
    clean.setenv(GUARD + "_KEYS", f"proj_a={fingerprint(A)}")
    clean.setenv(GUARD + "_PROJECT", "proj_a")
    clean.setenv(GUARD + "_UNREGISTERED", "allow")
    opg.enable()
    assert probe() == "ab?"
    said = "sent with a warning: it is not of the project that is pinned here: "
    assert [record.getMessage()[: len(said)] for record in caplog.records] == [said] * 2


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
        registry=KEYS,
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
    opg.enable(registry=KEYS)
    clean.setenv(GUARD, "off")
    opg.enable(registry=KEYS)
    assert not opg.is_enabled()
    assert probe() == "ab?"
    opg.enable("enforce", registry=KEYS)
    assert probe() == "ab"
    clean.setenv(GUARD, "")  # as a compose file passes a variable that is not set
    opg.enable(registry=KEYS)
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


def test_a_registry_that_is_filled_later_is_the_active_one(probe: Probe) -> None:
    registry = opg.Registry()
    opg.enable(registry=registry)
    assert probe() == ""
    registry.register(A, "proj_a")
    assert probe() == "a"


def test_mode_off_is_disable(probe: Probe) -> None:
    opg.enable(registry=KEYS)
    opg.enable("off")
    assert not opg.is_enabled()
    assert probe() == "ab?"


@pytest.mark.parametrize("name", ["openai-project-guard-report.py", "report.py"])
def test_a_program_with_a_name_like_ours_is_guarded(name: str, tmp_path: Any) -> None:
    script = tmp_path / name
    script.write_text("import openai_project_guard as g; print(g.is_enabled())", encoding="utf-8")
    run = python(
        f"import runpy, sys; sys.argv = [{str(script)!r}]; runpy.run_path({str(script)!r})",
        OPENAI_PROJECT_GUARD="enforce",
    )
    assert run.stdout.strip() == "True", run.stderr


@pytest.mark.parametrize("variable", ["_KEYS", "_HOSTS"])
def test_a_bad_value_stops_the_import_of_a_guard_that_is_off(variable: str) -> None:
    run = python("import openai_project_guard", **{"OPENAI_PROJECT_GUARD" + variable: "a/b"})
    assert run.returncode == 1
    assert "OPENAI_PROJECT_GUARD" + variable in run.stderr.splitlines()[-1]


@pytest.mark.parametrize(
    "named",
    [
        "redis://host/0?password=hunterA,hunterB",
        "redis://user:hunterA/hunterB,hunterC@host/0",
        "s3://user:hunterA,hunterB@host",
        "user:hunterA@host:6379",
    ],
)
def test_no_part_of_a_password_is_shown_as_the_name_of_a_file(
    named: str, clean: pytest.MonkeyPatch
) -> None:
    clean.setenv(GUARD + "_REGISTRY", named)
    with pytest.raises((opg.ConfigurationError, opg.RegistryError)) as caught:
        opg.enable()
    assert "hunter" not in str(caught.value)
    for command in ("list", "check", "doctor"):
        code = (
            f"import sys; from openai_project_guard._cli import main; sys.exit(main(['{command}']))"
        )
        run = python(code, **{GUARD + "_REGISTRY": named})
        assert run.returncode != 0
        assert "hunter" not in run.stdout + run.stderr


def test_a_file_may_follow_a_url(clean: pytest.MonkeyPatch, tmp_path: Path) -> None:
    (tmp_path / "registry.toml").touch()
    names = ("redis://host/0", str(tmp_path / "registry.toml"))
    clean.setenv(GUARD + "_REGISTRY", ",".join(names))
    assert _env.registry_names() == names


def test_a_key_for_a_path_is_not_to_be_made_a_registry() -> None:
    with pytest.raises(opg.RegistryError, match="no such file, and a key is where its path or a"):
        opg.enable(registry=A)


def test_a_folder_that_is_named_like_a_key_does_not_make_a_path_a_key(
    clean: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    (folder := tmp_path / A).mkdir()
    clean.chdir(folder)
    with pytest.raises(opg.RegistryError, match=r"^gone\.toml: there is no such file. `openai-"):
        opg.enable(registry="gone.toml")


@pytest.mark.parametrize("named", [",", " , ,"])
def test_commas_alone_name_no_registry(
    named: str, clean: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """As of `"$TEAM,$COMMON"` where neither is set: a default file that is there is not read."""
    clean.chdir(tmp_path)
    (tmp_path / "openai-projects.toml").write_text("version = 1\n", "utf-8")
    clean.setenv(GUARD + "_REGISTRY", named)
    with pytest.raises(opg.ConfigurationError, match="_REGISTRY names no registry"):
        opg.enable()
    assert not opg.is_enabled()
    opg.enable(registry={"proj_a": A})


@pytest.mark.parametrize(
    ("named", "names"),
    [
        ("a.toml,b.toml", ("a.toml", "b.toml")),
        ("redis://:pass,word@h:1/0, b.toml", ("redis://:pass,word@h:1/0", "b.toml")),
        ("a.toml, redis://u:a,b,c@h/0", ("a.toml", "redis://u:a,b,c@h/0")),
        ("redis://h:6379,rediss://u:p@h/0", ("redis://h:6379", "rediss://u:p@h/0")),
    ],
)
def test_a_comma_in_a_password_ends_no_name(
    clean: pytest.MonkeyPatch, named: str, names: tuple[str, ...], tmp_path: Path
) -> None:
    clean.chdir(tmp_path)
    (tmp_path / "b.toml").touch()
    clean.setenv("OPENAI_PROJECT_GUARD_REGISTRY", named)
    assert _env.registry_names() == names
