"""Can I register a key, in which file does it land, and is that file safe with it?"""

from __future__ import annotations

import os
import stat
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import support
from cli_shell import LEGACY, NAME, ROOT, Shell, command, keys, posix
from support import A, B, fingerprint

import openai_project_guard as opg
from openai_project_guard import Registry
from openai_project_guard.loopback import loopback_api

# What it says and writes


def test_register_says_what_it_wrote_and_where(run: Shell) -> None:
    ran = run("register", "proj_a", "--alias", "bot", "--note", "CI", stdin=A + "\n")
    assert (ran.status, ran.err) == (0, "")
    assert ran.out == (
        "✓ Registered the key sk-proj-…AAAA for project bot (proj_a).\n"
        "  openai-projects.toml, line 6, a new file; it holds no key\n"
    )
    assert keys() == [("proj_a", "bot", "sk-proj-…AAAA", "CI")]
    assert fingerprint(A) in Path(NAME).read_text()
    assert A not in Path(NAME).read_text()


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("redis:/svc:not-a-real-password@h/0", "'redis:/…@h/0', a URL."),
        ("redis//svc:not-a-real-password@h/0", "'redis//…@h/0', a URL."),
        (f"keys/{B}", "'keys/sk-proj-…BBBB', with a key in it."),
    ],
)
def test_no_file_is_named_after_a_password_or_a_key(run: Shell, name: str, said: str) -> None:
    run.patch.setenv("OPENAI_PROJECT_GUARD_REGISTRY", name)
    ran = run("register", "proj_a", stdin=A)
    assert ran.status == 2
    assert f"OPENAI_PROJECT_GUARD_REGISTRY is {said} Expected a file or a redis://" in ran.err
    assert not list(Path.cwd().iterdir())


def test_a_second_key_goes_to_the_alias(run: Shell) -> None:
    run("register", "proj_a", "--alias", "bot", stdin=A)
    ran = run("register", "bot", stdin=B)
    assert "openai-projects.toml, line 7\n" in ran.out
    assert [project for project, *_ in keys()] == ["proj_a", "proj_a"]


def test_registering_again_says_that_it_is_there(run: Shell) -> None:
    run("register", "proj_a", stdin=A)
    assert "is registered for project proj_a already" in run("register", "proj_a", stdin=A).out
    ran = run("register", "proj_a", "--note", "new", "--organization", "org-a", stdin=A)
    said = " ".join(ran.out.split())
    assert "was registered for project proj_a; its entry is renewed. openai-projects.toml" in said


@pytest.mark.parametrize(
    ("argv", "complaint"),
    [
        (("register", "support-bot"), "neither a project id"),
        (("register", "proj_b"), "line 4: the key"),
        (("register", "proj_b", "--alias", "a"), "belongs to proj_a already"),
        (("register", "proj_a", "--organization", "acme"), "not an organization id"),
        (("register", "proj_a", "--alias", "new"), "rename its table"),
        (("register", "proj_a", "--registry", "."), "is a directory"),
        (("register",), "PROJECT"),
        (("remove",), "WHAT"),
    ],
)
def test_what_does_not_fit_is_said_and_not_written(
    run: Shell, argv: tuple[str, ...], complaint: str
) -> None:
    support.write_registry(Path(NAME), a=f"proj_a:{A}")
    before = Path(NAME).read_text()
    ran = run(*argv, stdin=A)
    assert (ran.status, ran.out, complaint in ran.err) == (2, "", True)
    assert Path(NAME).read_text() == before


def test_a_legacy_key_is_registered_for_several_projects_with_also(run: Shell) -> None:
    run("register", "proj_a", stdin=LEGACY)
    assert "--also" in run("register", "proj_b", stdin=LEGACY).err
    assert run("register", "proj_b", "--also", stdin=LEGACY).status == 0
    assert {project for project, *_ in keys()} == {"proj_a", "proj_b"}


def test_as_a_user_in_a_shell(tmp_path: Path, clean: pytest.MonkeyPatch) -> None:
    done = command("register", "proj_a", "--alias", "bot", input=A + "\n")
    assert (done.returncode, done.stderr) == (0, "")
    # A broken setting must not keep the commands from fixing it.
    done = command("list", env={"OPENAI_PROJECT_GUARD": "nonsense"})
    assert (done.returncode, "sk-proj-…AAAA" in done.stdout) == (0, True)
    done = command("remove", "bot", "--yes", env={"PYTHONIOENCODING": "ascii"})
    assert done.stdout.startswith("+ Removed project bot")


