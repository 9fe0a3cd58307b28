"""Can I add, see and remove keys from the command line, and is my registry file safe with it?"""

from __future__ import annotations

import io
import os
import re
import stat
import subprocess
import sys
import time
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

# register: where the key comes from


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


def test_a_second_key_goes_to_the_alias(run: Shell) -> None:
    run("register", "proj_a", "--alias", "bot", stdin=A)
    ran = run("register", "bot", stdin=B)
    assert "openai-projects.toml, line 7\n" in ran.out
    assert [project for project, *_ in keys()] == ["proj_a", "proj_a"]


def test_registering_again_says_that_it_is_there(run: Shell) -> None:
    run("register", "proj_a", stdin=A)
    assert "is registered for project proj_a already" in run("register", "proj_a", stdin=A).out
    ran = run("register", "proj_a", "--note", "new", "--organization", "org-a", stdin=A)
    assert "was registered for project proj_a; its entry is" in ran.out


def test_the_key_may_stand_in_a_named_variable(run: Shell) -> None:
    run.patch.setenv("BOT_KEY", A)
    assert run("register", "proj_a", "--key-env", "BOT_KEY").status == 0
    assert keys()[0][2] == "sk-proj-…AAAA"


@pytest.mark.parametrize("newline", ["", "\n", "\r\n"])
def test_one_newline_of_a_pipe_is_no_part_of_the_key(run: Shell, newline: str) -> None:
    assert run("register", "proj_a", stdin=A + newline).status == 0
    assert Registry.from_file(NAME).lookup(A)


@pytest.mark.parametrize(
    ("key", "complaint"),
    [
        ("", "no key on standard input"),
        ("\n", "no key on standard input"),
        (f"{A}\n\n", "white space around it"),
        (f" {A}", "white space around it"),
        (f'"{A}"\n', "quotes around it"),
        (f"'{A}'", "quotes around it"),
        (f"{A}\n{B}\n", "in the middle of it"),
        (f"{A[:9]} {A[9:]}", "in the middle of it"),
        (f"{A}é", "in the middle of it"),
        ("sk-admin-not-a-real-key-of-anybody-AAAA\n", "an admin key belongs to the organization"),
        (fingerprint(A), "a fingerprint, not a key"),
    ],
)
def test_what_is_no_key_is_refused(run: Shell, key: str, complaint: str) -> None:
    ran = run("register", "proj_a", stdin=key)
    assert ran.status == 2
    assert complaint in ran.err
    assert not Path(NAME).exists()
    assert A not in ran.err


def test_input_that_is_no_text_is_refused(run: Shell) -> None:
    run.patch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(b"sk-\xff\xfe"), "utf-8"))
    ran = run.as_it_is("register", "proj_a")
    assert (ran.status, "cannot be registered" in ran.err) == (2, True)


def test_no_standard_input_at_all_is_said(run: Shell) -> None:
    run.patch.setattr(sys, "stdin", None)
    assert "--key-env" in run.as_it_is("register", "proj_a").err


@pytest.mark.parametrize(
    ("name", "complaint"),
    [
        ("NOWHERE", "'NOWHERE', which --key-env names, is not set"),
        ("EMPTY", "is empty"),
        ("my secret value", "takes the name of a variable, not its value"),
        ("DIRTY", "white space around it"),
    ],
)
def test_a_variable_without_a_key_is_named(run: Shell, name: str, complaint: str) -> None:
    run.patch.setenv("EMPTY", "")
    run.patch.setenv("DIRTY", A + "\n")
    ran = run("register", "proj_a", "--key-env", name)
    assert (ran.status, complaint in ran.err) == (2, True)
    assert "my secret" not in ran.err


@pytest.mark.parametrize(
    "argv",
    [
        (A,),
        ("demo", A),
        ("register", A),
        ("register", "proj_a", A),
        ("register", "proj_a", "--key", A),
        ("register", "proj_a", f"--key={A}"),
        ("register", "proj_a", "--key-env", A),
        ("register", "proj_a", "--note", f"the key {A}"),
        ("remove", A),
        ("remove", LEGACY),
        ("list", A),
        ("check", f"--live={A}"),
        ("doctor", A),
    ],
)
def test_a_key_as_an_argument_is_refused_and_not_shown(run: Shell, argv: tuple[str, ...]) -> None:
    ran = run(*argv, stdin=B)
    assert ran.status == 2
    assert "is now in the shell's history" in ran.err
    assert "Revoke it" in ran.err
    assert A[9:] not in ran.err + ran.out
    assert LEGACY[4:] not in ran.err
    assert not Path(NAME).exists()


