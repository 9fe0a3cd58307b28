"""A canary key goes through every command and every error: it must stand nowhere afterwards."""

from __future__ import annotations

import io
import logging
import os
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from cli_shell import Shell, command
from openai.resources.models import Models
from support import A, frames_holding

import openai_project_guard as opg
from openai_project_guard._cli import key_input, parsers
from openai_project_guard._errors import ConfigurationError
from openai_project_guard._registry import stores as edit
from openai_project_guard.loopback import loopback_api

SECRET = "canaryCANARYcanaryCANARYcanary"
CANARY = f"sk-proj-{SECRET}-7777"
FILE = Path("openai-projects.toml")


@pytest.fixture
def canary(run: Shell, caplog: pytest.LogCaptureFixture) -> Iterator[Shell]:
    """A shell in which every variable that can hold a key, or is mistaken for one, holds it."""
    caplog.set_level(logging.DEBUG)
    run.patch.setenv("OPENAI_API_KEY", CANARY)
    with loopback_api({A: "proj_a"}) as api:
        run.patch.setenv("OPENAI_BASE_URL", api.base_url)
        yield run
    assert SECRET not in caplog.text
    for path in Path.cwd().rglob("*"):
        if path.is_file() and path.name != "input":
            assert SECRET not in path.read_text(errors="replace"), path


COMMANDS: dict[str, tuple[str, ...]] = {
    "register": ("register", "proj_a", "--weak"),
    "register, in vain": ("register", "no project", "--weak"),
    "register from a variable": ("register", "proj_a", "--key-env", "OPENAI_API_KEY", "--weak"),
    "register, verified": ("register", "proj_a", "--verify", "--weak"),
    "register without --weak": ("register", "proj_a"),
    "fingerprint": ("fingerprint",),
    "register as an argument": ("register", "proj_a", CANARY),
    "register as an option": ("register", "proj_a", f"--key={CANARY}"),
    "register as a note": ("register", "proj_a", "--note", CANARY),
    "register into": ("register", "proj_a", "--registry", f"/{CANARY}/x.toml"),
    "list": ("list",),
    "list as JSON": ("list", "--json"),
    "list of": ("list", "--registry", CANARY),
    "remove": ("remove", CANARY),
    "check": ("check",),
    "check as JSON": ("check", "--json"),
    "check, live": ("check", "--live"),
    "doctor": ("doctor",),
    "doctor as JSON": ("doctor", "--json"),
    "doctor, live": ("doctor", "--live", "--json"),
}

PLACES: dict[str, dict[str, str]] = {
    "where it belongs": {},
    "for the project": {"OPENAI_PROJECT_ID": CANARY},
    "for another's project": {"OPENAI_PROJECT": CANARY},
    "for the organization": {"OPENAI_ORG_ID": CANARY},
    "with a newline": {"OPENAI_API_KEY": CANARY + "\n"},
    "with quotes": {"OPENAI_API_KEY": f'"{CANARY}"'},
    "with an accent": {"OPENAI_API_KEY": f"{CANARY}é"},
    "broken": {"OPENAI_API_KEY": f"{CANARY}\udcff"},
    "twice": {"OPENAI_API_KEY": f"{CANARY} {CANARY}"},
    "as an admin key": {"OPENAI_API_KEY": f"sk-admin-{SECRET}-7777"},
    "of a gateway": {"OPENAI_API_KEY": f"gw{SECRET}7777"},
    "in a header": {"OPENAI_CUSTOM_HEADERS": f"Authorization: Bearer {CANARY}"},
    "in a project header": {"OPENAI_CUSTOM_HEADERS": f"OpenAI-Project: {CANARY}"},
    "in the base URL": {"OPENAI_BASE_URL": f"http://user:{SECRET}@127.0.0.1:1/{CANARY}"},
    "as the mode": {"OPENAI_PROJECT_GUARD": CANARY},
    "as a host": {"OPENAI_PROJECT_GUARD_HOSTS": CANARY},
    "as the pinned project": {"OPENAI_PROJECT_GUARD_PROJECT": CANARY},
    "as the registry": {"OPENAI_PROJECT_GUARD_REGISTRY": f"{CANARY}.toml"},
    "as a registry's URL": {"OPENAI_PROJECT_GUARD_REGISTRY": f"redis://:{SECRET}@host/0"},
    "for a fingerprint": {"OPENAI_PROJECT_GUARD_KEYS": f"proj_a={CANARY}"},
    "for what is learned": {"OPENAI_PROJECT_GUARD_LEARNED": f"{CANARY}.toml"},
}