# In which file


def test_the_named_file_beats_all(run: Shell) -> None:
    run.patch.setenv("OPENAI_PROJECT_GUARD_REGISTRY", "other.toml")
    run("register", "proj_a", "--registry", "mine.toml", stdin=A)
    assert Path("mine.toml").exists()
    assert not Path("other.toml").exists()


def test_the_variable_names_the_file(run: Shell) -> None:
    run.patch.setenv("OPENAI_PROJECT_GUARD_REGISTRY", "deep/other.toml")
    assert "deep/other.toml, line" in run("register", "proj_a", stdin=A).out
    assert keys("deep/other.toml")


def test_the_file_of_the_user_is_used_where_there_is_none_here(run: Shell, tmp_path: Path) -> None:
    path = tmp_path / "config" / "openai-project-guard" / "registry.toml"
    support.write_registry(path, bot="proj_a")
    assert "registry.toml, line 5" in " ".join(run("register", "bot", stdin=A).out.split())
    assert not Path(NAME).exists()


@pytest.mark.parametrize(
    ("names", "complaint"),
    [
        ("a.toml,b.toml", "names several registries"),
        ("a.toml,redis://:pw@host/0", "names several registries"),
        ("vault://:pw@host/0", "a URL at which a registry can be read, not changed"),
    ],
)
def test_several_registries_or_one_to_read_need_a_choice(
    run: Shell, names: str, complaint: str
) -> None:
    run.patch.setenv("OPENAI_PROJECT_GUARD_REGISTRY", names)
    ran = run("register", "proj_a", stdin=A)
    assert (ran.status, complaint in ran.err, "--registry FILE" in ran.err) == (2, True, True)
    assert "pw" not in ran.err


@pytest.mark.parametrize("command", ["register", "remove"])
def test_a_url_that_nobody_can_write_to_is_refused(run: Shell, command: str) -> None:
    ran = run(command, "x", "--registry", "vault://:pw@host/0", stdin=A)
    assert (ran.status, "can be read, not changed" in ran.err, "pw" in ran.err) == (2, True, False)
    assert "a file or a redis://, rediss:// or unix:// URL" in " ".join(ran.err.split())


# What the file keeps


@posix
def test_layout_and_mode_are_kept(run: Shell) -> None:
    before = (
        "# Ours.\nversion = 1\n\n[projects.bot]  # the bot\nid = 'proj_a'\nkeys = [\n"
        f'    {{ fingerprint = "{fingerprint(B)}" }},  # old\n]\n\n# The end.\n'
    )
    Path(NAME).write_text(before)
    os.chmod(NAME, 0o640)
    run("register", "bot", stdin=A)
    added = f'    {{ fingerprint = "{fingerprint(A)}", hint = "sk-proj-…AAAA" }},\n'
    assert Path(NAME).read_text() == before.replace("# old\n", "# old\n" + added)
    assert stat.S_IMODE(os.stat(NAME).st_mode) == 0o640
    run("remove", "sk-proj-…AAAA")
    assert Path(NAME).read_text() == before


@posix
def test_a_new_file_is_for_its_owner_alone(run: Shell) -> None:
    run("register", "proj_a", stdin=A)
    assert stat.S_IMODE(os.stat(NAME).st_mode) == 0o600


def test_fifty_processes_at_once_lose_nothing(clean: pytest.MonkeyPatch) -> None:
    # Forked from few interpreters: fifty starts of Python would be the whole cost.
    program = (
        "import io, os, sys\n"
        "from openai_project_guard._cli import main\n"
        "from openai_project_guard._cli.commands import register\n"
        "import openai_project_guard._registry.file.layout, tomlkit\n"
        "children = []\n"
        "for number in range(25):\n"
        "    child = os.fork()\n"
        "    if not child:\n"
        "        sys.stdin = io.StringIO(f'sk-proj-not-a-real-key-{sys.argv[1]}-{number:04}')\n"
        "        sys.stdout = io.StringIO()\n"
        "        os._exit(main(['register', f'proj_{number % 7}']))\n"
        "    children.append(child)\n"
        "sys.exit(sum(os.waitpid(child, 0)[1] for child in children) and 1)\n"
    )
    environment = {**os.environ, "PYTHONPATH": ROOT}
    started = [
        subprocess.Popen([sys.executable, "-W", "ignore", "-c", program, name], env=environment)
        for name in ("one", "two")
    ]
    assert [process.wait(60) for process in started] == [0, 0]
    assert len(Registry.from_file(NAME)) == 50
    assert os.listdir(".") == [NAME]


