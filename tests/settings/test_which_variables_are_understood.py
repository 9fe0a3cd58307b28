"""The environment: names that are none of the guard's, quotes, white space, `~`, and who wins."""

from __future__ import annotations

import logging
import os
from pathlib import Path

import pytest
from support import A, B, Probe, fingerprint, output, python, write_registry

import openai_project_guard as opg
from openai_project_guard import _env
from openai_project_guard._state import STATE

pytestmark = pytest.mark.usefixtures("clean")

GUARD = "OPENAI_PROJECT_GUARD"
BOTH = {"proj_a": A, "proj_b": B}


@pytest.mark.parametrize(
    ("mistyped", "nearest"),
    [
        ("_HOST", "_HOSTS"),
        ("_REGISTY", "_REGISTRY"),
        ("_UNREGISTRED", "_UNREGISTERED"),
        ("_OVERIDE", "_OVERRIDE"),
        ("_ONERROR", "_ON_ERROR"),
        ("_AUDITS", "_AUDIT"),
        ("_MODE", ""),
        ("_ENABLE", ""),
        ("_ENABLED", ""),
        ("_ENFORCE", ""),
        ("_DISABLED", ""),
    ],
)
def test_an_unknown_variable_is_refused_and_the_nearest_is_named(
    mistyped: str, nearest: str, clean: pytest.MonkeyPatch
) -> None:
    clean.setenv(GUARD + mistyped, A)  # somebody may have put a key there
    with pytest.raises(opg.ConfigurationError) as refused:
        opg.enable(registry=BOTH)
    assert f"The environment variable {GUARD}{mistyped} is not one" in str(refused.value)
    assert f"The nearest is {GUARD}{nearest} (" in str(refused.value)
    assert "). Correct the name, or unset it." in str(refused.value)
    assert A not in str(refused.value)
    assert not opg.is_enabled()
    with pytest.raises(opg.ConfigurationError), opg.guard():
        pass


@pytest.mark.parametrize("unknown", ["_POLICY", "_TIMEOUT", "_FILE", "_LOG_LEVEL", "_X"])
def test_where_no_variable_is_near_all_are_named(unknown: str, clean: pytest.MonkeyPatch) -> None:
    clean.setenv(GUARD + unknown, "enforce")
    with pytest.raises(opg.ConfigurationError) as refused:
        opg.enable(registry=BOTH)
    assert str(refused.value) == (
        f"The environment variable {GUARD}{unknown} is not one that the guard knows. There are "
        f"{GUARD} and, behind it, _REGISTRY, _KEYS, _PROJECT, _UNREGISTERED, _HOSTS, _LEARNED, "
        "_SCOPE, _SNAPSHOT, _OVERRIDE, _ON_ERROR, _AUDIT. Correct the name, or unset it."
    )


@pytest.mark.parametrize("mode", ["off", "enforce", None])
def test_an_unknown_variable_stops_the_import_even_of_a_guard_that_is_off(mode: str | None) -> None:
    environment = {} if mode is None else {GUARD: mode}
    run = python("import openai_project_guard", **environment, OPENAI_PROJECT_GUARD_HOST="x")
    assert run.returncode == 1
    assert "ConfigurationError: The environment variable OPENAI_PROJECT_GUARD_HOST" in run.stderr


@pytest.mark.parametrize("around", ['"{}"', "'{}'", "  {} ", ' "{}"\n', '" {} "'])
def test_quotes_and_white_space_are_no_part_of_a_value(
    around: str, clean: pytest.MonkeyPatch, tmp_path: Path, probe: Probe
) -> None:
    write_registry(tmp_path / "b.toml", other=f"proj_b:{B}")
    values = {
        "": "enforce",
        "_KEYS": f"proj_a={fingerprint(A)}",
        "_REGISTRY": str(tmp_path / "b.toml"),
        "_UNREGISTERED": "block",
        "_HOSTS": "gateway.example.com,other.example.com",
        "_SCOPE": "sdk",
        "_ON_ERROR": "raise",
        "_PROJECT": "proj_b",
        "_AUDIT": str(tmp_path / "audit"),
    }
    for name, value in values.items():
        clean.setenv(GUARD + name, around.format(value))
    _env.check_choices()
    opg.enable()
    assert probe() == "b"
    settings = STATE.settings
    assert settings is not None
    assert {"gateway.example.com", "other.example.com"} < settings.hosts
    assert settings.audit_folder == str(tmp_path / "audit")


