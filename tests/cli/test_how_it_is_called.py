"""How is a command called, what does its exit status say, and what if I mistype it?"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
from collections.abc import Iterator
from importlib import import_module
from pathlib import Path
from pkgutil import iter_modules
from types import SimpleNamespace
from typing import Any

import pytest
from cli_shell import Shell

import openai_project_guard
from openai_project_guard import ConfigurationError, RegistryError, _cli
from openai_project_guard._cli import commands, main, parsers

ROOT = str(Path(openai_project_guard.__file__).parent.parent)
NAMES = tuple(_cli.COMMANDS)


@pytest.fixture
def command(monkeypatch: pytest.MonkeyPatch) -> Iterator[SimpleNamespace]:
    """A command named `probe` whose `run` a test can set."""
    probe = SimpleNamespace(
        add_arguments=lambda parser: parser.add_argument("--json", action="store_true"),
        run=lambda args: 0,
    )
    monkeypatch.setitem(_cli.COMMANDS, "probe", "try it")
    monkeypatch.setitem(sys.modules, "openai_project_guard._cli.commands.probe", probe)
    return probe


def python(*arguments: str, **options: Any) -> subprocess.CompletedProcess[str]:
    path = os.pathsep.join(filter(None, (ROOT, os.environ.get("PYTHONPATH"))))
    return subprocess.run(
        [sys.executable, *arguments],
        env={**os.environ, "PYTHONPATH": path},
        encoding="utf-8",
        check=False,
        **{"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, **options},
    )


# How it is called


@pytest.mark.parametrize(
    ("argv", "complaint"),
    [
        ([], "COMMAND"),
        (["dmeo"], "dmeo"),
        (["--jsno"], "--jsno"),
        (["demo", "--jsno"], "--jsno"),
        (["demo", "more"], "more"),
    ],
)
def test_bad_usage_is_2_and_says_what_is_wrong(
    argv: list[str], complaint: str, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as exit_:
        main(argv)
    assert exit_.value.code == 2
    output = capsys.readouterr()
    assert output.out == ""
    assert complaint in output.err
    assert output.err.startswith("usage: openai-project-guard")


def test_without_arguments_the_help_is_printed(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as exit_:
        main([])
    assert exit_.value.code == 2
    output = capsys.readouterr()
    with pytest.raises(SystemExit):
        main(["--help"])
    assert (output.out, output.err) == ("", capsys.readouterr().out)


@pytest.mark.parametrize(
    ("argv", "suggestion"),
    [
        (["dcotor"], "there is no command 'dcotor'. Did you mean doctor?"),
        (["regsiter", "proj_a"], "there is no command 'regsiter'. Did you mean register?"),
        (["--versoin"], "unrecognized arguments: --versoin. Did you mean --version?"),
        (["list", "--fingerprint"], "unrecognized arguments: --fingerprint. Did you mean --finger"),
        (["check", "--envfile=.env"], "arguments: --envfile=.env. Did you mean --env-file?"),
        (["check", "--envfile=the/path/is/longer.env"], "longer.env. Did you mean --env-file?"),
        (["check", "--verbose"], "unrecognized arguments: --verbose\n"),
    ],
)
def test_a_typo_is_answered_with_the_nearest(
    argv: list[str], suggestion: str, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as exit_:
        main(argv)
    assert exit_.value.code == 2
    assert suggestion in capsys.readouterr().err


@pytest.mark.skipif(os.name == "nt", reason="argcomplete is for POSIX shells")
@pytest.mark.parametrize(
    ("line", "completed"),
    [
        ("openai-project-guard do", {"doctor"}),
        ("openai-project-guard doctor --env", {"--env-file"}),
        ("openai-project-guard remove --", {"--project", "--yes", "--registry", "--help"}),
    ],
)
def test_the_shell_completes(line: str, completed: set[str]) -> None:
    pytest.importorskip("argcomplete")
    reading, writing = os.pipe()
    variables = {
        "_ARGCOMPLETE": "1",
        "_ARGCOMPLETE_IFS": "\n",
        "_ARGCOMPLETE_STDOUT_FILENAME": f"/dev/fd/{writing}",
        "COMP_LINE": line,
        "COMP_POINT": str(len(line)),
        "_ARGCOMPLETE_COMP_WORDBREAKS": " ",
    }
    path = os.pathsep.join(filter(None, (ROOT, os.environ.get("PYTHONPATH"))))
    done = subprocess.run(
        [sys.executable, "-m", "openai_project_guard"],
        env={**os.environ, "PYTHONPATH": path, **variables},
        pass_fds=[writing],
        capture_output=True,
        check=False,
    )
    os.close(writing)
    with open(reading, encoding="utf-8") as answer:
        found = {word.strip() for word in answer.read().split("\n") if word.strip()}
    assert done.returncode == 0, done.stderr
    assert completed <= found


def test_help_lists_every_command(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as exit_:
        main(["--help"])
    assert exit_.value.code == 0
    shown = capsys.readouterr().out
    assert all(f"  {name} " in shown and does in shown for name, does in _cli.COMMANDS.items())
    assert "Exit status: 0 good" in shown
    assert '\n  pip install "argcomplete>=3"\n' in shown


@pytest.mark.parametrize("name", NAMES)
def test_every_command_has_help(name: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as exit_:
        main([name, "--help"])
    assert exit_.value.code == 0
    assert capsys.readouterr().out.startswith(f"usage: openai-project-guard {name}")


@pytest.mark.parametrize("name", ["register", "fingerprint"])
def test_a_command_that_takes_a_key_says_how(name: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        main([name, "--help"])
    shown = " ".join(capsys.readouterr().out.split())
    assert "or else from standard input" in shown
    assert "never from an argument" in shown


def test_every_module_of_a_command_is_in_the_help() -> None:
    assert {module.name for module in iter_modules(commands.__path__)} == set(NAMES)


@pytest.mark.parametrize("name", NAMES)
def test_every_command_has_what_the_frame_needs(name: str) -> None:
    module = import_module(f"openai_project_guard._cli.commands.{name}")
    assert callable(module.add_arguments)
    assert callable(module.run)


def test_version_names_the_package(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as exit_:
        main(["--version"])
    assert exit_.value.code == 0
    assert capsys.readouterr().out.startswith("openai-project-guard ")


def test_version_of_a_checkout_says_so(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(parsers, "PROGRAM", "no-such-distribution")
    with pytest.raises(SystemExit):
        main(["--version"])
    assert capsys.readouterr().out == "no-such-distribution (not installed)\n"


def test_python_m_is_the_same_command() -> None:
    done = python("-m", "openai_project_guard", "nothing")
    assert done.returncode == 2
    assert done.stderr.startswith("usage: openai-project-guard")


@pytest.mark.parametrize(
    "argv",
    [
        ("--help",),
        ("--version",),
        *((name, "--help") for name in NAMES),
        ("validate", "gone.toml"),
        ("list",),
    ],
    ids=" ".join,
)
def test_only_what_is_needed_is_imported(argv: tuple[str, ...]) -> None:
    done = python(
        "-c",
        "import sys\n"
        "from openai_project_guard._cli import main\n"
        f"try: main({list(argv)})\n"
        "except SystemExit: pass\n"
        "heavy = {'openai', 'pydantic', 'httpx', 'httpx2', 'argcomplete', 'dotenv', 'tomlkit'}\n"
        f"ours = {{'demo', 'sync', 'doctor'}} - {{{argv[0]!r}}}\n"
        "heavy |= {f'openai_project_guard._cli.commands.{name}' for name in ours}\n"
        "sys.exit(','.join(sorted(heavy & set(sys.modules))) or None)",
    )
    assert (done.returncode, done.stderr) == (0, "")


# What the exit status says


def test_a_command_gets_its_arguments_and_gives_the_status(command: SimpleNamespace) -> None:
    seen: list[argparse.Namespace] = []

    def run(args: argparse.Namespace) -> int:
        seen.append(args)
        return 1

    command.run = run
    assert main(["probe", "--json"]) == 1
    assert seen == [argparse.Namespace(json=True)]


@pytest.mark.parametrize("kind", [ConfigurationError, RegistryError])
def test_a_configuration_error_is_2_and_one_line(
    kind: type[Exception], command: SimpleNamespace, capsys: pytest.CaptureFixture[str]
) -> None:
    def run(args: argparse.Namespace) -> int:
        raise kind("openai-projects.toml, line 3:\nno such field")

    command.run = run
    assert main(["probe"]) == 2
    output = capsys.readouterr()
    assert output.out == ""
    assert output.err == (
        "openai-project-guard: error: openai-projects.toml, line 3: no such field\n"
    )


def test_control_c_is_130_without_a_traceback(
    command: SimpleNamespace, capsys: pytest.CaptureFixture[str]
) -> None:
    def run(args: argparse.Namespace) -> int:
        raise KeyboardInterrupt

    command.run = run
    assert main(["probe"]) == 130
    assert capsys.readouterr() == ("", "")


def test_any_other_error_is_a_bug_and_shows_its_traceback(command: SimpleNamespace) -> None:
    def run(args: argparse.Namespace) -> int:
        raise RuntimeError("a bug")

    command.run = run
    with pytest.raises(RuntimeError, match="a bug"):
        main(["probe"])


@pytest.mark.parametrize("command", [["demo", "--help"], ["--version"]])
def test_a_bad_variable_does_not_keep_our_own_command_from_running(command: list[str]) -> None:
    variables = {**os.environ, "OPENAI_PROJECT_GUARD": "bogus"}
    done = subprocess.run(
        [sys.executable, "-m", "openai_project_guard", *command],
        env=variables,
        capture_output=True,
        text=True,
    )
    assert (done.returncode, done.stderr) == (0, "")


@pytest.mark.parametrize(
    "name", ["list", "check", "doctor", "validate", "copy", "sync", "run", "report"]
)
def test_the_help_of_a_command_for_ci_says_what_its_exit_status_means(
    run: Shell, name: str
) -> None:
    ran = run(name, "--help")
    assert ran.status == 0
    assert "Exit status: " in ran.out


def test_the_help_says_whether_json_is_one_object_or_a_list(run: Shell) -> None:
    assert "--json prints a list of objects:\n" in run("demo", "--help").out
    assert "--json prints one object:\n" in run("check", "--help").out


# What if the output cannot be written


COMMANDS_THAT_PRINT = [
    ("--version",),
    ("--help",),
    ("list",),
    ("list", "--json"),
    ("check",),
    ("fingerprint", "--key-env", "OPENAI_API_KEY"),
    ("validate", "openai-projects.toml"),
    ("copy", "openai-projects.toml", "other.toml", "--dry-run"),
    ("remove", "bot", "--yes"),
]


@pytest.mark.skipif(not os.path.exists("/dev/full"), reason="this system has no full disk to try")
@pytest.mark.parametrize("argv", COMMANDS_THAT_PRINT, ids=" ".join)
def test_a_full_disk_is_an_error_of_one_line(good: Shell, argv: tuple[str, ...]) -> None:
    with open("/dev/full", "w") as full:
        done = python("-m", "openai_project_guard", *argv, stdout=full)
        assert (done.returncode, done.stderr) == (
            2,
            "openai-project-guard: error: The output cannot be written: No space left on device.\n",
        )


@pytest.mark.skipif(os.name == "nt", reason="Windows has no SIGPIPE to report")
@pytest.mark.parametrize("argv", COMMANDS_THAT_PRINT, ids=" ".join)
def test_a_reader_that_has_gone_is_no_error_to_talk_about(
    good: Shell, argv: tuple[str, ...]
) -> None:
    reading, writing = os.pipe()
    os.close(reading)
    done = python("-m", "openai_project_guard", *argv, stdout=writing)
    os.close(writing)
    assert (done.returncode, done.stderr) == (141, "")


@pytest.mark.skipif(os.name == "nt", reason="there is no shell to close it")
def test_streams_that_are_closed_change_no_exit_status(good: Shell) -> None:
    program = "run -- -c 'import sys; sys.exit(7 if sys.stdout is None else 8)'"
    for argv, status in (
        ("check", 0),
        ("--version", 0),
        ("lsit", 2),
        ("copy gone", 2),
        (program, 7),
    ):
        line = f"{sys.executable} -m openai_project_guard {argv} >&- 2>&-"
        environment = {**os.environ, "PYTHONPATH": ROOT}
        assert subprocess.run(["sh", "-c", line], env=environment).returncode == status


@pytest.mark.skipif(sys.platform == "win32", reason="a folder in use cannot be deleted")
@pytest.mark.parametrize(
    "name", ["list", "check", "doctor", "register proj_a", "copy a.toml b.toml"]
)
def test_a_folder_that_was_deleted_is_said_in_one_line(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    gone = tmp_path / "gone"
    gone.mkdir()
    line = f"cd {gone} && rmdir {gone} && exec {sys.executable} -m openai_project_guard {name}"
    env = {name: v for name, v in os.environ.items() if not name.startswith("OPENAI_")}
    done = subprocess.run(
        ["sh", "-c", line],
        env={**env, "PYTHONPATH": ROOT, "HOME": str(tmp_path), "OPENAI_API_KEY": "sk-proj-x"},
        input="",
        capture_output=True,
        encoding="utf-8",
        check=False,
    )
    assert "Traceback" not in done.stderr
    assert done.returncode in (1, 2), done