@pytest.mark.parametrize("name", COMMANDS)
def test_no_command_shows_it(canary: Shell, name: str) -> None:
    ran = canary(*COMMANDS[name], stdin=CANARY)
    assert SECRET not in ran.out + ran.err


@pytest.mark.parametrize("place", PLACES)
def test_no_wrong_place_shows_it(canary: Shell, place: str) -> None:
    for name, value in PLACES[place].items():
        canary.patch.setenv(name, value)
    for argv in (
        ("check",),
        ("doctor", "--json"),
        ("doctor",),
        ("list",),
        ("register", "proj_a", "--weak"),
    ):
        ran = canary(*argv, stdin=A)
        assert SECRET not in ran.out + ran.err
        assert ran.status in (0, 1, 2)


@pytest.mark.parametrize(
    "text",
    [
        f'version = 1\n[projects.bot]\nid = "{CANARY}"\n',
        f'version = 1\n[projects.bot]\nid = "proj_a"\nkeys = ["{CANARY}"]\n',
        f"version = 1\n[projects.{CANARY}]\n",
        f"{CANARY}",
        f'version = "{CANARY}',
    ],
)
def test_no_broken_registry_shows_it(canary: Shell, text: str) -> None:
    Path("input").write_text(text)
    canary.patch.setenv("OPENAI_PROJECT_GUARD_REGISTRY", "input")
    for argv in (
        ("check", "--json"),
        ("doctor",),
        ("list",),
        ("remove", "proj_a"),
        ("register", "proj_a", "--weak"),
    ):
        ran = canary(*argv, stdin=A)
        assert (ran.status, SECRET in ran.out + ran.err) == (2, False)


OF_A_GATEWAY = "Zk4Qm9Tx2Lp7Vb1Nc8Rd5Ws"
"""A key whose beginning says nothing."""


@pytest.mark.parametrize("variable", ["OPENAI_PROJECT_ID", "OPENAI_ORG_ID", "OPENAI_PROJECT"])
@pytest.mark.parametrize("command", [("check",), ("doctor",), ("check", "--env-file", "some.env")])
@pytest.mark.parametrize("as_json", [False, True])
def test_a_registered_key_of_any_form_in_the_place_of_an_id_is_not_shown(
    run: Shell, variable: str, command: tuple[str, ...], as_json: bool
) -> None:
    assert run("register", "proj_gateway", stdin=OF_A_GATEWAY).status == 0
    assert run("register", "proj_a", stdin=A).status == 0
    Path("some.env").write_text(f"OPENAI_API_KEY={A}\n{variable}={OF_A_GATEWAY}\n")
    if "--env-file" not in command:
        run.patch.setenv("OPENAI_API_KEY", A)
        run.patch.setenv(variable, OF_A_GATEWAY)
    ran = run(*command, *(["--json"] if as_json else []))
    assert OF_A_GATEWAY not in ran.out + ran.err
    assert "d5Ws" in ran.out + ran.err or variable != "OPENAI_PROJECT_ID"


@pytest.mark.parametrize("text", [OF_A_GATEWAY, f"https://{OF_A_GATEWAY}/v1", f"x,{OF_A_GATEWAY}"])
@pytest.mark.parametrize(
    "setting",
    ["", "_OVERRIDE", "_PROJECT", "_UNREGISTERED", "_HOSTS", "_SCOPE", "_ON_ERROR", "_KEYS"],
)
@pytest.mark.parametrize("command", [("check",), ("doctor",), ("doctor", "--json")])
def test_what_looks_like_a_key_in_a_setting_is_not_shown(
    run: Shell, setting: str, text: str, command: tuple[str, ...]
) -> None:
    run.patch.setenv("OPENAI_API_KEY", A)
    run.patch.setenv(f"OPENAI_PROJECT_GUARD{setting}", text)
    ran = run(*command)
    assert ran.status in (1, 2)
    assert OF_A_GATEWAY not in ran.out + ran.err