def test_quotes_that_do_not_match_are_left_where_they_are(clean: pytest.MonkeyPatch) -> None:
    for value in ("\"warn'", '"warn', 'warn"', '"', '"warn","warn"'):
        clean.setenv(GUARD, value)
        with pytest.raises(opg.ConfigurationError, match=f"variable {GUARD} is "):
            opg.enable()


def test_empty_quotes_are_an_empty_value(clean: pytest.MonkeyPatch, probe: Probe) -> None:
    for name in ("", "_PROJECT", "_HOSTS", "_KEYS", "_UNREGISTERED", "_OVERRIDE"):
        clean.setenv(GUARD + name, '""')
    opg.enable(registry=BOTH)
    assert probe() == "ab"


def test_a_wrong_inline_registry_is_named_by_its_own_variable(clean: pytest.MonkeyPatch) -> None:
    clean.setenv(GUARD + "_KEYS", f'"proj_a={A}"')
    with pytest.raises(opg.RegistryError) as refused:
        opg.enable()
    assert str(refused.value).startswith(f"{GUARD}_KEYS: pair 1 cannot be read")
    assert "_REGISTRY" not in str(refused.value)
    assert A not in str(refused.value)


def test_a_tilde_is_the_home(clean: pytest.MonkeyPatch, tmp_path: Path, probe: Probe) -> None:
    clean.setenv("HOME", str(tmp_path / "home"))
    clean.setenv("USERPROFILE", str(tmp_path / "home"))
    write_registry(tmp_path / "home" / "a.toml", support=f"proj_a:{A}")
    write_registry(tmp_path / "home" / "b.toml", other=f"proj_b:{B}")
    clean.setenv(GUARD + "_REGISTRY", "~/a.toml, ~/b.toml")
    opg.enable()
    assert probe() == "ab"
    clean.delenv(GUARD + "_REGISTRY")
    opg.enable(registry="~/a.toml")
    assert probe() == "a"
    clean.setenv(GUARD + "_LEARNED", "~/b.toml")
    opg.enable()
    assert probe() == "b"


def test_hosts_given_as_an_empty_list_are_none(clean: pytest.MonkeyPatch) -> None:
    clean.setenv(GUARD + "_HOSTS", "gateway.example.com")
    opg.enable(registry=BOTH)
    assert STATE.settings is not None
    assert STATE.settings.is_openai("gateway.example.com")
    opg.enable(registry=BOTH, hosts=[])
    assert not STATE.settings.is_openai("gateway.example.com")


# --- the override -------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("override", "through"), [("off", "ab?"), ("warn", "ab?"), ("inject", "ab"), ("enforce", "ab")]
)
@pytest.mark.parametrize("mode", ["warn", "enforce", "inject"])
def test_the_override_beats_the_argument_and_is_logged(
    override: str,
    through: str,
    mode: str,
    clean: pytest.MonkeyPatch,
    probe: Probe,
    caplog: pytest.LogCaptureFixture,
) -> None:
    clean.setenv(GUARD + "_OVERRIDE", override)
    opg.enable(opg.Mode(mode), registry=BOTH)
    assert probe() == through
    with opg.guard(mode=opg.Mode(mode)):
        assert probe() == through
    said = [r for r in caplog.records if "_OVERRIDE is " in r.getMessage()]
    assert said
    assert said[0].levelno == logging.WARNING
    assert f"{GUARD}_OVERRIDE is {override}: it beats every setting" in said[0].getMessage()


