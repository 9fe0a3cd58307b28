"""Does what an error or a note says to do change the registry that the program reads?

The commands are run as they are printed.
"""

from __future__ import annotations

import os
import re
import shlex
import time
from pathlib import Path
from typing import Any

import cli_shell
import openai
import pytest
from cli_shell import Shell
from redis_server import announce
from support import STRANGER, Recorder, Server, http, sync_client, write_registry

import openai_project_guard as opg
from openai_project_guard._registry.model import Snapshot
from openai_project_guard._state import STATE

run = cli_shell.run

REGISTRY = "OPENAI_PROJECT_GUARD_REGISTRY"
DEFAULT = Path("openai-projects.toml")
KEY = "sk-proj-q7Zt4Wn1Mk8Jh5Gf2Ds9Ap6Lx3Cv0BnKl8m"  # none that could be guessed


@pytest.fixture(autouse=True)
def _key(run: Shell) -> None:
    run.patch.setenv("KEY_OF_A_TEST", KEY)


def commands(text: str, project: str) -> list[list[str]]:
    found = re.findall(r"openai-project-guard ((?:register|remove) .*?)(?=, | \(|;)", text)
    filled = [each.replace("PROJECT", project).replace(" NAME", " KEY_OF_A_TEST") for each in found]
    if os.name == "nt":
        return [[a.strip('"') for a in re.findall(r'"[^"]*"|\S+', each)] for each in filled]
    return [shlex.split(each) for each in filled]


def follow(text: str, project: str, run: Shell) -> list[list[str]]:
    given = commands(text, project)
    for argv in given:
        ran = run(*argv)
        assert ran.status == 0, (argv, ran.err)
    return given


def note(project: str) -> str:
    """What is noted on the server's refusal of the key with a project."""

    def disagree(_: Any) -> Any:
        error = {"message": "no", "type": "x", "param": None, "code": "mismatched_project"}
        return http.Response(401, json={"error": error})

    with pytest.raises(openai.AuthenticationError) as failed:
        sync_client(disagree, api_key=KEY, project=project).models.list()
    (said,) = failed.value.__notes__  # type: ignore[attr-defined]
    return str(said)


def refusal(project: str | None = None) -> str:
    with pytest.raises(opg.ProjectGuardError) as refused:
        sync_client(Recorder(), api_key=KEY, project=project).models.list()
    return str(refused.value)


def passes(project: str) -> bool:
    try:
        sync_client(Recorder(), api_key=KEY, project=project).models.list()
    except opg.ProjectGuardError:
        return False
    return True


def files() -> set[str]:
    return {path.name for path in Path().rglob("*.toml")}


# --- a key that the server says is another project's ---------------------------------------------


@pytest.mark.parametrize("name", ["etc.toml", "with space/etc.toml", "it's.toml"])
@pytest.mark.parametrize("by_variable", [True, False])
def test_a_wrong_entry_is_corrected_in_the_file_that_the_program_reads(
    name: str, by_variable: bool, run: Shell
) -> None:
    write_registry(Path(name), old=f"proj_old:{KEY}")
    if by_variable:  # as `run --registry` does for the program alone
        run.patch.setenv(REGISTRY, str(Path(name).absolute()))
    opg.enable(registry=None if by_variable else name)
    said = note("proj_old")
    run.patch.delenv(REGISTRY, raising=False)
    assert [argv[0] for argv in follow(said, "proj_new", run)] == ["remove", "register"]
    assert files() == {Path(name).name}
    opg.enable(registry=name)
    assert passes("proj_new")
    assert not passes("proj_old")


def test_a_wrong_entry_is_corrected_in_the_file_of_what_was_learned(run: Shell) -> None:
    write_registry(Path("learned.toml"), old=f"proj_old:{KEY}")
    run.patch.setenv("OPENAI_PROJECT_GUARD_LEARNED", "learned.toml")
    opg.enable()
    follow(note("proj_old"), "proj_new", run)
    assert files() == {"learned.toml"}
    opg.enable()
    assert passes("proj_new")
    assert not passes("proj_old")


def test_a_wrong_entry_in_two_files_is_taken_out_of_both(run: Shell) -> None:
    for name in ("one.toml", "two.toml"):
        write_registry(Path(name), old=f"proj_old:{KEY}")
    run.patch.setenv(REGISTRY, "one.toml,two.toml")
    opg.enable()
    said = note("proj_old")
    run.patch.delenv(REGISTRY)
    assert len(follow(said, "proj_new", run)) == 3
    opg.enable(registry=["one.toml", "two.toml"])
    assert passes("proj_new")
    assert not passes("proj_old")


