"""How is a key given to a command, and which are refused?"""

from __future__ import annotations

import io
import os
import subprocess
import sys
import time
from pathlib import Path

import pytest
from cli_shell import LEGACY, NAME, ROOT, Shell, keys, posix
from support import A, B, fingerprint

from openai_project_guard import Registry


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


@pytest.mark.parametrize("command", [("register", "proj_a"), ("fingerprint",)])
def test_input_without_end_is_not_read_to_its_end(run: Shell, command: tuple[str, ...]) -> None:
    class Endless(io.StringIO):
        def read(self, size: int | None = -1) -> str:
            assert size is not None
            assert 0 <= size < 1_000_000
            return "\0" * size

    run.patch.setattr(sys, "stdin", Endless())
    ran = run.as_it_is(*command)
    assert ran.status == 2
    assert "no key on standard input, but more than 65536 characters" in " ".join(ran.err.split())


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


def test_a_note_that_contains_the_key_is_refused(run: Shell) -> None:
    key = "gateway.key.7777"
    run.patch.setenv("MY_KEY", key)
    ran = run("register", "proj_a", "--key-env", "MY_KEY", "--note", f"my {key}")
    assert ran.status == 2
    assert "its alias, note or organization has a key in it" in ran.err
    assert key not in ran.out + ran.err
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


# Its fingerprint, and keys that it would give away


@pytest.mark.parametrize("argv", [(), ("--key-env", "BOT_KEY")])
def test_fingerprint_prints_what_a_registry_needs(run: Shell, argv: tuple[str, ...]) -> None:
    run.patch.setenv("BOT_KEY", A)
    ran = run("fingerprint", *argv, stdin=f"{A}\n")
    assert (ran.status, ran.out, ran.err) == (0, f"{fingerprint(A)}\n", "")
    run.patch.setenv("OPENAI_PROJECT_GUARD_KEYS", f"proj_a={ran.out.strip()}")
    assert run("list", "--json").json["keys"][0]["project"] == "proj_a"


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