def test_the_override_beats_scopes_where_the_guard_is_not_enabled(
    clean: pytest.MonkeyPatch, probe: Probe, caplog: pytest.LogCaptureFixture
) -> None:
    clean.setenv(GUARD + "_KEYS", f"proj_a={fingerprint(A)},proj_b={fingerprint(B)}")
    clean.setenv(GUARD + "_OVERRIDE", "warn")
    with opg.guard(mode="enforce", project="proj_a"):
        assert probe() == "ab?"
    with opg.guard(mode="off"):
        assert probe() == "ab?"
    assert sum("_OVERRIDE is " in r.getMessage() for r in caplog.records) == 1
    assert all(r.getMessage().startswith("sent with a warning") for r in caplog.records[1:])
    assert len(caplog.records) > 1


@pytest.mark.skipif(os.name == "nt", reason="a colon is behind the letter of a drive there")
def test_a_path_may_have_a_colon_in_it(clean: pytest.MonkeyPatch, tmp_path: Path) -> None:
    clean.setenv(GUARD + "_AUDIT", str(tmp_path / "since 10:30"))
    opg.enable(registry={"proj_a": A})
    assert (tmp_path / "since 10:30").is_dir()


@pytest.mark.parametrize("name", ["_LEARNED", "_SNAPSHOT", "_AUDIT"])
@pytest.mark.parametrize(
    "url",
    ["redis://user:{}@127.0.0.1:6379/0", "redis://127.0.0.1:6379/0?username=user&password={}"],
)
def test_a_url_is_no_path(name: str, url: str) -> None:
    password = "not-a-real-password"
    run = python(
        "import openai_project_guard", **{GUARD: "enforce", GUARD + name: url.format(password)}
    )
    shown = url.replace("user:{}", "…").format("…")
    assert f"{GUARD}{name} is '{shown}', a URL. Expected the path of a " in run.stderr
    assert password not in run.stderr


def test_a_url_that_load_dotenv_sets_for_the_learned_file_is_no_path(
    clean: pytest.MonkeyPatch,
) -> None:
    clean.setenv(GUARD + "_LEARNED", "redis://user:not-a-real-password@h/0")
    with pytest.raises(opg.ConfigurationError, match=r"_LEARNED is 'redis://…@h/0', a URL"):
        opg.enable(registry=BOTH, unregistered="learn")


def test_an_override_of_off_lets_a_broken_set_up_start(
    clean: pytest.MonkeyPatch, tmp_path: Path, probe: Probe
) -> None:
    (tmp_path / "openai-projects.toml").write_text("<<<<<<< HEAD\n", encoding="utf-8")
    clean.setenv(GUARD, "enforce")
    clean.setenv(GUARD + "_OVERRIDE", "off")
    opg.enable(project="support-bot")
    with opg.guard(project="support-bot", mode="enforce"):
        assert probe() == "ab?"


def test_an_override_switches_a_guard_on_that_is_off(tmp_path: Path) -> None:
    code = "import openai_project_guard as g; print(g.is_enabled())"
    assert output(code, OPENAI_PROJECT_GUARD_OVERRIDE="enforce") == "True"
    assert output(code, OPENAI_PROJECT_GUARD_OVERRIDE="off") == "False"
    both = {"OPENAI_PROJECT_GUARD": "enforce", "OPENAI_PROJECT_GUARD_OVERRIDE": "off"}
    assert output(code, **both) == "False"
    broken = {"OPENAI_PROJECT_GUARD_KEYS": "proj_a", "OPENAI_PROJECT_GUARD_REGISTRY": "none.toml"}
    assert output(code, **both, **broken) == "False"  # what is wrong may be the very reason
    run = python(code, OPENAI_PROJECT_GUARD_OVERRIDE="1")
    assert "OPENAI_PROJECT_GUARD_OVERRIDE is '1', which is not understood" in run.stderr


def test_every_variable_is_in_the_table_once() -> None:
    names = [variable.name for variable in _env.VARIABLES]
    assert len(set(names)) == len(names) == 12
    assert all(variable.accepted for variable in _env.VARIABLES)
    assert not [name for name in os.environ if name.startswith(GUARD)]
    for variable in _env.VARIABLES:
        variable.read()