def test_an_entry_of_another_project_that_may_be_right_is_left(run: Shell) -> None:
    write_registry(Path("one.toml"), old=f"proj_old:{KEY}", other=f"proj_b:{KEY}")
    opg.enable(registry="one.toml")
    follow(note("proj_old"), "proj_new", run)
    opg.enable(registry="one.toml")
    assert [passes(f"proj_{name}") for name in ("old", "b", "new")] == [False, True, True]


def test_a_wrong_entry_in_code_is_to_be_corrected_there_and_by_no_command() -> None:
    opg.enable(registry={"proj_old": KEY})
    assert note("proj_old").endswith(
        " so the registry is out of date: correct it in the mapping given to enable(registry=...)."
    )
    opg.disable()
    opg.register(KEY, "proj_old")
    opg.enable()
    said = note("proj_old")
    assert re.search(r" correct it in register\(\) at .*_registry\.py:\d+\.$", said)
    assert commands(said, "proj_new") == []


def test_a_wrong_entry_in_a_file_and_in_code_is_to_be_corrected_in_both(run: Shell) -> None:
    write_registry(DEFAULT, old=f"proj_old:{KEY}")
    opg.register(KEY, "proj_old")
    opg.enable()
    said = note("proj_old")
    assert len(commands(said, "proj_new")) == 2
    assert re.search(
        r" for project proj_old \(in openai-.*, line \d+ and in register\(\) at ", said
    )
    assert re.search(r"; and correct it in register\(\) at .*_registry\.py:\d+\.$", said)


@pytest.mark.parametrize("is_kept", [True, False])
def test_what_a_process_learned_wrongly_it_forgets_when_it_is_started_again(
    is_kept: bool, run: Shell, tmp_path: Path
) -> None:
    path = tmp_path / "learned.toml"
    if is_kept:
        run.patch.setenv("OPENAI_PROJECT_GUARD_LEARNED", str(path))
    opg.enable(unregistered="learn")
    sync_client(Server("proj_old"), api_key=KEY).models.list()
    deadline = time.monotonic() + 60
    while is_kept and not path.exists() and time.monotonic() < deadline:
        time.sleep(0.01)
    said = note("proj_old")
    assert said.endswith("restart the program, which keeps in memory what it learned.")
    of_refusal = refusal("proj_new").partition("the registry's entry is wrong: ")[2]
    assert of_refusal == said.partition("so the registry is out of date: ")[2]
    assert [argv[0] for argv in follow(said, "proj_new", run)] == (
        ["remove", "register"] if is_kept else []
    )
    opg.disable()
    STATE.registered.snapshot = Snapshot()  # as in a new process
    opg.enable()
    assert not passes("proj_old")
    assert passes("proj_new") == is_kept


# --- the registry that a command takes anyway is not named ---------------------------------------


@pytest.mark.parametrize("named", [None, "absolute", "other"])
def test_the_default_file_is_named_only_where_a_variable_names_another(
    named: str | None, run: Shell
) -> None:
    write_registry(DEFAULT, old=f"proj_old:{KEY}")
    if named:  # `run` names the default file, too, by its whole path
        other = str(write_registry(Path("other.toml"))) if named == "other" else None
        run.patch.setenv(REGISTRY, other or str(DEFAULT.absolute()))
    opg.enable(registry=str(DEFAULT))
    options = {argv[-1] for argv in commands(note("proj_old"), "proj_new") if "--registry" in argv}
    assert options == ({str(DEFAULT)} if named == "other" else set())
    follow(note("proj_old"), "proj_new", run)
    opg.enable(registry=str(DEFAULT))
    assert passes("proj_new")


def test_the_default_file_that_is_not_there_is_made_by_the_command_alone(run: Shell) -> None:
    opg.enable(registry=str(DEFAULT), on_error="log")
    assert follow(refusal(), "proj_new", run) == [
        ["register", "proj_new", "--key-env", "KEY_OF_A_TEST"]
    ]
    opg.enable(registry=str(DEFAULT))
    assert passes("proj_new")


# --- a key that is not registered ----------------------------------------------------------------