@posix
def test_on_a_terminal_the_prompt_does_not_show_the_key(run: Shell) -> None:
    import pty

    master, slave = pty.openpty()
    process = subprocess.Popen(
        [sys.executable, "-m", "openai_project_guard", "register", "proj_a"],
        stdin=slave,
        stdout=slave,
        stderr=slave,
        start_new_session=True,
        env={**os.environ, "PYTHONPATH": ROOT, "TERM": "xterm"},
    )
    os.close(slave)
    shown = b""
    while b"Key" not in shown:
        shown += os.read(master, 1000)
    time.sleep(0.1)
    os.write(master, A.encode() + b"\n")
    while True:
        try:
            more = os.read(master, 1000)
        except OSError:  # the other end is closed
            break
        if not more:
            break
        shown += more
    os.close(master)
    assert process.wait(30) == 0
    assert b"not be shown" in shown
    assert A.encode() not in shown
    assert b"\x1b[32m" in shown
    assert Registry.from_file(NAME).lookup(A)


@pytest.mark.parametrize("trouble", ["echo", "end"])
def test_a_terminal_that_cannot_hide_the_key_is_not_used(run: Shell, trouble: str) -> None:
    import getpass
    import warnings

    class Tty(io.StringIO):
        def isatty(self) -> bool:
            return True

    def ask(*_: object) -> str:
        if trouble == "end":
            raise EOFError
        warnings.warn("echo", getpass.GetPassWarning, stacklevel=1)
        return A

    run.patch.setattr(getpass, "getpass", ask)
    run.patch.setattr(sys, "stdin", Tty())
    ran = run.as_it_is("register", "proj_a")
    assert (ran.status, "No key was read" in ran.err) == (2, True)


# register: which file


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


# register: what the file keeps


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