@pytest.mark.parametrize("command", ["check", "doctor"])
def test_what_looks_like_a_key_where_a_variables_name_belongs_is_not_shown(
    run: Shell, command: str
) -> None:
    assert run("register", "proj_a", stdin=A).status == 0
    Path("some.env").write_text(f"OPENAI_API_KEY={A}\nOPENAI_PROJECT_ID=${{{OF_A_GATEWAY}}}\n")
    ran = run(command, "--env-file", "some.env")
    assert "…d5Ws" in ran.out + ran.err
    assert OF_A_GATEWAY not in ran.out + ran.err


@pytest.mark.parametrize("what", [OF_A_GATEWAY, f"…{OF_A_GATEWAY}", f"key={OF_A_GATEWAY}"])
def test_a_key_where_its_hint_belongs_is_not_shown(run: Shell, what: str) -> None:
    assert run("register", "proj_a", stdin=OF_A_GATEWAY).status == 0
    ran = run("remove", what)
    assert "…d5Ws" in ran.err
    assert OF_A_GATEWAY not in ran.out + ran.err


@pytest.mark.parametrize("length", range(1, 13))
@pytest.mark.parametrize("variable", ["OPENAI_API_KEY", "OPENAI_ADMIN_KEY"])
def test_a_key_of_the_environment_is_no_part_of_a_text_if_it_is_long_enough_to_tell(
    clean: pytest.MonkeyPatch, variable: str, length: int
) -> None:
    key = OF_A_GATEWAY[:length]
    clean.setenv(variable, key)
    assert key not in key_input.without_keys(f"'{key}'")
    assert (key in key_input.without_keys(f"in {key}s")) is (length < 8)


@pytest.mark.parametrize("option", ["--alias", "--note", "--organization"])
def test_the_key_itself_beside_the_key_is_not_written(run: Shell, option: str) -> None:
    ran = run("register", "proj_a", option, OF_A_GATEWAY, stdin=OF_A_GATEWAY)
    assert (ran.status, FILE.exists()) == (2, False)
    assert "its alias, note or organization has a key in it" in ran.err
    assert OF_A_GATEWAY not in ran.out + ran.err


@pytest.mark.parametrize(
    "argument",
    [
        "--proj_5fPqTn0wLxYz19AbCdEfGh12",
        "/nix/store/0c5bk2mzq8wv1yx7r3s4d6f9h0j2k4l6-python3.12/bin/python",
        "--some-option-that-nobody-ever-heard-of",
        "proj_5fPqTn0wLxYz19AbCdEfGh12",
    ],
)
def test_a_harmless_argument_that_nobody_expects_is_shown(run: Shell, argument: str) -> None:
    assert argument in run("check", argument).err


@pytest.mark.parametrize(
    "arguments",
    [
        ("fingerprint", OF_A_GATEWAY),
        ("register", "proj_x", OF_A_GATEWAY),
        (OF_A_GATEWAY,),
        ("run", "--mode", OF_A_GATEWAY, "--", "true"),
        ("run", "--scope", OF_A_GATEWAY, "--", "true"),
        ("list", "--registry", "a.toml", OF_A_GATEWAY),
        (f"\n{OF_A_GATEWAY}",),
        ("check", f"--key={OF_A_GATEWAY}"),
        ("doctor", f"--jsn={OF_A_GATEWAY}"),
        ("check", f"OPENAI_API_KEY={OF_A_GATEWAY}"),
        ("check", f"key:{OF_A_GATEWAY}/"),
        ("register", "proj_a", f"x {OF_A_GATEWAY} y"),
        (f"--registry={OF_A_GATEWAY}", "check"),
    ],
)
def test_an_argument_that_looks_like_a_key_is_not_shown(
    run: Shell, arguments: tuple[str, ...]
) -> None:
    ran = run(*arguments)
    assert ran.status == 2
    assert OF_A_GATEWAY not in ran.out + ran.err
    assert "…d5Ws" in ran.err