@pytest.mark.parametrize("by_variable", [True, False])
def test_an_unregistered_key_is_registered_where_the_program_looks(
    by_variable: bool, run: Shell
) -> None:
    write_registry(Path("etc/r.toml"), other=f"proj_b:{STRANGER}")
    if by_variable:
        run.patch.setenv(REGISTRY, str(Path("etc/r.toml").absolute()))
    opg.enable(registry=None if by_variable else "etc/r.toml")
    said = refusal()
    run.patch.delenv(REGISTRY, raising=False)
    follow(said, "proj_new", run)
    assert files() == {"r.toml"}
    opg.enable(registry="etc/r.toml")
    assert passes("proj_new")


@pytest.mark.parametrize("where", ["nowhere", "variable", "code"])
def test_where_no_file_is_read_a_new_one_is_made_that_is_read_from_then_on(
    where: str, run: Shell
) -> None:
    if where == "variable":
        run.patch.setenv("OPENAI_PROJECT_GUARD_KEYS", f"proj_b=sha256:{'a' * 64}")
    elif where == "code":
        opg.register(STRANGER, "proj_b")
    opg.enable()
    follow(refusal(), "proj_new", run)
    opg.enable()
    assert passes("proj_new")


@pytest.mark.parametrize("is_mapping", [True, False])
def test_a_registry_in_code_is_not_changed_by_a_command(is_mapping: bool) -> None:
    opg.enable(registry={"proj_b": STRANGER} if is_mapping else opg.Registry())
    said = refusal()
    assert (
        "To fix it: if the key is right, add it to what enable(registry=...) was given, or "
        "register() it; if it is not, give the client the right `api_key=`. "
    ) in said
    assert commands(said, "proj_new") == []


def test_a_registry_that_is_only_read_is_named_without_a_command(
    tmp_path: Path, clean: pytest.MonkeyPatch
) -> None:
    """Such as a vault's: no command of ours can write there."""
    group = {"openai_project_guard.sources": {"vault": "vault_of_a_test:Vault"}}
    folder = announce(tmp_path, clean, group)
    (folder / "vault_of_a_test.py").write_text(
        "from openai_project_guard import Registry\n"
        "class Vault:\n"
        "    def __init__(self, url):\n"
        "        self.registry = Registry()\n"
        "    def refresh(self, now):\n"
        "        pass\n"
    )
    opg.enable(registry=["vault://user:secret@host", "vault://other"])
    said = refusal()
    where = "vault://host or vault://other"
    assert f"To fix it: if the key is right, add it to {where}; if it is not, " in said
    assert commands(said, "proj_new") == []


# --- a registry that cannot be read --------------------------------------------------------------


def test_a_key_that_may_be_in_a_file_that_cannot_be_read_is_not_said_to_be_in_none(
    run: Shell,
) -> None:
    write_registry(Path("br.toml"), old=f"proj_old:{KEY}")
    whole = Path("br.toml").read_text("utf-8")
    Path("br.toml").write_text(f"{whole}[projects", "utf-8")
    opg.enable(registry="br.toml", on_error="log")
    lines = refusal().splitlines()
    assert re.match(
        r"This key is not in any registry, as far as they can be read\. br\.toml, line 5: .*\.$",
        lines[1],
    )
    assert lines[-1].startswith(
        "To fix it: first correct br.toml, or have it in reach, for the key may be in it. Where it "
        "is not: if the key is right, register it: openai-project-guard register PROJECT "
    )
    Path("br.toml").write_text(whole, "utf-8")  # as it says
    opg.enable(registry="br.toml")
    assert passes("proj_old")


def test_a_new_version_that_cannot_be_read_is_told_from_the_last_good_one(run: Shell) -> None:
    write_registry(Path("a.toml"), b=f"proj_b:{STRANGER}")
    write_registry(Path("gone.toml"), b=f"proj_b:{STRANGER}")
    opg.enable(registry=["a.toml", "gone.toml"])
    assert refusal().splitlines()[1] == (
        "This key is not in any registry: not in a.toml, gone.toml."
    )
    Path("gone.toml").unlink()
    assert STATE.settings is not None
    STATE.settings.sources[1].refresh(1e12)  # a look at the file that is long due
    said = refusal()
    assert said.splitlines()[1] == (
        "This key is not in any registry, as far as they can be read: not in a.toml, the last good "
        "version of gone.toml. gone.toml: there is no such file. `openai-project-guard register` "
        "makes one, with `--registry` and this path."
    )
    given = commands(said.splitlines()[-1], "proj_new")
    assert given == [["register", "proj_new", "--key-env", "KEY_OF_A_TEST", "--registry", "a.toml"]]