# Asking the API first


@pytest.fixture
def api(run: Shell) -> Iterator[Any]:
    owners = {A: "proj_a", B: "proj_b", LEGACY: ("proj_a", "proj_b")}
    with loopback_api(owners, organization="org-x") as server:
        run.patch.setenv("OPENAI_BASE_URL", server.base_url)
        yield server


def test_verify_registers_what_the_api_agrees_to(run: Shell, api: Any) -> None:
    run.patch.setenv("OPENAI_PROJECT_ID", "proj_stale")  # of the shell; must not be asked about
    ran = run("register", "proj_a", "--verify", "--organization", "org-x", stdin=A)
    assert (ran.status, ran.err) == (0, "")
    assert [(line.path, line.project_header) for line in api.ledger] == [("/v1/models", "proj_a")]


def test_verify_asks_about_this_project_whatever_headers_the_shell_has(
    run: Shell, api: Any
) -> None:
    stale = "OpenAI-Project: proj_stale\nOpenAI-Organization: org-stale"
    run.patch.setenv("OPENAI_CUSTOM_HEADERS", stale)
    ran = run("register", "proj_a", "--verify", "--organization", "org-x", stdin=A)
    assert (ran.status, ran.err) == (0, "")
    assert [line.project_header for line in api.ledger] == ["proj_a"]


def test_verify_knows_an_alias_and_leaves_an_enabled_guard_as_it_was(run: Shell, api: Any) -> None:
    support.write_registry(Path(NAME), bot="proj_a")
    opg.enable(registry={"proj_z": B}, hosts=["127.0.0.1"])
    assert run("register", "bot", "--verify", stdin=A).status == 0
    assert opg.is_enabled()


@pytest.mark.parametrize(
    ("argv", "key", "complaint"),
    [
        (("proj_a",), B, "does not belong to project proj_a. The API answered 401 mismatched_pr"),
        (("proj_a",), A.replace("a", "c"), "does not know the key sk-proj-…AAAA. The API answered"),
        (("proj_a", "--organization", "org-y"), A, "does not belong to that organization"),
        (("proj_a", "--key-env", "KEY"), A, "could not be verified. The API answered 500"),
    ],
)
def test_verify_refuses_what_the_api_refuses(
    run: Shell, api: Any, argv: tuple[str, ...], key: str, complaint: str
) -> None:
    run.patch.setenv("KEY", key)
    if "--key-env" in argv:
        api.fail_next(500, times=2)
    ran = run("register", *argv, "--verify", stdin=key)
    assert (ran.status, ran.out) == (1, "")
    assert ran.err.startswith("Nothing was registered: ")
    assert complaint in ran.err
    assert key[9:] not in ran.err
    assert not Path(NAME).exists()


def test_verify_refuses_a_key_of_which_the_api_names_another_project(run: Shell, api: Any) -> None:
    with api.answer_as("proj_elsewhere"):
        ran = run("register", "proj_a", "--verify", stdin=A)
    assert (ran.status, "belongs to project proj_elsewhere" in ran.err) == (1, True)


def test_verify_without_an_answer_registers_nothing(run: Shell) -> None:
    run.patch.setenv("OPENAI_BASE_URL", "http://127.0.0.1:1/v1")
    ran = run("register", "proj_a", "--verify", stdin=A)
    assert (ran.status, "The API did not answer" in ran.err) == (1, True)


def test_a_short_key_may_be_part_of_an_alias(run: Shell) -> None:
    ran = run("register", "proj_a", "--alias", "dev-team", "--weak", stdin="dev")
    assert (ran.status, "dev-team" in ran.out) == (0, True)