@pytest.mark.parametrize(
    "arguments",
    [
        ("validate",),
        ("report",),
        ("report", "audit", "--html"),
        ("check", "--env-file"),
        ("doctor", "--env-file"),
        ("run", "--env-file"),
        ("run", "--audit"),
        ("register",),
        ("check",),
        ("list", "--nothing"),
    ],
)
@pytest.mark.parametrize("url", ["redis://h/0?password={}&db=1", "redis://user:{}@h/0"])
def test_a_url_in_a_wrong_place_shows_no_password(
    run: Shell, arguments: tuple[str, ...], url: str
) -> None:
    ran = run(*arguments, url.format("not-a-real-password"))
    assert ran.status != 0
    assert "password" not in (ran.out + ran.err).replace("password=…", "")


def test_an_option_that_is_not_known_shows_no_key(capsys: pytest.CaptureFixture[str]) -> None:
    parser = parsers.Parser("program")
    with pytest.raises(SystemExit):
        parser.parse_args([f"--key={CANARY}"])
    said = capsys.readouterr().err
    assert "unrecognized arguments: --key=sk-proj-…7777" in said
    assert SECRET not in said


# Tracebacks


@pytest.mark.parametrize(
    "argv",
    [
        ("register", "proj_a", "--weak"),
        ("register", "no project", "--weak"),
        ("register", "proj_a", "--verify", "--weak"),
        ("register", "proj_a", "--key-env", "OPENAI_API_KEY", "--weak"),
        ("check", "--live"),
        ("doctor",),
    ],
)
@pytest.mark.parametrize("kind", [RuntimeError, KeyboardInterrupt, ConfigurationError])
def test_no_frame_of_ours_holds_it_when_something_breaks(
    canary: Shell, argv: tuple[str, ...], kind: type[BaseException]
) -> None:
    """Every place at which a command can break off, as an error tracker would see it."""

    def breaks(*_: object, **__: object) -> None:
        raise kind("broken")

    module = sys.modules.get(f"openai_project_guard._cli.commands.{argv[0]}")
    if module is None:
        module = __import__(f"openai_project_guard._cli.commands.{argv[0]}", fromlist=["run"])
    for owner, name in (
        (edit, "add"),
        (module, "Terminal"),
        (opg.Registry, "from_file"),
        (Models, "list"),
    ):
        canary.patch.setattr(sys, "stdin", io.StringIO(CANARY))
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(owner, name, breaks)
            error = raised_by(argv)
        if error is not None:
            assert frames_holding(error, SECRET) == []
            assert SECRET not in repr(error)


@pytest.mark.parametrize("key", [f"{CANARY}\n\n", f'"{CANARY}"', f"{CANARY} {CANARY}", "sk-\udcff"])
def test_no_frame_of_the_reading_holds_what_it_refuses(canary: Shell, key: str) -> None:
    canary.patch.setattr(sys, "stdin", io.StringIO(key))
    with pytest.raises(ConfigurationError) as refused:
        key_input.read_key(None)
    assert frames_holding(refused.value, SECRET) == []


def test_a_key_that_was_read_does_not_show_itself(canary: Shell) -> None:
    canary.patch.setattr(sys, "stdin", io.StringIO(CANARY))
    key = key_input.read_key(None)
    assert repr(key) == "<key sk-proj-…7777>"
    assert key.reveal() == CANARY


def test_a_process_of_its_own_shows_nothing(canary: Shell) -> None:
    done = command(
        "doctor",
        env={
            "OPENAI_API_KEY": CANARY,
            "OPENAI_PROJECT_ID": CANARY,
            "OPENAI_PROJECT_GUARD": "enforce",
            "OPENAI_LOG": "debug",
            "PYTHONFAULTHANDLER": "1",
        },
    )
    assert done.returncode in (1, 2)
    assert SECRET not in done.stdout + done.stderr
    assert os.listdir(".") == []


def raised_by(argv: tuple[str, ...]) -> BaseException | None:
    parser = parsers.Parser("program")
    module = __import__(f"openai_project_guard._cli.commands.{argv[0]}", fromlist=["run"])
    module.add_arguments(parser)
    arguments = parser.parse_args(list(argv[1:]))
    try:
        module.run(arguments)
    except BaseException as error:
        return error
    return None