@pytest.mark.parametrize(
    ("argv", "complaint"),
    [
        (("register", "support-bot"), "neither a project id"),
        (("register", "proj_b"), "line 4: the key"),
        (("register", "proj_b", "--alias", "a"), "belongs to proj_a already"),
        (("register", "proj_a", "--organization", "acme"), "not an organization id"),
        (("register", "proj_a", "--alias", "new"), "rename that table"),
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


# register --verify


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


# list


def test_list_shows_projects_keys_notes_and_lines(run: Shell) -> None:
    run("register", "proj_b", stdin=B)
    run("register", "proj_a", "--alias", "bot", "--note", "CI", "--organization", "org-a", stdin=A)
    support.write_registry(Path("more.toml"), empty="proj_c")
    run.patch.setenv("OPENAI_PROJECT_GUARD_REGISTRY", f"{NAME},more.toml")
    run.patch.setenv("OPENAI_PROJECT_GUARD_KEYS", f"proj_d={fingerprint(LEGACY)}")
    ran = run("list")
    assert (ran.status, ran.err) == (0, "")
    assert ran.out == (
        "openai-projects.toml\n"
        " Project │ Id              │ Key           │ Note │ Line\n"
        "─────────┼─────────────────┼───────────────┼──────┼─────\n"
        " bot     │ proj_a of org-a │ sk-proj-…AAAA │ CI   │    7\n"
        " –       │ proj_b          │ sk-proj-…BBBB │      │   13\n"
        "2 keys, 2 projects\n"
        "\n"
        "more.toml\n"
        " Project │ Id     │ Key    │ Note │ Line\n"
        "─────────┼────────┼────────┼──────┼─────\n"
        " empty   │ proj_c │ no key │      │ –\n"
        "0 keys, 1 project\n"
        "\n"
        "OPENAI_PROJECT_GUARD_KEYS\n"
        " Project │ Id     │ Key              │ Note │ Line\n"
        "─────────┼────────┼──────────────────┼──────┼─────\n"
        f" –       │ proj_d │ {fingerprint(LEGACY)[:15]}… │      │ –\n"
        "1 key, 1 project\n"
    )


def test_list_as_json(run: Shell) -> None:
    run("register", "proj_a", "--alias", "bot", "--note", "CI", "--organization", "org-a", stdin=A)
    run.patch.setenv("OPENAI_PROJECT_GUARD_KEYS", f"proj_d={fingerprint(B)}")
    found = run("list", "--json").json
    assert 0 <= found["sources"][0].pop("age_seconds") < 60
    assert found == {
        "sources": [
            {"kind": "file", "name": NAME, "projects": 1, "keys": 1, "error": None},
            {
                "kind": "variable",
                "name": "OPENAI_PROJECT_GUARD_KEYS",
                "projects": 1,
                "keys": 1,
                "age_seconds": None,
                "error": None,
            },
        ],
        "projects": [
            {"project": "proj_a", "alias": "bot", "organization": "org-a", "source": NAME},
            {
                "project": "proj_d",
                "alias": None,
                "organization": None,
                "source": "OPENAI_PROJECT_GUARD_KEYS",
            },
        ],
        "keys": [
            {
                "fingerprint": fingerprint(A),
                "hint": "sk-proj-…AAAA",
                "project": "proj_a",
                "alias": "bot",
                "organization": "org-a",
                "note": "CI",
                "place": f"{NAME}, line 7",
                "source": NAME,
            },
            {
                "fingerprint": fingerprint(B),
                "hint": "",
                "project": "proj_d",
                "alias": None,
                "organization": None,
                "note": None,
                "place": "the environment variable OPENAI_PROJECT_GUARD_KEYS",
                "source": "OPENAI_PROJECT_GUARD_KEYS",
            },
        ],
    }


def test_list_of_nothing_says_how_to_begin(run: Shell) -> None:
    ran = run("list")
    assert (ran.status, "openai-project-guard register PROJECT" in ran.out) == (0, True)


def test_list_names_what_it_cannot_read_and_lists_the_rest(run: Shell) -> None:
    support.write_registry(Path(NAME), a=f"proj_a:{A}")
    Path("broken.toml").write_text("version = 2\n")
    names = f"{NAME},broken.toml,gone.toml,nosuch://u:secret@host/0"
    run.patch.setenv("OPENAI_PROJECT_GUARD_REGISTRY", names)
    run.patch.setenv("OPENAI_PROJECT_GUARD_KEYS", "proj_a=nonsense")
    ran = run("list")
    assert ran.status == 2
    assert "1 key, 1 project" in ran.out
    for complaint in ("broken.toml, line 1", "gone.toml: there is no such file", "pair 1"):
        assert complaint in ran.err
    sources = run("list", "--json").json["sources"]
    assert [source["error"] is None for source in sources] == [True, False, False, False, False]
    assert sources[3]["name"] == "nosuch://host/0"


def test_list_of_one_file(run: Shell) -> None:
    support.write_registry(Path("mine.toml"), a=f"proj_a:{A}")
    assert run("list", "--registry", "mine.toml", "--json").json["sources"][0]["keys"] == 1


def test_list_shows_what_was_learned(run: Shell) -> None:
    support.write_registry(Path("learned.toml"), a=f"proj_a:{A}")
    run.patch.setenv("OPENAI_PROJECT_GUARD_LEARNED", "learned.toml")
    assert run("list").out.startswith("learned.toml\n")


# remove


@pytest.fixture
def filled(run: Shell) -> Shell:
    run("register", "proj_a", "--alias", "bot", "--note", "CI", stdin=A)
    run("register", "proj_b", stdin=B)
    run("register", "proj_b", stdin=LEGACY)
    run("register", "bot", "--also", stdin=LEGACY)
    return run


@pytest.mark.parametrize(
    "what", ["sk-proj-…AAAA", "sk-proj-...AAAA", fingerprint(A), fingerprint(A)[7:15].upper()]
)
def test_a_key_is_removed_by_hint_or_fingerprint(filled: Shell, what: str) -> None:
    ran = filled("remove", what)
    assert (ran.status, ran.err) == (0, "")
    assert "Removed the key sk-proj-…AAAA" in ran.out
    assert not Registry.from_file(NAME).lookup(A)
    assert Registry.from_file(NAME).lookup(B)


def test_a_legacy_key_is_removed_from_all_its_projects(filled: Shell) -> None:
    ran = filled("remove", "sk-…Lm9n")
    assert (ran.out.count("Removed"), Registry.from_file(NAME).lookup(LEGACY)) == (2, ())


def test_an_ambiguous_hint_removes_nothing_and_lists_what_it_may_mean(filled: Shell) -> None:
    filled("register", "proj_b", stdin=B.replace("not", "nor"))
    ran = filled("remove", "sk-proj-…BBBB")
    assert (ran.status, ran.out) == (1, "")
    assert "may be any of these" in ran.err
    assert ran.err.count("sha256:") == 2
    assert Registry.from_file(NAME).lookup(B)


@pytest.mark.parametrize("what", ["sk-proj-…QQQQ", "abcdef0123", "proj_z", "abc", "sk-proj-AAAA"])
def test_what_is_not_there_cannot_be_removed(filled: Shell, what: str) -> None:
    ran = filled("remove", what)
    assert (ran.status, "Nothing was removed" in ran.err) == (1, True)


@pytest.mark.parametrize("what", ["bot", "proj_a"])
def test_a_project_goes_with_its_keys(filled: Shell, what: str) -> None:
    ran = filled("remove", what, "--yes")
    assert ran.out == (
        "✓ Removed project bot (proj_a) with its 2 keys, from openai-projects.toml.\n"
    )
    assert {project for project, *_ in keys()} == {"proj_b"}


def test_without_a_terminal_a_project_is_not_removed_by_mistake(filled: Shell) -> None:
    ran = filled("remove", "bot")
    assert (ran.status, "Not a terminal, so cannot ask. Pass --yes." in ran.err) == (2, True)
    assert len(keys()) == 4


@pytest.mark.parametrize(("answer", "status"), [("y\n", 0), ("YES\n", 0), ("\n", 1), ("", 1)])
def test_on_a_terminal_a_project_is_removed_after_a_yes(
    filled: Shell, answer: str, status: int
) -> None:
    class Tty(io.StringIO):
        def isatty(self) -> bool:
            return True

    filled.patch.setattr(sys, "stdin", Tty(answer))
    ran = filled.as_it_is("remove", "proj_b")
    assert ran.status == status
    assert "Remove project proj_b with its 2 keys from openai-projects.toml? [y/N]" in ran.err
    assert len(keys()) == (2 if status == 0 else 4)


def test_a_key_that_somebody_else_just_removed(filled: Shell) -> None:
    from openai_project_guard._registry import stores as edit

    filled.patch.setattr(edit, "remove", lambda *_, **__: 0)
    ran = filled("remove", "sk-proj-…AAAA")
    assert (ran.status, "somebody else" in ran.err) == (1, True)


def test_removing_from_a_file_that_is_not_there(run: Shell) -> None:
    ran = run("remove", "bot")
    assert (ran.status, "there is no such file" in ran.err) == (2, True)


# As a process of its own


def test_as_a_user_in_a_shell(tmp_path: Path, clean: pytest.MonkeyPatch) -> None:
    done = command("register", "proj_a", "--alias", "bot", input=A + "\n")
    assert (done.returncode, done.stderr) == (0, "")
    # A broken setting must not keep the commands from fixing it.
    done = command("list", env={"OPENAI_PROJECT_GUARD": "nonsense"})
    assert (done.returncode, "sk-proj-…AAAA" in done.stdout) == (0, True)
    done = command("remove", "bot", "--yes", env={"PYTHONIOENCODING": "ascii"})
    assert done.stdout.startswith("+ Removed project bot")


def test_a_note_that_contains_the_key_is_refused(run: Shell) -> None:
    key = "gateway.key.7777"
    run.patch.setenv("MY_KEY", key)
    ran = run("register", "proj_a", "--key-env", "MY_KEY", "--note", f"my {key}")
    assert ran.status == 2
    assert "its note or its organization has a key in it" in ran.err
    assert key not in ran.out + ran.err
    assert not Path(NAME).exists()


# One project of several, and whole fingerprints


@pytest.fixture
def legacy(run: Shell) -> Shell:
    """A key of two projects."""
    run("register", "proj_a", "--alias", "bot", stdin=LEGACY)
    run("register", "proj_b", "--alias", "lab", "--also", stdin=LEGACY)
    return run


def test_a_key_is_removed_from_one_project_alone(legacy: Shell) -> None:
    ran = legacy("remove", fingerprint(LEGACY)[:20], "--project", "lab")
    assert (ran.status, ran.err) == (0, "")
    assert " of lab, from openai-projects.toml." in " ".join(ran.out.split())
    assert [project for project, *_ in keys()] == ["proj_a"]


@pytest.mark.parametrize(
    ("argv", "status", "complaint"),
    [
        (("sk-…Lm9n", "--project", "nowhere"), 1, "has no project 'nowhere'."),
        (("sha256:00000000", "--project", "lab"), 1, "fingerprint in project lab (proj_b): "),
        (("bot", "--project", "lab"), 2, "'bot' is a project. --project goes with a key"),
    ],
)
def test_what_cannot_be_removed_from_a_project(
    legacy: Shell, argv: tuple[str, ...], status: int, complaint: str
) -> None:
    ran = legacy("remove", *argv)
    assert (ran.status, complaint in ran.err) == (status, True)
    assert len(keys()) == 2


def test_list_shows_whole_fingerprints(legacy: Shell) -> None:
    legacy.patch.setenv("COLUMNS", "40")
    lines = legacy("list", "--fingerprints").out.splitlines()
    assert set(lines[1:-1]) == {
        f"{fingerprint(LEGACY)}  {project}  sk-…Lm9n"
        for project in ("bot (proj_a)", "lab (proj_b)")
    }


@pytest.mark.parametrize("argv", [(), ("--key-env", "BOT_KEY")])
def test_fingerprint_prints_what_a_registry_needs(run: Shell, argv: tuple[str, ...]) -> None:
    run.patch.setenv("BOT_KEY", A)
    ran = run("fingerprint", *argv, stdin=f"{A}\n")
    assert (ran.status, ran.out, ran.err) == (0, f"{fingerprint(A)}\n", "")
    run.patch.setenv("OPENAI_PROJECT_GUARD_KEYS", f"proj_a={ran.out.strip()}")
    assert run("list", "--json").json["keys"][0]["project"] == "proj_a"


# Keys that a fingerprint would give away


WEAK = {
    "sk-1234": "it has 4 characters behind its prefix",
    "sk-proj-" + "ab" * 20: "different characters only",
    "sk-correct-horse-battery-staple": "it is made of words",
    "proj_5fPqTn0wXy82Lm4RzK": "it is the id of a project",
}


@pytest.mark.parametrize("key", WEAK)
def test_a_weak_key_is_registered_only_if_it_is_said(run: Shell, key: str) -> None:
    ran = run("register", "proj_a", stdin=key)
    assert (ran.status, WEAK[key] in ran.err, "or pass --weak." in ran.err) == (2, True, True)
    assert not Path(NAME).exists()
    assert run("register", "proj_a", "--weak", stdin=key).status == 0
    assert Registry.from_file(NAME).lookup(key)


def test_fingerprint_warns_of_a_weak_key(run: Shell) -> None:
    ran = run("fingerprint", stdin="sk-1234")
    assert (ran.status, ran.out) == (0, f"{fingerprint('sk-1234')}\n")
    assert ran.err.startswith("! The key could be guessed from this fingerprint: it has 4 char")


@posix
@pytest.mark.parametrize(
    ("what", "answer"),
    [
        (("sk-proj-…AAAA",), "32"),
        (("proj_b", "--yes"), "32"),
        (("sk-proj-…none",), "31"),
        (("sk-proj-…AAAA", "--project", "proj_none"), "31"),
    ],
)
def test_what_was_removed_is_green_and_what_was_not_is_red(
    run: Shell, what: tuple[str, ...], answer: str
) -> None:
    run.patch.setenv("FORCE_COLOR", "1")
    run("register", "proj_a", stdin=A)
    run("register", "proj_b", stdin=B)
    ran = run("remove", *what)
    assert set(re.findall(r"\x1b\[(\d+)m", ran.out + ran.err)) == {"0", answer}
